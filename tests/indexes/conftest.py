"""A float64 brute force to compare every index with, and the indexes to compare."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import faiss
import numpy as np
import pytest

from cxrsearch_indexes import KINDS, METRICS, Neighbours, Restriction, VectorIndex, build, hnsw

Array = np.ndarray[Any, Any]


def all_distances(rows: Array, queries: Array, metric: str) -> Array:
    """(q, n) in float64, by the textbook."""
    rows, queries = rows.astype(np.float64), queries.astype(np.float64)
    if metric == "l2":
        return np.stack([np.linalg.norm(rows - query, axis=1) for query in queries])
    if metric == "ip":
        return np.asarray(-(queries @ rows.T))
    lengths = np.outer(np.linalg.norm(queries, axis=1), np.linalg.norm(rows, axis=1))
    return np.asarray(1 - np.divide(queries @ rows.T, lengths, out=np.zeros_like(lengths), where=lengths > 0))


def eligible(n: int, q: int, restriction: Restriction) -> Array:
    """(q, n): which row may answer which query."""
    may = np.ones((q, n), bool)
    if restriction.allowed is not None:
        may &= restriction.allowed
    if restriction.groups is not None and restriction.query_groups is not None:
        own = restriction.query_groups[:, None]
        may &= (own < 0) | (restriction.groups[None] != own)
    return may


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """FAISS waits for its threads longer than it works on a few hundred rows, more so when the cores are busy."""
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    yield
    faiss.omp_set_num_threads(before)


class Check(Protocol):
    def __call__(
        self, found: Neighbours, rows: Array, queries: Array, k: int, metric: str, restriction: Restriction = ...
    ) -> None: ...


@pytest.fixture(scope="session")
def check() -> Check:
    """Asserts that neighbours are those of the brute force, but for pairs within 1e-6 of each other; ties by row."""

    def assert_nearest(
        found: Neighbours,
        rows: Array,
        queries: Array,
        k: int,
        metric: str,
        restriction: Restriction = Restriction(),  # noqa: B008
    ) -> None:
        distances = all_distances(rows, queries, metric)
        may = eligible(len(rows), len(queries), restriction)
        assert len(found) == len(queries)
        for query in range(len(queries)):
            got, got_distances = found[query]
            candidates = np.flatnonzero(may[query])
            wanted = candidates[np.argsort(distances[query, candidates], kind="stable")][:k]
            assert len(got) == len(wanted)
            assert may[query, got].all()
            assert len(set(got.tolist())) == len(got)
            here, best = distances[query, got], distances[query, wanted]
            noise = 1e-13 * (1 + np.abs(distances[query]).max())
            np.testing.assert_allclose(got_distances, here, rtol=1e-9, atol=noise)
            close = np.abs(here - best) <= 1e-6 * np.maximum(np.abs(here), np.abs(best)) + noise
            assert np.all((got == wanted) | close), (query, got, wanted)
            tied = np.diff(got_distances) == 0
            assert np.all(np.diff(got_distances) >= 0)
            assert np.all(np.diff(got)[tied] > 0)

    return assert_nearest


Build = Callable[..., VectorIndex]


@pytest.fixture(params=[*KINDS, "faiss-hnsw, always by its graph"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each kind; HNSW once as it is, where few rows are searched exactly, and once forced through the graph."""
    name = str(request.param)
    if "graph" in name:
        monkeypatch.setattr(hnsw, "_ROWS_PER_CANDIDATE", 0)
    return name.split(",")[0]


@pytest.fixture(params=METRICS)
def metric(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def make(kind: str, metric: Any) -> Build:
    """Builds an index of the kind and metric under test from blocks."""

    def build_it(*blocks: Array, **options: Any) -> VectorIndex:
        return build(kind, blocks, metric, **options)

    return build_it


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "search").mkdir()
    return tmp_path / "search"
