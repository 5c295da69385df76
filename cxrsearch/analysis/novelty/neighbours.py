"""Novelty as the distance to the k-th nearest known image, with embeddings scaled to length 1.

Sun et al. 2022, Out-of-distribution detection with deep nearest neighbors, ICML, arXiv:2204.06507. The distance between
unit vectors is sqrt(2 - 2 cosine), from 0 to 2. If there are fewer than k known images, the farthest one counts.
"""

from collections.abc import Sequence
from typing import Self

import numpy as np

from cxrsearch.analysis.novelty._novelty_score import classes
from cxrsearch.arrays import Embeddings, Flags, Floats
from cxrsearch_indexes import Restriction, VectorIndex, build

K = 20
K_GRID = (1, 5, 10, 20, 50)
"""The values of k from which the validation part may choose."""

_CHUNK = 2048


class KNeighbours:
    """The distance to the k-th neighbour among all known images. Labels are not used, so no image counts twice."""

    def __init__(self, k: int = K) -> None:
        self.k = k

    def fit(self, embeddings: Embeddings, labels: Flags) -> Self:
        """Index the images; see `NoveltyScore.fit`."""
        classes(embeddings, labels)
        self._bank = build("exact", [embeddings], "cosine")
        self._size = len(embeddings)
        return self

    def score(self, embeddings: Embeddings) -> Floats:
        """See `NoveltyScore.score`; from 0 to 2."""
        return self.by_k(embeddings, (self.k,))[:, 0]

    def by_k(self, embeddings: Embeddings, ks: Sequence[int]) -> Floats:
        """The scores for several k from one search, float64 (m, len(ks))."""
        return _kth(self._bank, self._size, embeddings, ks)


class ClassNeighbours:
    """The smallest, over the classes, of the distances to the k-th neighbour within a class.

    An image with several findings is a member of each of its classes. A class of fewer than k images counts only if no
    class has k images.
    """

    def __init__(self, k: int = K) -> None:
        self.k = k

    def fit(self, embeddings: Embeddings, labels: Flags) -> Self:
        """Index each class; see `NoveltyScore.fit`."""
        members = classes(embeddings, labels)
        self._banks = [(build("exact", [embeddings[rows]], "cosine"), int(rows.sum())) for rows in members.T]
        return self

    def score(self, embeddings: Embeddings) -> Floats:
        """See `NoveltyScore.score`; from 0 to 2."""
        return self.by_k(embeddings, (self.k,))[:, 0]

    def by_k(self, embeddings: Embeddings, ks: Sequence[int]) -> Floats:
        """The scores for several k from one search per class, float64 (m, len(ks))."""
        nearest = np.full((len(embeddings), len(ks)), np.inf)
        largest = max(size for _, size in self._banks)
        for bank, size in self._banks:
            counted = np.array([size >= min(k, largest) for k in ks])
            if counted.any():
                within = np.where(counted, _kth(bank, size, embeddings, ks), np.inf)
                nearest = np.minimum(nearest, within)
        return nearest


def _kth(bank: VectorIndex, size: int, embeddings: Embeddings, ks: Sequence[int]) -> Floats:
    """Distances to the k-th image of a bank, or to its last if it has fewer: float64 (m, len(ks))."""
    reach = [min(k, size) for k in ks]
    distances = np.empty((len(embeddings), len(ks)))
    for start in range(0, len(embeddings), _CHUNK):
        part = slice(start, start + _CHUNK)
        neighbours = bank.search(embeddings[part], max(reach), Restriction())
        cosine = np.column_stack([neighbours.last(k) for k in reach])
        distances[part] = np.sqrt(np.maximum(2 * cosine, 0))
    return distances
