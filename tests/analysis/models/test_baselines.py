from typing import Any

import numpy as np
import pandas as pd
import pytest

from cxrsearch.analysis.models.baselines import by_view, grey_levels
from cxrsearch.errors import UsageError


@pytest.mark.parametrize("null", [None, np.nan, pd.NA])
def test_the_share_of_each_view_by_hand(null: Any) -> None:
    labels = np.array([[1, 0], [0, 0], [1, 1], [1, 0], [0, 1]], dtype=np.bool_)
    views = ["PA", "PA", "AP", "AP", null]
    expected = [[0.5, 0], [1, 0.5], [0.6, 0.4], [0.6, 0.4]]
    got = by_view(views, labels, np.array(["PA", "AP", null, "LL"], dtype=object))
    np.testing.assert_allclose(got if got is not None else 0, expected)
    strings = by_view(pd.Series(["PA", "PA", "AP", "AP", None], dtype="string"), labels, ["AP"])
    np.testing.assert_allclose(strings if strings is not None else 0, [[1, 0.5]])


def test_without_views_there_is_no_baseline() -> None:
    labels = np.ones((2, 1), np.bool_)
    assert by_view([None, None], labels, ["PA"]) is None
    assert by_view(["PA", "AP"], labels, [None, None]) is None
    with pytest.raises(UsageError, match="3 views for 2 images"):
        by_view(["PA", "AP", "AP"], labels, ["PA"])


def test_grey_levels_equal_numpys_histogram() -> None:
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, shape, dtype=np.uint8) for shape in ((20, 30), (256, 256), (1, 1))]
    got = grey_levels(iter(images))
    assert got.dtype == np.float32
    expected = [np.histogram(image, bins=64, range=(0, 256))[0] / image.size for image in images]
    np.testing.assert_allclose(got, expected, rtol=1e-6)
    assert grey_levels([np.array([[0, 255, 127, 128]], dtype=np.uint8)], bins=2).tolist() == [[0.5, 0.5]]


def test_what_is_no_image_is_refused() -> None:
    with pytest.raises(UsageError, match="no images"):
        grey_levels([])
    with pytest.raises(UsageError, match="pixels must be uint8"):
        grey_levels([np.zeros((2, 2))])  # type: ignore[list-item]
    with pytest.raises(UsageError, match="pixels must be uint8"):
        grey_levels([np.zeros((0, 2), np.uint8)])
    with pytest.raises(UsageError, match="60 bins"):
        grey_levels([np.zeros((2, 2), np.uint8)], bins=60)
