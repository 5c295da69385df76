"""Searching for the neighbours of indexed images: in pieces as at once."""

from pathlib import Path

import numpy as np
import pytest

from cxrsearch.errors import UsageError
from cxrsearch.store import filtered_search as search
from cxrsearch.store.filtered_search import open_vectors, require_kind, search_rows
from cxrsearch.store.reader import open_stored
from cxrsearch_indexes import Restriction


def test_pieces_find_what_all_rows_at_once_do(small_index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stored, rows, said = open_stored(small_index), np.array([7, 2, 3, 9, 0]), []
    vectors, groups = open_vectors(stored, "cpu"), stored.catalogue.patient_groups()
    others = Restriction(groups=groups, query_groups=groups[rows])
    expected = vectors.search(stored.vectors.take(rows), 4, others)
    monkeypatch.setattr(search, "_ROWS_AT_ONCE", 2)

    def progress(stage: str, done: int, total: int, detail: str = "") -> None:
        said.append((stage, done, total))

    found = search_rows(stored, vectors, rows, 4, others, "looking", progress)
    np.testing.assert_array_equal(found.rows, expected.rows)
    np.testing.assert_array_equal(found.offsets, [0, 4, 8, 12, 16, 20])
    np.testing.assert_allclose(found.distances, expected.distances, rtol=1e-6)
    assert said == [("looking", done, 5) for done in (0, 2, 4, 5)]


def test_no_rows_have_no_neighbours(small_index: Path) -> None:
    stored, nobody = open_stored(small_index), np.empty(0, dtype=np.int64)
    found = search_rows(stored, open_vectors(stored, "cpu"), nobody, 4, Restriction(), "looking", lambda *_: None)
    assert (len(found), len(found.rows)) == (0, 0)


def test_an_unknown_kind_is_refused_with_those_that_there_are() -> None:
    for device in ("cpu", "cuda"):
        with pytest.raises(UsageError, match="unknown kind of index 'annoy'; there are exact, faiss-flat, faiss-hnsw"):
            require_kind("annoy", "l2", device)
