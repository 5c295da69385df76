"""Two-dimensional maps of embeddings, in which neighbours in many dimensions are neighbours on paper.

    vectors --principal components, at most 50--> scores --t-SNE or UMAP, from the first two--> coordinates

As Kobak and Berens 2019 (Nature Communications 10, 5416) advise, t-SNE starts from the first two principal components,
which keeps the large-scale arrangement; its learning rate is n / exaggeration, its exaggeration 12 in the first 250 of
750 steps, as openTSNE has them. Only neighbourhoods mean something in such a map; areas, gaps and axes do not.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from cxrsearch.arrays import Floats
from cxrsearch.errors import MissingDependencyError, UsageError
from cxrsearch.progress import Progress, silent
from cxrsearch_indexes.vectors import Vectors

Method = Literal["tsne", "umap"]
METHODS: tuple[Method, ...] = get_args(Method)

COMPONENTS = 50
PERPLEXITY = 30.0
"""Neighbours that count, as an effective number (van der Maaten and Hinton 2008, JMLR 9, 2579-2605)."""
UMAP_NEIGHBOURS = 15
"""UMAP's own default (McInnes et al. 2018, arXiv:1802.03426)."""
FEWEST = 5
"""Images: fewer have no neighbourhoods."""

_START = 1e-4
"""Standard deviation of the start: small, so that points order themselves before they repel each other."""
_STEPS, _EVERY = 750, 25
_ROWS = 2048


@dataclass(frozen=True)
class Projection:
    """A map of n embeddings.

    Attributes:
        coordinates: float32 (n, 2), without a unit.
        method: `tsne` or `umap`.
        neighbours: t-SNE's perplexity, or UMAP's number of neighbours.
        components: principal components that the map was made from.
        explained: their share of the variance, in [0, 1].
        seed: of all that is random.
    """

    coordinates: NDArray[np.float32]
    method: Method
    neighbours: float
    components: int
    explained: float
    seed: int

    @property
    def description(self) -> str:
        """How the map was made, for people."""
        name = "t-SNE, perplexity" if self.method == "tsne" else "UMAP, neighbours"
        source = f"{self.components} principal components ({self.explained:.0%} of the variance)"
        return f"{name} {self.neighbours:.3g}, of {source}, seed {self.seed}"


def project(
    vectors: Vectors,
    *,
    method: Method = "tsne",
    unit: bool = False,
    seed: int = 0,
    threads: int = 1,
    progress: Progress = silent,
) -> Projection:
    """Map embeddings to the plane. The same vectors, seed and threads give the same bytes on one machine.

    Memory: 50 float32 an image, and for t-SNE 180 neighbours of 16 bytes.

    Args:
        vectors: finite, n of them.
        method: `tsne` or `umap`.
        unit: bring every vector to length 1 first, which makes the neighbours those of the cosine metric.
        seed: of the tiny disturbance of the start, and of UMAP's sampling.
        threads: t-SNE's; UMAP is reproducible with one only.
        progress: called as work goes on.

    Raises:
        UsageError: an unknown method, no thread, a negative seed, fewer than 5 vectors, or all of them equal.
        MissingDependencyError: UMAP is not installed.
    """
    if method not in METHODS or threads < 1 or seed < 0:
        got = f"method {method!r}, {threads} threads, seed {seed}"
        raise UsageError(
            f"a map that cannot be meant: {got}", f"use {' or '.join(METHODS)}, a thread, a seed from 0 on"
        )
    if vectors.n < FEWEST:
        raise UsageError(f"a map of {vectors.n} images", f"a map needs at least {FEWEST}")
    umap = _umap() if method == "umap" else None
    scores, explained = principal_components(vectors, COMPONENTS, unit=unit, progress=progress)
    start = _start(scores, seed)
    if umap is None:
        neighbours = min(PERPLEXITY, (vectors.n - 1) / 3)
        coordinates = _tsne(scores, start, neighbours, seed, threads, progress)
    else:
        neighbours = min(UMAP_NEIGHBOURS, vectors.n - 1)
        progress("umap", 0, 1)
        model = umap.UMAP(n_neighbors=neighbours, init=start, random_state=seed, n_jobs=1)
        coordinates = model.fit_transform(scores)
        progress("umap", 1, 1)
    placed = np.asarray(coordinates, dtype=np.float32)
    return Projection(placed, method, float(neighbours), scores.shape[1], explained, seed)


def principal_components(
    vectors: Vectors, most: int, *, unit: bool = False, progress: Progress = silent
) -> tuple[NDArray[np.float32], float]:
    """The scores of vectors on their first principal components, and the share of the variance that these hold.

    Returns:
        Scores, float32 (n, at most `most`), and a share in [0, 1].

    Raises:
        UsageError: all vectors are equal.
    """
    mean, axes, explained = principal_axes(vectors, most, unit=unit, progress=progress)
    scores = [((block - mean) @ axes).astype(np.float32) for block in _blocks(vectors, unit)]
    progress("principal components", vectors.n, vectors.n)
    return np.concatenate(scores), explained


def principal_axes(
    vectors: Vectors, most: int, *, unit: bool = False, progress: Progress = silent
) -> tuple[Floats, Floats, float]:
    """The mean of vectors, float64 (dim,), their first principal axes, (dim, at most `most`), and the variance's share.

    Moments are float64 sums over blocks of centred rows. A component's largest weight is positive, so its sign is no
    matter of chance.

    Raises:
        UsageError: all vectors are equal.
    """
    mean: Floats = sum((block.sum(axis=0) for block in _blocks(vectors, unit)), np.zeros(vectors.dim)) / vectors.n
    covariance = np.zeros((vectors.dim, vectors.dim))
    for done, block in enumerate(_blocks(vectors, unit)):
        progress("principal components", min(done * _ROWS, vectors.n), vectors.n)
        centred = block - mean
        covariance += centred.T @ centred / vectors.n
    values, axes = np.linalg.eigh(covariance)
    total, kept = float(values.sum()), min(most, vectors.dim, vectors.n - 1)
    if not total > vectors.dim * np.finfo(np.float32).eps ** 2 * float(np.square(mean).max(initial=0.0)):
        raise UsageError("all embeddings are equal", "there is nothing to map")
    axes = axes[:, ::-1][:, :kept]
    axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(kept)])
    return mean, axes, min(1.0, float(values[::-1][:kept].sum()) / total)


def _blocks(vectors: Vectors, unit: bool) -> Iterator[Floats]:
    for _, piece in vectors.pieces(_ROWS):
        block = piece.astype(np.float64)
        if unit:
            length = np.linalg.norm(block, axis=1, keepdims=True)
            block = np.divide(block, length, out=np.zeros_like(block), where=length > 0)
        yield block


def _start(scores: NDArray[np.float32], seed: int) -> Floats:
    """The first two components, tiny, and disturbed by a hundredth of that so that equal points can part."""
    first = np.zeros((len(scores), 2))
    first[:, : scores.shape[1]] = scores[:, :2] / scores[:, 0].std()
    return _START * (first + 0.01 * np.random.default_rng(seed).standard_normal(first.shape))


def _tsne(
    scores: NDArray[np.float32], start: Floats, perplexity: float, seed: int, threads: int, progress: Progress
) -> Floats:
    """t-SNE of the scores' exact nearest neighbours, float64 (n, 2)."""
    from openTSNE import TSNE  # type: ignore[import-untyped, unused-ignore]  # it ships no types
    from openTSNE.affinity import PerplexityBasedNN  # type: ignore[import-untyped, unused-ignore]
    from openTSNE.nearest_neighbors import PrecomputedNeighbors  # type: ignore[import-untyped, unused-ignore]

    table = PrecomputedNeighbors(*_neighbours(scores, min(len(scores) - 1, round(3 * perplexity)), progress))
    affinities = PerplexityBasedNN(perplexity=perplexity, knn_index=table, n_jobs=threads)
    steps = _Steps(progress)
    model = TSNE(n_jobs=threads, random_state=seed, callbacks=steps, callbacks_every_iters=_EVERY)
    placed: Floats = np.asarray(model.fit(affinities=affinities, initialization=start))
    progress("t-SNE", _STEPS, _STEPS)
    return placed


def _neighbours(scores: NDArray[np.float32], k: int, progress: Progress) -> tuple[NDArray[np.int64], Floats]:
    """The k nearest of every row, itself left out, and their distances: (n, k) each.

    Scikit-learn's search is the faster one in few dimensions and for many neighbours.
    """
    from sklearn.neighbors import NearestNeighbors

    n, found = len(scores), []
    model = NearestNeighbors(n_neighbors=k + 1, algorithm="brute").fit(scores)
    for at in range(0, n, _ROWS):
        progress("neighbours", at, n)
        found.append(model.kneighbors(scores[at : at + _ROWS]))
    progress("neighbours", n, n)
    distances, rows = (np.concatenate(part) for part in zip(*found, strict=True))
    others = rows != np.arange(n)[:, None]
    others[others.all(axis=1), -1] = False  # a row that is not among its own nearest has k + 1 equal ones before it
    return rows[others].reshape(n, k), distances[others].reshape(n, k).astype(np.float64)


class _Steps:
    """openTSNE's callback, which counts the steps of both phases."""

    def __init__(self, progress: Progress) -> None:
        self._progress, self._done = progress, 0

    def __call__(self, step: int, divergence: float, coordinates: Any) -> None:
        self._done += _EVERY
        self._progress("t-SNE", self._done, _STEPS)


def _umap() -> Any:
    try:
        return import_module("umap")
    except ImportError as error:
        raise MissingDependencyError(
            f"UMAP is not installed: {error}", "pip install 'cxrsearch[umap]', or use --method tsne"
        ) from error
