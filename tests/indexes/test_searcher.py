"""Batches side by side: the same neighbours as one after the other, and BLAS left as it was."""

import numpy as np
import pytest
from threadpoolctl import threadpool_info

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
    monkeypatch.setattr(searcher, "_cores", lambda: 1)
    alone = index.search(asked, 6, restriction)
    monkeypatch.setattr(searcher, "_cores", lambda: cores)
    together = index.search(asked, 6, restriction)
    np.testing.assert_array_equal(together.rows, alone.rows)
    np.testing.assert_array_equal(together.distances, alone.distances)
    np.testing.assert_array_equal(together.offsets, alone.offsets)


def test_blas_has_its_threads_again_also_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def threads() -> list[int]:
        return [pool["num_threads"] for pool in threadpool_info()]

    index = build("exact", [np.eye(300, 4, dtype=np.float32)], "l2")
    before, seen = threads(), []
    monkeypatch.setattr(searcher, "_cores", lambda: 2)

    def failing(*_: object) -> None:
        seen.append([pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"])
        raise MemoryError

    monkeypatch.setattr(type(index), "_search", failing)
    with pytest.raises(MemoryError):
        index.search(np.ones((300, 4), np.float32), 1)
    assert all(number == 1 for numbers in seen for number in numbers)
    assert threads() == before


@pytest.mark.parametrize(
    ("queries", "cores", "sizes"), [(1, 2, [1]), (600, 1, [300, 300]), (1025, 2, [257, 256, 256, 256])]
)
def test_batches_are_equal_and_a_multiple_of_the_cores(queries: int, cores: int, sizes: list[int]) -> None:
    assert [len(part) for part in searcher._batches(queries, cores)] == sizes
