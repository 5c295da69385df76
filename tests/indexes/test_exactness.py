"""Data on which float32 alone goes wrong: the exact kinds must still agree with float64."""

from typing import Any

import numpy as np
import pytest

from cxrsearch_indexes import Restriction, build, exact
from cxrsearch_indexes.base import ANY_ROW
from cxrsearch_indexes.exact import ExactIndex
from cxrsearch_indexes.vectors import Vectors
from tests.refusals import message

Array = np.ndarray[Any, Any]
_RNG = np.random.default_rng(11)
_NOISE = _RNG.standard_normal((1500, 40))
_CENTRES = _RNG.standard_normal((1500 // 50, 40)).repeat(50, axis=0)

HARD: dict[str, Array] = {
    "clustered": _CENTRES + 1e-3 * _NOISE,
    "near ties": _CENTRES[:1] + 1e-6 * _NOISE,
    "rounded": np.round(_NOISE * 2) / 2,
    "duplicates": _CENTRES,
    "duplicates among others": np.where(np.arange(1500)[:, None] % 3 == 0, _CENTRES[:1], _NOISE),
    "offset 100": _NOISE + 100,
    "offset 1000": _NOISE + 1000,
    "one coordinate far": _NOISE + 1e4 * (np.arange(40) == 3),
    "tiny": _NOISE * 1e-4,
    "tinier than float32 squares": _NOISE * 1e-25,
    "huge": _NOISE * 1e13,
    "one outlier": _NOISE * np.where(np.arange(1500) == 700, 1e6, 1)[:, None],
    "not negative": np.maximum(_NOISE, 0),
    "norms of all sizes": _NOISE * 10.0 ** _RNG.integers(-6, 6, 1500)[:, None],
}


@pytest.mark.parametrize("kind", ["exact", "faiss-flat"])
@pytest.mark.parametrize("data", HARD)
def test_agrees_with_float64(kind: str, metric: Any, data: str, check: Any) -> None:
    rows = HARD[data].astype(np.float32)
    spread = HARD[data].std(axis=0, keepdims=True)
    queries = np.concatenate([rows[::300], rows[5:8] + 0.01 * spread, rows[:1] + 10 * spread]).astype(np.float32)
    index = build(kind, [rows[:700], rows[700:]], metric)
    check(index.search(queries, 20), rows, queries, 20, metric)
    groups = np.arange(1500) // 50
    restriction = Restriction(np.arange(1500) % 7 > 0, groups, groups[np.arange(len(queries)) * 100])
    check(index.search(queries, 20, restriction), rows, queries, 20, metric, restriction)


@pytest.fixture
def second_passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of queries of each float64 pass over many rows."""
    asked: list[int] = []
    within = ExactIndex._within

    def counted(self: ExactIndex, queries: Array, *others: Any) -> Any:
        asked.append(len(queries))
        return within(self, queries, *others)

    monkeypatch.setattr(ExactIndex, "_within", counted)
    return asked


@pytest.mark.parametrize("offset", [0, 1000])
def test_ordinary_data_needs_no_second_pass(metric: Any, offset: float, second_passes: list[int]) -> None:
    rows = (_NOISE + offset).astype(np.float32)
    build("exact", [rows], metric).search(rows[:50], 20)
    assert second_passes == []


def test_duplicates_take_a_second_pass_each(metric: Any, second_passes: list[int], check: Any) -> None:
    rows = _NOISE.astype(np.float32)
    rows[:500] = rows[0]
    check(build("exact", [rows], metric).search(rows[499:502], 20), rows, rows[499:502], 20, metric)
    assert second_passes == [1]


def test_more_queries_than_are_searched_at_once(metric: Any, check: Any) -> None:
    rows = _NOISE.astype(np.float32)
    for kind in ("exact", "faiss-flat"):
        check(build(kind, [rows], metric).search(rows, 3), rows, rows, 3, metric)


def test_faiss_needs_no_help_with_restrictions(metric: Any, check: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even where a query's own group is all that is near, and larger than the shortlist."""
    rows, q = _NOISE.astype(np.float32), 30
    groups = np.random.default_rng(1).integers(-1, 9, 1500)
    rows[:80], groups[:80] = rows[0] * np.float32(4) + rows[:80] / np.float32(8), 3
    groups[1:20:2] = -1
    index: Any = build("faiss-flat", [rows], metric)
    monkeypatch.setattr(index._exact, "search", None)
    for allowed in (None, np.arange(1500) % 3 > 0, np.arange(1500) % 100 == 0):
        restriction = Restriction(allowed, groups, groups[:q])
        check(index.search(rows[:q], 20, restriction), rows, rows[:q], 20, metric, restriction)


def test_group_larger_than_a_shortlist(metric: Any, check: Any) -> None:
    rows = _NOISE.astype(np.float32)
    restriction = Restriction(groups=(np.arange(1500) > 900).astype(np.int64), query_groups=np.array([1, 0, 1]))
    for kind in ("exact", "faiss-flat", "faiss-hnsw"):
        found = build(kind, [rows], metric).search(rows[1000:1003], 5, restriction)
        check(found, rows, rows[1000:1003], 5, metric, restriction)


@pytest.mark.parametrize("data", ["offset 100", "huge", "one outlier", "tiny"])
def test_scores_and_radius_are_those_of_the_frame(metric: Any, data: str) -> None:
    """FAISS's distances become |y|^2 / 2 - y.p (inner product: -y.p), and no centred row is longer than the radius."""
    rows = HARD[data].astype(np.float32)
    index: Any = build("faiss-flat", [rows], metric)
    wide = rows.astype(np.float64)
    if metric == "cosine":
        wide /= np.linalg.norm(wide, axis=1, keepdims=True)
    y = wide - index._frame.centre
    longest = np.linalg.norm(y, axis=1).max()
    assert longest * (1 - 1e-7) <= index._frame.radius <= longest * (1 + 1e-5)
    p = index._frame.queries(rows[:4])
    found = index._shortlist(p, index._propose(p, 30, None), Restriction())
    products = np.einsum("qsd,qd->qs", y[found.rows], p.astype(np.float64))
    expected = -products if metric == "ip" else (y[found.rows] ** 2).sum(axis=-1) / 2 - products
    lengths = np.linalg.norm(p, axis=1, keepdims=True).astype(np.float64) * longest
    assert (np.abs(found.scores - expected) <= 1e-5 * (lengths + longest**2 * (metric != "ip"))).all()
    np.testing.assert_array_equal(found.cut, found.scores[:, -1])


@pytest.mark.parametrize(
    ("values", "scores", "queries", "sizes"),
    [
        (29, 30, 0, [7, 7, 6]),
        (29, 30, 1, [7, 7, 6]),
        (29, 30, 6, [5, 5, 5, 5]),
        (29, 3, 1, [3, 3, 3, 3, 3, 3, 2]),
        (29, 30, 40, [1] * 20),
        (3, 30, 1, [1] * 20),
    ],
)
def test_as_many_rows_at_once_as_there_is_room_for(
    values: int, scores: int, queries: int, sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Room for so many values of rows, and so many scores; a row at least."""
    monkeypatch.setattr(exact, "_PRODUCT_VALUES", values)
    monkeypatch.setattr(exact, "_SCORES_AT_ONCE", scores)
    rows = _NOISE[:20, :4].astype(np.float32)
    found = list(ExactIndex(Vectors([rows]), "l2")._scores(rows[:1].repeat(queries, 0), ANY_ROW))
    assert [scores.shape for _, scores in found] == [(queries, size) for size in sizes]
    assert np.concatenate([at for at, _ in found]).tolist() == list(range(20))


def test_rows_that_fit_into_the_cache() -> None:
    assert [exact._cached_rows(dim) for dim in (1024, 3, 2**18, 2**18 + 1)] == [256, 87381, 1, 1]


@pytest.mark.parametrize("data", HARD)
def test_many_small_blocks_agree_with_float64(
    metric: Any, data: str, check: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mean, the shortlist and the second pass go over blocks; restrictions leave some of them empty."""
    monkeypatch.setattr(exact, "_PRODUCT_VALUES", 40 * 23)
    monkeypatch.setattr(exact, "_CACHED_VALUES", 40 * 31)
    rows = HARD[data].astype(np.float32)
    queries, groups = rows[::400], np.arange(1500) // 50
    restriction = Restriction(np.arange(1500) % 200 > 60, groups, groups[::400])
    index = build("exact", [rows[:700], rows[700:]], metric)
    wide = rows.astype(np.float64)
    if metric == "cosine":
        wide /= np.linalg.norm(wide, axis=1, keepdims=True)
    rounding = 31 * 2.0**-23  # of float32 sums over blocks of 31 rows, in whatever order the kernel takes them
    np.testing.assert_allclose(
        index.frame.centre,  # type: ignore[attr-defined]
        wide.mean(axis=0),
        rtol=rounding,
        atol=rounding * np.abs(wide).mean(),
    )
    assert index.frame.centre.dtype == np.float32  # type: ignore[attr-defined]
    for asked in (ANY_ROW, restriction):
        check(index.search(queries, 20, asked), rows, queries, 20, metric, asked)


@pytest.mark.parametrize("dim", [1, 3, 40])
def test_no_centred_row_is_longer_than_the_radius(metric: Any, dim: int) -> None:
    index = ExactIndex(Vectors([_NOISE[:, :dim].astype(np.float32)]), metric)
    centred = np.concatenate(list(index.centred(400))).astype(np.float64)
    longest = np.linalg.norm(centred, axis=1).max()
    assert longest <= index.frame.radius
    assert index.frame.radius == pytest.approx(longest * (1 + (dim + 16) * 2.0**-23) ** 0.5, rel=3e-7)


@pytest.mark.parametrize(("mean", "spread", "raw"), [(8, 1, True), (9, 1, False), (16, 2, True), (17, 2, False)])
def test_only_a_far_centre_is_subtracted_before_the_product(mean: float, spread: float, raw: bool) -> None:
    rows = np.array([[mean - spread], [mean + spread]], np.float32)
    assert ExactIndex(Vectors([rows]), "l2").frame.raw is raw


def test_usable_rows_are_not_looked_at_again(metric: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exact, "unusable", None)
    for scale in (0, 1, 1e14):
        rows = np.concatenate([np.zeros((2, 40)), np.eye(40) * scale, -np.eye(40) * scale]).astype(np.float32)
        ExactIndex(Vectors([rows]), metric)
    ExactIndex(Vectors([np.eye(3, dtype=np.float32) * np.float32(9e14)]), metric)


def test_rows_whose_sum_overflows_are_refused_like_others(metric: Any) -> None:
    rows = _NOISE[:30, :8].astype(np.float32)
    rows[[17, 20], 3] = 3e38
    said = "vector 17 is not finite, or its norm exceeds 1e+15"
    assert message(ValueError, ExactIndex, Vectors([rows]), metric) == said
