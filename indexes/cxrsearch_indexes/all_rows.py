"""The neighbours of every row of an l2 index; each pair of rows is scored once, for both.

If the queries are the rows, p of `frame` equals y to the last bit, so the product y.p is symmetric. The product of two
blocks of rows then serves the queries of both, which is half the work of searching one batch of rows after another.
Scores and certificate are those of `frame` without `raw`, in whatever order the blocks meet.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from cxrsearch_indexes.base import Neighbours, Restriction
from cxrsearch_indexes.frame import Float32, Frame
from cxrsearch_indexes.shortlist import RunningShortlist, Shortlist, refine, shortlist_size
from cxrsearch_indexes.vectors import Vectors

_BLOCK = 2048  # rows on either side of a product; its scores take 16 MB
_REFINED_AT_ONCE = 512
_COMPARING = 0.9  # the share of the reported work that comparing blocks takes; the rest is for the shortlists

Rows = NDArray[np.int64]


class AllRows:
    """The neighbours of all rows, as certain as those of a search.

    Besides the answer, memory holds a shortlist per row of 12 (2 k + 16) bytes (672 for k = 20), and about 100 MB per
    core, whatever n and the groups are.

    Args:
        vectors, frame: of the index, whose metric is l2.
        offsets: float32 (n,), half the squared norms of the centred rows.
        k: from 1 to n.
        groups: int64 (n,); rows of a row's own group may not answer it. None: all rows may, including the row itself.
    """

    def __init__(self, vectors: Vectors, frame: Frame, offsets: Float32, k: int, groups: Rows | None) -> None:
        self._vectors, self._frame, self._offsets, self._k = vectors, replace(frame, raw=False), offsets, k
        rows = np.array_split(np.arange(vectors.n), -(-vectors.n // _BLOCK))
        size = min(vectors.n, shortlist_size(k))
        self._blocks = [_Block(block, RunningShortlist(len(block), size)) for block in rows]
        self._groups = groups

    def neighbours(self, threads: int, report: Callable[[int], None]) -> Iterator[tuple[Neighbours, Rows]]:
        """Yield the neighbours of the rows in order, many at a time, and the rows for which they are uncertain."""
        count = len(self._blocks)
        report(0)
        with ThreadPoolExecutor(threads) as pool:
            for done, _ in enumerate(pool.map(self._compare, range(count)), 1):
                report(round(self._vectors.n * _COMPARING * (1 - (1 - done / count) ** 2)))
            parts = [
                (block, part)
                for block in self._blocks
                for part in np.array_split(np.arange(len(block.rows)), -(-len(block.rows) // _REFINED_AT_ONCE))
            ]
            yield from pool.map(lambda part: self._refine_part(*part), parts)

    def _compare(self, number: int) -> None:
        """Score the rows of a block against each other, and against those of every later block."""
        one = self._blocks[number]
        centred = self._centre_block(one)
        for other in self._blocks[number:]:
            products = centred @ self._centre_block(other).T
            products[self._find_barred(one, other)] = -np.inf
            if other is not one:
                mirrored = np.ascontiguousarray(products.T)
                other.offer(one.rows, np.subtract(self._offsets[one.rows], mirrored, out=mirrored))
            one.offer(other.rows, np.subtract(self._offsets[other.rows], products, out=products))

    def _find_barred(self, one: "_Block", other: "_Block") -> tuple[Rows, Rows]:
        """Find the pairs of places in two blocks that may not answer each other, because their groups are equal."""
        if self._groups is None:
            return np.empty(0, np.int64), np.empty(0, np.int64)
        apart = Restriction(groups=self._groups[other.rows], query_groups=self._groups[one.rows])
        there, here = apart.excluded(len(one.rows))
        return here, there

    def _centre_block(self, block: "_Block") -> Float32:
        return self._vectors.take(block.rows) - self._frame.centre

    def _refine_part(self, block: "_Block", part: Rows) -> tuple[Neighbours, Rows]:
        rows, shortlist = block.rows[part], block.shortlist(part)
        neighbours, limits = refine(shortlist, self._vectors, self._frame, self._vectors.take(rows), self._k)
        return neighbours, rows[shortlist.unsettled(limits)]


@dataclass(frozen=True, eq=False)
class _Block:
    """Consecutive rows with their shortlists.

    Attributes:
        rows: int64 (b,).
        kept: the shortlists of the rows.
        lock: held while scores are offered, since several threads offer to one block.
    """

    rows: Rows
    kept: RunningShortlist
    lock: Lock = field(default_factory=Lock)

    def offer(self, rows: Rows, scores: Float32) -> None:
        with self.lock:
            self.kept.offer(rows, scores)

    def shortlist(self, part: Rows) -> Shortlist:
        whole = self.kept.finish()
        return Shortlist(whole.scores[part], whole.rows[part], whole.cut[part])
