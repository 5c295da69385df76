"""Baselines that use pixels: grey levels, or embeddings of an untrained network, as input of second-stage models."""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from cxrsearch.analysis.models.baselines import grey_levels
from cxrsearch.analysis.models.model import Sample
from cxrsearch.arrays import Integers
from cxrsearch.encoder.embed import Embedder
from cxrsearch.encoder.weights import load_encoder
from cxrsearch.images.preprocess import Pixels
from cxrsearch.progress import Progress
from cxrsearch.query.index import Index

BASELINES = ("view", "histogram", "random")
_BATCH = 32

_Inputs = Callable[[Integers], Sample]


def baseline_inputs(name: str, index: Index, rows: Integers, seed: int, progress: Progress) -> _Inputs | None:
    """The inputs of a baseline, as a function from rows to their sample.

    Args:
        name: `histogram`: the shares of 64 grey levels; `random`: embeddings of an untrained network with the index's
            architecture and input size.
        index: its catalogue and stored pixels are used.
        rows: all rows that the function will be called with, ascending.
        seed: seed of the untrained network.
        progress: called while images are embedded.

    Returns:
        The function; None if the index holds no pixels.
    """
    if not index.stored.pixel_blocks:
        return None
    if name == "histogram":
        return _inputs(index, rows, grey_levels(_pixels(index, rows)))
    return _inputs(index, rows, _random(index, rows, seed, progress))


def _inputs(index: Index, rows: Integers, values: NDArray[np.float32]) -> _Inputs:
    labels, patients = index.catalogue.labels, index.catalogue.patient_groups()
    assert labels is not None

    def inputs(part: Integers) -> Sample:
        return Sample(values[np.searchsorted(rows, part)], labels[part], patients[part])

    return inputs


def _random(index: Index, rows: Integers, seed: int, progress: Progress) -> NDArray[np.float32]:
    spec = index.manifest.require_encoder()
    encoder = load_encoder(f"random:{seed}", arch=spec["architecture"], size=spec["preprocess"]["size"])
    embedder, embeddings = Embedder(encoder), []
    for start in range(0, len(rows), _BATCH):
        progress("embedding by an untrained network", start, len(rows))
        batch = _pixels(index, rows[start : start + _BATCH])
        embeddings.append(embedder(np.stack([embedder.spec.preprocess.network_pixels(pixels) for pixels in batch]))[0])
    progress("embedding by an untrained network", len(rows), len(rows))
    return np.concatenate(embeddings)


def _pixels(index: Index, rows: Integers) -> Iterator[Pixels]:
    for row in rows:
        pixels = index.stored.stored_pixels(int(row))
        assert pixels is not None
        yield pixels
