"""Every row asked at once answers what each row asked alone does, bit by bit."""

import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from cxrsearch_indexes import KINDS, Restriction, all_rows, build, exact, searcher
from cxrsearch_indexes.exact import ExactIndex
from cxrsearch_indexes.shortlist import refine
from cxrsearch_indexes.vectors import Vectors
from tests.indexes.test_exactness import HARD

Array = np.ndarray[Any, Any]
GROUPS = np.arange(1500) // 50


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """1,500 rows make 6 blocks of 250, refined 84 at a time, by three threads."""
    monkeypatch.setattr(all_rows, "_BLOCK", 256)
    monkeypatch.setattr(all_rows, "_REFINED_AT_ONCE", 100)
    monkeypatch.setattr(exact, "blas_threads", lambda: 3)


@pytest.mark.parametrize("groups", [None, GROUPS], ids=["all", "others"])
@pytest.mark.parametrize("data", HARD)
def test_hard_rows_get_what_a_search_gives(data: str, groups: Array | None) -> None:
    rows = HARD[data].astype(np.float32)
    index = build("exact", [rows[:700], rows[700:]], "l2")
    found = index.search_all(20, groups)
    expected = index.search(rows, 20, Restriction(groups=groups, query_groups=groups))
    assert np.array_equal(found.offsets, expected.offsets)
    assert np.array_equal(found.rows, expected.rows)
    assert np.array_equal(found.distances, expected.distances)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_and_metric_agrees_with_float64(kind: str, metric: Any, check: Any) -> None:
    rows = HARD["not negative"][:400].astype(np.float32)
    groups = np.arange(400) // 7
    found = build(kind, [rows], metric).search_all(9, groups)
    if kind != "faiss-hnsw":
        check(found, rows, rows, 9, metric, Restriction(groups=groups, query_groups=groups))
    assert (groups[found.rows] != np.repeat(groups, 9)).all()


def test_rows_of_no_group_answer_everybody_and_fewer_rows_make_shorter_answers(check: Any) -> None:
    rows = HARD["rounded"][:300].astype(np.float32)
    groups = np.where(np.arange(300) < 290, 4, -1)
    index = build("exact", [rows], "l2")
    found = index.search_all(20, groups)
    check(found, rows, rows, 20, "l2", Restriction(groups=groups, query_groups=groups))
    assert found.counts.tolist() == [10] * 290 + [20] * 10
    assert index.search_all(5000).counts.tolist() == [300] * 300


@pytest.mark.parametrize("n", [1, 2, 83])
def test_few_rows_are_one_block(n: int, check: Any) -> None:
    rows = HARD["rounded"][:n].astype(np.float32)
    check(build("exact", [rows], "l2").search_all(3), rows, rows, 3, "l2")


@pytest.mark.parametrize("k", [1, 3])
def test_a_pair_of_rows_is_scored_once(k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all that is offered, a row's own shortlist sees each row once, from whichever block's product it comes."""
    monkeypatch.setattr(all_rows, "_BLOCK", 100)
    products: list[tuple[int, int]] = []
    offered = np.zeros((600, 600), int)
    offer, barred = all_rows._Block.offer, all_rows.AllRows._find_barred

    def counted(self: Any, rows: Array, scores: Array) -> None:
        offered[np.ix_(self.rows, rows)] += 1
        offer(self, rows, scores)

    def multiplied(self: Any, one: Any, other: Any) -> Any:
        products.append((int(one.rows[0]), int(other.rows[0])))
        return barred(self, one, other)

    monkeypatch.setattr(all_rows._Block, "offer", counted)
    monkeypatch.setattr(all_rows.AllRows, "_find_barred", multiplied)
    build("exact", [HARD["rounded"][:600].astype(np.float32)], "l2").search_all(k)
    assert (offered == 1).all()
    assert sorted(products) == [(a, b) for a in range(0, 600, 100) for b in range(a, 600, 100)]


def test_shortlists_are_refined_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """And in equal parts, as the vectors of all their rows are taken at once: 250 rows are 84, 83 and 83."""
    sizes: list[int] = []

    def watched(shortlist: Any, vectors: Any, frame: Any, queries: Array, k: int) -> Any:
        sizes.append(len(queries))
        return refine(shortlist, vectors, frame, queries, k)

    monkeypatch.setattr(all_rows, "refine", watched)
    build("exact", [HARD["rounded"].astype(np.float32)], "l2").search_all(3)
    assert sorted(sizes) == [83] * 12 + [84] * 6


def test_as_many_threads_as_cores_each_with_one_of_blas(monkeypatch: pytest.MonkeyPatch) -> None:
    used, seen = list[int](), list[int]()
    compare = all_rows.AllRows._compare

    def of_blas() -> list[int]:
        return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]

    class Watched(ThreadPoolExecutor):
        def __init__(self, threads: int) -> None:
            used.append(threads)
            super().__init__(threads)

    def compared(self: Any, number: int) -> None:
        seen.extend(of_blas())
        compare(self, number)

    monkeypatch.setattr(all_rows, "ThreadPoolExecutor", Watched)
    monkeypatch.setattr(all_rows.AllRows, "_compare", compared)
    index = build("exact", [HARD["rounded"].astype(np.float32)], "l2")
    with threadpool_limits(2, "blas"):
        before = of_blas()
        index.search_all(3)
        assert of_blas() == before
    assert used == [3]
    assert seen == [1] * 6 * len(before)


@pytest.mark.parametrize(("kind", "metric"), [("exact", "ip"), ("exact", "cosine"), ("faiss-flat", "l2")])
def test_a_search_reports_where_its_batches_begin_and_their_end(
    kind: str, metric: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searcher, "_ROWS_AT_ONCE", 400)
    done: list[int] = []
    build(kind, [HARD["rounded"].astype(np.float32)], metric).search_all(3, report=done.append)
    assert done == [0, 400, 800, 1200, 1500]


def test_what_it_reports_rises_to_all_rows() -> None:
    """Nine tenths while rows are compared; all of them only once the last answer is certain."""
    index = ExactIndex(Vectors([HARD["rounded"].astype(np.float32)]), "l2")
    done: list[int] = []
    index.search_all(3, report=done.append)
    assert done == [*(round(1350 * (1 - (1 - i / 6) ** 2)) for i in range(7)), 1500]


def test_rows_that_are_not_certain_are_asked_again_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 40 different rows, each 15 times, no shortlist of 3 neighbours can be certain."""
    rows = np.repeat(HARD["rounded"][:40].astype(np.float32), 30, axis=0)
    monkeypatch.setattr(searcher, "_ROWS_AT_ONCE", 500)
    index, asked = ExactIndex(Vectors([rows]), "l2"), list[int]()
    search = index.search

    def counted(queries: Array, k: int, restriction: Restriction) -> Any:
        asked.append(len(queries))
        return search(queries, k, restriction)

    monkeypatch.setattr(index, "search", counted)
    found = index.search_all(3)
    expected = search(rows, 3)
    assert asked == [500, 500, 200]
    assert np.array_equal(found.rows, expected.rows)


def test_what_it_keeps_of_groups_does_not_grow_with_their_pairs() -> None:
    """Two groups of 2,048 rows are four million pairs, 67 MB as lists of two numbers; a product's share is a ninth."""
    rng = np.random.default_rng(0)
    index = ExactIndex(Vectors([rng.standard_normal((4096, 4), dtype=np.float32)]), "l2")
    groups = np.arange(4096) % 2
    tracemalloc.start()
    try:
        index.search_all(3, groups)
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("groups", [np.zeros(3, int), np.zeros(7, int)], ids=["too short", "too long"])
@pytest.mark.parametrize("metric", ["l2", "cosine", "ip"])
def test_groups_of_another_length_are_refused_by_every_metric(metric: Any, groups: Array) -> None:
    with pytest.raises(ValueError, match="groups has shape"):
        build("exact", [np.eye(4, dtype=np.float32)], metric).search_all(2, groups)


@pytest.mark.parametrize(("k", "groups", "reason"), [(0, None, "k is 0"), (3, np.zeros(7, int), "groups has shape")])
def test_what_cannot_be_asked(k: int, groups: Array | None, reason: str) -> None:
    index = build("exact", [np.eye(4, dtype=np.float32)], "l2")
    with pytest.raises(ValueError, match=reason):
        index.search_all(k, groups)
