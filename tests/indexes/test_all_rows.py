"""Every row asked at once answers what each row asked alone does, bit by bit."""

from typing import Any

import numpy as np
import pytest

from cxrsearch_indexes import KINDS, Restriction, all_rows, build, exact
from cxrsearch_indexes.exact import ExactIndex
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


def test_a_pair_of_rows_is_scored_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sizes of all products: each of 15 pairs of blocks of 100, and each block with itself."""
    monkeypatch.setattr(all_rows, "_BLOCK", 100)
    offered: list[tuple[int, int]] = []
    compare = all_rows._Block.barred_among

    def counted(self: Any, other: Any) -> Any:
        offered.append((int(self.rows[0]), int(other.rows[0])))
        return compare(self, other)

    monkeypatch.setattr(all_rows._Block, "barred_among", counted)
    index = build("exact", [HARD["rounded"][:600].astype(np.float32)], "l2")
    index.search_all(3)
    assert sorted(offered) == [(a, b) for a in range(0, 600, 100) for b in range(a, 600, 100)]


def test_what_it_reports_rises_to_all_rows() -> None:
    index = ExactIndex(Vectors([HARD["rounded"].astype(np.float32)]), "l2")
    done: list[int] = []
    index.search_all(3, report=done.append)
    assert done == [round(1500 * (1 - (1 - i / 6) ** 2)) for i in range(7)]


@pytest.mark.parametrize(("k", "groups", "reason"), [(0, None, "k is 0"), (3, np.zeros(7, int), "groups has shape")])
def test_what_cannot_be_asked(k: int, groups: Array | None, reason: str) -> None:
    index = build("exact", [np.eye(4, dtype=np.float32)], "l2")
    with pytest.raises(ValueError, match=reason):
        index.search_all(k, groups)
