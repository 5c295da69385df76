"""The same bodies over every kind and metric: what a search must do, whichever way it is done."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cxrsearch_indexes import Restriction, build, load
from tests.refusals import message


def normal(shape: tuple[int, int], seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def test_finds_the_nearest(make: Any, metric: str, check: Any) -> None:
    rows, queries = normal((400, 24)), normal((30, 24), 1)
    check(make(rows).search(queries, 7), rows, queries, 7, metric)


def test_hand_worked_distances(make: Any, metric: str) -> None:
    rows = np.array([[3, 4], [0, 5], [-1, 0]], np.float32)
    found, distances = make(rows).search(np.array([[0, 1]], np.float32), 3)[0]
    by_hand: dict[str, tuple[list[int], list[float]]] = {
        "l2": ([2, 1, 0], [2**0.5, 4, 18**0.5]),
        "ip": ([1, 0, 2], [-5, -4, 0]),
        "cosine": ([1, 0, 2], [0, 0.2, 1]),
    }
    assert found.tolist() == by_hand[metric][0]
    np.testing.assert_allclose(distances, by_hand[metric][1], atol=1e-15)


def test_more_neighbours_than_rows(make: Any, metric: str, check: Any) -> None:
    rows, queries = normal((5, 8)), normal((3, 8), 1)
    found = make(rows).search(queries, 50)
    assert found.counts.tolist() == [5, 5, 5]
    check(found, rows, queries, 50, metric)


def test_one_row(make: Any, metric: str, check: Any) -> None:
    rows, queries = normal((1, 8)), normal((2, 8), 1)
    check(make(rows).search(queries, 20), rows, queries, 20, metric)


def test_no_query(make: Any) -> None:
    found = make(normal((9, 8))).search(np.empty((0, 8), np.float32), 3)
    assert (len(found), found.rows.tolist(), found.offsets.tolist()) == (0, [], [0])


def test_ties_come_by_row(make: Any) -> None:
    rows = np.tile(normal((4, 6)), (40, 1))
    found = make(rows).search(rows[:4], 8)
    for query in range(4):
        first = found[query][0][0] % 4
        assert found[query][0].tolist() == [first + 4 * i for i in range(8)]


def test_more_duplicates_than_a_shortlist(make: Any, metric: str, check: Any) -> None:
    rows = normal((900, 16))
    rows[200:800] = rows[0]
    found = make(rows).search(rows[:1] * np.float32(2), 30)
    check(found, rows, rows[:1] * 2, 30, metric)
    if metric == "cosine":
        assert found.rows.tolist() == [0, *range(200, 229)]


def test_zero_vectors(make: Any, metric: str, check: Any) -> None:
    rows, queries = normal((120, 8)), normal((3, 8), 1)
    rows[[2, 40, 41]], queries[1] = 0, 0
    check(make(rows).search(queries, 120), rows, queries, 120, metric)


def test_zero_vectors_have_cosine_distance_one(kind: str) -> None:
    rows = np.array([[1, 0], [0, 0], [-1, 0]], np.float32)
    found = build(kind, [rows], "cosine").search(np.array([[2, 0], [0, 0]], np.float32), 3)
    assert (found.rows.tolist(), found.distances.tolist()) == ([0, 1, 2, 0, 1, 2], [0, 1, 2, 1, 1, 1])


def test_nothing_but_zeros(make: Any) -> None:
    found = make(np.zeros((200, 4), np.float32)).search(np.zeros((2, 4), np.float32), 3)
    assert found.rows.tolist() == [0, 1, 2, 0, 1, 2]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e30])
def test_refuses_vectors_that_are_not_finite(make: Any, bad: float) -> None:
    rows = normal((30, 8))
    rows[17, 3] = bad
    said = "vector 17 is not finite, or its norm exceeds 1e+15"
    assert message(ValueError, make, rows[:10], rows[10:]) == said


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e30])
def test_refuses_queries_that_are_not_finite(make: Any, bad: float) -> None:
    queries = normal((3, 8))
    queries[1, 0] = bad
    said = "query 1 is not finite, or its norm exceeds 1e+15"
    assert message(ValueError, make(normal((9, 8))).search, queries, 1) == said


@pytest.mark.parametrize("k", [0, -3])
def test_refuses_k_below_one(make: Any, k: int) -> None:
    said = f"k is {k}; it must be at least 1"
    assert message(ValueError, make(normal((9, 8))).search, normal((1, 8)), k) == said


def test_refuses_other_shapes(make: Any) -> None:
    index = make(normal((9, 8)))
    for queries in (normal((1, 7)), normal((1, 8))[0]):
        said = f"queries have shape {queries.shape}, not (q, 8)"
        assert message(ValueError, index.search, queries, 1) == said
    assert message(ValueError, make, np.empty((0, 8), np.float32)) == "no vectors to index"
    assert message(ValueError, make) == "no vectors to index"
    for block, dim in ((normal((2, 7)), 8), (normal((2, 8)).astype(np.float64), 8), (normal((8, 1))[:, 0], 8)):
        said = f"a block of vectors is {block.dtype} {block.shape}, not float32 (m, {dim})"
        assert message(ValueError, make, normal((9, 8)), block) == said
    said = "a block of vectors is float32 (8,), not float32 (m, 8)"
    assert message(ValueError, make, normal((1, 8))[0]) == said
    said = "a block of vectors is float32 (3, 0), not float32 (m, 0)"
    assert message(ValueError, make, np.empty((3, 0), np.float32)) == said


def test_blocks_of_any_length(make: Any, metric: str, check: Any) -> None:
    rows, queries = normal((300, 12)), normal((5, 12), 1)
    index = make(rows[:1], rows[1:1], rows[1:170], rows[170:])
    assert (index.n, index.dim) == (300, 12)
    check(index.search(queries, 9), rows, queries, 9, metric)


def test_memory_mapped_blocks(make: Any, metric: str, check: Any, tmp_path: Path) -> None:
    rows, queries = normal((200, 12)), normal((5, 12), 1)
    np.save(tmp_path / "shard.npy", rows)
    check(make(np.load(tmp_path / "shard.npy", mmap_mode="r")).search(queries, 9), rows, queries, 9, metric)


def test_one_query_or_many_is_the_same(make: Any) -> None:
    index, queries = make(normal((700, 33))), normal((40, 33), 1)
    together = index.search(queries, 6)
    for query in range(len(queries)):
        alone = index.search(queries[query : query + 1], 6)
        assert alone.rows.tolist() == together[query][0].tolist()
        assert alone.distances.tolist() == together[query][1].tolist()


def restrictions(n: int, q: int) -> dict[str, Restriction]:
    rng = np.random.default_rng(5)
    groups, own = rng.integers(0, 20, n), rng.integers(-1, 25, q)
    groups[: n // 4] = 3
    own[:3] = (3, -1, 24)
    some = rng.random(n) < 0.4
    return {
        "other groups": Restriction(groups=groups, query_groups=own),
        "allowed": Restriction(allowed=some),
        "both": Restriction(some, groups, own),
        "no group excluded": Restriction(groups=groups, query_groups=np.full(q, -1)),
        "rows without a group": Restriction(groups=np.full(n, -1), query_groups=np.full(q, -1)),
        "few allowed": Restriction(allowed=np.arange(n) % 97 == 5),
        "none allowed": Restriction(allowed=np.zeros(n, bool)),
        "one group only": Restriction(groups=np.full(n, 8), query_groups=np.full(q, 8)),
    }


@pytest.mark.parametrize("name", restrictions(1, 3))
@pytest.mark.parametrize("q", [1, 25])
def test_restrictions(make: Any, metric: str, check: Any, name: str, q: int) -> None:
    rows, queries = normal((400, 12)), normal((25, 12), 1)[:q]
    restriction = restrictions(400, 25)[name].part(slice(q))
    found = make(rows[:150], rows[150:]).search(queries, 10, restriction)
    check(found, rows, queries, 10, metric, restriction)


def test_nobody_may_answer(make: Any) -> None:
    index, queries = make(normal((50, 6))), normal((2, 6))
    for name in ("none allowed", "one group only"):
        found = index.search(queries, 5, restrictions(50, 25)[name].part(slice(2)))
        assert (found.rows.tolist(), found.offsets.tolist()) == ([], [0, 0, 0])


def test_refuses_a_restriction_that_does_not_fit(make: Any) -> None:
    index, queries = make(normal((50, 6))), normal((2, 6))
    with pytest.raises(ValueError, match="together"):
        index.search(queries, 5, Restriction(groups=np.zeros(50, np.int64)))
    with pytest.raises(ValueError, match=r"allowed has shape \(49,\), not \(50,\)"):
        index.search(queries, 5, Restriction(allowed=np.ones(49, bool)))
    with pytest.raises(ValueError, match=r"query_groups has shape \(3,\), not \(2,\)"):
        index.search(queries, 5, Restriction(groups=np.zeros(50, np.int64), query_groups=np.zeros(3, np.int64)))
    with pytest.raises(ValueError, match="not bool"):
        index.search(queries, 5, Restriction(allowed=np.zeros(50, np.int64)))


def test_saved_and_loaded(make: Any, kind: str, metric: Any, folder: Path) -> None:
    rows, queries = normal((300, 12)) + 5, normal((8, 12), 1) + 5
    index = make(rows)
    before = index.search(queries, 9)
    files = index.save(folder)
    assert sorted(files) == sorted(folder.iterdir())
    again = load(kind, folder, [rows], metric)
    after = again.search(queries, 9)
    assert (again.kind, again.metric, again.n, again.dim) == (kind, metric, 300, 12)
    assert after.rows.tolist() == before.rows.tolist()
    assert after.distances.tolist() == before.distances.tolist()


def test_same_input_same_bytes(make: Any, folder: Path, tmp_path: Path) -> None:
    rows = normal((600, 12))
    first = {path.name: path.read_bytes() for path in make(rows, seed=3).save(folder)}
    (tmp_path / "again").mkdir()
    assert {path.name: path.read_bytes() for path in make(rows, seed=3).save(tmp_path / "again")} == first


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), n=st.integers(1, 40), dim=st.integers(1, 6), k=st.integers(1, 45))
def test_small_whole_numbers(make: Any, metric: str, check: Any, data: Any, n: int, dim: int, k: int) -> None:
    """Full of ties, and exact in float64 and float32 alike."""
    whole = st.integers(-2, 2).map(np.float32)
    rows = data.draw(arrays(np.float32, (n, dim), elements=whole))
    queries = data.draw(arrays(np.float32, (2, dim), elements=whole))
    groups = data.draw(arrays(np.int64, n, elements=st.integers(0, 3)))
    restriction = Restriction(None, groups, np.array([-1, 2]))
    cut = data.draw(st.integers(0, n))
    check(make(rows[:cut], rows[cut:]).search(queries, k, restriction), rows, queries, k, metric, restriction)
