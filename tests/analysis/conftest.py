"""Neighbours made by hand or drawn at random."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from cxrsearch_indexes.base import Neighbours


@pytest.fixture(scope="session")
def by_hand() -> Callable[..., Neighbours]:
    """Neighbours from one list of (row, distance) a query."""

    def make(*queries: Sequence[tuple[int, float]]) -> Neighbours:
        pairs = [pair for query in queries for pair in query]
        rows = np.array([row for row, _ in pairs], dtype=np.int64)
        distances = np.array([distance for _, distance in pairs], dtype=np.float64)
        return Neighbours(rows, distances, np.cumsum([0, *map(len, queries)]))

    return make


@pytest.fixture(scope="session")
def drawn(by_hand: Callable[..., Neighbours]) -> Callable[..., Neighbours]:
    """Random neighbours among n rows, at most k a query or none, nearest first; distances may be negative or equal."""

    def draw(rng: np.random.Generator, *, queries: int, n: int, k: int) -> Neighbours:
        counts = rng.integers(0, min(k, n) + 1, queries)
        rows = (rng.choice(n, count, replace=False).tolist() for count in counts)
        distances = (np.sort(rng.integers(-5, 6, count) * 0.5).tolist() for count in counts)
        return by_hand(*(list(zip(*pair, strict=True)) for pair in zip(rows, distances, strict=True)))

    return draw
