import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit
from sklearn.calibration import _sigmoid_calibration

from cxrsearch.analysis.measures.metrics import auroc, brier, calibration_error
from cxrsearch.analysis.models.calibration import Calibration, Ensemble, Platt, mean_probability
from cxrsearch.arrays import Flags, Floats
from cxrsearch.errors import UsageError


def drawn(seed: int, n: int, slope: float = 1.0, intercept: float = -1.5) -> tuple[Flags, Floats]:
    """Labels (n, 1) whose log-odds are a linear function of the scores (n, 1)."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(n, 1)) * 2 + 3
    return rng.random((n, 1)) < expit(slope * scores + intercept), scores


@pytest.mark.parametrize("seed", range(4))
def test_equals_scikit_learns_sigmoid(seed: int) -> None:
    labels, scores = drawn(seed, 300)
    platt = Platt.fit(labels, scores)
    a, b = _sigmoid_calibration(scores[:, 0], labels[:, 0])
    assert platt.kinds == ("platt",)
    np.testing.assert_allclose(platt(scores)[:, 0], -(a * scores[:, 0] + b), atol=1e-4)


def test_a_known_map_is_found_again() -> None:
    labels, scores = drawn(0, 200_000, slope=0.4, intercept=-3.0)
    platt = Platt.fit(labels, scores)
    assert platt.slope[0] == pytest.approx(0.4, abs=0.02)
    assert platt.intercept[0] == pytest.approx(-3.0, abs=0.05)


@pytest.mark.parametrize("centre", [0.0, 1e4])
def test_separated_scores_stay_finite(centre: float) -> None:
    labels = np.arange(40)[:, None] < 20
    odds = Platt.fit(labels, np.where(labels, 1.0, -1.0) + centre)(np.array([[1.0], [-1.0]]) + centre)
    np.testing.assert_allclose(odds, [[logit(21 / 22)], [logit(1 / 22)]], rtol=1e-4)


def test_few_images_equal_scores_and_wrong_scores_are_shifted_only() -> None:
    rng = np.random.default_rng(1)
    labels = np.zeros((100, 5), np.bool_)
    labels[:9, 0] = labels[:10, 1] = labels[:50, 2] = labels[:50, 3] = True
    scores = rng.normal(size=(100, 5)) + labels
    scores[:, 2] = -40.0
    scores[:, 3] = -scores[:, 3]
    platt = Platt.fit(labels, scores)
    assert platt.kinds == ("shift", "platt", "shift", "shift", "identity")
    assert platt.slope[[0, 2, 3, 4]].tolist() == [1, 1, 1, 1]
    assert platt.intercept[4] == 0
    for f, positives in ((0, 9), (2, 50), (3, 50)):
        negatives = 100 - positives
        mean = (positives * (positives + 1) / (positives + 2) + negatives / (negatives + 2)) / 100
        assert expit(platt(scores)[:, f]).mean() == pytest.approx(mean, rel=1e-9)


def test_one_positive_image_and_only_positive_ones() -> None:
    labels = np.ones((30, 2), np.bool_)
    labels[1:, 0] = False
    platt = Platt.fit(labels, np.random.default_rng(0).normal(size=(30, 2)))
    assert platt.kinds == ("shift", "identity")
    assert Platt.fit(labels[:, :0], np.zeros((30, 0))).kinds == ()


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 2**32 - 1), step=st.sampled_from([0, 20]))
def test_no_order_is_turned_round(seed: int, step: int) -> None:
    rng = np.random.default_rng(seed)
    probability = rng.random((60, 2)) ** 3
    probability = np.round(probability * step) / step if step else probability
    labels = rng.random((60, 2)) < rng.random(2)
    calibration = Calibration.fit(labels, probability)
    order = np.argsort(probability, axis=0)
    mapped = np.take_along_axis(calibration(probability), order, axis=0)
    assert (np.diff(mapped, axis=0) >= 0).all()
    np.testing.assert_array_equal(auroc(labels, calibration(probability)), auroc(labels, probability))


def test_votes_of_zero_and_one_are_put_half_as_far_as_the_nearest() -> None:
    rng = np.random.default_rng(3)
    truth = rng.beta(0.3, 0.9, size=(4000, 1))
    labels = rng.random((4000, 1)) < truth
    votes = rng.binomial(20, truth) / 20
    calibration = Calibration.fit(labels, votes)
    assert calibration.low.tolist() == [0.025]
    assert calibration.high.tolist() == [0.975]
    calibrated = calibration(votes)
    assert 0 < calibrated.min() < calibrated.max() < 1
    assert calibration_error(labels, calibrated)[0] < 0.02
    unsure = Calibration.fit(np.array([[True], [False]] * 10), np.array([[0.9], [0.6]] * 10))
    assert (unsure.low.tolist(), unsure.high.tolist()) == ([1e-12], [1 - 1e-12])


def test_overconfident_probabilities_get_better_on_other_images() -> None:
    labels, scores = drawn(5, 4000, slope=0.5, intercept=-3.0)
    probability = expit(3 * scores)
    calibration = Calibration.fit(labels[:2000], probability[:2000])
    after = calibration(probability[2000:])
    assert calibration_error(labels[2000:], after)[0] < 0.04 < calibration_error(labels[2000:], probability[2000:])[0]
    assert brier(labels[2000:], after)[0] < brier(labels[2000:], probability[2000:])[0]
    np.testing.assert_allclose(calibration.log_odds(probability[2000:]), logit(after), atol=1e-9)


def test_the_papers_ensemble_is_a_mean() -> None:
    np.testing.assert_allclose(mean_probability([np.array([[0.2, 0.4]]), np.array([[0.4, 1.0]])]), [[0.3, 0.7]])
    with pytest.raises(UsageError, match="an ensemble of 2 members of shapes"):
        mean_probability([np.zeros((1, 2)), np.zeros((2, 2))])
    with pytest.raises(UsageError, match="an ensemble of 0 members"):
        mean_probability([])


def members(seed: int, n: int) -> tuple[Flags, list[Floats]]:
    """Labels (n, 2), and a good member, a bad one and one that knows nothing."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=(n, 2)) * 2 - 1
    noise = [rng.normal(size=(n, 2)) * size for size in (1.0, 2.0)]
    return rng.random((n, 2)) < expit(truth), [expit(truth + noise[0]), expit(truth + noise[1]), rng.random((n, 2))]


def test_weights_are_those_of_the_smallest_loss() -> None:
    labels, parts = members(0, 1500)
    ensemble = Ensemble.fit(labels, parts[:2])
    assert ensemble.weights.sum() == pytest.approx(1)
    one, two = (Calibration.fit(labels, part).log_odds(part) for part in parts[:2])
    grid = np.linspace(0, 1, 2001)
    losses = [(np.logaddexp(0, x := w * one + (1 - w) * two) - labels * x).mean() for w in grid]
    assert ensemble.weights[0] == pytest.approx(grid[int(np.argmin(losses))], abs=2e-3)
    w = ensemble.weights
    np.testing.assert_allclose(ensemble(parts[:2]), expit(w[0] * one + w[1] * two), rtol=1e-12)


def test_an_ensemble_is_better_than_its_members_on_other_images_and_ignores_noise() -> None:
    labels, parts = members(1, 3000)
    fit, rest = slice(0, 1500), slice(1500, None)
    ensemble = Ensemble.fit(labels[fit], [part[fit] for part in parts])
    assert ensemble.weights[0] > ensemble.weights[1] > ensemble.weights[2]
    together = ensemble([part[rest] for part in parts])
    alone = [auroc(labels[rest], part[rest]).mean() for part in parts]
    assert auroc(labels[rest], together).mean() > max(alone)
    assert calibration_error(labels[rest], together).max() < 0.06


def test_an_ensemble_without_findings_to_learn_from_weighs_alike() -> None:
    probability = np.random.default_rng(0).random((20, 2))
    ensemble = Ensemble.fit(np.zeros((20, 2), np.bool_), [probability, 1 - probability])
    assert ensemble.weights.tolist() == [0.5, 0.5]
    np.testing.assert_allclose(ensemble([probability, probability]), probability, rtol=1e-9)
    with pytest.raises(UsageError, match="1 members, 2 fitted"):
        ensemble([probability])


def test_what_cannot_be_calibrated_is_refused() -> None:
    labels = np.array([[True], [False]])
    with pytest.raises(UsageError, match="infinite"):
        Platt.fit(labels, np.array([[np.inf], [0.0]]))
    with pytest.raises(UsageError, match="nan scores"):
        Calibration.fit(labels, np.array([[np.nan], [0.5]]))
    with pytest.raises(UsageError, match="must lie in"):
        Calibration.fit(labels, np.array([[1.2], [0.5]]))
    with pytest.raises(UsageError, match="scores alike"):
        Platt.fit(labels, np.zeros((3, 1)))
