"""Two-dimensional embedding maps, in which neighbours in many dimensions stay neighbours.

    vectors --principal components, at most 50--> scores --t-SNE or UMAP, from the first two--> coordinates

Kobak and Berens 2019 (Nature Communications 10, 5416) advise to start t-SNE from the first two principal components,
which keeps the large-scale arrangement. The learning rate is n / exaggeration, and the exaggeration is 12 in the first
250 of 750 steps, as in openTSNE. Only neighbourhoods mean something in such a map; areas, gaps and axes do not.
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
"""The effective number of neighbours (van der Maaten and Hinton 2008, JMLR 9, 2579-2605)."""
UMAP_NEIGHBOURS = 15
"""UMAP's own default (McInnes et al. 2018, arXiv:1802.03426)."""
FEWEST = 5
"""The fewest images of a map; fewer have no neighbourhoods."""

_START = 1e-4
"""Standard deviation of the start; it is small so that points arrange themselves before they repel each other."""
_STEPS, _EVERY = 750, 25
_ROWS = 2048


@dataclass(frozen=True)
class Projection:
    """An embedding map of n embeddings.

    Attributes:
        coordinates: float32 (n, 2), without a unit.
        method: `tsne` or `umap`.
        neighbours: t-SNE's perplexity, or UMAP's number of neighbours.
        components: the number of principal components that the map was made from.
        explained: their share of the variance, in [0, 1].
        seed: the random seed.
    """

    coordinates: NDArray[np.float32]
    method: Method
    neighbours: float
    components: int
    explained: float
    seed: int

    @property
    def description(self) -> str:
        """How the embedding map was made, in words."""
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
    """Map embeddings to two dimensions. The same vectors, seed and threads give the same bytes on one machine.

    Memory: 50 float32 per image, and for t-SNE 180 neighbours of 16 bytes.

    Args:
        vectors: n finite vectors.
        method: `tsne` or `umap`.
        unit: scale every vector to length 1 first; the neighbours are then those of the cosine metric.
        seed: of the tiny disturbance of the start, and of UMAP's sampling.
        threads: for t-SNE; UMAP always uses one, since only then is it reproducible.
        progress: called as the work proceeds.

    Raises:
        UsageError: an unknown method, no thread, a negative seed, fewer than 5 vectors, or vectors that are all equal.
        MissingDependencyError: UMAP is not installed.
    """
    if method not in METHODS or threads < 1 or seed < 0:
        got = f"method {method!r}, {threads} threads, seed {seed}"
        raise UsageError(
            f"invalid options of an embedding map: {got}", f"use {' or '.join(METHODS)}, a thread, a seed from 0 on"
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
    """The scores of vectors on their first principal components, and these components' share of the variance.

    Returns:
        Scores, float32 (n, m) with m at most `most`, and a share in [0, 1].

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
    """The mean and the first principal axes of vectors, and these axes' share of the variance.

    Moments are float64 sums over blocks of centred rows. The largest weight of a component is positive, so that the
    sign is not arbitrary.

    Returns:
        The mean, float64 (dim,); the axes, float64 (dim, m) with m at most `most`; and a share in [0, 1].

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
    # Vectors that differ by no more than float32 rounding count as equal.
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
    """The first two components, scaled down, with 1% random disturbance so that equal points can separate."""
    first = np.zeros((len(scores), 2))
    first[:, : scores.shape[1]] = scores[:, :2] / scores[:, 0].std()
    return _START * (first + 0.01 * np.random.default_rng(seed).standard_normal(first.shape))


def _tsne(
    scores: NDArray[np.float32], start: Floats, perplexity: float, seed: int, threads: int, progress: Progress
) -> Floats:
    """Run t-SNE on the scores' exact nearest neighbours; returns coordinates, float64 (n, 2)."""
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
    """The k nearest neighbours of every row, without the row itself, and their distances: (n, k) each.

    scikit-learn's search is faster than the project's own in few dimensions and for many neighbours.
    """
    from sklearn.neighbors import NearestNeighbors

    n, blocks = len(scores), []
    model = NearestNeighbors(n_neighbors=k + 1, algorithm="brute").fit(scores)
    for at in range(0, n, _ROWS):
        progress("neighbours", at, n)
        blocks.append(model.kneighbors(scores[at : at + _ROWS]))
    progress("neighbours", n, n)
    distances, rows = (np.concatenate(part) for part in zip(*blocks, strict=True))
    others = rows != np.arange(n)[:, None]
    # A row that is missing from its own k + 1 nearest has k + 1 equal rows before it; the last of these is dropped.
    others[others.all(axis=1), -1] = False
    return rows[others].reshape(n, k), distances[others].reshape(n, k).astype(np.float64)


class _Steps:
    """A callback for openTSNE that counts the steps of both phases."""

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
