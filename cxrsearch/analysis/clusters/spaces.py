"""The spaces in which distances between embeddings are measured: raw, standardised, unit length, whitened.

Moments are float64 sums over blocks of rows, in two passes. The points are centred on their mean before they become
float32, so an offset common to all embeddings costs no digits.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from cxrsearch.arrays import Floats
from cxrsearch.errors import UsageError

SpaceName = Literal["standardised", "raw", "l2", "whitened"]
SPACES: tuple[SpaceName, ...] = get_args(SpaceName)

BLOCK = 4096
"""Rows that are converted to float64 at a time."""

_Map = Callable[[Floats], Floats]
_ROUNDING = 4 * float(np.finfo(np.float32).eps)


@dataclass(frozen=True)
class Space:
    """Embeddings as points of a space.

    Attributes:
        name: `standardised`, each dimension divided by its population standard deviation (ddof 0); `raw`; `l2`, each
            embedding divided by its length (length 0 stays); `whitened`, the principal components divided by their
            standard deviations.
        points: float32 (n, D), centred on their mean, with only the D dimensions in which they vary.
        dim: the dimension of the embeddings.
    """

    name: SpaceName
    points: NDArray[np.float32]
    dim: int

    @property
    def live_dims(self) -> int:
        """D, the number of dimensions in which the points vary by more than float32 rounding."""
        return int(self.points.shape[1])

    @property
    def unit_variance(self) -> bool:
        """Whether every dimension has variance 1; then the mean squared distance of all pairs is 2 D n / (n - 1)."""
        return self.name in ("standardised", "whitened")


def to_space(embeddings: NDArray[np.floating[Any]], name: SpaceName = "standardised") -> Space:
    """Transform embeddings into a space.

    Args:
        embeddings: floating (n, dim), finite.
        name: the space.

    Raises:
        UsageError: an unknown space, no embeddings, or embeddings that are not finite.
    """
    if name not in SPACES:
        raise UsageError(f"unknown space {name!r}", f"use one of {', '.join(SPACES)}")
    check_embeddings(embeddings)
    prepare: _Map = _unit_length if name == "l2" else _as_they_are
    mean, low, high = _extent(embeddings, prepare)
    live = high - low > _ROUNDING * np.maximum(np.abs(low), np.abs(high))

    def centred(block: Floats) -> Floats:
        return (prepare(block) - mean)[:, live]

    if name == "whitened":
        axes = _whitening(embeddings, centred, int(live.sum()))
        return Space(name, _transform(embeddings, lambda block: centred(block) @ axes, axes.shape[1]), len(mean))
    scale = np.ones(int(live.sum()))
    if name == "standardised":
        scale = np.sqrt(sum((centred(block) ** 2).sum(axis=0) for block in _blocks(embeddings)) / len(embeddings))
    return Space(name, _transform(embeddings, lambda block: centred(block) / scale, len(scale)), len(mean))


def check_embeddings(embeddings: NDArray[np.floating[Any]]) -> None:
    """Check that embeddings are a finite matrix.

    Raises:
        UsageError: embeddings that are not floating (n, dim) with n and dim above 0, or that hold nan or infinity.
    """
    if embeddings.ndim != 2 or not embeddings.size or not np.issubdtype(embeddings.dtype, np.floating):
        got = f"{embeddings.dtype} {embeddings.shape}"
        raise UsageError(f"embeddings must be floating (images, dimensions): got {got}", "give one row per image")
    bad = np.concatenate([np.flatnonzero(~np.isfinite(block).all(axis=1)) + at for at, block in _pieces(embeddings)])
    if bad.size:
        raise UsageError(
            f"the embeddings of {bad.size} of {len(embeddings)} images are not finite, the first in row {bad[0]}",
            "leave these images out, or embed them again",
        )


def _pieces(embeddings: NDArray[np.floating[Any]]) -> Iterator[tuple[int, NDArray[np.floating[Any]]]]:
    return ((at, embeddings[at : at + BLOCK]) for at in range(0, len(embeddings), BLOCK))


def _blocks(embeddings: NDArray[np.floating[Any]]) -> Iterator[Floats]:
    return (block.astype(np.float64) for _, block in _pieces(embeddings))


def _as_they_are(block: Floats) -> Floats:
    return block


def _unit_length(block: Floats) -> Floats:
    length = np.linalg.norm(block, axis=1, keepdims=True)
    unit: Floats = np.divide(block, length, out=np.zeros_like(block), where=length > 0)
    return unit


def _extent(embeddings: NDArray[np.floating[Any]], prepare: _Map) -> tuple[Floats, Floats, Floats]:
    """The mean, smallest and largest value of each dimension, float64 (dim,) each."""
    total = np.zeros(embeddings.shape[1])
    low, high = np.full_like(total, np.inf), np.full_like(total, -np.inf)
    for block in map(prepare, _blocks(embeddings)):
        total += block.sum(axis=0)
        low, high = np.minimum(low, block.min(axis=0)), np.maximum(high, block.max(axis=0))
    return total / len(embeddings), low, high


def _whitening(embeddings: NDArray[np.floating[Any]], centred: _Map, live: int) -> Floats:
    """The directions of positive variance, each divided by its standard deviation: float64 (live, rank).

    The rank is `numpy.linalg.matrix_rank` of the covariance.
    """
    covariance = np.zeros((live, live))
    for block in map(centred, _blocks(embeddings)):
        covariance += block.T @ block / len(embeddings)
    values, vectors = np.linalg.eigh(covariance)
    kept = values > values.max(initial=0.0) * live * np.finfo(np.float64).eps
    return np.asarray(vectors[:, kept] / np.sqrt(values[kept]))


def _transform(embeddings: NDArray[np.floating[Any]], mapping: _Map, width: int) -> NDArray[np.float32]:
    points = np.empty((len(embeddings), width), dtype=np.float32)
    for at, block in _pieces(embeddings):
        points[at : at + len(block)] = mapping(block.astype(np.float64))
    return points
