"""Neighbours and samples, made by hand or drawn at random."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from cxrsearch.analysis.models.model import Sample
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


@pytest.fixture(scope="session")
def samples() -> Callable[..., tuple[Sample, ...]]:
    """Samples of one population: embeddings far from 0, unequal scales, labels that follow a linear rule and noise."""

    def draw(*sizes: int, dim: int = 12, findings: int = 3, seed: int = 0, images: int = 2) -> tuple[Sample, ...]:
        rng = np.random.default_rng(seed)
        rule, scales = rng.normal(size=(dim, findings)), rng.uniform(0.1, 5, dim)
        parts = []
        for number, n in enumerate(sizes):
            plain = rng.normal(size=(n, dim))
            labels = plain @ rule + 3 * rng.logistic(size=(n, findings)) > np.linspace(0, 5, findings)
            patients = np.arange(n) // images + 10_000 * number
            parts.append(Sample((plain * scales + 100).astype(np.float32), labels, patients))
        return tuple(parts)

    return draw
