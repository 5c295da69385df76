from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from cxrsearch.analysis.measures.metrics import (
    Ranking,
    auroc,
    average_precision,
    brier,
    calibration_error,
    mean_over_classes,
    within_folds,
)
from cxrsearch.arrays import Reals
from cxrsearch.errors import UsageError
from tests.refusals import message

PAIRS = [(auroc, roc_auc_score), (average_precision, average_precision_score)]
Metric = Callable[..., Any]


@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
@settings(deadline=None, max_examples=200)
@given(data=st.data())
def test_equals_sklearn_with_ties_duplicates_and_weights(ours: Metric, theirs: Metric, data: st.DataObject) -> None:
    n = data.draw(st.integers(2, 40))
    row = st.tuples(st.booleans(), st.integers(-3, 3), st.integers(1, 4) | st.floats(0.01, 3))
    rows = data.draw(st.lists(row, min_size=n, max_size=n).filter(lambda r: len({label for label, _, _ in r}) == 2))
    labels, scores, weights = (np.array(column) for column in zip(*rows, strict=True))
    one = (labels[:, None], scores[:, None].astype(np.float64))
    assert ours(*one)[0] == pytest.approx(theirs(labels, scores), abs=1e-12)
    assert ours(*one, weights)[0] == pytest.approx(theirs(labels, scores, sample_weight=weights), abs=1e-12)


@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_column_is_its_own_and_multiplicities_are_repeated_rows(
    ours: Metric, theirs: Metric, dtype: type
) -> None:
    rng = np.random.default_rng(0)
    labels = rng.random((500, 4)) < (0.02, 0.2, 0.5, 0.97)
    scores: Reals = rng.normal(size=(500, 4)).round(1).astype(dtype)
    counts = rng.integers(0, 4, 500)
    again = np.repeat(np.arange(500), counts)
    expected = [theirs(labels[again, f], scores[again, f]) for f in range(4)]
    np.testing.assert_allclose(ours(labels, scores, counts.astype(np.float64)), expected, atol=1e-12)


def test_small_cases_by_hand() -> None:
    labels = np.array([[1, 1], [0, 0], [1, 1], [0, 0]], dtype=np.bool_)
    scores = np.array([[4.0, 1.0], [3.0, 1.0], [2.0, 1.0], [1.0, 1.0]])
    assert auroc(labels, scores).tolist() == [0.75, 0.5]  # 3 of 4 pairs in order; all tied
    assert average_precision(labels, scores).tolist() == pytest.approx([(1 + 2 / 3) / 2, 0.5])
    weights = np.array([1.0, 1.0, 2.0, 0.0])
    assert auroc(labels, scores, weights)[0] == pytest.approx(1 / 3)
    assert average_precision(labels, scores, weights)[0] == pytest.approx(1 / 3 + 2 / 3 * 3 / 4)


def test_infinite_scores_are_ranked() -> None:
    labels = np.array([[True], [False], [True], [False]])
    scores = np.array([[np.inf], [0.0], [-np.inf], [-np.inf]])
    assert auroc(labels, scores).tolist() == [(2 + 0.5) / 4]


@pytest.mark.parametrize("metric", [auroc, average_precision])
def test_a_finding_without_both_kinds_is_nan(metric: Metric) -> None:
    labels = np.array([[0, 1, 1, 1], [0, 1, 0, 0], [0, 1, 0, 1]], dtype=np.bool_)
    scores = np.arange(12.0).reshape(3, 4)
    assert np.isnan(metric(labels, scores)).tolist() == [True, True, False, False]
    # The only positive of finding 2 has weight 0; of finding 3 the only negative.
    assert np.isnan(metric(labels, scores, np.array([0.0, 1.0, 1.0]))).tolist() == [True, True, True, False]
    assert np.isnan(metric(labels, scores, np.array([1.0, 0.0, 1.0]))).tolist() == [True, True, False, True]


def test_the_mean_leaves_out_what_is_unusable_or_nan() -> None:
    values = np.array([0.5, np.nan, 0.9, 0.1])
    assert mean_over_classes(values, np.array([True, True, True, False])) == (0.7, 2)
    mean, count = mean_over_classes(values, np.array([False, True, False, False]))
    assert np.isnan(mean)
    assert count == 0


def test_brier_equals_sklearn_and_its_closed_form() -> None:
    rng = np.random.default_rng(1)
    labels = rng.random((300, 3)) < 0.2
    probability = rng.random((300, 3))
    expected = [brier_score_loss(labels[:, f], probability[:, f]) for f in range(3)]
    np.testing.assert_allclose(brier(labels, probability), expected, rtol=1e-12)
    prevalence = labels.mean(axis=0)
    constant = np.broadcast_to(prevalence, labels.shape)
    np.testing.assert_allclose(brier(labels, constant), prevalence * (1 - prevalence), rtol=1e-12)


@pytest.mark.parametrize("n", [7, 22, 600, 607])
def test_calibration_error_of_distinct_probabilities_by_plain_bins(n: int) -> None:
    rng = np.random.default_rng(n)
    labels = rng.random((n, 2)) < 0.3
    probability = rng.random((n, 2)) ** 3
    expected = []
    for own, p in zip(labels.T, probability.T, strict=True):
        place = (np.arange(n) + 0.5) / n  # the middle of each image's share of the unit interval
        bins = [np.argsort(p)[(place >= b / 15) & (place < (b + 1) / 15)] for b in range(15)]
        expected.append(sum(len(b) / n * abs(p[b].mean() - own[b].mean()) for b in bins if len(b)))
    np.testing.assert_allclose(calibration_error(labels, probability), expected, rtol=1e-12)


def test_calibration_error_of_ties_by_hand_in_any_order() -> None:
    labels = np.array([[1]] * 30 + [[0]] * 70, dtype=np.bool_)
    constant = np.full((100, 1), 0.4)
    two = np.where(np.arange(100) % 2, 0.1, 0.5)[:, None]  # 15 positives in either half: .3 - .1 and .5 - .3
    order = np.random.default_rng(3).permutation(100)
    for rows in (np.arange(100), order):
        assert calibration_error(labels[rows], constant[rows])[0] == pytest.approx(0.1)
        assert calibration_error(labels[rows], two[rows])[0] == pytest.approx(0.2)


@pytest.mark.parametrize("metric", [auroc, average_precision, brier, calibration_error])
def test_what_cannot_be_scored_is_refused(metric: Metric) -> None:
    labels = np.array([[True, False], [False, True]])
    with pytest.raises(UsageError, match=r"column 1, from 0\): 1 of 2 images"):
        metric(labels, np.array([[0.1, 0.2], [0.3, np.nan]]))
    for bad in (labels.astype(np.int64), labels[:1], labels[0], labels[:0]):
        with pytest.raises(UsageError, match="labels must be bool"):
            metric(bad, np.zeros((2, 2)))
    with pytest.raises(UsageError, match="labels must be bool"):
        metric(labels[:0], np.zeros((0, 2)))


@pytest.mark.parametrize("metric", [brier, calibration_error])
@pytest.mark.parametrize("value", [-0.1, 1.1])
def test_no_probabilities_are_refused(metric: Metric, value: float) -> None:
    with pytest.raises(UsageError, match=r"must lie in \[0, 1\]"):
        metric(np.array([[True], [False]]), np.array([[0.5], [value]]))


@pytest.mark.parametrize("weights", [[1.0], [1.0, -1.0], [1.0, np.nan], [1.0, np.inf]])
def test_weights_that_are_none_are_refused(weights: list[float]) -> None:
    with pytest.raises(UsageError, match="weights must be 2 finite numbers"):
        auroc(np.array([[True], [False]]), np.zeros((2, 1)), np.array(weights))


def test_ranks_within_folds_by_hand() -> None:
    scores = np.array([[1.0, 5.0], [30.0, 5.0], [2.0, 6.0], [10.0, 0.0], [2.0, 9.0]])
    share = within_folds(scores, np.array([7, 3, 7, 3, 7]))
    np.testing.assert_allclose(share[:, 0], [0.5 / 3, 0.75, 2 / 3, 0.25, 2 / 3])
    np.testing.assert_allclose(share[:, 1], [0.5 / 3, 0.75, 0.5, 0.25, 2.5 / 3])


@pytest.mark.parametrize("metric", [auroc, average_precision])
def test_ranks_within_one_fold_change_no_metric(metric: Metric) -> None:
    rng = np.random.default_rng(2)
    labels, scores = rng.random((200, 3)) < 0.3, rng.normal(size=(200, 3)).round(1)
    shares = within_folds(scores, np.zeros(200, np.int64))
    np.testing.assert_array_equal(metric(labels, shares), metric(labels, scores))


def test_ranks_within_folds_undo_what_a_folds_model_adds() -> None:
    rng = np.random.default_rng(3)
    labels, folds = rng.random((3000, 1)) < 0.3, np.arange(3000) % 5
    scores = rng.normal(size=(3000, 1)) + 1.5 * labels
    shifted = scores * (1 + folds[:, None]) + 10.0 * folds[:, None]
    np.testing.assert_array_equal(within_folds(shifted, folds), within_folds(scores, folds))
    pooled = auroc(labels, within_folds(shifted, folds))[0]
    assert pooled == pytest.approx(auroc(labels, scores)[0], abs=0.005)
    assert auroc(labels, shifted)[0] < pooled - 0.1


def test_what_has_no_rank_is_refused() -> None:
    with pytest.raises(UsageError, match="nan scores have no rank"):
        within_folds(np.array([[np.nan]]), np.zeros(1, np.int64))
    with pytest.raises(UsageError, match=r"scores \(2, 1\), folds \(3,\)"):
        within_folds(np.zeros((2, 1)), np.zeros(3, np.int64))


def test_a_ranking_by_hand() -> None:
    """Equal scores share a step, and so do negatives that no positive parts; patients are the columns."""
    labels = np.array([1, 0, 0, 1, 0, 0, 0, 0], dtype=np.bool_)
    scores = np.array([9.0, 8.0, 7.0, 6.0, 6.0, 5.0, 4.0, 3.0])
    order = np.random.default_rng(0).permutation(8)
    patients = np.array([0, 0, 1, 2, 1, 1, 1, 2])
    made = Ranking.of(labels[order], scores[order], patients[order], 4)
    assert made.positive.toarray().tolist() == [[1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
    assert made.negative.toarray().tolist() == [[0, 0, 0, 0], [1, 1, 0, 0], [0, 1, 0, 0], [0, 2, 1, 0]]
    weights = np.array([[1.0, 0.0, 2.0], [1.0, 1.0, 0.0], [1.0, 1.0, 3.0], [5.0, 5.0, 5.0]])
    assert made.auroc(weights).tolist() == [(6 + 3.5) / 12, (3 + 0.5) / 5, (2 * 5 + 3 * 3) / (5 * 5)]
    assert made.average_precision(weights).tolist() == [(1 + 2 / 5) / 2, 1 / 3, (2 * 1 + 3 * 5 / 7) / 5]


def test_probabilities_of_0_and_1_are_probabilities() -> None:
    labels = np.array([[True], [False]])
    assert brier(labels, labels.astype(np.float64)).tolist() == [0.0]
    assert calibration_error(labels, ~labels * 1.0).tolist() == [1.0]


def test_refusals_in_full() -> None:
    labels = np.array([[True, False], [False, True], [False, False]])
    nan, nil = np.array([[0.1, np.nan], [0.2, 0.3], [0.4, np.nan]]), np.zeros((3, 2))
    for metric in (auroc, average_precision, brier, calibration_error):
        assert message(UsageError, metric, labels, nan) == (
            "nan scores of 1 findings, most of finding 1 (column 1, from 0): 2 of 3 images"
            " — leave out the images that have no score"
        )
        assert message(UsageError, metric, labels.astype(np.int64), nil[:2]) == (
            "labels must be bool (images, findings), scores alike: got labels int64 (3, 2), scores (2, 2)"
            " — give one row per image"
        )
    assert message(UsageError, auroc, labels, nil, np.ones(2)) == (
        "weights must be 3 finite numbers, none negative: got (2,) — give one per image"
    )
    assert message(UsageError, brier, labels, nil + np.array([0.25, 1.5])) == (
        "probabilities must lie in [0, 1]: got 0.25 to 1.5 — calibrate the scores first"
    )
    assert message(UsageError, within_folds, nan, np.zeros(3, np.int64)) == (
        "nan scores have no rank — leave out the images that have no score"
    )
    assert message(UsageError, within_folds, nil, np.zeros(2, np.int64)) == (
        "scores must be (images, findings), with a fold for each image: got scores (3, 2), folds (2,) — give both alike"
    )
