"""Learning curves by their pixels."""

import numpy as np
from numpy.typing import NDArray
from PIL import ImageColor

from cxrsearch.report import style
from cxrsearch.training._learning_curves import learning_curves


def places(pixels: NDArray[np.uint8], colour: str) -> NDArray[np.int64]:
    """Row and column of every pixel of a colour, (n, 2), inside the plot (its names are below)."""
    found: NDArray[np.int64] = np.argwhere((pixels == ImageColor.getrgb(colour)).all(axis=2))
    inside: NDArray[np.int64] = found[found[:, 0] < pixels.shape[0] - 90]
    return inside


def drawn(*series: list[float | None]) -> NDArray[np.uint8]:
    panel = {f"series {i}": values for i, values in enumerate(series)}
    return np.asarray(learning_curves({"Loss": panel}, title="A run"))


def test_a_rising_series_goes_from_the_lower_left_to_the_upper_right() -> None:
    at = places(drawn([1.0, 2.0, 3.0], [3.0, 3.0, 3.0]), style.CATEGORIES[0])
    left, right = at[at[:, 1].argmin()], at[at[:, 1].argmax()]
    assert right[1] - left[1] > 400
    assert left[0] - right[0] > 240
    middle = at[np.abs(at[:, 1] - (left[1] + right[1]) / 2) < 1][:, 0].mean()
    assert abs(middle - (left[0] + right[0]) / 2) < 4


def test_equal_values_missing_ones_and_a_single_epoch_are_drawn() -> None:
    flat = places(drawn([2.0, 2.0, 2.0]), style.CATEGORIES[0])
    assert np.ptp(flat[:, 0]) < 10
    assert len(places(drawn([None, None]), style.CATEGORIES[0])) == 0
    one = places(drawn([0.5]), style.CATEGORIES[0])
    assert 20 < len(one) < 60


def test_the_same_values_give_the_same_pixels() -> None:
    assert np.array_equal(drawn([1.0, 2.0], [0.0, None]), drawn([1.0, 2.0], [0.0, None]))
    assert not np.array_equal(drawn([1.0, 2.0]), drawn([2.0, 1.0]))
