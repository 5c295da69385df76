"""Shortlists against sorting everything."""

from typing import Any

import numpy as np
import pytest

from cxrsearch_indexes import shortlist
from cxrsearch_indexes.frame import Frame
from cxrsearch_indexes.metric import measure
from cxrsearch_indexes.shortlist import RunningShortlist, Shortlist, refine, shortlist_size
from cxrsearch_indexes.vectors import Vectors

INF = float("inf")


def test_a_shortlist_has_twice_the_neighbours_and_16() -> None:
    assert [shortlist_size(k) for k in (1, 20, 1016)] == [18, 56, 2048]


@pytest.mark.parametrize("block", [1, 7, 40, 400])
@pytest.mark.parametrize("size", [1, 2, 12, 400])
def test_the_lowest_scores_are_kept(block: int, size: int) -> None:
    """Blocks of which many, few or none enter; each query at another time."""
    rng = np.random.default_rng(size)
    scores = rng.standard_normal((16, 400)).astype(np.float32)
    scores[1] = np.sort(scores[1])
    scores[2] = -np.sort(scores[2])
    scores[3, 20:] = INF
    names = rng.permutation(1000)[:400]
    kept = RunningShortlist(16, size)
    for start in range(0, 400, block):
        kept.offer(names[start : start + block], scores[:, start : start + block])
    found = kept.finish()
    wanted = np.sort(scores, axis=1)[:, :size]
    np.testing.assert_array_equal(np.sort(found.scores, axis=1), wanted)
    np.testing.assert_array_equal(found.cut, wanted[:, -1])
    assert [str(part.dtype) for part in (found.scores, found.rows, found.cut)] == ["float32", "int64", "float64"]
    of_row = np.full((16, 1000), np.nan)
    of_row[:, names] = scores
    there = np.isfinite(found.scores)
    np.testing.assert_array_equal(np.take_along_axis(of_row, found.rows, axis=1)[there], found.scores[there])
    for query in range(16):
        assert len(set(found.rows[query, there[query]].tolist())) == there[query].sum()


def test_rows_that_never_came_are_minus_1() -> None:
    rng = np.random.default_rng(0)
    kept = RunningShortlist(16, 8)
    for start in range(0, 100, 20):
        kept.offer(np.arange(start, start + 20), np.where(rng.random((16, 20)) < 0.04, 0.5, INF).astype(np.float32))
    found = kept.finish()
    missing = np.isinf(found.scores)
    assert 0 < missing.sum() < 128
    np.testing.assert_array_equal(found.rows == -1, missing)


def test_only_scores_below_the_worst_kept_are_merged(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = RunningShortlist(1, 2)
    kept.offer(np.array([7, 8]), np.array([[0.25, 0.5]], np.float32))
    monkeypatch.setattr(kept, "_merge", None)
    kept.offer(np.array([9, 10]), np.array([[0.5, 0.75]], np.float32))
    assert sorted(kept.finish().rows[0].tolist()) == [7, 8]


def test_a_row_left_out_may_be_a_neighbour_up_to_the_limit() -> None:
    some = Shortlist(np.empty((6, 0)), np.empty((6, 0), np.int64), np.array([1.0, 1.0, 1.0, INF, INF, 1.0]))
    assert some.unsettled(np.array([0.5, 1.0, 2.0, INF, 3.0, INF])).tolist() == [1, 2, 5]


def test_only_rows_within_the_limit_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """The k best by score, those whose score allows that they are as near as the k-th, and no row twice."""
    rows = np.array([[3, 0], [1, 0], [2, 0], [9, 0], [2, 0]], np.float32)
    asked: list[list[int]] = []

    def watched(vectors: Any, queries: Any, at: Any, *others: Any) -> Any:
        asked.append(at.tolist())
        return measure(vectors, queries, at, *others)

    monkeypatch.setattr(shortlist, "measure", watched)
    frame = Frame("l2", np.zeros(2, np.float32), 9.0)
    scores, listed = np.array([[4.5, 0.5, INF, 40.5, 2.0]], np.float32), np.array([[0, 1, -1, 3, 4]])
    found, limits = refine(
        Shortlist(scores, listed, np.array([50.0])), Vectors([rows]), frame, np.zeros((1, 2), np.float32), 2
    )
    assert (found.rows.tolist(), found.distances.tolist()) == ([1, 4], [1, 2])
    assert asked == [[1, 4], []]
    assert limits == pytest.approx([2.0], rel=1e-4)
