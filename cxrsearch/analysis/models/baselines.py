"""Baselines that do not see the anatomy: the view alone, and the grey levels alone.

A result that is not better than these may come from how an image was taken (portable, supine, exposure) rather than
from what it shows. The grey-level baseline is any model of `model_registry`, fitted on `grey_levels` as embeddings.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrsearch.analysis.models.model import check_labels
from cxrsearch.arrays import Embeddings, Flags, Floats
from cxrsearch.errors import UsageError

BINS = 64

Column = Iterable[Any]
"""One value per image; null (None, nan, pandas.NA) if it is unknown."""


def by_view(train_views: Column, train_labels: Flags, views: Column) -> Floats | None:
    """P(finding | view) in the training part, for images of these views.

    Args:
        train_views: the views of n training images: `PA` and `AP`, or any other names.
        train_labels: bool (n, F).
        views: the views of q images. An unknown view, or one that no training image has, gets the overall prevalence.

    Returns:
        float64 (q, F); None if one of the two parts has no known view.

    Raises:
        UsageError: the numbers of training views and labels differ.
    """
    check_labels(train_labels)
    train, query = pd.Series(train_views, dtype=object), pd.Series(views, dtype=object)
    if len(train) != len(train_labels):
        raise UsageError(f"{len(train)} views for {len(train_labels)} images", "give one per image, null if unknown")
    if train.isna().all() or query.isna().all():
        return None
    probability = np.tile(train_labels.mean(axis=0), (len(query), 1))
    for view in train.dropna().unique():
        probability[(query == view).to_numpy()] = train_labels[(train == view).to_numpy()].mean(axis=0)
    return probability


def grey_levels(images: Iterable[NDArray[np.uint8]], bins: int = BINS) -> Embeddings:
    """The histogram of grey levels of each image, as an embedding.

    Args:
        images: uint8, of any shape, such as stored pixels (256, 256); read one after the other.
        bins: a power of two up to 256; each bin holds 256 / bins grey levels.

    Returns:
        float32 (n, bins); each row sums to 1.

    Raises:
        UsageError: no images, pixels that are not uint8, or another number of bins.
    """
    if bins not in (1, 2, 4, 8, 16, 32, 64, 128, 256):
        raise UsageError(f"{bins} bins of 256 grey levels", "choose a power of two up to 256")
    rows = [_shares(image, bins) for image in images]
    if not rows:
        raise UsageError("no images to count the grey levels of", "use an index with pixels")
    return np.stack(rows)


def _shares(image: NDArray[np.uint8], bins: int) -> Embeddings:
    if image.dtype != np.uint8 or not image.size:
        raise UsageError(f"pixels must be uint8: got {image.dtype} {image.shape}", "give stored pixels")
    counts: NDArray[np.int64] = np.bincount(image.ravel(), minlength=256).reshape(bins, -1).sum(axis=1)
    return (counts / image.size).astype(np.float32)
