"""Distances in float64, by their definition. Only this module decides which row is nearer."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cxrsearch_indexes.base import Metric, Neighbours
from cxrsearch_indexes.vectors import Vectors

# A vector shorter than this has no direction: its cosine with anything counts as 0, its distance as 1.
SHORTEST = 1e-30
_PAIRS_AT_ONCE = 128

Float64 = NDArray[np.float64]


def dots(left: Float64, right: Float64) -> Float64:
    """Row-by-row inner products of two float64 (m, dim), always summed in the same order: float64 (m,)."""
    return np.asarray(np.einsum("ij,ij->i", left, right))


def units(vectors: Float64) -> tuple[Float64, Float64]:
    """Unit vectors (m, dim) of float64 (m, dim), and the factors (m,) that scale them; 0 if there is no direction."""
    lengths = np.sqrt(dots(vectors, vectors))
    factors = np.where(lengths < SHORTEST, 0.0, 1 / np.maximum(lengths, SHORTEST))
    return vectors * factors[:, None], factors


def _l2(rows: Float64, queries: Float64) -> Float64:
    apart = rows - queries
    return np.sqrt(dots(apart, apart))


def _inner(rows: Float64, queries: Float64) -> Float64:
    return -dots(rows, queries)


def _cosine(rows: Float64, queries: Float64) -> Float64:
    """Half the squared distance of the unit vectors: equal to 1 - cosine, but without its cancellation near 0."""
    (rows, row_factors), (queries, query_factors) = units(rows), units(queries)
    apart = rows - queries
    return np.where(row_factors * query_factors == 0, 1.0, dots(apart, apart) / 2)


_DISTANCES: dict[Metric, Callable[[Float64, Float64], Float64]] = {"l2": _l2, "ip": _inner, "cosine": _cosine}


class Pairs(NamedTuple):
    """Compared pairs: rows int64 (m,), their distances float64 (m,), and the query of each pair int64 (m,)."""

    rows: NDArray[np.int64]
    distances: Float64
    of: NDArray[np.int64]


def measure(
    vectors: Vectors, queries: NDArray[np.float32], rows: NDArray[np.int64], of: NDArray[np.int64], metric: Metric
) -> Pairs:
    """Compute distances from differences in float64; equal vectors have equal distances to the last bit.

    Args:
        vectors: the indexed vectors.
        queries: float32 (q, dim).
        rows: (m,), the row of each pair.
        of: (m,), the query of each pair.
        metric: the kind of distance; see `Neighbours.distances`.
    """
    distances = np.empty(len(rows))
    for start in range(0, len(rows), _PAIRS_AT_ONCE):
        part = slice(start, start + _PAIRS_AT_ONCE)
        left, right = vectors.take(rows[part]).astype(np.float64), queries[of[part]].astype(np.float64)
        distances[part] = _DISTANCES[metric](left, right)
    return Pairs(rows, distances, of)


def nearest(pairs: Pairs, queries: int, k: int) -> Neighbours:
    """Keep the k nearest pairs of every query; equal distances are ordered by row."""
    order = np.lexsort((pairs.rows, pairs.distances, pairs.of))
    counts = np.bincount(pairs.of, minlength=queries)
    rank = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    order = order[rank < k]
    offsets = np.concatenate(([0], np.cumsum(np.minimum(counts, k))))
    return Neighbours(pairs.rows[order], pairs.distances[order], offsets)


def united(parts: Iterable[Pairs]) -> Pairs:
    """Join the pairs of all parts; there may be no part."""
    none = Pairs(np.empty(0, np.int64), np.empty(0), np.empty(0, np.int64))
    rows, distances, of = zip(none, *parts, strict=True)
    return Pairs(np.concatenate(rows), np.concatenate(distances), np.concatenate(of))


def joined(parts: Iterable[tuple[NDArray[np.int64], Neighbours]], queries: int, k: int) -> Neighbours:
    """Join parts, each with the numbers of the queries that it answers; a query may be in several parts."""
    pairs = (Pairs(part.rows, part.distances, np.repeat(which, part.counts)) for which, part in parts)
    return nearest(united(pairs), queries, k)
