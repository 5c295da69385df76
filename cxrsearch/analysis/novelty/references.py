"""What scores of novelty are held against: view, chance, and a classifier that was allowed to see the finding.

They are no `NoveltyScore`s: the first takes no embedding, the last takes what those must not see.
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
    """How rare an image's view is among the known images: 1 - its share, float64 (m,). An unknown view is one, too.

    Args:
        known: the view of each known image, null where it is unknown.
        views: of m images.

    Raises:
        UsageError: no view of either is known.
    """
    bank, asked = (pd.Series(list(part), dtype=object) for part in (known, views))
    if bank.isna().all() or asked.isna().all():
        raise UsageError("no view is known", "give the table a column view")
    shares = bank.fillna("").value_counts(normalize=True)
    return np.array([1 - float(shares.get(view, 0.0)) for view in asked.fillna("")])


def at_random(n: int, seed: int) -> Floats:
    """A number from 0 to 1 for each image, float64 (n,)."""
    return np.random.default_rng(seed).random(n)


def ceiling(train: Sample, val: Sample, finding: int, embeddings: Embeddings) -> Floats:
    """The output of a logistic regression of the finding, fitted on images with and without it, float64 (m,).

    Args:
        train, val: with the finding among their labels; val chooses the penalty.
        finding: its column.
        embeddings: float32 (m, dim), to score.

    Raises:
        UsageError: the training part shows it in no image, or in all.
    """
    one = np.array([finding])
    learned = Logistic().learn(*(Sample(s.embeddings, s.labels[:, one], s.patients) for s in (train, val)))
    if learned is None:
        raise UsageError("no training image shows the finding, or all do", "use a split with both")
    return learned.linear(embeddings)[:, 0]
