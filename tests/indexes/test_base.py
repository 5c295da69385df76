"""Neighbours and restrictions by themselves."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cxrsearch_indexes import METRICS, Neighbours, Restriction, build, load
from cxrsearch_indexes.vectors import Vectors

RAGGED = Neighbours(np.array([4, 7, 1, 0, 2]), np.array([0.5, 1, 0.25, 2, 3]), np.array([0, 2, 2, 5]))


def test_neighbours_of_one_query() -> None:
    assert len(RAGGED) == 3
    assert [(RAGGED[i][0].tolist(), RAGGED[i][1].tolist()) for i in range(3)] == [
        ([4, 7], [0.5, 1]),
        ([], []),
        ([1, 0, 2], [0.25, 2, 3]),
    ]
    with pytest.raises(IndexError, match="query -1 of 3"):
        RAGGED[-1]


def test_neighbours_of_some_queries() -> None:
    part = RAGGED.part(np.array([2, 1, 0]))
    assert part.rows.tolist() == [1, 0, 2, 4, 7]
    assert part.distances.tolist() == [0.25, 2, 3, 0.5, 1]
    assert part.offsets.tolist() == [0, 3, 3, 5]


def test_kth_distances() -> None:
    assert RAGGED.last(2).tolist() == [1, np.inf, 2]
    assert RAGGED.last(3).tolist() == [np.inf, np.inf, 3]


@settings(deadline=None, max_examples=50)
@given(st.data(), st.integers(1, 30), st.integers(0, 8))
def test_excluded_pairs(data: st.DataObject, n: int, q: int) -> None:
    groups = data.draw(arrays(np.int64, n, elements=st.integers(-1, 4)))
    query_groups = data.draw(arrays(np.int64, q, elements=st.integers(-1, 5)))
    allowed = data.draw(arrays(np.bool_, n))
    rows, of = Restriction(allowed, groups, query_groups).excluded(q)
    wanted = {(r, i) for r in range(n) for i in range(q) if allowed[r] and groups[r] == query_groups[i] >= 0}
    assert set(zip(rows.tolist(), of.tolist(), strict=True)) == wanted
    assert len(rows) == len(wanted)
    assert np.all(np.diff(rows) >= 0)


def test_take_from_blocks() -> None:
    rows = np.arange(24, dtype=np.float32).reshape(12, 2)
    vectors = Vectors([rows[:5], rows[5:6], rows[6:]])
    wanted = np.array([11, 0, 5, 5, 4, 6])
    assert vectors.take(wanted).tolist() == rows[wanted].tolist()
    assert [(start, len(piece)) for start, piece in vectors.pieces(4)] == [(0, 4), (4, 1), (5, 1), (6, 4), (10, 2)]


def test_unknown_kind_metric_and_device(tmp_path: object) -> None:
    rows = [np.ones((2, 2), np.float32)]
    with pytest.raises(ValueError, match=r"kind of index 'ivf'; there are exact, faiss-flat, faiss-hnsw"):
        build("ivf", rows, "l2")
    with pytest.raises(ValueError, match="metric 'L2'; there are " + ", ".join(METRICS)):
        load("exact", tmp_path, rows, "L2")  # type: ignore[arg-type]
    for kind in ("exact", "faiss-flat", "faiss-hnsw"):
        with pytest.raises(ValueError, match="device 'gpu' is not cpu, cuda or cuda:N"):
            build(kind, rows, "l2", device="gpu")
