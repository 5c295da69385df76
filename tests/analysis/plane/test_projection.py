import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import spearmanr
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE, trustworthiness

from cxrsearch.analysis.plane import projection
from cxrsearch.analysis.plane.projection import COMPONENTS, principal_components, project
from cxrsearch.errors import MissingDependencyError, UsageError
from cxrsearch_indexes.vectors import Vectors


def blobs(centres: NDArray[Any], each: int = 20, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Points around centres (m, d) with standard deviation 1, and the centre of each."""
    of = np.repeat(np.arange(len(centres)), each)
    noise = np.random.default_rng(seed).normal(size=(len(of), centres.shape[1]))
    return (centres[of] + noise).astype(np.float32), of


def corners(count: int, dim: int = 12, apart: float = 20) -> NDArray[np.float64]:
    return apart * np.eye(dim)[:count]


def nearest(points: NDArray[Any], k: int) -> NDArray[np.int64]:
    distances = np.linalg.norm(points[:, None].astype(np.float64) - points[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    return np.argsort(distances, axis=1, kind="stable")[:, :k]


@pytest.mark.parametrize("unit", [False, True])
@pytest.mark.parametrize(("n", "dim", "most"), [(60, 7, 3), (300, 7, 50), (6, 20, 50)])
def test_components_are_sklearns(n: int, dim: int, most: int, unit: bool) -> None:
    rng = np.random.default_rng(n)
    x = (rng.normal(size=(n, dim)) * np.linspace(3, 0.5, dim) + 5).astype(np.float32)
    cut = n // 3
    scores, explained = principal_components(Vectors([x[:cut], x[cut:]]), most, unit=unit)
    y = x.astype(np.float64)
    y = y / np.linalg.norm(y, axis=1, keepdims=True) if unit else y
    kept = min(most, dim, n - 1)
    model = PCA(kept, svd_solver="full").fit(y)
    signs = np.sign(model.components_[np.arange(kept), np.abs(model.components_).argmax(axis=1)])
    np.testing.assert_allclose(scores, model.transform(y) * signs, rtol=1e-5, atol=1e-6)
    assert explained == pytest.approx(model.explained_variance_ratio_.sum(), rel=1e-9)


def test_an_offset_costs_no_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projection, "_ROWS", 7)
    x = np.random.default_rng(0).integers(-4, 5, (50, 4)).astype(np.float32)
    plain, share = principal_components(Vectors([x]), 2)
    moved, same_share = principal_components(Vectors([x + np.float32(2**20)]), 2)
    np.testing.assert_allclose(moved, plain, atol=1e-5)
    assert same_share == pytest.approx(share, rel=1e-9)


def test_clusters_stay_together_and_apart() -> None:
    x, of = blobs(corners(4), each=25)
    made = project(Vectors([x]))
    assert made.coordinates.shape == (100, 2)
    assert made.coordinates.dtype == np.float32
    assert (of[nearest(made.coordinates, 10)] == of[:, None]).all()
    assert (made.method, made.neighbours, made.components, made.seed) == ("tsne", 30.0, 12, 0)
    assert made.explained == pytest.approx(1)
    assert made.description == "t-SNE, perplexity 30, of 12 principal components (100% of the variance), seed 0"


def test_neighbourhoods_are_kept_as_well_as_sklearn_keeps_them() -> None:
    x = np.random.default_rng(3).normal(size=(150, 6)).astype(np.float32) * np.array([5, 4, 3, 1, 1, 1], np.float32)
    theirs = TSNE(init="pca", perplexity=30, random_state=0).fit_transform(x)
    own = trustworthiness(x, project(Vectors([x])).coordinates, n_neighbors=10)
    assert own > trustworthiness(x, theirs, n_neighbors=10) - 0.01
    assert own > 0.9


def test_the_start_keeps_the_large_scale_arrangement() -> None:
    along = np.zeros((6, 12))
    along[:, 0] = 40 * np.array([0, 5, 2, 4, 1, 3])
    x, of = blobs(along, each=15)
    coordinates = project(Vectors([x])).coordinates
    places = [coordinates[of == group, 0].mean() for group in range(6)]
    assert spearmanr(places, along[:, 0]).statistic == pytest.approx(1)


def test_at_most_fifty_components_are_mapped() -> None:
    x = np.random.default_rng(0).normal(size=(70, 60)).astype(np.float32)
    made = project(Vectors([x]))
    assert made.components == COMPONENTS
    assert made.explained == pytest.approx(PCA(50).fit(x.astype(np.float64)).explained_variance_ratio_.sum(), rel=1e-6)
    assert made.neighbours == pytest.approx(69 / 3)


def test_the_same_bytes_again_with_any_threads_and_others_for_another_seed() -> None:
    x, _ = blobs(corners(3), each=20)
    one = project(Vectors([x]), seed=4).coordinates.tobytes()
    assert project(Vectors([x[:11], x[11:]]), seed=4).coordinates.tobytes() == one
    assert project(Vectors([x]), seed=4, threads=2).coordinates.tobytes() == one
    assert project(Vectors([x]), seed=5).coordinates.tobytes() != one


def test_unit_length_ignores_how_long_vectors_are() -> None:
    x, _ = blobs(corners(3), each=10)
    scale = np.array([0.25, 1, 4], dtype=np.float32)[np.arange(30) % 3, None]  # exact, so the bytes are equal
    plain, scaled = (project(Vectors([vectors]), unit=True) for vectors in (x, x * scale))
    np.testing.assert_array_equal(plain.coordinates, scaled.coordinates)
    assert (project(Vectors([x])).coordinates != plain.coordinates).any()


def test_no_image_is_its_own_neighbour_even_among_equal_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projection, "_ROWS", 13)
    x, _ = blobs(corners(2), each=15)
    x[4] = x[9] = x[20]
    x[10:19] = x[10]  # more equal ones than neighbours are asked for
    rows, distances = projection._neighbours(x, 6, lambda *_: None)
    assert (rows != np.arange(30)[:, None]).all()
    assert all(len(set(own)) == 6 for own in rows)
    apart = np.linalg.norm(x[:, None].astype(np.float64) - x[None], axis=2)
    np.testing.assert_allclose(distances, np.take_along_axis(apart, rows, axis=1), atol=1e-5)
    np.testing.assert_allclose(distances, np.take_along_axis(apart, nearest(x, 6), axis=1), atol=1e-5)


def test_equal_images_lie_together() -> None:
    x, _ = blobs(corners(3), each=15)
    x[:8] = x[0]
    coordinates = project(Vectors([x])).coordinates.astype(np.float64)
    assert np.isfinite(coordinates).all()
    assert np.ptp(coordinates[:8], axis=0).max() < 0.05 * np.ptp(coordinates, axis=0).max()


@pytest.mark.parametrize(("n", "dim"), [(5, 3), (6, 1), (9, 2)])
def test_the_fewest_images_and_dimensions_give_a_map(n: int, dim: int) -> None:
    made = project(Vectors([np.random.default_rng(0).normal(size=(n, dim)).astype(np.float32)]))
    assert np.isfinite(made.coordinates).all()
    assert np.ptp(made.coordinates, axis=0).max() > 1e-3


@pytest.mark.parametrize(
    ("vectors", "options", "message"),
    [
        (np.eye(4, dtype=np.float32), {}, "a map of 4 images — a map needs at least 5"),
        (np.full((9, 3), 0.1, dtype=np.float32), {}, "all embeddings are equal"),
        (np.zeros((9, 3), dtype=np.float32), {"unit": True}, "all embeddings are equal"),
        (np.eye(9, dtype=np.float32), {"method": "isomap"}, "method 'isomap'.* — use tsne or umap"),
        (np.eye(9, dtype=np.float32), {"threads": 0}, "0 threads"),
        (np.eye(9, dtype=np.float32), {"seed": -1}, "seed -1"),
    ],
)
def test_what_cannot_be_mapped_is_refused(vectors: NDArray[np.float32], options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        project(Vectors([vectors]), **options)


def test_progress_counts_every_stage_to_its_end() -> None:
    calls: list[tuple[str, int, int]] = []
    project(Vectors([blobs(corners(2))[0]]), progress=lambda *call: calls.append(call))
    last = {stage: (done, total) for stage, done, total in calls}
    assert last == {"principal components": (40, 40), "neighbours": (40, 40), "t-SNE": (750, 750)}
    steps = [done for stage, done, _ in calls if stage == "t-SNE"]
    assert steps[:2] == [25, 50]
    assert steps == sorted(steps)


def test_umap_is_given_the_components_and_their_start(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}

    class Umap:
        def __init__(self, **options: Any) -> None:
            given.update(options)

        def fit_transform(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
            given["scores"] = scores
            return scores[:, :2] * 3

    monkeypatch.setitem(sys.modules, "umap", SimpleNamespace(UMAP=Umap))
    x, _ = blobs(corners(2, dim=3), each=5)
    made = project(Vectors([x]), method="umap", seed=7)
    scores, _ = principal_components(Vectors([x]), COMPONENTS)
    np.testing.assert_array_equal(made.coordinates, scores[:, :2] * 3)
    np.testing.assert_array_equal(given["scores"], scores)
    np.testing.assert_allclose(given["init"] / 1e-4, scores[:, :2] / scores[:, 0].std(), atol=0.05)
    assert (given["n_neighbors"], given["random_state"], given["n_jobs"]) == (9, 7, 1)
    assert made.description.startswith("UMAP, neighbours 9, of 3 principal components")


def test_without_umap_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(MissingDependencyError, match=r"UMAP is not installed.*cxrsearch\[umap\]"):
        project(Vectors([np.eye(9, dtype=np.float32)]), method="umap")


@pytest.mark.slow
def test_the_real_umap_keeps_clusters() -> None:
    pytest.importorskip("umap")
    x, of = blobs(corners(4), each=25)
    one, two = (project(Vectors([x]), method="umap").coordinates for _ in range(2))
    assert (of[nearest(one, 8)] == of[:, None]).mean() > 0.99
    assert one.tobytes() == two.tobytes()
