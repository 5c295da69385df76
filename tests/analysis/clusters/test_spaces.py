from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.preprocessing import StandardScaler, normalize

from cxrsearch.analysis.clusters import spaces
from cxrsearch.analysis.clusters.spaces import BLOCK, SPACES, to_space
from cxrsearch.errors import UsageError
from tests.refusals import message


def embeddings(n: int = 200, dim: int = 7, offset: float = 0.0) -> NDArray[np.float32]:
    rng = np.random.default_rng(n)
    mixing = rng.normal(size=(dim, dim)) * np.arange(1, dim + 1)
    return (rng.normal(size=(n, dim)) @ mixing + offset).astype(np.float32)


def differences(points: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(points.astype(np.float64) - points[:1])


@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_standardised_is_sklearns_with_population_deviations(offset: float) -> None:
    given = embeddings(n=BLOCK + 10, offset=offset)
    space = to_space(given, "standardised")
    expected = StandardScaler().fit_transform(given.astype(np.float64))
    np.testing.assert_allclose(space.points, expected, atol=2e-6)
    np.testing.assert_allclose(space.points.astype(np.float64).std(axis=0, ddof=0), 1, rtol=1e-7)
    assert space.points.dtype == np.float32
    assert space.unit_variance


@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_raw_and_unit_length_keep_all_differences(offset: float) -> None:
    given = embeddings(offset=offset)
    raw = to_space(given, "raw")
    np.testing.assert_allclose(differences(raw.points), differences(given), atol=2e-5)
    np.testing.assert_allclose(raw.points.astype(np.float64).mean(axis=0), 0, atol=1e-5)
    unit = to_space(given, "l2")
    np.testing.assert_allclose(differences(unit.points), differences(normalize(given.astype(np.float64))), atol=2e-7)
    assert not raw.unit_variance
    assert not unit.unit_variance


def test_an_embedding_of_length_0_stays() -> None:
    given = np.array([[0, 0], [3, 4], [0, 2], [0.03, -0.04]], dtype=np.float32)
    points = to_space(given, "l2").points
    np.testing.assert_allclose(differences(points), np.array([[0, 0], [0.6, 0.8], [0, 1], [0.6, -0.8]]), atol=1e-6)


@pytest.mark.parametrize("scale", [1.0, 1e-9])
def test_whitened_has_the_identity_as_covariance_and_the_rank_as_dimension(
    scale: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spaces, "BLOCK", 128)
    given = embeddings(n=500).astype(np.float64) * scale
    given = np.column_stack([given, given[:, 0] - given[:, 1]])  # 8 dimensions of rank 7
    space = to_space(given, "whitened")
    assert (space.name, space.live_dims) == ("whitened", 7)
    assert space.dim == 8
    np.testing.assert_allclose(np.cov(space.points.T.astype(np.float64), ddof=0), np.eye(7), atol=1e-5)
    inverse = np.linalg.pinv(np.cov(given.T, ddof=0))
    difference = given[3] - given[11]
    mahalanobis = difference @ inverse @ difference
    np.testing.assert_allclose(np.sum((space.points[3] - space.points[11]) ** 2), mahalanobis, rtol=1e-4)


@pytest.mark.parametrize("name", SPACES)
def test_dimensions_that_do_not_vary_are_left_out(name: str) -> None:
    given = embeddings(dim=5)
    given[:, 1] = 0
    if name != "l2":  # a constant other than 0 varies once divided by the length
        given[:, 3] = 7.3
    given[:, 4] = np.where(np.arange(len(given)) % 2, np.float32(1), np.nextafter(np.float32(1), np.float32(2)))
    space = to_space(given, name)  # type: ignore[arg-type]
    assert space.live_dims == (4 if name == "l2" else 2)
    assert space.dim == 5
    assert np.isfinite(space.points).all()


@pytest.mark.parametrize("name", SPACES)
def test_one_image_varies_in_no_dimension(name: str) -> None:
    assert to_space(np.ones((1, 3), dtype=np.float32), name).points.shape == (1, 0)  # type: ignore[arg-type]


def test_what_is_no_embedding_is_refused() -> None:
    given = embeddings(n=BLOCK + 5)
    said = "unknown space 'cosine' — use one of standardised, raw, l2, whitened"
    assert message(UsageError, to_space, given, "cosine") == said
    wrong: Any
    for wrong in (np.zeros((0, 3)), np.zeros(3), np.zeros((3, 0)), np.zeros((3, 3), dtype=np.int64)):
        assert message(UsageError, to_space, wrong) == (
            f"embeddings must be floating (images, dimensions): got {wrong.dtype} {wrong.shape} "
            "— give one row per image"
        )
    given[BLOCK + 1, 2], given[BLOCK + 3, 0] = np.nan, np.inf
    assert message(UsageError, to_space, given) == (
        f"the embeddings of 2 of {BLOCK + 5} images are not finite, the first in row {BLOCK + 1}"
        " — leave these images out, or embed them again"
    )
