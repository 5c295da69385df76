"""Neighbours and restrictions by themselves."""

from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cxrsearch_indexes import Neighbours, Restriction, build, load
from cxrsearch_indexes.backend import gpu_ordinal
from cxrsearch_indexes.vectors import Vectors, check_queries
from tests.refusals import message

RAGGED = Neighbours(np.array([4, 7, 1, 0, 2]), np.array([0.5, 1, 0.25, 2, 3]), np.array([0, 2, 2, 5]))


def test_neighbours_of_one_query() -> None:
    assert len(RAGGED) == 3
    assert [(RAGGED[i][0].tolist(), RAGGED[i][1].tolist()) for i in range(3)] == [
        ([4, 7], [0.5, 1]),
        ([], []),
        ([1, 0, 2], [0.25, 2, 3]),
    ]
    for query in (-1, 3):
        assert message(IndexError, RAGGED.__getitem__, query) == f"query {query} of 3"


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


def test_without_groups_nothing_is_excluded() -> None:
    for pairs in Restriction(np.array([True, False])).excluded(3):
        assert pairs.tolist() == []
        assert pairs.dtype == np.int64


def test_take_from_blocks() -> None:
    rows = np.arange(24, dtype=np.float32).reshape(12, 2)
    vectors = Vectors([rows[:5], rows[5:6], rows[6:]])
    wanted = np.array([11, 0, 5, 5, 4, 6])
    assert vectors.take(wanted).tolist() == rows[wanted].tolist()
    assert vectors.take(wanted).dtype == np.float32
    assert [(start, len(piece)) for start, piece in vectors.pieces(4)] == [(0, 4), (4, 1), (5, 1), (6, 4), (10, 2)]


def test_queries_become_contiguous_float32() -> None:
    columns = np.arange(6, dtype=np.float64).reshape(2, 3)
    queries = check_queries(columns.T, 2, 1)  # type: ignore[arg-type]
    assert queries.dtype == np.float32
    assert queries.flags.c_contiguous
    assert queries.tolist() == [[0, 3], [1, 4], [2, 5]]


def test_unknown_kind_metric_and_device(tmp_path: Path) -> None:
    rows = [np.ones((2, 2), np.float32)]
    for make in (build, lambda kind, blocks, metric: load(kind, tmp_path, blocks, metric)):
        said = "unknown kind of index 'ivf'; there are exact, faiss-flat, faiss-hnsw"
        assert message(ValueError, make, "ivf", rows, "l2") == said
        assert message(ValueError, make, "exact", rows, "L2") == "unknown metric 'L2'; there are l2, ip, cosine"
    for kind in ("exact", "faiss-flat", "faiss-hnsw"):
        for device in ("gpu", "CPU", "cuda:", "cuda:-1", "cuda:0 ", ""):
            said = f"device {device!r} is not cpu, cuda or cuda:N"
            assert message(ValueError, build, kind, rows, "l2", device=device) == said
            assert message(ValueError, load, kind, tmp_path, rows, "l2", device=device) == said


def test_devices_and_their_gpus() -> None:
    assert [gpu_ordinal(device) for device in ("cpu", "cuda", "cuda:0", "cuda:12")] == [None, 0, 0, 12]


def test_a_restriction_of_some_queries() -> None:
    whole = Restriction(np.array([True, False]), np.array([4, 5]), np.array([5, -1, 4]))
    for queries in (slice(1, 3), np.array([1, 2])):
        part = whole.part(queries)
        assert part.query_groups is not None
        assert (part.allowed, part.groups) == (whole.allowed, whole.groups)
        assert part.query_groups.tolist() == [-1, 4]
    assert Restriction(whole.allowed).part(slice(1)).query_groups is None


def test_restrictions_that_do_not_fit() -> None:
    groups = np.zeros(5, np.int64)
    together = "a restriction has groups and query_groups together, or neither"
    for made, said in (
        (Restriction(groups=groups), together),
        (Restriction(query_groups=groups[:2]), together),
        (Restriction(groups > 0, groups[:4], groups[:2]), "restriction: groups has shape (4,), not (5,)"),
        (Restriction(groups > 0, groups, groups[:3]), "restriction: query_groups has shape (3,), not (2,)"),
        (Restriction(groups[:4] > 0), "restriction: allowed has shape (4,), not (5,)"),
        (Restriction(groups), "restriction: allowed is int64, not bool"),  # type: ignore[arg-type]
    ):
        assert message(ValueError, made.check, 5, 2) == said
    Restriction(groups > 0, groups, groups[:2]).check(5, 2)


def test_neighbours_of_batches_one_after_the_other() -> None:
    none = Neighbours(np.empty(0, np.int64), np.empty(0), np.array([0]))
    joined = Neighbours.concatenate([RAGGED, none, RAGGED.part(np.array([2]))])
    assert joined.rows.tolist() == [4, 7, 1, 0, 2, 1, 0, 2]
    assert joined.distances.tolist() == [0.5, 1, 0.25, 2, 3, 0.25, 2, 3]
    assert joined.offsets.tolist() == [0, 2, 2, 5, 8]
    assert joined.offsets.dtype == Neighbours.concatenate([none]).offsets.dtype == np.int64
    assert RAGGED.part(np.empty(0, np.int64)).offsets.tolist() == [0]
