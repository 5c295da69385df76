import numpy as np
import pytest
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from cxrsearch.analysis.evaluation.evaluate_scores import Scored, evaluate_scores
from cxrsearch.analysis.measures.bootstrap import PatientBootstrap
from cxrsearch.errors import UsageError


@pytest.fixture(scope="module")
def scored() -> Scored:
    """300 images of 150 patients, two findings; `good` knows something of both, `wild` is no probability."""
    rng = np.random.default_rng(0)
    labels = rng.random((300, 2)) < (0.3, 0.2)
    good = 1 / (1 + np.exp(-(rng.standard_normal((300, 2)) + 1.5 * labels)))
    scores = {"poor": rng.random((300, 2)), "good": good, "wild": 3 * rng.standard_normal((300, 2))}
    return Scored(labels, np.arange(300) // 2, scores, {"good": good**2}, np.zeros(300, np.int64))


def test_every_model_against_scikit_learn(scored: Scored) -> None:
    found = evaluate_scores(scored, replicates=10)
    assert list(found) == ["poor", "good", "wild"]
    for name, metrics in found.items():
        for f in range(2):
            truth, score = scored.labels[:, f], scored.scores[name][:, f]
            assert metrics.auroc.point[f] == pytest.approx(roc_auc_score(truth, score), abs=1e-12)
            assert metrics.auprc.point[f] == pytest.approx(average_precision_score(truth, score), abs=1e-12)
        assert metrics.difference is None
        assert not metrics.apart.any()


def test_calibration_before_and_after_and_none_of_scores_that_are_no_probabilities(scored: Scored) -> None:
    found = evaluate_scores(scored, replicates=2)
    before, after = found["good"].before, found["good"].after
    assert before is not None
    assert after is not None
    for metrics, values in ((before, scored.scores["good"]), (after, scored.calibrated["good"])):
        expected = [brier_score_loss(scored.labels[:, f], values[:, f]) for f in range(2)]
        np.testing.assert_allclose(metrics.brier, expected, rtol=1e-12)
    assert found["wild"].before is None
    assert found["poor"].after is None


def test_differences_are_paired_and_say_what_is_apart(scored: Scored) -> None:
    found = evaluate_scores(scored, "poor", replicates=200, seed=3)
    direct = PatientBootstrap(scored.patients, 200, 3).difference(
        scored.labels, scored.scores["good"], scored.scores["poor"]
    )
    difference = found["good"].difference
    assert difference is not None
    np.testing.assert_array_equal(difference.low, direct.low)
    np.testing.assert_array_equal(difference.point, found["good"].auroc.point - found["poor"].auroc.point)
    assert found["good"].apart.all()
    assert found["poor"].difference is None


def test_folds_are_pooled_by_rank(scored: Scored) -> None:
    """An offset between the models of two folds changes nothing; without folds it would."""
    folds = np.arange(300) % 2
    shifted = {"good": scored.scores["good"] / 2 + 0.5 * folds[:, None]}
    pooled = evaluate_scores(Scored(scored.labels, scored.patients, shifted, {}, folds), replicates=2)["good"]
    plain = Scored(scored.labels, scored.patients, {"good": scored.scores["good"]}, {}, folds)
    np.testing.assert_array_equal(pooled.auroc.point, evaluate_scores(plain, replicates=2)["good"].auroc.point)
    naive = [roc_auc_score(scored.labels[:, f], shifted["good"][:, f]) for f in range(2)]
    assert (pooled.auroc.point > np.array(naive) + 0.03).all()


def test_a_reference_that_is_not_there(scored: Scored) -> None:
    with pytest.raises(UsageError, match="densenet"):
        evaluate_scores(scored, "densenet", replicates=2)
