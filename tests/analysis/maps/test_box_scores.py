"""T(IoBB) and T(IoU): cases worked by hand, thresholds that validation chooses, intervals only of enough patients."""

import numpy as np
import pytest
from numpy.typing import NDArray

from cxrsearch.analysis.maps.box_scores import (
    DEFAULT_THRESHOLD,
    LEVELS,
    Case,
    average_cases,
    case_scores,
    choose_threshold,
    score_cases,
)
from cxrsearch.errors import UsageError

IOBB = [level for measure, level in LEVELS if measure == "iobb"]
IOU = [level for measure, level in LEVELS if measure == "iou"]


def square(left: int, top: int, side: int, size: int = 20) -> NDArray[np.float64]:
    values = np.zeros((size, size))
    values[top : top + side, left : left + side] = 1.0
    return values


def case(*boxes: tuple[float, float, float, float], patient: str = "p", finding: int = 0, image: int = 0) -> Case:
    return Case(image, finding, patient, np.array(boxes, dtype=np.float64))


def test_the_levels_are_those_of_wang_et_al() -> None:
    assert IOBB == [0.1, 0.25, 0.5, 0.75, 0.9]
    assert IOU == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]


def test_a_case_by_hand() -> None:
    """A found box of 8 x 8 holds one of 4 x 4 (IoBB = IoU = 1/4, which is not more than 1/4); another one is missed."""
    shares, false = case_scores(square(0, 0, 8), case((0, 0, 4, 4), (15, 15, 4, 4)).boxes, 0.5)
    np.testing.assert_array_equal(shares, [0.5, 0, 0, 0, 0, 0.5, 0.5, 0, 0, 0, 0, 0])
    np.testing.assert_array_equal(false, [0, 1, 1, 1, 1, 0, 0, 1, 1, 1, 1, 1])


def test_a_map_without_boxes_finds_nothing_and_claims_nothing() -> None:
    shares, false = case_scores(np.zeros((20, 20)), case((0, 0, 4, 4)).boxes, 0.5)
    assert not shares.any()
    assert not false.any()


def test_the_threshold_is_the_one_whose_boxes_fit() -> None:
    hill = np.zeros((20, 20))
    for rim in range(10):  # a pyramid: at threshold t the box is what is within
        hill[rim : 20 - rim, rim : 20 - rim] = rim
    cases = [case((5, 5, 10, 10))]
    chosen = choose_threshold(cases, lambda _: hill)
    assert 4 / 9 < chosen <= 5 / 9
    assert choose_threshold([], lambda _: hill) == DEFAULT_THRESHOLD


def test_draws_are_averaged() -> None:
    maps = [square(0, 0, 4), square(10, 10, 4)]
    scores = score_cases([case((0, 0, 4, 4))], lambda i: maps[i], 0.5, draws=2)
    np.testing.assert_array_equal(scores[0, :12], np.full(12, 0.5))
    np.testing.assert_array_equal(scores[0, 12:], np.full(12, 0.5))


def test_means_are_over_cases_and_intervals_need_ten_patients() -> None:
    """Images 0 and 1 show findings 0 and 1 both, so there are 18 images in 20 cases."""
    cases = [case((0, 0, 4, 4), patient=f"p{i}", finding=i % 2, image=i) for i in range(18)]
    cases += [case((0, 0, 4, 4), (1, 1, 2, 2), patient=f"p{i}", finding=1 - i, image=i) for i in range(2)]
    scores = np.array([[float(i < 6)] for i in range(20)])
    averages, boxes = average_cases(cases, scores, 3, replicates=100, seed=0)
    np.testing.assert_allclose(averages.point[:, 0], [3 / 10, 3 / 10, np.nan, 6 / 20])
    np.testing.assert_array_equal(averages.images, [10, 10, 0, 18])
    np.testing.assert_array_equal(averages.patients, [10, 10, 0, 18])
    np.testing.assert_array_equal(boxes, [11, 11, 0, 22])
    assert np.isnan(averages.low[2]).all()
    assert averages.low[3, 0] < 0.3 < averages.high[3, 0]
    with pytest.raises(UsageError, match="no boxed image"):
        average_cases([], scores[:0], 3, replicates=10, seed=0)
