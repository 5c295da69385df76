from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from cxrsearch.analysis.models.model import (
    Fitted,
    Sample,
    by_finding,
    learnable,
    positive_patients,
    sample_patients,
    selection_score,
)
from cxrsearch.errors import UsageError

Draw = Callable[..., tuple[Sample, ...]]


def labelled(labels: Any, patients: Any = None) -> Sample:
    """A sample of these labels; each image is its own patient by default."""
    labels = np.asarray(labels, dtype=np.bool_)
    n = len(labels)
    return Sample(np.zeros((n, 2), np.float32), labels, np.asarray(np.arange(n) if patients is None else patients))


def test_a_sample_refuses_what_does_not_fit() -> None:
    x, y, p = np.zeros((3, 2), np.float32), np.zeros((3, 1), np.bool_), np.arange(3)
    Sample(x, y, p)
    for wrong, message in (
        ((x.astype(np.float64), y, p), r"embeddings must be float32 \(3, dim\): got float64"),
        ((x[:2], y, p), r"got float32 \(2, 2\)"),
        ((x[:, :0], y, p), r"got float32 \(3, 0\)"),
        ((x, y.astype(np.int64), p), "labels must be bool"),
        ((x[:0], y[:0], p[:0]), "of at least one image"),
        ((x, y, p[:2]), r"patients must be int64 \(3,\)"),
        ((x, y, p - 1), "from 0 on"),
        ((x, y, p.astype(np.float64)), "got float64"),
    ):
        with pytest.raises(UsageError, match=message):
            Sample(*wrong)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e16])
def test_an_embedding_that_is_not_finite_is_refused_by_its_row(value: float) -> None:
    x = np.zeros((10_000, 3), np.float32)
    x[8999, 1] = value
    with pytest.raises(UsageError, match="embedding 8999 is not finite"):
        Sample(x, np.zeros((10_000, 1), np.bool_), np.arange(10_000))


def test_take_and_prevalence(samples: Draw) -> None:
    (whole,) = samples(50)
    rows = np.array([7, 3, 3])
    part = whole.take(rows)
    np.testing.assert_array_equal(part.embeddings, whole.embeddings[rows])
    np.testing.assert_array_equal(part.labels, whole.labels[rows])
    assert part.patients.tolist() == [3, 1, 1]
    assert whole.prevalence.tolist() == [np.count_nonzero(own) / 50 for own in whole.labels.T]
    assert (len(part), part.dim) == (3, 12)


def test_predict_refuses_other_dimensions_and_findings(samples: Draw) -> None:
    (train,) = samples(20)
    fitted = Fitted(train, {}, lambda sample: sample.embeddings[:, :3].astype(np.float64))
    np.testing.assert_array_equal(fitted.predict(train), train.embeddings[:, :3])
    for other in (samples(5, dim=11)[0], samples(5, findings=2)[0]):
        with pytest.raises(UsageError, match="12 dimensions and 3 findings, then"):
            fitted.predict(other)


def test_findings_that_all_or_none_have_get_their_prevalence() -> None:
    train = labelled([[0, 1, 1], [0, 1, 0], [0, 1, 0], [0, 1, 0]])
    assert learnable(train.labels).tolist() == [2]
    assert by_finding(train, 2, {2: np.array([0.1, 0.7])}).tolist() == [[0, 1, 0.1], [0, 1, 0.7]]


def test_positive_patients_are_counted_once() -> None:
    labels = np.array([[1, 0], [1, 0], [0, 0], [1, 0]], dtype=np.bool_)
    assert positive_patients(labels, np.array([5, 5, 5, 2])).tolist() == [2, 0]


def test_settings_are_chosen_by_findings_of_ten_positive_patients() -> None:
    rng = np.random.default_rng(0)
    labels = np.zeros((60, 3), np.bool_)
    labels[:20, 0] = True  # 10 patients, two images each
    labels[:18, 1] = True  # 9 patients
    scores = rng.random((60, 3)) + labels / 2
    sample = labelled(labels, np.arange(60) // 2)
    first, second = (roc_auc_score(labels[:, f], scores[:, f]) for f in range(2))
    assert selection_score(sample, scores) == pytest.approx(first, rel=1e-12)
    assert selection_score(labelled(labels[:, 1:], sample.patients), scores[:, 1:]) == pytest.approx(second, rel=1e-12)
    assert np.isnan(selection_score(labelled(labels[:, 2:]), scores[:, 2:]))


def test_a_sample_of_patients_keeps_them_whole_and_fills_the_limit() -> None:
    rng = np.random.default_rng(1)
    patients = rng.permutation(np.repeat(np.arange(200), rng.integers(1, 6, 200)))
    whole = labelled(rng.random((len(patients), 2)) < 0.3, patients)
    part = sample_patients(whole, 100, seed=4)
    images = np.bincount(patients)
    assert 95 < len(part) <= 100
    assert all(np.count_nonzero(part.patients == p) == images[p] for p in np.unique(part.patients))
    rows = np.flatnonzero(np.isin(patients, part.patients))
    np.testing.assert_array_equal(part.labels, whole.labels[rows])
    assert sample_patients(whole, 100, seed=4).patients.tolist() == part.patients.tolist()
    assert sample_patients(whole, 100, seed=5).patients.tolist() != part.patients.tolist()
    assert sample_patients(whole, len(whole), seed=0) is whole
    assert len(sample_patients(labelled(np.zeros((9, 1))), 7, seed=0)) == 7


def test_one_patient_that_does_not_fit_is_refused() -> None:
    with pytest.raises(UsageError, match="no patient's images fit into 3"):
        sample_patients(labelled(np.zeros((5, 1)), np.zeros(5, np.int64)), 3, seed=0)
