"""Overlaps worked by hand, and boxes around what reaches a threshold."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from cxrsearch.analysis.maps.box_overlap import enlarge, intersections, iobb, iou, map_boxes
from cxrsearch.errors import UsageError


def boxes(*sides: tuple[float, float, float, float]) -> NDArray[np.float64]:
    return np.array(sides, dtype=np.float64).reshape(-1, 4)


def test_overlaps_by_hand() -> None:
    found, real = boxes((0, 0, 4, 2), (10, 10, 1, 1)), boxes((2, 1, 4, 4), (0, 0, 4, 2), (4, 0, 2, 2))
    np.testing.assert_array_equal(intersections(found, real), [[2, 8, 0], [0, 0, 0]])
    np.testing.assert_allclose(iobb(found, real), [[2 / 8, 1.0, 0.0], [0.0, 0.0, 0.0]])
    np.testing.assert_allclose(iou(found, real), [[2 / 22, 1.0, 0.0], [0.0, 0.0, 0.0]])


def test_a_small_box_inside_has_all_of_iobb_and_little_of_iou() -> None:
    found, real = boxes((5, 5, 1, 1)), boxes((0, 0, 10, 10))
    assert iobb(found, real).item() == 1.0
    assert iou(found, real).item() == pytest.approx(0.01)


box = st.tuples(*(st.floats(0, 100) for _ in range(2)), *(st.floats(0.5, 100) for _ in range(2)))


@given(box, box)
def test_iou_is_symmetric_and_never_above_iobb(a: tuple[float, ...], b: tuple[float, ...]) -> None:
    one, two = np.array([a]), np.array([b])
    np.testing.assert_allclose(iou(one, two), iou(two, one), rtol=1e-9)
    assert iou(one, two).item() <= iobb(one, two).item() + 1e-12
    assert iou(one, one).item() == pytest.approx(1)


def test_boxes_of_a_map_by_hand() -> None:
    values = np.array([[0, 0, 0, 0, 8], [0, 10, 0, 0, 8], [0, 0, 9, 0, 0], [5, 0, 0, 0, 0], [0, 0, 0, 0, -10.0]])
    found, peaks = map_boxes(values, 0.75)  # -10 + .75 x 20 = 5
    np.testing.assert_array_equal(found, [[1, 1, 2, 2], [4, 0, 1, 2], [0, 3, 1, 1]])  # a corner joins 10 and 9
    np.testing.assert_array_equal(peaks, [10, 8, 5])
    np.testing.assert_array_equal(map_boxes(values, 0.99)[0], [[1, 1, 1, 1]])


def test_a_constant_map_has_no_box() -> None:
    found, peaks = map_boxes(np.full((3, 3), 2.0), 0.5)
    assert found.shape == (0, 4)
    assert peaks.shape == (0,)


@pytest.mark.parametrize("threshold", [0.0, 1.0, -1.0, float("nan")])
def test_thresholds_outside_are_refused(threshold: float) -> None:
    with pytest.raises(UsageError, match="between 0 and 1"):
        map_boxes(np.eye(3), threshold)


def test_maps_that_are_none_are_refused() -> None:
    with pytest.raises(UsageError, match="not two-dimensional"):
        map_boxes(np.zeros((2, 2, 2)), 0.5)
    with pytest.raises(UsageError, match="finite"):
        map_boxes(np.array([[np.nan, 1.0]]), 0.5)


def test_enlarging_keeps_the_mean_and_the_cells_middles() -> None:
    values = np.array([[0.0, 4.0], [8.0, 4.0]])
    large = enlarge(values, 6)
    assert large.mean() == pytest.approx(4.0)
    assert large[1, 1] == 0.0
    assert large[1, 4] == 4.0
    assert large[4, 1] == 8.0
    np.testing.assert_array_equal(enlarge(values, 2), values)
    np.testing.assert_allclose(large[1], [0, 0, 4 / 3, 8 / 3, 4, 4])
