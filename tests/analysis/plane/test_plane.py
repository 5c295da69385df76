"""The plane of the embedding map, against numpy's singular value decomposition."""

import numpy as np
import pytest

from cxrsearch.analysis.plane.plane import Plane
from cxrsearch.errors import UsageError
from cxrsearch_indexes.vectors import Vectors


def drawn(n: int = 60, dim: int = 7, seed: int = 0) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    generator = np.random.default_rng(seed)
    return (generator.standard_normal((n, dim)) * np.arange(1, dim + 1) + 5).astype(np.float32)


@pytest.mark.parametrize("unit", [False, True])
def test_places_are_those_of_the_singular_value_decomposition(unit: bool) -> None:
    vectors = drawn()
    plane = Plane.fit(Vectors([vectors[:25], vectors[25:]]), unit=unit)
    values = vectors.astype(np.float64)
    if unit:
        values /= np.linalg.norm(values, axis=1, keepdims=True)
    centred = values - values.mean(axis=0)
    _, singular, rows = np.linalg.svd(centred, full_matrices=False)
    expected = centred @ rows[:2].T
    found = plane.place(vectors) * plane.span + plane.corner
    signs = np.sign((found * expected).sum(axis=0))
    np.testing.assert_allclose(found, expected * signs, atol=1e-6)
    assert plane.explained == pytest.approx(float((singular[:2] ** 2).sum() / (singular**2).sum()))
    assert "60 images" in plane.description


def test_fitted_places_fill_the_unit_square_and_others_may_leave_it() -> None:
    vectors = drawn()
    plane = Plane.fit(Vectors([vectors]))
    places = plane.place(vectors)
    assert places.min() >= -1e-9
    assert places.max() <= 1 + 1e-9
    assert np.ptp(places, axis=0).max() == pytest.approx(1)
    assert np.abs(plane.place(vectors * 50)).max() > 5
    again = Plane.fit(Vectors([vectors]))
    assert np.array_equal(again.place(vectors), places)


def test_a_line_has_no_second_direction_and_equal_vectors_have_none() -> None:
    line = Plane.fit(Vectors([np.array([[1.0], [3.0]], dtype=np.float32)]))
    np.testing.assert_allclose(np.ptp(line.place(np.array([[1.0], [3.0]], dtype=np.float32)), axis=0), [1, 0])
    with pytest.raises(UsageError, match="all embeddings are equal"):
        Plane.fit(Vectors([np.ones((4, 3), dtype=np.float32)]))
