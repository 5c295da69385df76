from collections.abc import Callable

import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from cxrsearch.analysis.models.logistic import PENALTIES, UNCHOSEN, Logistic
from cxrsearch.analysis.models.model import Sample
from cxrsearch.arrays import Floats

Draw = Callable[..., tuple[Sample, ...]]


def plain(train: Sample, test: Sample, penalty: float) -> Floats:
    """scikit-learn's probabilities, a finding at a time, on embeddings standardised in float64."""
    x = train.embeddings.astype(np.float64)
    mean, std = x.mean(axis=0), x.std(axis=0)
    std = np.where(std > 0, std, 1)
    model = LogisticRegression(C=1 / (len(x) * penalty), tol=1e-10, max_iter=10_000)
    columns = [
        model.fit((x - mean) / std, own).predict_proba((test.embeddings - mean) / std)[:, 1] for own in train.labels.T
    ]
    return np.stack(columns, axis=1)


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("dim", [5, 40])
def test_equals_scikit_learn_for_every_penalty(samples: Draw, dim: int, penalty: float) -> None:
    train, val, test = samples(400, 50, 100, dim=dim)
    fitted = Logistic((penalty,)).fit(train, val)
    np.testing.assert_allclose(fitted.predict(test), plain(train, test, penalty), atol=2e-5)
    assert fitted.settings == {"penalty": penalty}
    assert fitted.notes == ()


def test_more_dimensions_than_images_and_correlated_ones(samples: Draw) -> None:
    train, val = samples(40, 30, dim=60)
    twice = [Sample(np.hstack([s.embeddings, s.embeddings[:, :5]]), s.labels, s.patients) for s in (train, val)]
    np.testing.assert_allclose(
        Logistic((1e-2,)).fit(*twice).predict(twice[1]), plain(twice[0], twice[1], 1e-2), atol=5e-5
    )


@pytest.mark.parametrize("seed", range(3))
def test_validation_chooses_the_penalty(samples: Draw, seed: int) -> None:
    train, val = samples(120, 200, dim=40, seed=seed)
    values = [roc_auc_score(val.labels, plain(train, val, penalty)) for penalty in PENALTIES]
    best = PENALTIES[int(np.argmax(values))]
    assert 0 < PENALTIES.index(best) < len(PENALTIES) - 1
    assert Logistic().fit(train, val).settings == {"penalty": best}


def test_weak_penalties_are_left_out_after_two_that_got_worse(samples: Draw) -> None:
    train, val = samples(120, 200, dim=40)
    told: list[int] = []
    fitted = Logistic(progress=lambda stage, done, total: told.append(done)).fit(train, val)
    tried = told[:-1]
    assert tried == list(range(len(tried)))
    assert len(tried) == min(PENALTIES.index(fitted.settings["penalty"]) + 3, len(PENALTIES))
    assert len(tried) < len(PENALTIES)


def test_findings_of_none_one_and_all_and_a_constant_dimension(samples: Draw) -> None:
    train, val = samples(80, 20)
    labels = np.zeros((80, 3), np.bool_)
    labels[3, 1] = labels[:, 2] = True
    embeddings = train.embeddings.copy()
    embeddings[:, 4] = 7
    rare = Sample(embeddings, labels, train.patients)
    predicted = Logistic((1e-2,)).fit(rare, val).predict(rare)
    assert (predicted[:, 0] == 0).all()
    assert (predicted[:, 2] == 1).all()
    one = Sample(embeddings, labels[:, 1:2], train.patients)
    np.testing.assert_allclose(predicted[:, 1:2], plain(one, one, 1e-2), atol=2e-5)
    assert np.isfinite(predicted).all()
    nothing = Sample(embeddings, labels[:, ::2], train.patients)
    assert (Logistic().fit(nothing, nothing).predict(nothing) == (0, 1)).all()


def test_equal_embeddings_give_the_prevalence(samples: Draw) -> None:
    (train,) = samples(50)
    equal = Sample(np.ones_like(train.embeddings), train.labels, train.patients)
    np.testing.assert_allclose(
        Logistic().fit(equal, equal).predict(equal), np.tile(train.prevalence, (50, 1)), atol=1e-6
    )


def test_without_a_finding_to_choose_by_the_middle_penalty_is_used(samples: Draw) -> None:
    train, val = samples(60, 10)
    empty = Sample(val.embeddings, np.zeros_like(val.labels), val.patients)
    fitted = Logistic().fit(train, empty)
    assert fitted.settings == {"penalty": PENALTIES[3]}
    assert fitted.notes == (UNCHOSEN,)


def test_an_unfinished_fit_says_so(samples: Draw, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cxrsearch.analysis.models.logistic._ITERATIONS", 2)
    train, val = samples(200, 30)
    fitted = Logistic((1e-4,)).fit(train, val)
    assert fitted.notes == ("logistic regression had not converged when it stopped (at most 2 iterations)",)
    assert not np.allclose(fitted.predict(val), expit(0.0))
