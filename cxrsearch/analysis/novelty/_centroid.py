"""Novelty as the distance to the nearest class centroid in the standardised space (proposed by Wu and Yang)."""

from typing import Self

import numpy as np

from cxrsearch.analysis.models.scaling import Scale, blocks
from cxrsearch.analysis.novelty._novelty_score import classes
from cxrsearch.arrays import Embeddings, Flags, Floats


class Centroid:
    """L2 to the nearest class mean; an image with several findings counts in each of their means."""

    def fit(self, embeddings: Embeddings, labels: Flags) -> Self:
        """Average each class; see `NoveltyScore.fit`."""
        members = classes(embeddings, labels)
        self.scale = Scale.of(embeddings)
        self.centroids = class_means(embeddings, members, self.scale)
        return self

    def score(self, embeddings: Embeddings) -> Floats:
        """See `NoveltyScore.score`; L2 in units of standard deviations, at least 0."""
        nearest: Floats = np.sqrt(squared_distances(self.scale, self.centroids, embeddings).min(axis=1))
        return nearest


def class_means(embeddings: Embeddings, members: Flags, scale: Scale) -> Floats:
    """The mean standardised embedding of each class, float64 (C, dim), of members bool (n, C); sums are float64."""
    sums = np.zeros((members.shape[1], embeddings.shape[1]))
    for place, block in blocks(embeddings):
        sums += members[place].T.astype(np.float64) @ scale(block)
    means: Floats = sums / members.sum(axis=0)[:, None]
    return means


def squared_distances(scale: Scale, points: Floats, embeddings: Embeddings) -> Floats:
    """Squared L2 from the standardised embeddings (m, dim) to points (C, dim): float64 (m, C)."""
    squared = np.empty((len(embeddings), len(points)))
    for place, block in blocks(embeddings):
        scaled = scale(block)
        product = np.square(scaled).sum(axis=1)[:, None] - 2 * scaled @ points.T + np.square(points).sum(axis=1)
        squared[place] = np.maximum(product, 0)  # rounding can leave a tiny negative number
    return squared
