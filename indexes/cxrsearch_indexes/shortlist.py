"""From many float32 scores to a few rows, and from these to neighbours that are certain."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxrsearch_indexes.base import Neighbours
from cxrsearch_indexes.frame import Float32, Frame
from cxrsearch_indexes.metric import Float64, Pairs, measure, nearest, united
from cxrsearch_indexes.vectors import Vectors

# If more than one score in this many is a hit, as in the first block, all are merged without picking out the hits.
_DENSE = 8
# Scores merged at once; with their rows and places they take about 10 MB.
_MERGED_AT_ONCE = 2**19


def shortlist_size(k: int) -> int:
    """How many rows are kept by score for k neighbours: enough that few queries need a second pass."""
    return 2 * k + 16


@dataclass(frozen=True)
class Shortlist:
    """The s rows with the lowest float32 scores of each query; lower is nearer.

    Attributes:
        scores: (q, s), in any order; inf if there is no row.
        rows: int64 (q, s), the rows of the scores.
        cut: float64 (q,); every row that was left out has at least this score. inf: no row was left out.
    """

    scores: Float32 | Float64
    rows: NDArray[np.int64]
    cut: Float64

    def unsettled(self, limits: Float64) -> NDArray[np.int64]:
        """The queries for which a row left out may be a neighbour, from the limits, float64 (q,), of `refine`."""
        return np.flatnonzero(np.isfinite(self.cut) & (self.cut <= limits))


class RunningShortlist:
    """Keeps the `size` lowest scores of each query while blocks of rows are offered."""

    def __init__(self, queries: int, size: int) -> None:
        self.scores = np.full((queries, size), np.inf, np.float32)
        self.rows = np.full((queries, size), -1, np.int64)
        self._worst = self.scores[:, :1]

    def offer(self, rows: NDArray[np.int64], scores: Float32) -> None:
        """Offer rows, int64 (b,), with scores, float32 (q, b); scores below the worst one kept are merged in."""
        hits = np.flatnonzero(scores < self._worst)
        if not len(hits):
            return
        if len(hits) > scores.size // _DENSE:
            self._merge(scores, np.broadcast_to(rows, scores.shape))
            return
        of, at = np.divmod(hits, len(rows))
        counts = np.bincount(of)
        slot = np.arange(len(of)) - np.repeat(np.cumsum(counts) - counts, counts)
        packed = np.full((len(scores), counts.max()), np.inf, np.float32)
        packed_rows = np.full(packed.shape, -1, np.int64)
        packed[of, slot], packed_rows[of, slot] = scores[of, at], rows[at]
        self._merge(packed, packed_rows)

    def _merge(self, scores: Float32, rows: NDArray[np.int64]) -> None:
        size, step = self.scores.shape[1], max(1, _MERGED_AT_ONCE // scores.shape[1])
        for some in (slice(start, start + step) for start in range(0, len(scores), step)):
            both, both_rows = np.hstack([self.scores[some], scores[some]]), np.hstack([self.rows[some], rows[some]])
            keep = np.argpartition(both, size - 1, axis=1)[:, :size]
            self.scores[some] = np.take_along_axis(both, keep, 1)
            self.rows[some] = np.take_along_axis(both_rows, keep, 1)
        self._worst = self.scores.max(axis=1, keepdims=True)

    def finish(self) -> Shortlist:
        """Return the shortlist of all rows offered so far."""
        return Shortlist(self.scores, self.rows, self._worst[:, 0].astype(np.float64))


def refine(
    shortlist: Shortlist, vectors: Vectors, frame: Frame, queries: Float32, k: int
) -> tuple[Neighbours, Float64]:
    """Find the neighbours among the rows of a shortlist, by float64 distance.

    The rows with the k best scores give k distances. The true k-th distance is at most the largest of them.
    `Frame.limits` turns this distance into the score up to which a row may be among the k nearest. All such rows of the
    shortlist are compared.

    Args:
        shortlist: of q queries, with at least k rows each unless nothing was left out.
        vectors: the indexed vectors.
        frame: the frame of the scores.
        queries: float32 (q, dim).
        k: at least 1.

    Returns:
        The k nearest, and the limits, float64 (q,); `Shortlist.unsettled` gives the queries that stay uncertain.
    """
    order = np.argsort(shortlist.scores, axis=1)
    scores: Float64 = np.take_along_axis(shortlist.scores, order, 1).astype(np.float64)
    listed = np.take_along_axis(shortlist.rows, order, 1)

    def measure_chosen(chosen: NDArray[np.bool_]) -> Pairs:
        of, at = np.nonzero(chosen & np.isfinite(scores))
        return measure(vectors, queries, listed[of, at], of, frame.metric)

    best = np.broadcast_to(np.arange(scores.shape[1]) < k, scores.shape)
    first = measure_chosen(best)
    limits = frame.limits(queries, nearest(first, len(queries), k).last(k))
    second = measure_chosen(~best & (scores <= limits[:, None]))
    return nearest(united([first, second]), len(queries), k), limits
