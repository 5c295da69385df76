"""Kind `exact`: every row is scored in float32, and the answer is that of float64 arithmetic."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from cxrsearch_indexes.all_rows import AllRows
from cxrsearch_indexes.backend import gpu_ordinal
from cxrsearch_indexes.base import BackendUnavailable, Metric, Neighbours, Restriction
from cxrsearch_indexes.frame import Float32, Frame
from cxrsearch_indexes.metric import Float64, joined, measure, nearest, units
from cxrsearch_indexes.searcher import Searcher, asked_again, blas_threads
from cxrsearch_indexes.shortlist import RunningShortlist, refine, shortlist_size
from cxrsearch_indexes.vectors import LARGEST_NORM, Vectors, unusable

_SCORES_AT_ONCE = 2**21
# Row values processed at once: many for a matrix product, few if numpy reads them twice and they should stay in cache.
_PRODUCT_VALUES = 2**22
_CACHED_VALUES = 2**18
# A centre farther from the origin than this, in units of the rows' spread around it, is subtracted before the product.
# A nearer one is covered by the error bound of the product, which saves a pass over the rows.
_FAR = 8.0


class ExactIndex(Searcher):
    """Compares a query with every row: one float32 matrix product, then float64 differences for the few best.

    The certificate is that of `frame`. A first pass keeps a shortlist. If the shortlist may lack a neighbour (many
    duplicates, near ties), a second pass measures every row that its score does not exclude. So the result is exact for
    any data. Up to 2 n floats are kept besides the vectors, which are not copied. Working memory is about 32 MB per
    core, and does not grow with n. Another way of scoring (bfloat16, a GPU) would replace `_score` and the rounding of
    the frame.
    """

    kind: ClassVar[str] = "exact"
    approximate: ClassVar[bool] = False
    runs_on_gpu: ClassVar[bool] = False
    side_by_side: ClassVar[bool] = True

    def __init__(self, vectors: Vectors, metric: Metric, centre: Float32 | None = None) -> None:
        super().__init__(vectors, metric)
        with np.errstate(invalid="ignore", over="ignore"):  # rows that are not finite are refused below, by number
            self._factors = _unit_factors(vectors) if metric == "cosine" else None
            centre = self._mean() if centre is None else centre
            squares = np.concatenate(
                [np.einsum("ij,ij->i", rows, rows) for rows in self._centre_pieces(centre, _cached_rows(self.dim))]
            )
        _refuse_unusable(vectors, squares, self._factors)
        radius = float(np.sqrt(squares.max() * (1 + (self.dim + 16) * 2.0**-23)))
        near = float(centre @ centre) <= _FAR**2 * float(squares.mean(dtype=np.float64))
        self.frame = Frame(metric, centre, radius, raw=near)
        self._offsets: Float32 = np.asarray(0 * squares if metric == "ip" else squares / 2, np.float32)

    @classmethod
    def build(cls, vectors: Vectors, metric: Metric, *, seed: int, device: str) -> Self:
        """Index vectors. Nothing is random, so the seed is ignored.

        Raises:
            ValueError: a vector that is not finite, or too long.
            BackendUnavailable: the device is not the CPU.
        """
        if gpu_ordinal(device) is not None:
            raise BackendUnavailable(f"device {device}: kind exact runs on the CPU; use device cpu, or kind faiss-flat")
        return cls(vectors, metric)

    @classmethod
    def load(cls, vectors: Vectors, metric: Metric, *, folder: Path, device: str) -> Self:
        """Do the same as `build`: the vectors are the index."""
        return cls.build(vectors, metric, seed=0, device=device)

    def save(self, folder: Path) -> list[Path]:
        """Write nothing, since the vectors are the index; returns no files."""
        return []

    def centred(self, size: int) -> Iterator[Float32]:
        """Yield the rows in the coordinates of `frame`, in order, as float32 (m, dim) with m at most `size`."""
        return self._centre_pieces(self.frame.centre, size)

    def search_all(
        self, k: int, groups: NDArray[np.int64] | None = None, report: Callable[[int], None] = lambda done: None
    ) -> Neighbours:
        """See `VectorIndex.search_all`; for l2, `AllRows` needs half the work of a search."""
        if self.metric != "l2" or k < 1:
            return super().search_all(k, groups, report)
        Restriction(groups=groups, query_groups=groups).check(self.n, self.n)
        everyone = AllRows(self.vectors, self.frame, self._offsets, min(k, self.n), groups)
        threads = blas_threads()
        with threadpool_limits(1, "blas"):
            parts, uncertain = zip(*everyone.neighbours(threads, report), strict=True)
        whole, again = Neighbours.concatenate(parts), np.concatenate(uncertain)
        answer = asked_again(whole, min(k, self.n), again, lambda rows: self._search_rows(rows, k, groups))
        report(self.n)
        return answer

    def _search(self, queries: Float32, k: int, restriction: Restriction) -> Neighbours:
        kept = RunningShortlist(len(queries), min(self.n, shortlist_size(k)))
        for rows, scores in self._scores(queries, restriction):
            kept.offer(rows, scores)
        shortlist = kept.finish()
        answer, limits = refine(shortlist, self.vectors, self.frame, queries, k)

        def within(some: NDArray[np.int64]) -> Neighbours:
            return self._within(queries[some], limits[some], k, restriction.part(some))

        return asked_again(answer, k, shortlist.unsettled(limits), within)

    def _within(self, queries: Float32, limits: Float64, k: int, restriction: Restriction) -> Neighbours:
        """The k nearest among all rows whose score is at most the limit, float64 (q,), of the query."""
        everyone = np.arange(len(queries))
        best = joined([], len(queries), k)
        for rows, scores in self._scores(queries, restriction):
            of, at = np.nonzero(np.isfinite(scores) & (scores <= limits[:, None]))
            hits = nearest(measure(self.vectors, queries, rows[at], of, self.metric), len(queries), k)
            best = joined([(everyone, best), (everyone, hits)], len(queries), k)
        return best

    def _scores(self, queries: Float32, restriction: Restriction) -> Iterator[tuple[NDArray[np.int64], Float32]]:
        """Yield, block by block, the allowed rows (b,) and their scores (q, b); inf for rows of an excluded group."""
        p = self.frame.queries(queries)
        excluded, excluded_for = restriction.excluded(len(queries))
        size = max(1, min(_PRODUCT_VALUES // self.dim, _SCORES_AT_ONCE // max(1, len(queries))))
        for start, piece in self.vectors.pieces(size):
            end = start + len(piece)
            rows = np.arange(start, end)
            if restriction.allowed is not None:
                rows = rows[restriction.allowed[start:end]]
            if not len(rows):
                continue
            scores = self._score(rows, piece if len(rows) == len(piece) else piece[rows - start], p)
            here = slice(*np.searchsorted(excluded, (start, end)))
            scores[excluded_for[here], np.searchsorted(rows, excluded[here])] = np.inf
            yield rows, scores

    def _score(self, rows: NDArray[np.int64], vectors: Float32, p: Float32) -> Float32:
        """The scores, float32 (q, b), of rows (b,) with these vectors (b, dim), as `frame` defines them."""
        factors = None if self._factors is None else self._factors[rows]
        if not self.frame.raw:
            vectors = _centre(vectors, factors, self.frame.centre)
        products: Float32 = p @ vectors.T
        if self.frame.raw and factors is not None:
            products *= factors
        return np.subtract(self._offsets[rows], products, out=products)

    def _centre_pieces(self, centre: Float32, size: int) -> Iterator[Float32]:
        for start, piece in self.vectors.pieces(size):
            factors = None if self._factors is None else self._factors[start : start + len(piece)]
            yield _centre(piece, factors, centre)

    def _mean(self) -> Float32:
        """The mean of the rows (unit rows for cosine), float32 (dim,), summed in float64 over blocks."""
        total = np.zeros(self.dim)
        for start, piece in self.vectors.pieces(_cached_rows(self.dim)):
            weights = np.ones(len(piece), np.float32) if self._factors is None else self._factors[start:][: len(piece)]
            total += weights @ piece
        return (total / self.n).astype(np.float32)


def _cached_rows(dim: int) -> int:
    return max(1, _CACHED_VALUES // dim)


def _centre(vectors: Float32, factors: Float32 | None, centre: Float32) -> Float32:
    if factors is None:
        return vectors - centre
    centred = vectors * factors[:, None]
    centred -= centre
    return centred


def _unit_factors(vectors: Vectors) -> Float32:
    """The factors that scale each row to a unit vector, float32 (n,); 0 for a row without direction."""
    pieces = vectors.pieces(_cached_rows(vectors.dim))
    return np.concatenate([units(piece.astype(np.float64))[1].astype(np.float32) for _, piece in pieces])


def _refuse_unusable(vectors: Vectors, squares: Float32, factors: Float32 | None) -> None:
    """Raise ValueError that names the first row that cannot be indexed, if squared norms or factors reveal one."""
    short_enough = factors is None or np.all((factors == 0) | (factors >= 1 / LARGEST_NORM))
    if short_enough and np.all(squares <= LARGEST_NORM**2):
        return
    for start, piece in vectors.pieces(_cached_rows(vectors.dim)):
        refused = unusable(piece)
        if refused.size:
            raise ValueError(f"vector {start + refused[0]} is not finite, or its norm exceeds {LARGEST_NORM:g}")
