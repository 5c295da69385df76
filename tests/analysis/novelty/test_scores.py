"""Every score of novelty, against plain float64 references."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from scipy.special import expit, logsumexp
from sklearn.covariance import ledoit_wolf as sklearn_ledoit_wolf
from sklearn.neighbors import LocalOutlierFactor

from cxrsearch.analysis.models.model import Sample
from cxrsearch.analysis.novelty._centroid import Centroid
from cxrsearch.analysis.novelty._gaussian import Mahalanobis, RelativeMahalanobis, ledoit_wolf
from cxrsearch.analysis.novelty._novelty_score import NoveltyScore, classes
from cxrsearch.analysis.novelty._outlier_factor import OutlierFactor
from cxrsearch.analysis.novelty.head_scores import Energy, Head, MaxProbability, NoFinding, ViM
from cxrsearch.analysis.novelty.neighbours import ClassNeighbours, KNeighbours
from cxrsearch.analysis.novelty.references import at_random, by_rare_view, ceiling
from cxrsearch.analysis.novelty.score_registry import SCORES, create
from cxrsearch.errors import UsageError

Floats = NDArray[np.float64]
N, DIM = 60, 5


def known(seed: int = 0, n: int = N, dim: int = DIM) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    rng = np.random.default_rng(seed)
    labels = rng.random((n, 3)) < 0.35
    points = rng.normal(size=(n, dim)) * np.arange(1, dim + 1) + 10 + labels @ rng.normal(size=(3, dim)) * 4
    return points.astype(np.float32), labels


def asked(seed: int = 1, m: int = 17, dim: int = DIM) -> NDArray[np.float32]:
    return (np.random.default_rng(seed).normal(size=(m, dim)) * 6 + 10).astype(np.float32)


def head(dim: int = DIM) -> Head:
    rng = np.random.default_rng(2)
    return Head(rng.normal(size=(dim, 3)) * 0.2, rng.normal(size=3) - 2)


def unit(points: NDArray[np.float32]) -> Floats:
    exact = points.astype(np.float64)
    return np.asarray(exact / np.linalg.norm(exact, axis=1, keepdims=True))


def members(labels: NDArray[np.bool_]) -> list[NDArray[np.bool_]]:
    """The findings that occur, and No Finding where it does, as the protocol has it."""
    every = [*labels.T, ~labels.any(axis=1)]
    return [own for own in every if own.any()]


def test_an_image_is_of_every_class_it_carries() -> None:
    labels = np.array([[1, 1, 0], [0, 0, 0], [0, 1, 0]], dtype=np.bool_)
    found = classes(np.zeros((3, 2), np.float32), labels)
    assert found.tolist() == [[True, True, False], [False, False, True], [False, True, False]]


@pytest.mark.parametrize("k", [1, 4, N, N + 9])
def test_the_distance_to_the_kth_neighbour(k: int) -> None:
    points, labels = known()
    found = KNeighbours(k).fit(points, labels).score(asked())
    reference = np.sort(cdist(unit(asked()), unit(points)), axis=1)[:, min(k, N) - 1]
    np.testing.assert_allclose(found, reference, atol=2e-6)


@pytest.mark.parametrize("k", [1, 7, 25, 500])
def test_the_distance_within_the_nearest_class(k: int) -> None:
    points, labels = known()
    found = ClassNeighbours(k).fit(points, labels).score(asked())
    sizes = [own.sum() for own in members(labels)]
    worth = min(k, max(sizes))
    columns = [
        np.sort(cdist(unit(asked()), unit(points[own])), axis=1)[:, min(k, own.sum()) - 1]
        for own in members(labels)
        if own.sum() >= worth
    ]
    np.testing.assert_allclose(found, np.min(columns, axis=0), atol=2e-6)


def test_the_distance_to_the_nearest_centroid() -> None:
    points, labels = known()
    found = Centroid().fit(points, labels).score(asked())
    mean, deviation = points.astype(np.float64).mean(0), points.astype(np.float64).std(0)
    standard, others = (points - mean) / deviation, (asked() - mean) / deviation
    centroids = np.array([standard[own].mean(0) for own in members(labels)])
    np.testing.assert_allclose(found, cdist(others, centroids).min(1), rtol=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 40), st.integers(1, 30), st.integers(0, 99))
def test_the_shrunk_covariance_is_sklearns(n: int, dim: int, seed: int) -> None:
    rows = np.random.default_rng(seed).normal(size=(n, dim)) * np.arange(1, dim + 1)
    expected, _ = sklearn_ledoit_wolf(rows, assume_centered=True)
    found = ledoit_wolf(iter(np.array_split(rows, 3)), dim)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def mahalanobis(points: NDArray[np.float32], groups: list[NDArray[np.bool_]], others: NDArray[np.float32]) -> Floats:
    exact = points.astype(np.float64)
    means = [exact[own].mean(0) for own in groups]
    deviations = np.concatenate([exact[own] - mean for own, mean in zip(groups, means, strict=True)])
    inverse = np.linalg.inv(sklearn_ledoit_wolf(deviations, assume_centered=True)[0])
    return np.asarray((cdist(others.astype(np.float64), means, "mahalanobis", VI=inverse) ** 2).min(1))


def test_mahalanobis_counts_an_image_in_each_of_its_classes() -> None:
    points, labels = known()
    found = Mahalanobis().fit(points, labels).score(asked())
    np.testing.assert_allclose(found, mahalanobis(points, members(labels), asked()), rtol=1e-7)


def test_relative_mahalanobis_is_the_difference_to_one_gaussian() -> None:
    points, labels = known()
    found = RelativeMahalanobis().fit(points, labels).score(asked())
    everyone = mahalanobis(points, [np.ones(N, dtype=np.bool_)], asked())
    np.testing.assert_allclose(found, mahalanobis(points, members(labels), asked()) - everyone, rtol=1e-6, atol=1e-7)


def test_the_local_outlier_factor_is_sklearns_in_the_standardised_space() -> None:
    points, labels = known()
    found = OutlierFactor(neighbours=9).fit(points, labels).score(asked())
    mean, deviation = points.astype(np.float64).mean(0), points.astype(np.float64).std(0)
    model = LocalOutlierFactor(n_neighbors=9, novelty=True).fit((points - mean) / deviation)
    np.testing.assert_allclose(found, -model.score_samples((asked() - mean) / deviation), rtol=1e-4)


def test_the_local_outlier_factor_learns_from_a_seeded_sample() -> None:
    points, labels = known()
    whole, some, same = (
        OutlierFactor(5, limit=limit, seed=3).fit(points, labels).score(asked()) for limit in (N, 30, 30)
    )
    np.testing.assert_array_equal(some, same)
    assert not np.allclose(whole, some)


def test_what_a_head_says() -> None:
    points, labels = known()
    outputs = asked().astype(np.float64) @ head().weights + head().bias
    p = expit(outputs)
    np.testing.assert_allclose(MaxProbability(head()).fit(points, labels).score(asked()), -p.max(1), rtol=1e-9)
    np.testing.assert_allclose(Energy(head()).fit(points, labels).score(asked()), -np.log1p(np.exp(outputs)).sum(1))
    np.testing.assert_allclose(NoFinding(head()).fit(points, labels).score(asked()), 1 - np.prod(1 - p, axis=1))


def test_a_head_loses_the_output_of_a_held_out_finding() -> None:
    np.testing.assert_array_equal(head().without(1)(asked()), head()(asked())[:, [0, 2]])


def test_vim_is_residual_and_energy() -> None:
    points, labels = known()
    found = ViM(head()).fit(points, labels)
    exact, others = points.astype(np.float64), asked().astype(np.float64)
    origin = -np.linalg.pinv(head().weights.T) @ head().bias
    _, _, axes = np.linalg.svd(exact - origin, full_matrices=True)
    outside = axes[DIM // 2 :]
    energy = [logsumexp(np.stack([np.zeros((len(x), 3)), head()(x)]), axis=0).sum(1) for x in (points, asked())]
    scale = energy[0].mean() / np.linalg.norm((exact - origin) @ outside.T, axis=1).mean()
    residual = np.linalg.norm((others - origin) @ outside.T, axis=1)
    np.testing.assert_allclose(found.score(asked()), scale * residual - energy[1], rtol=1e-7)
    assert found.scale > 0


@pytest.mark.parametrize("name", ["knn", "class-knn", "centroid", "mahalanobis", "lof", "vim"])
def test_far_from_all_is_more_novel(name: str) -> None:
    points, labels = known()
    score = create(name, head()).fit(points, labels)
    far = np.array([[-900, 800, -700, 600, 500]], dtype=np.float32)
    assert score.score(far)[0] > score.score(points).max()


@pytest.mark.parametrize("name", SCORES)
def test_duplicates_and_one_class_are_scored(name: str) -> None:
    points, _ = known()
    doubled = np.concatenate([points, points[:5]])
    score = create(name, head(), k=3).fit(doubled, np.zeros((len(doubled), 3), dtype=np.bool_))
    assert np.isfinite(score.score(asked())).all()


@pytest.mark.parametrize(
    ("score", "n"),
    [
        (Mahalanobis, 1),
        (RelativeMahalanobis, 1),
        (OutlierFactor, 1),
        (lambda: ViM(Head(np.zeros((DIM, 0)), np.zeros(0))), 9),
    ],
)
def test_what_cannot_be_learned_is_refused(score: Callable[[], NoveltyScore], n: int) -> None:
    with pytest.raises(UsageError):
        score().fit(np.ones((n, DIM), np.float32), np.zeros((n, 3), dtype=np.bool_))


def test_labels_of_other_images_are_refused() -> None:
    with pytest.raises(UsageError, match="60 embeddings, labels of 59 images"):
        Centroid().fit(known()[0], known()[1][:-1])


def test_a_rare_view_is_novel() -> None:
    views = ["PA", "PA", "PA", "AP", None]
    np.testing.assert_allclose(by_rare_view(views, ["PA", "AP", None, "LL"]), [0.4, 0.8, 0.8, 1.0])
    with pytest.raises(UsageError, match="no view is known"):
        by_rare_view([None], ["PA"])


def test_chance_is_seeded() -> None:
    np.testing.assert_array_equal(at_random(5, 1), at_random(5, 1))
    assert not np.array_equal(at_random(5, 1), at_random(5, 2))


def test_the_ceiling_has_seen_the_finding() -> None:
    points, labels = known(n=200)
    train = Sample(points[:150], labels[:150], np.arange(150))
    val = Sample(points[150:], labels[150:], np.arange(50))
    direction = np.linalg.lstsq(
        np.column_stack([points[:150].astype(np.float64), np.ones(150)]), labels[:150, 1] * 2.0 - 1, rcond=None
    )[0]
    others = asked(m=50)
    linear = others.astype(np.float64) @ direction[:-1] + direction[-1]
    assert np.corrcoef(ceiling(train, val, 1, others), linear)[0, 1] > 0.95
    nobody = Sample(points[:9], np.zeros((9, 3), dtype=np.bool_), np.arange(9))
    with pytest.raises(UsageError, match="no training image shows the finding"):
        ceiling(nobody, val, 1, others)
