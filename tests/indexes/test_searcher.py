"""Batches side by side: the same neighbours as one after the other, and BLAS left as it was."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from cxrsearch_indexes import Restriction, build, searcher


@pytest.mark.parametrize("cores", [2, 3])
@pytest.mark.parametrize("queries", [5, 200, 1300])
def test_batches_side_by_side_find_the_same(queries: int, cores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(queries)
    rows = rng.standard_normal((700, 8), dtype=np.float32)
    asked = rng.standard_normal((queries, 8), dtype=np.float32)
    groups = rng.integers(0, 90, 700)
    restriction = Restriction(rng.random(700) < 0.8, groups, rng.integers(0, 90, queries))
    index = build("exact", [rows], "l2")
    monkeypatch.setattr(searcher, "blas_threads", lambda: 1)
    alone = index.search(asked, 6, restriction)
    monkeypatch.setattr(searcher, "blas_threads", lambda: cores)
    together = index.search(asked, 6, restriction)
    np.testing.assert_array_equal(together.rows, alone.rows)
    np.testing.assert_array_equal(together.distances, alone.distances)
    np.testing.assert_array_equal(together.offsets, alone.offsets)


@pytest.mark.parametrize(
    ("kind", "queries", "batches"),
    [
        ("exact", 5, [(5, True)]),
        ("exact", 200, [(100, False), (100, False)]),
        ("faiss-flat", 200, [(200, True)]),
        ("faiss-flat", 600, [(300, True), (300, True)]),
    ],
)
def test_only_exact_searches_leave_the_thread_of_the_caller(
    kind: str, queries: int, batches: list[tuple[int, bool]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And only where there are several batches; FAISS divides the work on one by itself."""
    rows = np.random.default_rng(0).standard_normal((600, 8), dtype=np.float32)
    index: Any = build(kind, [rows], "l2")
    seen, search = [], type(index)._search

    def watched(self: Any, asked: Any, *others: Any) -> Any:
        seen.append((len(asked), threading.current_thread() is threading.main_thread()))
        return search(self, asked, *others)

    monkeypatch.setattr(searcher, "blas_threads", lambda: 2)
    monkeypatch.setattr(type(index), "_search", watched)
    assert index.search(rows[:queries], 1).rows.tolist() == list(range(queries))
    assert seen == batches


def test_no_more_threads_than_cores_or_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    used = []

    class Watched(ThreadPoolExecutor):
        def __init__(self, threads: int) -> None:
            used.append(threads)
            super().__init__(threads)

    index, rows = build("exact", [np.eye(9, dtype=np.float32)], "l2"), np.ones((1100, 9), np.float32)
    monkeypatch.setattr(searcher, "ThreadPoolExecutor", Watched)
    for cores, queries in ((2, 1100), (3, 192), (5, 100)):  # 4 batches, 3, 1
        monkeypatch.setattr(searcher, "blas_threads", lambda cores=cores: cores)
        index.search(rows[:queries], 1)
    assert used == [2, 3]


@pytest.mark.parametrize(("kind", "queries", "times"), [("exact", 64, 0), ("exact", 65, 1), ("faiss-flat", 65, 0)])
def test_cores_are_counted_only_where_it_matters(
    kind: str, queries: int, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def one() -> int:
        asked.append(1)
        return 1

    monkeypatch.setattr(searcher, "blas_threads", one)
    build(kind, [np.eye(70, dtype=np.float32)], "l2").search(np.eye(70, dtype=np.float32)[:queries], 1)
    assert len(asked) == times


def test_cores_are_the_threads_of_blas(monkeypatch: pytest.MonkeyPatch) -> None:
    pools = [("openmp", 8), ("blas", 3), ("blas", 2)]
    for known, cores in ((pools, 3), (pools[:1], 1), ([], 1)):
        found = [{"user_api": api, "num_threads": number} for api, number in known]
        monkeypatch.setattr(searcher, "threadpool_info", lambda found=found: found)
        assert searcher.blas_threads() == cores


def test_blas_has_its_threads_again_also_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def threads() -> list[int]:
        return [pool["num_threads"] for pool in threadpool_info()]

    index = build("exact", [np.eye(300, 4, dtype=np.float32)], "l2")
    seen: list[list[int]] = []
    monkeypatch.setattr(searcher, "blas_threads", lambda: 2)

    def failing(*_: object) -> None:
        seen.append([pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"])
        raise MemoryError

    monkeypatch.setattr(type(index), "_search", failing)
    with threadpool_limits(2, "blas"):
        before = threads()
        with pytest.raises(MemoryError):
            index.search(np.ones((300, 4), np.float32), 1)
        assert threads() == before
    assert seen
    assert all(number == 1 for numbers in seen for number in numbers)


@pytest.mark.parametrize(
    ("queries", "cores", "sizes"),
    [
        (0, 1, [0]),
        (1, 2, [1]),
        (127, 2, [127]),
        (128, 2, [64, 64]),
        (600, 1, [300, 300]),
        (600, 16, [300, 300]),
        (1025, 2, [257, 256, 256, 256]),
    ],
)
def test_batches_are_equal_and_a_multiple_of_the_cores(queries: int, cores: int, sizes: list[int]) -> None:
    assert [len(part) for part in searcher._batches(queries, cores)] == sizes
