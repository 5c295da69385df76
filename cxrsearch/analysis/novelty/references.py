"""References for novelty scores: the view, chance, and a classifier that was allowed to see the finding.

They are not `NoveltyScore`s. The first two take no embedding. The last uses labels that novelty scores must not see.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from cxrsearch.analysis.models.logistic import Logistic
from cxrsearch.analysis.models.model import Sample
from cxrsearch.arrays import Embeddings, Floats
from cxrsearch.errors import UsageError


def by_rare_view(known: Iterable[Any], views: Iterable[Any]) -> Floats:
    """How rare an image's view is among the known images: 1 - its share, float64 (m,). Unknown counts as a view too.

    Args:
        known: the view of each known image; null if it is unknown.
        views: the views of m images to score; null if unknown.

    Raises:
        UsageError: no view is known among the known images, or among the images to score.
    """
    bank, queries = (pd.Series(list(part), dtype=object) for part in (known, views))
    if bank.isna().all() or queries.isna().all():
        raise UsageError("no view is known", "give the table a column view")
    shares = bank.fillna("").value_counts(normalize=True)
    return np.array([1 - float(shares.get(view, 0.0)) for view in queries.fillna("")])


def at_random(n: int, seed: int) -> Floats:
    """A random number in [0, 1) for each image, float64 (n,)."""
    return np.random.default_rng(seed).random(n)


def ceiling(train: Sample, val: Sample, finding: int, embeddings: Embeddings) -> Floats:
    """The output of a logistic regression that was fitted on images with and without the finding, float64 (m,).

    Args:
        train, val: samples with the finding among their labels; val chooses the penalty.
        finding: the column of the finding.
        embeddings: float32 (m, dim), the images to score.

    Raises:
        UsageError: no training image shows the finding, or all do.
    """
    one = np.array([finding])
    learned = Logistic().learn(*(Sample(s.embeddings, s.labels[:, one], s.patients) for s in (train, val)))
    if learned is None:
        raise UsageError("no training image shows the finding, or all do", "use a split with both")
    return learned.linear(embeddings)[:, 0]
