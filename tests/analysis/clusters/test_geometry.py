from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import skew
from sklearn.decomposition import PCA
from sklearn.metrics import silhouette_samples
from sklearn.neighbors import NearestNeighbors

from cxrsearch.analysis.clusters import geometry
from cxrsearch.analysis.clusters.geometry import hubness, participation_ratio, separation
from cxrsearch.analysis.clusters.pair_distances import GroupDistances, group_distances, same_patient
from cxrsearch.analysis.clusters.spaces import to_space
from cxrsearch_indexes.base import Neighbours
from tests.analysis.clouds import cloud


def test_participation_ratio_is_that_of_the_eigenvalues(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(geometry, "BLOCK", 64)
    rng = np.random.default_rng(0)
    points = to_space(rng.normal(size=(300, 10)) * np.arange(1, 11), "raw").points
    values = PCA().fit(points.astype(np.float64)).explained_variance_
    assert participation_ratio(points) == pytest.approx(values.sum() ** 2 / (values**2).sum(), rel=1e-6)


def test_participation_ratio_of_a_ball_a_line_and_a_point() -> None:
    rng = np.random.default_rng(0)
    assert participation_ratio(to_space(rng.normal(size=(500, 6)), "whitened").points) == pytest.approx(6, rel=1e-5)
    line = rng.normal(size=(50, 1)) * np.array([1.0, -2.0, 3.0])
    assert participation_ratio(to_space(line).points) == pytest.approx(1, rel=1e-6)
    assert np.isnan(participation_ratio(to_space(np.ones((5, 3))).points))


def partition(labels: np.ndarray) -> np.ndarray:
    parts: np.ndarray = labels[:, None] == np.unique(labels)
    return parts


def silhouettes(found: GroupDistances, groups: np.ndarray) -> np.ndarray:
    return separation(found.image_l2, found.image_pairs, groups)


def test_separation_of_a_partition_is_the_silhouette() -> None:
    rng = np.random.default_rng(0)
    labels = np.append(rng.integers(0, 3, 90), 3)  # the last image is a group of its own
    points = to_space(rng.normal(size=(91, 5)) + labels[:, None]).points
    groups = partition(labels)
    found = group_distances(points, groups, same_patient(points, np.arange(91)))
    expected = silhouette_samples(points.astype(np.float64), labels)
    np.testing.assert_allclose(
        silhouettes(found, groups), [expected[labels == label].mean() for label in range(4)], rtol=1e-5, atol=1e-7
    )


def test_separation_of_overlapping_groups_over_different_patients() -> None:
    drawn = cloud(3, patients=20, shares=(0.5, 0.3, 0.2))
    groups = drawn.groups[:, 1:]
    found = group_distances(drawn.points, groups, drawn.same)
    distances = np.linalg.norm(drawn.points[:, None].astype(np.float64) - drawn.points, axis=2)
    for g in range(3):
        values = []
        for image in np.flatnonzero(groups[:, g]):
            different = drawn.patients != drawn.patients[image]
            means = [distances[image, different & group].mean() for group in groups.T]
            others = [mean for mean, inside in zip(means, groups[image], strict=True) if not inside]
            values.append((min(others) - means[g]) / max(min(others), means[g]) if others else 0)
        assert silhouettes(found, groups)[g] == pytest.approx(np.mean(values), rel=1e-5)


def test_separation_without_images_without_others_and_of_equal_ones() -> None:
    points = np.zeros((4, 2), dtype=np.float32)
    groups = np.array([[True, False, False]] * 2 + [[False, True, False]] * 2)
    found = group_distances(points, groups, same_patient(points, np.arange(4)))
    np.testing.assert_array_equal(silhouettes(found, groups), [0, 0, np.nan])
    alone = group_distances(points, groups[:, :1], same_patient(points, np.zeros(4)))
    np.testing.assert_array_equal(silhouettes(alone, groups[:, :1]), [0])


def test_hubness_by_hand(by_hand: Callable[..., Neighbours]) -> None:
    found = hubness(by_hand([(1, 0.1), (2, 0.2)], [(0, 0.1), (2, 0.3)], [(0, 0.2)], [(0, 0.1), (1, 0.4)]), 2, 4)
    assert found.k == 2
    assert found.skew == pytest.approx(skew([3, 2, 2, 0]))
    assert found.anti_hub_share == 0.25
    even = hubness(by_hand([(1, 0.1)], [(0, 0.1)]), 1, 2)
    assert np.isnan(even.skew)
    assert even.anti_hub_share == 0


def test_hubs_grow_with_the_dimension(by_hand: Callable[..., Neighbours]) -> None:
    rng = np.random.default_rng(0)
    results = []
    for dim in (2, 100):
        rows = NearestNeighbors(n_neighbors=11).fit(points := rng.normal(size=(600, dim))).kneighbors(points)[1][:, 1:]
        results.append(hubness(by_hand(*([(row, 0.0) for row in query] for query in rows)), 10, 600))
    assert results[0].skew < 0.5 < 2 < results[1].skew
    assert results[0].anti_hub_share < 0.01 < results[1].anti_hub_share


def test_separation_by_hand_where_means_are_unknown() -> None:
    """The first image has no pair with group 1, the last none with its own; the second is at .2 and .3."""
    image_l2 = np.array([[0.2, 0.0], [0.4, 0.3], [0.5, 0.0]])
    image_pairs = np.array([[1, 0], [2, 1], [1, 0]])
    groups = np.array([[True, False], [True, False], [False, True]])
    np.testing.assert_allclose(separation(image_l2, image_pairs, groups), [(0 + 1 / 3) / 2, 0])
    assert separation(image_l2[:, :0], image_pairs[:, :0], groups[:, :0]).tolist() == []
