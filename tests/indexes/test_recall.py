"""Recall, by hand."""

import numpy as np
import pytest

from cxrsearch_indexes import Neighbours, recall_at_k
from tests.refusals import message


def neighbours(*queries: list[tuple[int, float]]) -> Neighbours:
    flat = [pair for query in queries for pair in query]
    offsets = np.cumsum([0, *map(len, queries)])
    return Neighbours(np.array([r for r, _ in flat], np.int64), np.array([d for _, d in flat]), offsets)


TRUTH = neighbours([(1, 0.1), (2, 0.2), (3, 0.3), (4, 0.4)], [(9, 1.0), (8, 2.0)], [])


def test_share_found() -> None:
    found = neighbours([(1, 0.1), (3, 0.3), (4, 0.4), (7, 0.9)], [(8, 2.0)], [])
    assert recall_at_k(found, TRUTH) == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert recall_at_k(TRUTH, TRUTH) == 1


def test_a_tie_with_the_last_counts() -> None:
    found = neighbours([(1, 0.1), (2, 0.2), (3, 0.3), (5, 0.4)], [(9, 1.0), (8, 2.0), (7, 2.0)], [])
    assert recall_at_k(found, TRUTH) == 1


def test_nothing_found_and_nothing_to_find() -> None:
    assert recall_at_k(neighbours([], [], []), TRUTH) == 0
    assert recall_at_k(neighbours([(1, 0.0)]), neighbours([])) == 1


def test_other_queries() -> None:
    assert message(ValueError, recall_at_k, neighbours([]), TRUTH) == "recall of 1 queries against 3"
