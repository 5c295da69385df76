"""The indexed vectors: blocks that are not copied (usually they are memory-mapped), read one piece at a time."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

# Up to this norm, squares and their sums over any dimension do not overflow in float32.
LARGEST_NORM = 1e15


class Vectors:
    """n float32 vectors of dimension dim in blocks of any length, in row order; nothing is copied.

    Raises:
        ValueError: no rows, or blocks that are not float32 (m, dim).
    """

    def __init__(self, blocks: Sequence[NDArray[np.float32]]) -> None:
        self.blocks = [np.asarray(block) for block in blocks if len(block)]
        if not self.blocks:
            raise ValueError("no vectors to index")
        self.dim = self.blocks[0].shape[-1]
        for block in self.blocks:
            if block.dtype != np.float32 or block.shape[1:] != (self.dim,) or not self.dim:
                raise ValueError(f"a block of vectors is {block.dtype} {block.shape}, not float32 (m, {self.dim})")
        self._starts = np.cumsum([0, *map(len, self.blocks)])
        self.n = int(self._starts[-1])

    def pieces(self, size: int) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Yield the first row and the vectors, (m, dim), of pieces of at most `size` rows, in order, without copies."""
        for start, block in zip(self._starts, self.blocks, strict=False):
            for at in range(0, len(block), size):
                yield int(start) + at, block[at : at + size]

    def take(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Copy rows (m,) in the order asked for: float32 (m, dim)."""
        taken = np.empty((len(rows), self.dim), np.float32)
        block_of = np.searchsorted(self._starts, rows, side="right") - 1
        for number in np.unique(block_of):
            here = block_of == number
            taken[here] = self.blocks[number][rows[here] - self._starts[number]]
        return taken


def check_queries(queries: NDArray[np.float32], dim: int, k: int) -> NDArray[np.float32]:
    """The queries as contiguous float32 (q, dim).

    Raises:
        ValueError: k < 1, queries of another shape, or a query that is not finite or too long.
    """
    if k < 1:
        raise ValueError(f"k is {k}; it must be at least 1")
    if queries.ndim != 2 or queries.shape[1] != dim:
        raise ValueError(f"queries have shape {queries.shape}, not (q, {dim})")
    queries = np.ascontiguousarray(queries, np.float32)
    refused = unusable(queries)
    if refused.size:
        raise ValueError(f"query {refused[0]} is not finite, or its norm exceeds {LARGEST_NORM:g}")
    return queries


def unusable(vectors: NDArray[np.float32]) -> NDArray[np.int64]:
    """The rows of vectors (m, dim) that are not finite, or too long for float32 arithmetic; int64, ascending."""
    norms = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))
    return np.flatnonzero(~(norms <= LARGEST_NORM))
