from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.distance import cdist, pdist

from cxrsearch.analysis.clusters import _pair_distances_gpu as pair_distances_gpu
from cxrsearch.analysis.clusters import pair_distances
from cxrsearch.analysis.clusters.pair_distances import (
    PairSums,
    group_distances,
    l1_sums,
    l2_to_groups,
    pair_counts,
    same_patient,
    squared_l2_sums,
)
from cxrsearch.analysis.clusters.spaces import to_space
from cxrsearch.errors import UsageError
from tests.analysis.clouds import cloud
from tests.refusals import message

METRICS = {"l2": "euclidean", "squared_l2": "sqeuclidean", "l1": "cityblock"}


def over_pairs(points: NDArray[Any], groups: NDArray[Any], chosen: NDArray[Any], metric: str) -> PairSums:
    """The sums over chosen cells of the whole matrix of distances, in float64."""
    values = np.where(chosen, cdist(points.astype(np.float64), points.astype(np.float64), METRICS[metric]), 0)
    members = groups.astype(np.float64)
    sums, pairs = members.T @ values @ members, (members.T @ chosen @ members).astype(np.int64)
    return PairSums(pairs, **dict.fromkeys(METRICS, sums))


def assert_equal_sums(found: PairSums, expected: PairSums, metric: str, rtol: float = 1e-6) -> None:
    np.testing.assert_array_equal(found.pairs, expected.pairs)
    assert found.pairs.dtype == np.int64
    np.testing.assert_allclose(getattr(found, metric), getattr(expected, metric), rtol=rtol, atol=1e-9)


@pytest.mark.parametrize("tile", [16, 1024])
@pytest.mark.parametrize("metric", METRICS)
def test_sums_over_all_pairs_and_over_different_patients(
    metric: str, tile: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TILE", "BLOCK", "_PIECE", "_PAIRS"):
        monkeypatch.setattr(pair_distances, name, tile)
    monkeypatch.setattr(pair_distances, "_DIMENSIONS", 4)
    drawn = cloud(1, patients=30, shares=(0.5, 0.2, 0.0))
    found = group_distances(drawn.points, drawn.groups, drawn.same)
    different = drawn.patients[:, None] != drawn.patients
    everything = ~np.eye(len(drawn.points), dtype=np.bool_)
    assert_equal_sums(found.all_pairs, over_pairs(drawn.points, drawn.groups, everything, metric), metric)
    assert_equal_sums(found.other_patients, over_pairs(drawn.points, drawn.groups, different, metric), metric)
    values = cdist(drawn.points.astype(np.float64), drawn.points.astype(np.float64)) * different
    np.testing.assert_allclose(found.image_l2, values @ drawn.groups, rtol=1e-5)
    np.testing.assert_array_equal(found.image_pairs, different.astype(np.int64) @ drawn.groups)
    assert found.image_pairs.dtype == np.int64


@pytest.mark.parametrize("offset", [0.0, 100.0])
@pytest.mark.parametrize("metric", METRICS)
def test_means_are_scipys_under_an_offset(metric: str, offset: float) -> None:
    rng = np.random.default_rng(0)
    embeddings = (rng.normal(size=(300, 20)) * 0.1 + offset).astype(np.float32)
    group = np.arange(300) % 3 == 0
    points = to_space(embeddings, "raw").points
    same = same_patient(points, np.arange(300))
    sums = group_distances(points, np.column_stack([np.ones(300, dtype=np.bool_), group]), same).all_pairs
    exact = embeddings.astype(np.float64)
    within, rest = pdist(exact[group], METRICS[metric]), cdist(exact[group], exact[~group], METRICS[metric])
    assert sums.mean(metric)[1, 1] == pytest.approx(within.mean(), rel=1e-6)
    assert sums.mean(metric)[0, 0] == pytest.approx(pdist(exact, METRICS[metric]).mean(), rel=1e-6)
    assert sums.mean_to_rest(metric)[1] == pytest.approx(rest.mean(), rel=1e-6)
    assert np.isnan(sums.mean_to_rest(metric)[0])


@pytest.mark.parametrize("metric", METRICS)
def test_duplicates_are_at_distance_0_and_near_ones_where_they_are(metric: str) -> None:
    """100 copies of one image and 100 within 1e-4 of another, far from the mean: products would lose all digits."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(2, 50)) * 30
    near = centres[1] + rng.normal(size=(100, 50)) * 1e-4
    points = np.concatenate([np.repeat(centres[:1], 100, axis=0), near]).astype(np.float32)
    groups = np.column_stack([np.arange(200) < 100, np.arange(200) >= 100])
    found = group_distances(points, groups, same_patient(points, np.arange(200)))
    exact = pdist(points[100:].astype(np.float64), METRICS[metric]).mean()
    tolerance = 1e-4 if metric == "squared_l2" else 1e-7  # the closed form keeps float64's digits of the squared norm
    assert found.all_pairs.mean(metric)[0, 0] == pytest.approx(0, abs=1e-9)
    assert found.all_pairs.mean(metric)[1, 1] == pytest.approx(exact, rel=tolerance)


def test_two_images_and_one() -> None:
    points = np.array([[3, 4], [0, 0]], dtype=np.float32)
    groups = np.array([[True, True], [True, False]])
    sums = group_distances(points, groups, same_patient(points, np.array(["a", "a"])))
    for metric, value in (("l2", 5), ("squared_l2", 25), ("l1", 7)):
        np.testing.assert_allclose(sums.all_pairs.mean(metric), np.array([[value, value], [value, np.nan]]))
        assert np.isnan(sums.other_patients.mean(metric)).all()
    alone = group_distances(points[:1], groups[:1], same_patient(points[:1], np.array(["a"])))
    assert np.isnan(alone.all_pairs.mean("l2")).all()


def test_points_of_no_dimension_are_all_equal() -> None:
    points, groups = np.zeros((3, 0), dtype=np.float32), np.ones((3, 1), dtype=np.bool_)
    sums = group_distances(points, groups, same_patient(points, np.array([0, 0, 1]))).all_pairs
    assert [sums.mean(metric)[0, 0] for metric in METRICS] == [0, 0, 0]


def test_pairs_of_one_patient_are_all_of_them_once() -> None:
    drawn = cloud(2, patients=20)
    same = drawn.same
    expected = {(i, j) for i in range(len(drawn.points)) for j in range(i) if drawn.patients[i] == drawn.patients[j]}
    assert {(int(j), int(i)) for i, j in zip(same.first, same.second, strict=True)} == expected
    assert len(same.first) == len(expected)
    for values, metric in ((same.l2, "euclidean"), (same.squared_l2, "sqeuclidean"), (same.l1, "cityblock")):
        exact = cdist(drawn.points.astype(np.float64), drawn.points.astype(np.float64), metric)
        np.testing.assert_allclose(values, exact[same.first, same.second], rtol=1e-12)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 40), st.integers(1, 5), st.integers(1, 4), st.booleans())
def test_any_points_and_groups(seed: int, n: int, dim: int, count: int, tied: bool) -> None:
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(n, dim)).astype(np.float32)
    points = np.round(points) if tied else points
    groups = rng.random((n, count)) < rng.random(count)
    everything = ~np.eye(n, dtype=np.bool_)
    expected = {metric: getattr(over_pairs(points, groups, everything, metric), metric) for metric in METRICS}
    to_groups = l2_to_groups(points, groups)
    np.testing.assert_allclose(groups.T.astype(np.float64) @ to_groups, expected["l2"], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(squared_l2_sums(points, groups), expected["squared_l2"], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(l1_sums(points, groups), expected["l1"], rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(pair_counts(groups), groups.T.astype(int) @ everything @ groups)


def test_progress_counts_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pair_distances, "TILE", 10)
    calls: list[tuple[str, int, int]] = []
    drawn = cloud(1, patients=100)
    points, groups = drawn.points[:35], drawn.groups[:35]  # 4 tiles on a side, the half of 16 and the diagonal
    group_distances(points, groups, same_patient(points, np.arange(35)), lambda *call: calls.append(call))
    assert calls == [("distances of all pairs", done, 10) for done in (0, 4, 7, 9, 10)]
    assert {type(total) for _, _, total in calls} == {int}


def test_arrays_that_do_not_fit_are_refused() -> None:
    drawn = cloud(1, patients=10)
    groups: Any
    for groups in (drawn.groups[1:], drawn.groups.astype(np.int64), drawn.groups[:, 0]):
        assert message(UsageError, group_distances, drawn.points, groups, drawn.same) == (
            "groups must be bool (images, groups), one row per point: "
            f"got points {drawn.points.shape}, groups {groups.dtype} {groups.shape} — give one row per image"
        )
    assert "points (0, 6)" in message(UsageError, group_distances, drawn.points[:0], drawn.groups[:0], drawn.same)
    said = f"{len(drawn.points)} images, patients of 3 — give each image its patient"
    assert message(UsageError, same_patient, drawn.points, np.arange(3)) == said


@pytest.mark.parametrize("tile", [16, 4096])
@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_the_path_of_other_devices_sums_the_same(tile: int, offset: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pair_distances_gpu, "TILE", tile)
    rng = np.random.default_rng(3)
    points = rng.standard_normal((101, 8)).astype(np.float32) + np.float32(offset)
    points[40:60] = points[0]  # duplicates: the product alone would leave them 1e-4 apart
    groups = rng.random((101, 3)) < 0.4
    found = pair_distances_gpu.l2_to_groups_on(torch.device("cpu"), points, groups)
    expected = cdist(points.astype(np.float64), points.astype(np.float64)) @ groups
    np.testing.assert_allclose(found, expected, rtol=1e-7)


def test_another_device_than_cpu_is_handed_over_and_sums_in_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = cloud(3, patients=30)
    expected = cdist(drawn.points.astype(np.float64), drawn.points.astype(np.float64)) @ drawn.groups
    calls: list[tuple[str, int, int]] = []
    args = drawn.points, drawn.groups
    found = l2_to_groups(*args, lambda *call: calls.append(call), "cpu:0")  # a device of torch's, by its full name
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert calls[-1][0] == "distances of all pairs"
    alone = same_patient(drawn.points, np.arange(len(drawn.points)))
    np.testing.assert_array_equal(group_distances(*args, alone, device="cpu:0").image_l2, found)
    assert (np.abs(l2_to_groups(*args) - expected) > 1e-9).any()  # float32 would have shown
    monkeypatch.setattr(pair_distances_gpu, "l2_to_groups_on", lambda device, *_: device)
    handed: Any = l2_to_groups(*args, device="cuda:1")
    assert handed == torch.device("cuda:1")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU")
def test_a_gpu_sums_as_the_cpu_does() -> None:
    drawn = cloud(2, patients=3000, shares=(0.5, 0.2))
    found = l2_to_groups(drawn.points, drawn.groups, device="cuda")
    np.testing.assert_allclose(found, l2_to_groups(drawn.points, drawn.groups), rtol=1e-6)
