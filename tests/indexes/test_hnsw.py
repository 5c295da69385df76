"""What is special to the graph: recall, filters, repeatability."""

from typing import Any

import faiss
import numpy as np
import pytest

from cxrsearch_indexes import Restriction, build, recall_at_k
from cxrsearch_indexes.hnsw import HnswIndex

N = 9000


@pytest.fixture(scope="module")
def rows() -> Any:
    """Embeddings as of a network: a few directions that matter, not negative."""
    rng = np.random.default_rng(2)
    return np.maximum(rng.standard_normal((N, 24)) @ rng.standard_normal((24, 48)), 0).astype(np.float32)


def test_recall_with_and_without_restrictions(rows: Any, metric: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cxrsearch_indexes.hnsw._ROWS_PER_CANDIDATE", 0)
    index, exact = build("faiss-hnsw", [rows], metric), build("exact", [rows], metric)
    monkeypatch.setattr(index._exact, "search", None)  # type: ignore[attr-defined]  # the graph must do without
    queries = rows[:200] + np.float32(0.05)
    groups = np.arange(N) // 30
    for restriction in (
        Restriction(),
        Restriction(groups=groups, query_groups=groups[:200]),
        Restriction(allowed=np.arange(N) % 4 == 0),
        Restriction(allowed=np.arange(N) % 40 == 0),
    ):
        truth = exact.search(queries, 20, restriction)
        assert recall_at_k(index.search(queries, 20, restriction), truth) >= 0.99


def test_few_rows_are_searched_exactly(rows: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    index, exact = build("faiss-hnsw", [rows], "l2"), build("exact", [rows], "l2")

    def no_graph(*_: Any, **__: Any) -> None:
        raise AssertionError("the graph was asked")

    monkeypatch.setattr(index._index, "search", no_graph)  # type: ignore[attr-defined]
    few = Restriction(allowed=np.arange(N) % 3 == 0)
    assert index.search(rows[:9], 20, few).rows.tolist() == exact.search(rows[:9], 20, few).rows.tolist()
    with pytest.raises(AssertionError, match="the graph was asked"):
        index.search(rows[:9], 20)


def test_threads_do_not_change_the_graph(rows: Any, tmp_path: Any) -> None:
    seen = []
    for threads in (1, 2):
        faiss.omp_set_num_threads(threads)
        (path,) = build("faiss-hnsw", [rows[:1500]], "l2").save(tmp_path)
        assert faiss.omp_get_max_threads() == threads
        seen.append(path.read_bytes())
    faiss.omp_set_num_threads(1)
    assert seen[0] == seen[1]


def test_old_faiss_builds_with_one_thread(rows: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(faiss.HNSW, "compute_forward_links_deterministic", raising=False)
    used = []
    add = faiss.IndexHNSWFlat.add

    def watched(self: Any, vectors: Any) -> None:
        used.append(faiss.omp_get_max_threads())
        add(self, vectors)

    monkeypatch.setattr(faiss.IndexHNSWFlat, "add", watched)
    faiss.omp_set_num_threads(2)
    build("faiss-hnsw", [rows[:200]], "l2")
    assert (used, faiss.omp_get_max_threads()) == ([1], 2)
    faiss.omp_set_num_threads(1)


def test_seed_changes_the_graph(rows: Any, tmp_path: Any) -> None:
    some = [rows[:500]]
    indexes = build("faiss-hnsw", some, "l2"), *(build("faiss-hnsw", some, "l2", seed=seed) for seed in (0, 1))
    files = [index.save(tmp_path)[0].read_bytes() for index in indexes]
    assert files[0] == files[1] != files[2]


def test_rows_that_the_graph_misses_are_filled_in(rows: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many neighbours as there are, even where FAISS returns -1."""
    index, exact = build("faiss-hnsw", [rows], "l2"), build("exact", [rows], "l2")

    def nearly_nothing(p: Any, size: int, **_: Any) -> Any:
        ids = np.full((len(p), size), -1)
        ids[:, 0] = 3
        return np.where(ids < 0, np.finfo(np.float32).max, 1).astype(np.float32), ids

    assert isinstance(index, HnswIndex)
    monkeypatch.setattr(index._index, "search", nearly_nothing)
    assert index.search(rows[:4], 7).rows.tolist() == exact.search(rows[:4], 7).rows.tolist()
    monkeypatch.setattr("cxrsearch_indexes.hnsw._ROWS_PER_CANDIDATE", 0)
    some = Restriction(allowed=np.arange(N) % 3 == 0)
    assert index.search(rows[:4], 7, some).rows.tolist() == exact.search(rows[:4], 7, some).rows.tolist()
