"""Which images are compared, and how well a score tells them apart, against sklearn and by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from cxrsearch.analysis.measures.bootstrap import PatientBootstrap
from cxrsearch.analysis.novelty.comparisons import false_positive_rate, iterate_comparisons, rows

LABELS = np.array([[1, 0], [1, 1], [0, 1], [0, 0], [0, 0]], dtype=np.bool_)


def test_the_six_comparisons_by_hand() -> None:
    found = {
        (p, n): (a.nonzero()[0].tolist(), b.nonzero()[0].tolist()) for p, n, a, b in iterate_comparisons(LABELS, 0)
    }
    assert found == {
        ("any", "all"): ([0, 1], [2, 3, 4]),
        ("any", "no-finding"): ([0, 1], [3, 4]),
        ("any", "other-findings"): ([0, 1], [2]),
        ("only", "all"): ([0], [2, 3, 4]),
        ("only", "no-finding"): ([0], [3, 4]),
        ("only", "other-findings"): ([0], [2]),
    }


def test_rows_against_sklearn_and_the_bootstrap() -> None:
    rng = np.random.default_rng(0)
    labels = rng.random((300, 3)) < [0.3, 0.2, 0.4]
    patients = np.sort(rng.integers(0, 120, 300))
    scores = {"a": labels[:, 0] + rng.normal(size=300), "b": rng.random(300), "none": None}
    found = {(r.score, r.positives, r.negatives): r for r in rows(labels, 0, patients, scores, replicates=50, seed=4)}
    assert len(found) == 18
    for p, n, positive, negative in iterate_comparisons(labels, 0):
        used = positive | negative
        for name in ("a", "b"):
            row, values = found[name, p, n], scores[name]
            assert values is not None
            truth = positive[used]
            assert row.auroc == pytest.approx(roc_auc_score(truth, values[used]))
            assert row.aupr == pytest.approx(average_precision_score(truth, values[used]))
            assert row.prevalence == pytest.approx(truth.mean())
            false, true, _ = roc_curve(truth, values[used], drop_intermediate=False)
            assert row.fpr95 == pytest.approx(false[true >= 0.95].min())
            bounds = PatientBootstrap(patients[used], 50, 4).auroc(truth[:, None], values[used][:, None])
            assert row.auroc_low == pytest.approx(bounds.low[0])
            assert row.auroc_high == pytest.approx(bounds.high[0])
            assert (row.n_positive, row.n_negative) == (positive.sum(), negative.sum())
            assert row.n_patients == len(set(patients[positive]))
        none = found["none", p, n]
        assert (none.auroc, none.auroc_low, none.aupr, none.fpr95) == (None,) * 4
        assert none.n_positive == positive.sum()


def test_few_positive_patients_have_a_point_and_no_interval() -> None:
    labels = np.zeros((40, 2), dtype=np.bool_)
    labels[:9, 0] = True
    row = rows(labels, 0, np.arange(40), {"s": np.arange(40.0)[::-1]}, replicates=20, seed=0)[0]
    assert (row.auroc, row.auroc_low, row.auroc_high, row.n_patients) == (1.0, None, None, 9)


def test_no_positive_or_no_negative_is_null_with_its_counts() -> None:
    found = rows(LABELS[3:], 0, np.arange(2), {"s": np.zeros(2)}, replicates=5, seed=0)
    assert {(row.auroc, row.aupr, row.fpr95) for row in found} == {(None, None, None)}
    assert [row.n_negative for row in found[:3]] == [2, 2, 0]
    assert found[0].prevalence == 0.0
    assert found[2].prevalence is None


@given(st.lists(st.integers(0, 9), min_size=1, max_size=40), st.lists(st.integers(0, 9), min_size=1, max_size=40))
def test_the_false_positive_rate_is_that_of_the_curve(positive: list[int], negative: list[int]) -> None:
    truth = [1] * len(positive) + [0] * len(negative)
    false, true, _ = roc_curve(truth, positive + negative, drop_intermediate=False)
    found = false_positive_rate(np.array(positive, np.float64), np.array(negative, np.float64))
    assert found == pytest.approx(false[true >= 0.95 - 1e-12].min())
