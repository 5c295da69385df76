"""Distances against scipy, and their promise about equal vectors."""

from typing import Any

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from cxrsearch_indexes.metric import joined, measure, united
from cxrsearch_indexes.vectors import Vectors


@pytest.mark.parametrize(("metric", "scipy_name"), [("l2", "euclidean"), ("cosine", "cosine")])
def test_against_scipy(metric: Any, scipy_name: str) -> None:
    rows = np.random.default_rng(0).standard_normal((300, 17), dtype=np.float32)
    of, at = (numbers.ravel() for numbers in np.indices((4, 300)))
    pairs = measure(Vectors([rows[:99], rows[99:]]), rows[:4], at, of, metric)
    wanted = cdist(rows[:4].astype(np.float64), rows.astype(np.float64), scipy_name)
    np.testing.assert_allclose(pairs.distances, wanted.ravel(), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("dim", [1, 3, 7, 64, 1001])
def test_equal_vectors_have_equal_distances(metric: Any, dim: int) -> None:
    """To the last bit, wherever they stand in memory."""
    rows = np.tile(np.random.default_rng(dim).standard_normal((1, dim), dtype=np.float32), (333, 1))
    query = np.random.default_rng(0).standard_normal((1, dim), dtype=np.float32)
    distances = measure(Vectors([rows]), query, np.arange(333), np.zeros(333, np.int64), metric).distances
    alone = measure(Vectors([rows]), query, np.array([5]), np.array([0]), metric).distances
    assert np.all(distances == alone)


def test_cosine_of_near_duplicates_is_not_lost_in_rounding() -> None:
    rows = np.array([[1, 1e-6], [1, 2e-6]], np.float32)
    query = np.array([[1, 0]], np.float32)
    found = measure(Vectors([rows]), query, np.array([0, 1]), np.zeros(2, np.int64), "cosine").distances
    np.testing.assert_allclose(found, [5e-13, 2e-12], rtol=1e-6)


def test_parts_of_which_there_are_none() -> None:
    pairs = united([])
    assert [(part.tolist(), str(part.dtype)) for part in pairs] == [([], "int64"), ([], "float64"), ([], "int64")]
    found = joined([], 2, 5)
    assert (found.rows.tolist(), found.distances.tolist(), found.offsets.tolist()) == ([], [], [0, 0, 0])


def test_every_pair_is_measured_once_and_not_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, taken, take = np.arange(300, dtype=np.float32)[:, None], [], Vectors.take

    def watched(self: Vectors, at: Any) -> Any:
        taken.append(at.tolist())
        return take(self, at)

    monkeypatch.setattr(Vectors, "take", watched)
    measure(Vectors([rows]), rows[:1], np.arange(300), np.zeros(300, np.int64), "l2")
    assert taken == [list(range(128)), list(range(128, 256)), list(range(256, 300))]
