"""Novelty as local outlier factor: how sparse the known images are around an image, compared with its neighbours."""

from typing import Self

import numpy as np
from sklearn.neighbors import LocalOutlierFactor

from cxrsearch.analysis.models.scaling import Scale, blocks
from cxrsearch.analysis.novelty._novelty_score import classes
from cxrsearch.arrays import Embeddings, Flags, Floats
from cxrsearch.errors import UsageError

NEIGHBOURS = 20
LIMIT = 10_000
"""At most this many known images are learned from, since each needs its own neighbours."""


class OutlierFactor:
    """scikit-learn's local outlier factor in the standardised space. Labels are not used, so no image counts twice.

    Breunig et al. 2000, LOF: identifying density-based local outliers, SIGMOD.
    """

    def __init__(self, neighbours: int = NEIGHBOURS, limit: int = LIMIT, seed: int = 0) -> None:
        self._neighbours, self._limit, self._seed = neighbours, limit, seed

    def fit(self, embeddings: Embeddings, labels: Flags) -> Self:
        """See `NoveltyScore.fit`. Above the limit, the seed draws rows. Raises UsageError for fewer than 2 images."""
        classes(embeddings, labels)
        if len(embeddings) < 2:
            raise UsageError(f"{len(embeddings)} known image", "a local outlier factor needs two or more")
        self._scale = Scale.of(embeddings)
        drawn = np.random.default_rng(self._seed).permutation(len(embeddings))[: self._limit]
        known = self._scale(embeddings[np.sort(drawn)]).astype(np.float32)
        neighbours = min(self._neighbours, len(known) - 1)
        self._model = LocalOutlierFactor(n_neighbors=neighbours, novelty=True, algorithm="brute").fit(known)
        return self

    def score(self, embeddings: Embeddings) -> Floats:
        """See `NoveltyScore.score`; about 1 for an image in a region as dense as its neighbours'."""
        factors = np.empty(len(embeddings))
        for place, block in blocks(embeddings):
            factors[place] = -self._model.score_samples(self._scale(block).astype(np.float32))
        return factors
