"""The part of searching that no kind does differently: checking the question, batches, putting answers together."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from cxrsearch_indexes.base import ANY_ROW, Metric, Neighbours, Restriction
from cxrsearch_indexes.frame import Float32
from cxrsearch_indexes.metric import joined
from cxrsearch_indexes.vectors import Vectors, check_queries

_QUERIES_AT_ONCE = 512


class Searcher(ABC):
    """Base of every kind, which adds how it answers a batch."""

    kind: ClassVar[str]

    def __init__(self, vectors: Vectors, metric: Metric) -> None:
        self.vectors, self.metric, self.n, self.dim = vectors, metric, vectors.n, vectors.dim

    def search(self, queries: Float32, k: int, restriction: Restriction = ANY_ROW) -> Neighbours:
        """See `VectorIndex.search`."""
        queries = check_queries(queries, self.dim, k)
        restriction.check(self.n, len(queries))
        k = min(k, self.n)
        answers = []
        for start in range(0, len(queries), _QUERIES_AT_ONCE):
            part = np.arange(start, min(start + _QUERIES_AT_ONCE, len(queries)))
            answers.append((part, self._search(queries[part], k, restriction.part(part))))
        return joined(answers, len(queries), k)

    @abstractmethod
    def _search(self, queries: Float32, k: int, restriction: Restriction) -> Neighbours:
        """Answer a batch of checked queries; k is at most n."""


def asked_again(
    found: Neighbours, k: int, open_queries: NDArray[np.int64], ask: Callable[[NDArray[np.int64]], Neighbours]
) -> Neighbours:
    """The answer with its open queries answered by `ask`, which is given their numbers and not called for none."""
    if not len(open_queries):
        return found
    settled = np.setdiff1d(np.arange(len(found)), open_queries)
    return joined([(settled, found.part(settled)), (open_queries, ask(open_queries))], len(found), k)
