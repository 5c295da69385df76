"""The protocol of all novelty scores, and the classes of their known images."""

from typing import Protocol, Self

import numpy as np

from cxrsearch.analysis.models.model import check_labels
from cxrsearch.arrays import Embeddings, Flags, Floats
from cxrsearch.errors import UsageError


class NoveltyScore(Protocol):
    """Learns from known images, then says how novel another image is."""

    def fit(self, embeddings: Embeddings, labels: Flags) -> Self:
        """Learn from the known images.

        Args:
            embeddings: float32 (n, dim), n >= 1.
            labels: bool (n, F), the known findings; an image may have none (No Finding) or several.

        Raises:
            UsageError: arrays that do not fit together, or images from which the score cannot be learned.
        """
        ...

    def score(self, embeddings: Embeddings) -> Floats:
        """The novelty of embeddings, float32 (m, dim): float64 (m,), higher is more novel."""
        ...


def classes(embeddings: Embeddings, labels: Flags) -> Flags:
    """The known classes of each image, bool (n, C): the findings that occur, then No Finding if it occurs.

    Raises:
        UsageError: the numbers of labels and embeddings differ.
    """
    check_labels(labels)
    if len(embeddings) != len(labels):
        raise UsageError(f"{len(embeddings)} embeddings, labels of {len(labels)} images", "give each image its labels")
    every = np.column_stack([labels, ~labels.any(axis=1)])
    return every[:, every.any(axis=0)]
