"""k-nearest-neighbour search over vectors: numpy and FAISS, one protocol.

    index = build("exact", blocks, "l2")
    rows, distances = index.search(queries, 20)[0]

Every kind answers in the same units and order (`Neighbours`) under the same `Restriction`. `exact` and `faiss-flat`
give what float64 arithmetic would; `faiss-hnsw` may miss neighbours. A new kind is a new file and a line in `KINDS`.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cxrsearch_indexes.base import METRICS, BackendUnavailable, Metric, Neighbours, Restriction, VectorIndex
from cxrsearch_indexes.exact import ExactIndex
from cxrsearch_indexes.flat import FlatIndex
from cxrsearch_indexes.hnsw import HnswIndex
from cxrsearch_indexes.recall import recall_at_k
from cxrsearch_indexes.vectors import Vectors

__all__ = [
    "KINDS",
    "METRICS",
    "BackendUnavailable",
    "Metric",
    "Neighbours",
    "Restriction",
    "VectorIndex",
    "build",
    "load",
    "recall_at_k",
]

KINDS: dict[str, type[VectorIndex]] = {kind.kind: kind for kind in (ExactIndex, FlatIndex, HnswIndex)}
"""Every kind by its name."""


def build(
    kind: str, blocks: Sequence[NDArray[np.float32]], metric: Metric, *, seed: int = 0, device: str = "cpu"
) -> VectorIndex:
    """Index vectors.

    Args:
        kind: one of `KINDS`.
        blocks: float32 (m_i, dim), in row order; kept, and read at every search, so memory-mapped blocks stay on disk.
        metric: one of `METRICS`.
        seed: of what is random in a kind: `faiss-hnsw`'s levels.
        device: `cpu`, `cuda` or `cuda:N`; a GPU only for `faiss-flat`.

    Raises:
        ValueError: an unknown kind, metric or device; no vectors; vectors of other types or shapes, not finite, or with
            a norm over 1e15 (the message names the row).
        BackendUnavailable: FAISS or the device is missing, or the kind does not run there.
    """
    return _checked(kind, metric).build(Vectors(blocks), metric, seed=seed, device=device)


def load(
    kind: str, folder: Path, blocks: Sequence[NDArray[np.float32]], metric: Metric, *, device: str = "cpu"
) -> VectorIndex:
    """Open what `save` wrote into a folder, with the blocks it was built from; see `build`.

    Check the digests of the files before: FAISS reads damaged ones in silence.

    Raises:
        OSError: the file is missing or cannot be read.
        ValueError: as in `build`, or the file was made from vectors of another number, dimension or metric.
        BackendUnavailable: as in `build`.
    """
    return _checked(kind, metric).load(Vectors(blocks), metric, folder=folder, device=device)


def _checked(kind: str, metric: str) -> type[VectorIndex]:
    if kind not in KINDS:
        raise ValueError(f"unknown kind of index {kind!r}; there are {', '.join(KINDS)}")
    if metric not in METRICS:
        raise ValueError(f"unknown metric {metric!r}; there are {', '.join(METRICS)}")
    return KINDS[kind]
