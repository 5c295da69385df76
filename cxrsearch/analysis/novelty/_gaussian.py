"""Novelty as the Mahalanobis distance to Gaussian classes that share one covariance.

Lee et al. 2018, A simple unified framework for detecting out-of-distribution samples, NeurIPS, arXiv:1807.03888. The
covariance is shrunk (Ledoit and Wolf 2004, J. Multivariate Analysis 88, 365-411), because a rare finding has about as
many images as there are dimensions.
"""

from collections.abc import Iterable
from typing import Self

import numpy as np
from scipy.linalg import cho_factor, solve_triangular

from cxrsearch.analysis.models.scaling import blocks
from cxrsearch.analysis.novelty._novelty_score import classes
from cxrsearch.arrays import Embeddings, Flags, Floats
from cxrsearch.errors import UsageError


class Mahalanobis:
    """The squared Mahalanobis distance to the nearest class mean.

    An image with several findings counts in each of their means. Its deviation from each mean counts in the covariance.
    """

    def fit(self, embeddings: Embeddings, labels: Flags) -> Self:
        """Estimate means and covariance; see `NoveltyScore.fit`. Raises UsageError if nothing varies."""
        self._gaussian = _Gaussian(embeddings, classes(embeddings, labels))
        return self

    def score(self, embeddings: Embeddings) -> Floats:
        """See `NoveltyScore.score`; a squared distance, at least 0."""
        return self._gaussian.squared_distance(embeddings)


class RelativeMahalanobis:
    """The Mahalanobis score minus that of one Gaussian of all known images; it may be negative.

    Ren et al. 2021, A simple fix to Mahalanobis distance for improving near-OOD detection, arXiv:2106.09022. In the
    classes, images with several findings count as in `Mahalanobis`; in the one Gaussian, every image counts once.
    """

    def fit(self, embeddings: Embeddings, labels: Flags) -> Self:
        """Estimate both sets of Gaussians; see `NoveltyScore.fit`. Raises UsageError if nothing varies."""
        self._of_class = _Gaussian(embeddings, classes(embeddings, labels))
        self._of_all = _Gaussian(embeddings, np.ones((len(embeddings), 1), dtype=np.bool_))
        return self

    def score(self, embeddings: Embeddings) -> Floats:
        """See `NoveltyScore.score`; a difference of squared distances."""
        return self._of_class.squared_distance(embeddings) - self._of_all.squared_distance(embeddings)


class _Gaussian:
    """The means of C classes, and one shrunk covariance (dim, dim) of the deviations from them."""

    def __init__(self, embeddings: Embeddings, members: Flags) -> None:
        weights = members.astype(np.float64)
        sums = sum(weights[place].T @ block for place, block in blocks(embeddings))
        means = sums / weights.sum(axis=0)[:, None]
        deviations = (
            block[rows] - mean
            for place, block in blocks(embeddings)
            for rows, mean in zip(members[place].T, means, strict=True)
        )
        covariance = ledoit_wolf(deviations, embeddings.shape[1])
        if not np.trace(covariance) > 0:
            raise UsageError("all known images of a class have the same embedding", "use images that differ")
        # Whitening by the Cholesky factor turns Mahalanobis distances into L2 without inverting the covariance.
        self._root = np.tril(cho_factor(covariance, lower=True)[0])
        self._means = self._whiten(means)

    def squared_distance(self, embeddings: Embeddings) -> Floats:
        """The squared distance to the nearest mean, float64 (m,)."""
        nearest = np.empty(len(embeddings))
        for place, block in blocks(embeddings):
            white = self._whiten(block)
            nearest[place] = np.min([np.square(white - mean).sum(axis=1) for mean in self._means], axis=0)
        return nearest

    def _whiten(self, points: Floats) -> Floats:
        white: Floats = solve_triangular(self._root, points.T, lower=True).T
        return white


def ledoit_wolf(deviations: Iterable[Floats], dim: int) -> Floats:
    """The shrunk covariance of centred rows, as `sklearn.covariance.ledoit_wolf(assume_centered=True)`, in blocks.

    Args:
        deviations: blocks of rows, float64 (m_i, dim), n rows in all.
        dim: the length of a row.

    Returns:
        float64 (dim, dim).
    """
    products, fourth, n = np.zeros((dim, dim)), 0.0, 0
    for block in deviations:
        products += block.T @ block
        fourth += float(np.square(np.square(block).sum(axis=1)).sum())
        n += len(block)
    empirical = products / n
    mean = float(np.trace(empirical)) / dim
    norm = float(np.square(empirical).sum())
    spread = (norm - dim * mean**2) / dim
    error = min((fourth / n - norm) / (dim * n), spread)
    share = 0.0 if error <= 0 else error / spread
    shrunk: Floats = (1 - share) * empirical + share * mean * np.eye(dim)
    return shrunk
