from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import average_precision_score, roc_auc_score

from cxrsearch.analysis.measures.bootstrap import BLOCK, Intervals, PatientBootstrap, _best
from cxrsearch.arrays import Flags, Floats
from cxrsearch.errors import UsageError
from tests.refusals import message

Metric = Callable[..., Any]
Drawn = tuple[Any, Flags, Floats]
METRICS = [("auroc", roc_auc_score), ("average_precision", average_precision_score)]


def draw(seed: int, *, patients: int, images: int, prevalence: tuple[float, ...]) -> Drawn:
    """Patients' names, labels and tied scores, at random."""
    rng = np.random.default_rng(seed)
    names = np.array([f"p{i}" for i in rng.integers(0, patients, images)])
    labels = rng.random((images, len(prevalence))) < prevalence
    return names, labels, (rng.normal(size=labels.shape) + labels).round(1)


def plain(drawn: Drawn, metric: Metric, replicates: int, seed: int) -> Floats:
    """Each replicate by repeating the rows of each drawn patient; nan where a finding lacks a kind."""
    names, labels, scores = drawn
    patients = np.unique(names)
    values = np.full((replicates, labels.shape[1]), np.nan)
    for r in range(replicates):
        chosen = np.random.default_rng((seed, r)).integers(len(patients), size=len(patients))
        rows = np.concatenate([np.flatnonzero(names == patients[p]) for p in chosen])
        for f in np.flatnonzero(labels[rows].any(axis=0) & ~labels[rows].all(axis=0)):
            values[r, f] = metric(labels[rows, f], scores[rows, f])
    return values


@pytest.mark.parametrize(("name", "metric"), METRICS)
@pytest.mark.parametrize("seed", [0, 7])
def test_equals_sklearn_on_explicitly_repeated_rows(name: str, metric: Metric, seed: int) -> None:
    replicates = BLOCK + 5
    drawn = draw(seed, patients=40, images=120, prevalence=(0.25, 0.4, 0.015, 0.0))
    names, labels, scores = drawn
    result: Intervals = getattr(PatientBootstrap(names, replicates, seed), name)(labels, scores)
    expected = plain(drawn, metric, replicates, seed)
    low, high = np.percentile(expected[:, :2], (2.5, 97.5), axis=0)
    np.testing.assert_allclose(result.low, [*low, np.nan, np.nan], rtol=1e-12)
    np.testing.assert_allclose(result.high, [*high, np.nan, np.nan], rtol=1e-12)
    point = [metric(labels[:, f], scores[:, f]) for f in range(3)]
    np.testing.assert_allclose(result.point, [*point, np.nan], rtol=1e-12)
    lost = np.isnan(expected).sum(axis=0)
    assert 0 < lost[2] < replicates
    assert result.replicates.tolist() == (replicates - lost).tolist()
    together = expected[:, :2].mean(axis=1)
    assert result.mean.findings == 2
    assert (result.mean.point, result.mean.low, result.mean.high) == pytest.approx(
        (np.mean(point[:2]), *np.percentile(together, (2.5, 97.5))), rel=1e-12
    )


@pytest.mark.parametrize(("name", "metric"), METRICS)
def test_differences_are_paired(name: Any, metric: Metric) -> None:
    names, labels, scores = draw(1, patients=50, images=150, prevalence=(0.3, 0.5))
    other = (scores + np.random.default_rng(2).normal(size=scores.shape)).round(1)
    bootstrap = PatientBootstrap(names, 60, 3)
    result = bootstrap.difference(labels, scores, other, name)
    expected = plain((names, labels, scores), metric, 60, 3) - plain((names, labels, other), metric, 60, 3)
    np.testing.assert_allclose((result.low, result.high), np.percentile(expected, (2.5, 97.5), axis=0), rtol=1e-9)
    own, theirs = (getattr(bootstrap, name)(labels, s).point for s in (scores, other))
    np.testing.assert_allclose(result.point, own - theirs, rtol=1e-12)
    same = bootstrap.difference(labels, scores, 2 * scores, name)  # the same ranks, so no difference in any replicate
    assert not np.any([same.point, same.low, same.high])


def test_counts_and_the_limit_of_ten_positive_patients() -> None:
    names = np.repeat(np.arange(30), 2)
    labels = np.zeros((60, 3), dtype=np.bool_)
    labels[:18, 0] = True  # both images of 9 patients
    labels[:20:2, 1] = True  # one image of 10 patients
    labels[:, 2] = True
    scores = np.random.default_rng(0).random((60, 3))
    result = PatientBootstrap(names, 50).auroc(labels, scores)
    assert result.positives.tolist() == [18, 10, 60]
    assert result.positive_patients.tolist() == [9, 10, 30]
    assert result.prevalence.tolist() == pytest.approx([0.3, 1 / 6, 1.0])
    assert result.usable.tolist() == [False, True, False]
    assert np.isnan(result.low).tolist() == np.isnan(result.high).tolist() == [True, False, True]
    assert np.isnan(result.point).tolist() == [False, False, True]
    assert result.mean.findings == 1
    assert result.mean.point == result.point[1]
    frame = result.to_frame(["Mass", "Nodule", "Edema"])
    assert frame.finding.tolist() == ["Mass", "Nodule", "Edema"]
    assert frame.low[1] == result.low[1]
    assert frame.positive_patients.tolist() == [9, 10, 30]
    assert "mean" not in frame
    said = "2 names for 3 findings — name every finding"
    assert message(UsageError, result.to_frame, ["Mass", "Nodule"]) == said


def test_no_usable_finding_has_no_mean() -> None:
    labels = np.arange(6)[:, None] < 3
    mean = PatientBootstrap(np.arange(6), 20).auroc(labels, np.zeros((6, 1))).mean
    assert mean.findings == 0
    assert np.isnan([mean.point, mean.low, mean.high]).all()


def test_one_patient_gives_every_replicate_the_point() -> None:
    names, labels, scores = draw(5, patients=1, images=40, prevalence=(0.5,))
    result = PatientBootstrap(names, 20)
    assert (result.multiplicities(range(20)) == 1).all()
    assert result.auroc(labels, scores).replicates.tolist() == [20]


def test_the_same_bytes_again_and_in_any_order_of_images() -> None:
    names, labels, scores = draw(4, patients=60, images=200, prevalence=(0.3, 0.5))
    one = PatientBootstrap(names, 150, 1).auroc(labels, scores)
    order = np.random.default_rng(0).permutation(200)
    for rows in (np.arange(200), order):
        again = PatientBootstrap(names[rows], 150, 1).auroc(labels[rows], scores[rows])
        assert (again.low.tobytes(), again.high.tobytes()) == (one.low.tobytes(), one.high.tobytes())
    assert (PatientBootstrap(names, 150, 2).auroc(labels, scores).low != one.low).all()
    few, many = (PatientBootstrap(names, n).multiplicities(range(20, 30)) for n in (30, 2000))
    np.testing.assert_array_equal(few, many)
    assert (few.sum(axis=0) == len(np.unique(names))).all()


def test_resampling_images_instead_of_patients_would_be_too_narrow() -> None:
    """Ten copies of an image in each patient hold no more than one does."""
    rng = np.random.default_rng(6)
    labels = rng.random((100, 1)) < 0.4
    scores = rng.normal(size=(100, 1)) + labels
    copies = (np.repeat(labels, 10, axis=0), np.repeat(scores, 10, axis=0))
    single = PatientBootstrap(np.arange(100)).auroc(labels, scores)
    clustered = PatientBootstrap(np.repeat(np.arange(100), 10)).auroc(*copies)
    by_image = PatientBootstrap(np.arange(1000)).auroc(*copies)
    assert (clustered.low[0], clustered.high[0]) == pytest.approx((single.low[0], single.high[0]), rel=1e-12)
    ratio = (clustered.high - clustered.low) / (by_image.high - by_image.low)
    assert ratio[0] == pytest.approx(10**0.5, rel=0.1)


def simulated_coverage(positive_patients: int, simulations: int = 1000) -> float:
    """The share of data sets whose 95% interval holds the true AUROC.

    Each has 300 patients of 1 to 4 images, all of one label; half of the variance of scores is the patient's. Pairs of
    a positive and a negative image are then of different patients, and the AUROC is Phi(1 / sqrt 2).
    """
    rng = np.random.default_rng(positive_patients)
    patient = np.repeat(np.arange(300), rng.integers(1, 5, 300))
    kind = rng.permuted(np.tile(np.arange(300) < positive_patients, (simulations, 1)), axis=1).T
    own = rng.normal(size=(300, simulations)) + np.sqrt(2) * kind
    scores = own[patient] + rng.normal(size=(len(patient), simulations))
    result = PatientBootstrap(patient).auroc(kind[patient], scores)
    truth = norm.cdf(1 / np.sqrt(2))
    return float(np.mean((result.low <= truth) & (truth <= result.high)))


@pytest.mark.slow
@pytest.mark.parametrize("positive_patients", [50, 100])
def test_intervals_hold_the_truth_as_often_as_they_say(positive_patients: int) -> None:
    assert 0.92 <= simulated_coverage(positive_patients) <= 0.98


def test_what_cannot_be_resampled_is_refused() -> None:
    for patients, replicates, seed in (([], 10, 0), (["a"], 0, 0), (["a"], 10, -1)):
        assert message(UsageError, PatientBootstrap, patients, replicates, seed) == (
            "a bootstrap needs images, replicates and a seed from 0 on: "
            f"got {len(patients)} images, {replicates} replicates, seed {seed} — correct these"
        )
    bootstrap = PatientBootstrap(["a", "b", "b"], 10)
    said = "2 images, patients of 3 — give each image its patient"
    assert message(UsageError, bootstrap.auroc, np.array([[True], [False]]), np.zeros((2, 1))) == said
    with pytest.raises(UsageError, match=r"1 of 3 images"):
        bootstrap.difference(np.ones((3, 1), dtype=np.bool_), np.zeros((3, 1)), np.array([[0.0], [np.nan], [0.0]]))


def test_averages_equal_explicitly_repeated_rows() -> None:
    rng = np.random.default_rng(8)
    names, replicates = rng.integers(0, 30, 90), BLOCK + 3
    values, groups = rng.normal(size=(90, 2)), rng.random((90, 3)) < (0.6, 0.9, 0.03)
    groups[names == 4] = False
    values[~groups.any(axis=1)] = np.nan
    result = PatientBootstrap(names, replicates, 2).averages(values, groups)
    patients = np.unique(names)
    for g in range(3):
        own = groups[:, g]
        np.testing.assert_allclose(result.point[g], values[own].mean(axis=0), rtol=1e-12)
        assert (result.images[g], result.patients[g]) == (own.sum(), len(np.unique(names[own])))
        drawn = []
        for r in range(replicates):
            chosen = np.random.default_rng((2, r)).integers(len(patients), size=len(patients))
            rows = np.concatenate([np.flatnonzero((names == patients[p]) & own) for p in chosen])
            drawn.append(values[rows].mean(axis=0) if len(rows) else np.full(2, np.nan))
        if g < 2:
            low, high = np.percentile(drawn, (2.5, 97.5), axis=0)
            np.testing.assert_allclose((result.low[g], result.high[g]), (low, high), rtol=1e-9)
    assert result.patients[2] < 10
    assert np.isnan([*result.low[2], *result.high[2]]).all()
    some = result.take(np.array([1, 0]), np.array([[1], [0]]))
    assert some.point.tolist() == [[result.point[1, 1]], [result.point[0, 0]]]
    assert some.low.tolist() == [[result.low[1, 1]], [result.low[0, 0]]]
    assert some.high.tolist() == [[result.high[1, 1]], [result.high[0, 0]]]
    assert some.images.tolist() == [result.images[1], result.images[0]]
    assert some.patients.tolist() == [result.patients[1], result.patients[0]]


def test_averages_of_an_empty_group_and_of_what_does_not_fit() -> None:
    bootstrap = PatientBootstrap(np.arange(12), 20)
    ten = PatientBootstrap(np.arange(12), 5).averages(np.full((12, 1), 3.0), (np.arange(12) < 10)[:, None])
    assert (ten.low.tolist(), ten.high.tolist(), ten.patients.tolist()) == ([[3.0]], [[3.0]], [10])
    result = bootstrap.averages(np.ones((12, 1)), np.arange(24).reshape(12, 2) % 2 > 0)
    assert result.point.tolist() == [[pytest.approx(np.nan, nan_ok=True)], [1]]
    assert result.low.tolist() == [[pytest.approx(np.nan, nan_ok=True)], [1]]
    wrong: list[tuple[Floats, Any]] = [
        (np.ones((11, 1)), np.ones((12, 1), np.bool_)),
        (np.ones((12, 1)), np.ones((11, 1), np.bool_)),
        (np.ones((12, 1)), np.ones((12, 1))),
    ]
    for values, groups in wrong:
        assert message(UsageError, bootstrap.averages, values, groups) == (
            "values and groups must have a row for each of 12 images: "
            f"got values {values.shape}, groups {groups.dtype} {groups.shape} — give both alike"
        )


def test_a_comparison_is_each_model_and_its_paired_difference() -> None:
    names, labels, good = draw(3, patients=80, images=240, prevalence=(0.3, 0.4, 0.02))
    rng = np.random.default_rng(4)
    scores = {"densenet": good, "worse": rng.random(good.shape), "alike": good + 0.01 * rng.normal(size=good.shape)}
    bootstrap = PatientBootstrap(names, 100, 5)
    result = bootstrap.compare(labels, scores, "densenet", "average_precision")
    assert result.reference == "densenet"
    assert list(result.models) == list(scores)
    assert list(result.differences) == ["worse", "alike"]
    for name, own in scores.items():
        alone = bootstrap.average_precision(labels, own)
        assert result.models[name].to_frame("abc").equals(alone.to_frame("abc"))
        if name != "densenet":
            paired = bootstrap.difference(labels, own, good, "average_precision")
            assert result.differences[name].to_frame("abc").equals(paired.to_frame("abc"))
            assert result.differences[name].mean == paired.mean
    said = "no scores of 'forest' to compare with — choose one of densenet, worse, alike"
    assert message(UsageError, bootstrap.compare, labels, scores, "forest") == said


def test_the_best_is_named_only_where_the_difference_excludes_zero() -> None:
    names = np.arange(200)
    labels = np.stack([names < 60, names < 60, names < 60, names < 5], axis=1)
    rng = np.random.default_rng(0)
    noise = rng.normal(size=labels.shape)
    middle, strong, weak = (noise + step * labels for step in (1.0, 3.0, 0.2))
    almost = middle + 0.01 * rng.normal(size=labels.shape)
    one = np.stack([strong[:, 0], weak[:, 1], almost[:, 2], strong[:, 3]], axis=1)
    result = PatientBootstrap(names, 200).compare(labels, {"densenet": middle, "other": one}, "densenet")
    assert result.best == ("other", "densenet", None, None)
    low, high = (getattr(result.differences["other"], side) for side in ("low", "high"))
    assert low[0] > 0 > high[1]
    assert low[2] < 0 < high[2]
    assert np.isnan(low[3])
    both = PatientBootstrap(names, 200).compare(labels, {"a": middle, "b": weak, "c": strong}, "a")
    assert both.best[0] == both.best_mean == "c"
    assert PatientBootstrap(names, 200).compare(labels, {"c": strong, "a": middle, "b": weak}, "c").best_mean == "c"
    assert PatientBootstrap(names, 50).compare(labels, {"a": middle}, "a").best == (None,) * 4


def test_by_default_2000_replicates_of_seed_0_and_the_auroc() -> None:
    names, labels, scores = draw(9, patients=30, images=60, prevalence=(0.5,))
    plainly, named = PatientBootstrap(names), PatientBootstrap(names, 2000, 0)
    one, other = plainly.auroc(labels, scores), named.auroc(labels, scores)
    assert one.replicates.tolist() == [2000]
    assert (one.low[0], one.high[0]) == (other.low[0], other.high[0])
    worse = -scores
    bootstrap = PatientBootstrap(names, 20)
    explicit = bootstrap.difference(labels, scores, worse, "auroc")
    assert bootstrap.difference(labels, scores, worse).low[0] == explicit.low[0]
    compared = bootstrap.compare(labels, {"a": worse, "b": scores}, "a")
    assert compared.differences["b"].low[0] == explicit.low[0]


def test_one_replicate_is_an_interval_of_one_value() -> None:
    names, labels, scores = draw(9, patients=30, images=60, prevalence=(0.5,))
    found = PatientBootstrap(names, 1, 0).auroc(labels, scores)
    value = plain((names, labels, scores), roc_auc_score, 1, 0)[0, 0]
    assert (found.low[0], found.high[0]) == (pytest.approx(value), pytest.approx(value))


def test_the_best_by_hand() -> None:
    points = {"a": 0.7, "b": 0.8, "c": 0.6, "d": np.nan}
    for low, named in ((0.01, "b"), (0.0, None), (-0.01, None)):
        assert _best(points, {"b": (low, 0.3), "c": (-0.3, -0.2), "d": (np.nan, np.nan)}) == named
    for high, named in ((-0.01, "a"), (0.0, None), (0.01, None)):
        assert _best({"a": 0.9, "b": 0.8, "c": 0.6}, {"b": (-0.3, high), "c": (-0.4, -0.3)}) == named
    assert _best({"a": np.nan}, {"b": (0.1, 0.2)}) is None
