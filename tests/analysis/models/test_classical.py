from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.special import expit
from sklearn.calibration import _sigmoid_calibration
from sklearn.ensemble import AdaBoostClassifier
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

from cxrsearch.analysis.models._classical import Classical, Kind
from cxrsearch.analysis.models.model import Sample, sample_patients

Draw = Callable[..., tuple[Sample, ...]]


@pytest.mark.parametrize(
    ("kind", "peer"),
    [
        ("adaboost", AdaBoostClassifier(n_estimators=100, random_state=2)),
        ("tree", DecisionTreeClassifier(random_state=2)),
    ],
)
def test_equals_scikit_learn_on_a_sample_of_patients(samples: Draw, kind: Kind, peer: Any) -> None:
    train, val, test = samples(140, 20, 60, findings=2)
    fitted = Classical(kind, max_train=80, seed=2).fit(train, val)
    part = sample_patients(train, 80, seed=2)
    expected = [peer.fit(part.embeddings, own).predict_proba(test.embeddings)[:, 1] for own in part.labels.T]
    np.testing.assert_array_equal(fitted.predict(test), np.stack(expected, axis=1))
    assert len(fitted.train) == len(part) == 80
    assert fitted.notes == ("fitted on 80 of 140 images, those of 40 patients drawn at random",)


def test_a_linear_svc_is_scaled_by_platt_on_validation(samples: Draw) -> None:
    train, val, test = samples(200, 150, 60)
    fitted = Classical("svc", max_train=1000, seed=1, jobs=1).fit(train, val)
    scaler = StandardScaler().fit(train.embeddings.astype(np.float64))
    x, x_val, x_test = (scaler.transform(s.embeddings.astype(np.float64)) for s in (train, val, test))
    for f, own in enumerate(train.labels.T):
        peer = LinearSVC(dual="auto", random_state=1).fit(x, own)
        a, b = _sigmoid_calibration(peer.decision_function(x_val), val.labels[:, f])
        np.testing.assert_allclose(
            fitted.predict(test)[:, f], expit(-a * peer.decision_function(x_test) - b), atol=1e-3
        )
    assert fitted.train is train
    assert fitted.notes == ()


def test_an_svc_that_did_not_converge_says_so(samples: Draw, monkeypatch: pytest.MonkeyPatch) -> None:
    hasty = {"svc": lambda seed: LinearSVC(dual=True, max_iter=1, random_state=seed)}
    monkeypatch.setattr("cxrsearch.analysis.models._classical._MAKERS", hasty)
    train, val = samples(100, 40)
    assert Classical("svc", 100).fit(train, val).notes == ("the linear SVC had not converged for 3 of 3 findings",)


@pytest.mark.parametrize("kind", ["adaboost", "svc", "tree"])
def test_findings_of_none_one_and_all(samples: Draw, kind: Kind) -> None:
    train, val = samples(80, 20)
    labels = np.zeros((80, 3), np.bool_)
    labels[3, 1] = labels[:, 2] = True
    rare = Sample(train.embeddings, labels, train.patients)
    predicted = Classical(kind, 100).fit(rare, val).predict(rare)
    assert (predicted[:, 0] == 0).all()
    assert (predicted[:, 2] == 1).all()
    assert predicted[:, 1].argmax() == 3
    nothing = Sample(train.embeddings, labels[:, ::2], train.patients)
    assert (Classical(kind, 100).fit(nothing, nothing).predict(nothing) == (0, 1)).all()


def test_threads_change_nothing(samples: Draw) -> None:
    train, val = samples(100, 20)
    one, two = (Classical("tree", 100, jobs=jobs).fit(train, val).predict(val) for jobs in (1, 2))
    np.testing.assert_array_equal(one, two)
