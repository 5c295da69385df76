"""What all scores of novelty share."""

from typing import Protocol, Self

import numpy as np

from cxrsearch.analysis.models.model import check_labels
from cxrsearch.arrays import Embeddings, Flags, Floats
from cxrsearch.errors import UsageError


class NoveltyScore(Protocol):
    """Something that learns what is known, and then says how novel an image is."""

    def fit(self, embeddings: Embeddings, labels: Flags) -> Self:
        """Learn from the known images.

        Args:
            embeddings: float32 (n, dim), n >= 1.
            labels: bool (n, F), the known findings; none of an image's may be set (No Finding), or several.

        Raises:
            UsageError: arrays that do not fit together, or images from which the score cannot be learned.
        """
        ...

    def score(self, embeddings: Embeddings) -> Floats:
        """The novelty of (m, dim), float64 (m,); higher is more novel."""
        ...


def classes(embeddings: Embeddings, labels: Flags) -> Flags:
    """Which known class each image belongs to, bool (n, C): the findings that occur, and No Finding where it does.

    Raises:
        UsageError: labels of another number of images than embeddings.
    """
    check_labels(labels)
    if len(embeddings) != len(labels):
        raise UsageError(f"{len(embeddings)} embeddings, labels of {len(labels)} images", "give each image its labels")
    every = np.column_stack([labels, ~labels.any(axis=1)])
    return every[:, every.any(axis=0)]
