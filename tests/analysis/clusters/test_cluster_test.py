from itertools import combinations
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import false_discovery_control

from cxrsearch.analysis.clusters import cluster_test as module
from cxrsearch.analysis.clusters._exchange import Blocks
from cxrsearch.analysis.clusters._group_sums import PatientSums
from cxrsearch.analysis.clusters.cluster_test import BATCH, ClusterTest, cluster_test, holm
from cxrsearch.analysis.clusters.pair_distances import same_patient
from cxrsearch.analysis.clusters.spaces import to_space
from cxrsearch.analysis.measures.bootstrap import PatientBootstrap
from cxrsearch.arrays import Embeddings, Flags
from cxrsearch.errors import UsageError
from tests.analysis.clouds import Cloud, cloud, contrast, mean_over_pairs, squared
from tests.refusals import message


def run(drawn: Cloud, **options: Any) -> ClusterTest:
    options = {"permutations": 99, "replicates": 20} | options
    return cluster_test(drawn.points, drawn.groups[:, 1:], drawn.patients, drawn.same, **options)


def exchanged(drawn: Cloud, strata: NDArray[np.int64], permutation: int, seed: int) -> Flags:
    """The groups after one permutation, moved row by row."""
    patient = np.unique(drawn.patients, return_inverse=True)[1].astype(np.int64)
    blocks = Blocks.of(patient, strata)
    donor = blocks.draw(np.random.default_rng((seed, 1, permutation)))
    groups = np.empty_like(drawn.groups)
    for p in range(len(donor)):
        own, other = (np.flatnonzero(patient == q) for q in (p, donor[p]))
        by_stratum = (rows[np.argsort(strata[rows], kind="stable")] for rows in (own, other))
        to, source = by_stratum
        groups[to] = drawn.groups[source]
    return groups


@pytest.mark.parametrize("stratified", [False, True])
def test_p_is_the_share_of_permutations_whose_explicit_pairs_are_as_far_apart(
    stratified: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BATCH", 16)
    monkeypatch.setattr(module, "BLOCK", 32)
    drawn = cloud(4, patients=24)
    strata = np.random.default_rng(0).integers(0, 2, len(drawn.points)) * int(stratified)
    found = run(drawn, strata=strata, permutations=40, seed=3)
    for g in (1, 2):
        observed = contrast(drawn.points, drawn.groups[:, g], drawn.patients)
        permuted = [exchanged(drawn, strata, r, 3)[:, g] for r in range(1, 41)]
        null = [contrast(drawn.points, labels, drawn.patients) for labels in permuted]
        assert found.statistic[g - 1] == pytest.approx(observed, rel=1e-9)
        assert found.p_value[g - 1] == (1 + np.sum(np.array(null) >= observed - 1e-9)) / 41
        assert 1 / 41 < found.p_value[g - 1] < 1
    assert found.fixed_images > 0 if stratified else found.fixed_images == 0


def test_float32_products_err_by_less_than_a_tie() -> None:
    """Also for points far from the mean and of unlike norms."""
    rng = np.random.default_rng(0)
    points = to_space(rng.normal(size=(3000, 40)) * rng.lognormal(size=(3000, 1)) + 50).points
    patients = np.sort(rng.integers(0, 900, 3000))
    groups = rng.random((3000, 2)) < (0.5, 0.02)
    same = same_patient(points, patients)
    patient = np.unique(patients, return_inverse=True)[1].astype(np.int64)
    exchange = module._Exchange.of(points, groups, Blocks.of(patient, np.zeros(3000, dtype=np.int64)), same)
    everyone = PatientSums.of(points, np.ones(3000, dtype=np.bool_), patient, same)
    ones = np.ones((patient.max() + 1, 1))
    observed = [PatientSums.of(points, group, patient, same).weigh(ones) for group in groups.T]
    null = exchange.statistics(observed, everyone.weigh(ones), 5, 0, lambda *_: None)
    exact = np.array([sums.contrast(everyone.weigh(ones))[0] for sums in observed])
    error = np.abs(null[0] - exact) / everyone.weigh(ones).mean_within()
    assert (error < module.TIE / 10).all()


def test_p_is_that_of_all_labellings() -> None:
    """Ten patients of one image each with the finding, of fourteen: 1,001 labellings, all of them listed."""
    rng = np.random.default_rng(2)
    points = to_space(rng.normal(size=(14, 3)) + np.where(np.arange(14) < 10, 0.4, 0)[:, None]).points
    group = np.arange(14) < 10
    distances = squared(points)
    upper = np.triu(np.ones((14, 14), dtype=np.bool_), 1)

    def statistic(members: Flags) -> float:
        both, one = members[:, None] & members, members[:, None] ^ members
        return mean_over_pairs(distances, one & upper) - mean_over_pairs(distances, both & upper)

    labellings = [np.isin(np.arange(14), chosen) for chosen in combinations(range(14), 10)]
    exact = np.mean([statistic(members) >= statistic(group) - 1e-9 for members in labellings])
    found = cluster_test(
        points, group[:, None], np.arange(14), same_patient(points, np.arange(14)), permutations=4000, replicates=1
    )
    assert 0.02 < exact < 0.98
    assert found.p_value[0] == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 4000))


def test_the_interval_is_that_of_explicitly_copied_patients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REPLICATES", 8)
    drawn, replicates = cloud(5, patients=20), 30
    found = run(drawn, replicates=replicates, seed=7)
    names = np.unique(drawn.patients)
    times = PatientBootstrap(drawn.patients, replicates, 7).multiplicities(range(replicates))
    effects = []
    for r in range(replicates):
        rows = np.repeat(np.arange(len(drawn.points)), times[np.searchsorted(names, drawn.patients), r].astype(int))
        different = drawn.patients[rows][:, None] != drawn.patients[rows]
        overall = mean_over_pairs(squared(drawn.points[rows]), different)
        effects.append(contrast(drawn.points[rows], drawn.groups[rows, 1], drawn.patients[rows]) / overall)
    expected = np.percentile(effects, (2.5, 97.5))
    assert (found.effect_low[0], found.effect_high[0]) == pytest.approx(tuple(expected), rel=1e-8)
    different = drawn.patients[:, None] != drawn.patients
    assert found.global_mean == pytest.approx(mean_over_pairs(squared(drawn.points), different), rel=1e-9)
    assert found.effect[0] == pytest.approx(found.statistic[0] / found.global_mean)
    nearer = Cloud(drawn.points / np.float32(1024), drawn.groups, drawn.patients)
    tiny = run(nearer, replicates=replicates, seed=7)
    assert tiny.global_mean == pytest.approx(found.global_mean / 1024**2)
    for name in ("effect", "effect_low", "effect_high", "p_value"):  # these have no unit
        np.testing.assert_allclose(getattr(tiny, name), getattr(found, name), rtol=1e-9)


def shuffled(seed: int) -> tuple[Embeddings, Flags, NDArray[np.int64]]:
    """60 patients of 1 to 4 images, alike in a patient as are the labels, which say nothing about the images."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 5, 60)
    patients = np.repeat(np.arange(60), sizes)
    embeddings = 2 * rng.normal(size=(60, 8))[patients] + rng.normal(size=(len(patients), 8))
    labels = rng.random(len(patients)) < rng.choice([0.05, 0.9], 60, p=[0.6, 0.4])[patients]
    return to_space(embeddings).points, labels[:, None], patients


def rejections(by_patient: bool, runs: int = 200) -> int:
    count = 0
    for seed in range(runs):
        points, labels, patients = shuffled(seed)
        patients = patients if by_patient else np.arange(len(patients))
        same = same_patient(points, patients)
        found = cluster_test(points, labels, patients, same, permutations=199, replicates=1, seed=seed)
        count += int(found.p_value[0] < 0.05)
    return count


def test_shuffled_labels_are_rejected_as_often_as_p_says() -> None:
    assert 2 <= rejections(by_patient=True) <= 21


def test_taking_every_image_for_a_patient_would_reject_too_often() -> None:
    assert rejections(by_patient=False, runs=50) > 10


def planted(shift: float) -> ClusterTest:
    """300 patients of 1 to 4 images; 14 findings at random, the images of the first moved: those of 11 patients."""
    rng = np.random.default_rng(11)
    patients = np.repeat(np.arange(300), rng.integers(1, 5, 300))
    embeddings = 0.5 * rng.normal(size=(300, 32))[patients] + rng.normal(size=(len(patients), 32))
    groups = rng.random((len(patients), 14)) < 0.1
    groups[:, 0] = patients < 11
    embeddings[groups[:, 0], :4] += shift
    points = to_space(embeddings).points
    return cluster_test(points, groups, patients, same_patient(points, patients), permutations=999, replicates=200)


def test_a_planted_cluster_of_11_patients_is_found_and_no_other() -> None:
    found = planted(shift=2.0)
    adjusted = holm(found.p_value)
    assert adjusted[0] < 0.05
    assert (adjusted[1:] > 0.05).all()
    assert found.effect[0] > 0.05
    assert 0 < found.effect_low[0] < found.effect[0] < found.effect_high[0]
    assert planted(shift=0.0).p_value[0] > 0.05


def test_fewer_than_10_patients_all_images_and_none_are_not_tested() -> None:
    rng = np.random.default_rng(0)
    patients = np.repeat(np.arange(30), 2)
    points = to_space(rng.normal(size=(60, 4))).points
    groups = np.column_stack([np.arange(60) < limit for limit in (18, 20, 60, 0, 1)])
    found = cluster_test(points, groups, patients, same_patient(points, patients), permutations=19, replicates=20)
    for values in (found.statistic, found.effect, found.effect_low, found.effect_high, found.p_value):
        assert np.isnan(values).tolist() == [True, False, True, True, True]


def test_one_patient_and_patients_who_are_all_fixed() -> None:
    drawn = cloud(1, patients=1)
    found = run(drawn)
    assert np.isnan(found.global_mean)
    assert np.isnan(found.p_value).all()
    sizes = np.arange(1, 13)  # no two patients with as many images: every permutation is the identity
    patients = np.repeat(sizes, sizes)
    points = to_space(np.random.default_rng(0).normal(size=(len(patients), 3))).points
    groups = np.append([True], np.diff(patients) > 0)[:, None]  # the first image of each
    alone = cluster_test(points, groups, patients, same_patient(points, patients), permutations=30, replicates=5)
    assert alone.p_value[0] == 1
    assert (alone.fixed_patients, alone.fixed_images) == (12, len(patients))


def test_images_that_are_all_equal_do_not_cluster() -> None:
    points = np.zeros((40, 3), dtype=np.float32)
    groups = (np.arange(40) < 20)[:, None]
    found = cluster_test(
        points, groups, np.arange(40), same_patient(points, np.arange(40)), permutations=9, replicates=5
    )
    assert found.p_value[0] == 1
    assert found.statistic[0] == 0
    assert np.isnan(found.effect[0])


def test_the_same_bytes_again_and_others_with_another_seed() -> None:
    drawn = cloud(6, patients=40)
    one, again, other = run(drawn, seed=1), run(drawn, seed=1), run(drawn, seed=2)
    for name in ("p_value", "effect_low", "effect_high"):
        assert getattr(one, name).tobytes() == getattr(again, name).tobytes()
        assert getattr(one, name).tobytes() != getattr(other, name).tobytes()


def test_a_permutation_does_not_depend_on_how_many_there_are() -> None:
    drawn = cloud(6, patients=40)
    few, many = (run(drawn, permutations=count).p_value * (1 + count) for count in (BATCH, 2 * BATCH + 3))
    assert ((few <= many) & (many <= few + BATCH + 3)).all()


def test_holm_is_the_step_down_of_bonferroni() -> None:
    p = np.array([0.01, np.nan, 0.04, 0.03, 0.005, np.nan])
    np.testing.assert_allclose(holm(p), [0.03, np.nan, 0.06, 0.06, 0.02, np.nan])
    assert holm(np.array([0.9, 0.8])).tolist() == [1, 1]
    assert holm(np.array([0.02])).tolist() == [0.02]
    assert np.isnan(holm(np.full(3, np.nan))).all()
    drawn = np.random.default_rng(0).random(30) ** 3
    assert (holm(drawn) >= false_discovery_control(drawn) - 1e-15).all()
    assert holm(drawn).min() == pytest.approx(30 * drawn.min())


def test_what_cannot_be_tested_is_refused() -> None:
    drawn = cloud(1, patients=5)
    groups: Any
    for groups in (drawn.groups[1:], drawn.groups.astype(np.int64), drawn.groups[:, 0]):
        assert message(UsageError, cluster_test, drawn.points, groups, drawn.patients, drawn.same) == (
            f"points, bool groups and patients must fit together: got points {drawn.points.shape}, "
            f"groups {groups.dtype} {groups.shape}, {len(drawn.patients)} patients — give one row per image"
        )
    for few in (drawn.points[:0], drawn.points[:3]):
        rows = drawn.groups[: len(few)], drawn.patients[:0]
        assert "0 patients — give one row per image" in message(UsageError, cluster_test, few, *rows, drawn.same)
    for permutations, seed in ((0, 0), (9, -1)):
        assert message(UsageError, run, drawn, permutations=permutations, seed=seed) == (
            "a test needs permutations and a seed from 0 on: "
            f"got {permutations} permutations, seed {seed} — correct these"
        )
    assert message(UsageError, run, drawn, replicates=0).startswith("a bootstrap needs images, replicates and a seed")
    assert message(UsageError, run, drawn, strata=np.zeros(2, dtype=np.int64)) == (
        f"patients and strata must be as many: got {drawn.patients.shape} and (2,) — give each image its stratum"
    )


def test_by_default_1000_permutations_and_2000_replicates_of_seed_0() -> None:
    drawn = cloud(5, patients=20)
    given = drawn.points, drawn.groups[:, 1:2], drawn.patients, drawn.same
    plainly, named = cluster_test(*given), cluster_test(*given, permutations=1000, replicates=2000, seed=0)
    assert plainly.permutations == 1000
    for name in ("p_value", "effect_low", "effect_high"):
        assert getattr(plainly, name).tolist() == getattr(named, name).tolist()


def test_one_permutation_is_enough_for_a_half() -> None:
    found = planted_pair()
    assert found.p_value[0] == 0.5
    assert found.permutations == 1


def planted_pair() -> ClusterTest:
    """Two clusters so far apart that no permutation can be as good, by one permutation."""
    points = to_space(np.where(np.arange(40) < 20, 0.0, 9.0)[:, None] + np.arange(40)[:, None] / 100).points
    groups = (np.arange(40) < 20)[:, None]
    same = same_patient(points, np.arange(40))
    return cluster_test(points, groups, np.arange(40), same, permutations=1, replicates=1)


def test_progress_tells_intervals_and_permutations() -> None:
    calls: list[tuple[str, int, int]] = []
    drawn = cloud(6, patients=40)
    for permutations, batches in ((2 * BATCH, [0, BATCH, 2 * BATCH]), (2 * BATCH - 1, [0, BATCH])):
        calls.clear()
        run(drawn, permutations=permutations, progress=lambda *call: calls.append(call))
        assert calls == [
            *(("intervals", done, 2) for done in range(3)),
            *(("permutations", done, permutations + 1) for done in [*batches, permutations + 1]),
        ]


def test_a_group_of_all_but_one_is_tested_though_a_replicate_may_lack_the_one() -> None:
    names = np.arange(30)
    points = to_space(np.random.default_rng(0).normal(size=(30, 4))).points
    drawn = Cloud(points, np.column_stack([names >= 0, names > 0]), names)
    seed = next(s for s in range(99) if PatientBootstrap(names, 1, s).multiplicities(range(1))[0, 0] == 0)
    found = run(drawn, permutations=40, replicates=1, seed=seed)
    observed = contrast(points, names > 0, names)
    strata = np.zeros(30, dtype=np.int64)
    null = [contrast(points, exchanged(drawn, strata, r, seed)[:, 1], names) for r in range(1, 41)]
    assert found.p_value[0] == (1 + np.sum(np.array(null) >= observed - 1e-9)) / 41
    assert np.isnan([found.effect_low[0], found.effect_high[0]]).all()


def test_one_image_alone_is_no_pair() -> None:
    point, patient = np.zeros((1, 2), np.float32), np.arange(1)
    found = cluster_test(point, np.ones((1, 1), np.bool_), patient, same_patient(point, patient))
    assert np.isnan([found.global_mean, found.statistic[0], found.p_value[0]]).all()
    assert (found.fixed_patients, found.fixed_images) == (1, 1)
