"""The error bound holds for every pair, and is not so wide as to be useless."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxrsearch_indexes.base import ANY_ROW
from cxrsearch_indexes.exact import ExactIndex
from cxrsearch_indexes.frame import Frame
from cxrsearch_indexes.vectors import Vectors


def slack(rows: Any, queries: Any, metric: Any, raw: bool) -> Any:
    """Limit at the true distance less the float32 score, of every pair: (q, n)."""
    index = ExactIndex(Vectors([rows]), metric)
    index.frame = Frame(metric, index.frame.centre, index.frame.radius, raw)
    ((_, scores),) = index._scores(queries, ANY_ROW)
    exact, wide = rows.astype(np.float64), queries.astype(np.float64)
    if metric == "l2":
        distances = np.sqrt(((wide[:, None] - exact) ** 2).sum(-1))
    elif metric == "ip":
        distances = -wide @ exact.T
    else:
        exact, wide = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (exact, wide))
        distances = ((wide[:, None] - exact) ** 2).sum(-1) / 2
    limits = np.stack([index.frame.limits(queries, column) for column in distances.T], axis=1)
    return limits - scores


@settings(deadline=None, max_examples=40)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 300),
    st.sampled_from([0, 1, 30, 1000]),
    st.sampled_from([1e-20, 1e-4, 1, 1e6]),
)
def test_no_score_exceeds_the_limit_of_its_distance(seed: int, dim: int, offset: float, scale: float) -> None:
    rng = np.random.default_rng(seed)
    rows = ((rng.standard_normal((50, dim)) + offset) * scale).astype(np.float32)
    queries = np.concatenate([rows[:3], rows[3:6] * np.float32(1.001)])
    for metric in ("l2", "ip", "cosine"):
        for raw in (False, True):
            assert slack(rows, queries, metric, raw).min() >= 0


def test_queries_are_what_the_float32_product_sees(metric: Any) -> None:
    centre, queries = np.array([0.25, -1, 2], np.float32), np.array([[3, 0, 4], [0.5, 1, 0.125]], np.float32)
    wide = queries.astype(np.float64)
    units = (wide / np.linalg.norm(wide, axis=1, keepdims=True)).astype(np.float32)
    wanted = {"l2": queries - centre, "ip": units, "cosine": units - centre}[metric]
    p = Frame(metric, centre, 1.0).queries(queries)
    assert p.dtype == np.float32
    np.testing.assert_allclose(p, wanted, rtol=3e-7)


def limit_by_formula(frame: Frame, query: Any, distance: float) -> float:
    """The module's formula, written out for one query."""
    c = frame.centre.astype(np.float64)
    dim, q = len(c), query.astype(np.float64)
    g, g64 = ((dim + 16) * u / (1 - (dim + 16) * u) for u in (2.0**-24, 2.0**-53))
    if frame.metric == "ip":
        length = np.linalg.norm(q)
        p = (q / length).astype(np.float32).astype(np.float64)
        score, error = (distance + q @ c) / length, g * frame.radius + 4 * g64 * (np.linalg.norm(c) + frame.radius)
    else:
        cosine = frame.metric == "cosine"
        e, square = (8 * 2.0**-24, 2 * distance) if cosine else (0.0, distance**2)
        p = ((q / np.linalg.norm(q) if cosine else q).astype(np.float32) - frame.centre).astype(np.float64)
        reach = np.linalg.norm(p) + np.sqrt(square) + e
        score, error = (square - p @ p) / 2, 2 * g * reach**2 + 2 * e * reach + 4 * e**2
    if frame.raw:
        score, error = score - c @ p, error + g * np.linalg.norm(c) * np.linalg.norm(p)
    return float(score + error + (2 * dim + 16) * 2.0**-126)


@pytest.mark.parametrize("raw", [False, True])
def test_limits_are_those_of_the_formula(metric: Any, raw: bool) -> None:
    rng = np.random.default_rng(4)
    frame = Frame(metric, rng.standard_normal(30, dtype=np.float32), 7.5, raw)
    queries, distances = rng.standard_normal((5, 30), dtype=np.float32), np.array([0.0, 0.3, 1.1, np.inf, 2.0])
    pairs = zip(queries, distances, strict=True)
    expected = [limit_by_formula(frame, query, d) if d < np.inf else np.inf for query, d in pairs]
    np.testing.assert_allclose(frame.limits(queries, distances), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("raw", [False, True])
def test_of_a_limit_of_0_the_error_is_left(metric: Any, raw: bool) -> None:
    """The query on the centre (or, for the inner product, a distance that is just that of the centre)."""
    centre = np.array([0, 1, 0, 0], np.float32)
    frame, query = Frame(metric, centre, 0.0, raw), centre[None]
    distance = -1.0 if metric == "ip" else 0.0
    (found,) = frame.limits(query, np.array([distance]))
    assert found == pytest.approx(limit_by_formula(frame, query[0], distance), rel=1e-12, abs=1e-30)
    if not raw:
        assert found == 24 * 2.0**-126 if metric == "l2" else 0 < found < 1e-11


def test_rows_that_are_all_the_same() -> None:
    """Nothing is left of them but what float64 rounds."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        rows = np.tile(np.round(rng.standard_normal((1, 200)) * 16), (8, 1)).astype(np.float32)
        queries = rng.standard_normal((9, 200), dtype=np.float32)
        for metric in ("l2", "ip", "cosine"):
            assert slack(rows, queries, metric, raw=False).min() >= 0


@pytest.mark.parametrize(("metric", "widest"), [("l2", 1e-3), ("cosine", 1e-3), ("ip", 2e-3)])
def test_limit_is_close(metric: str, widest: float) -> None:
    """At dim 1024 the bound is some 1e-4 of a squared distance (or of the norm, for ip): neighbours differ by more."""
    rows = np.random.default_rng(0).standard_normal((60, 1024), dtype=np.float32)
    typical = {"l2": 1024.0, "cosine": 1.0, "ip": 32.0}[metric]
    assert slack(rows, rows[:5] + np.float32(0.5), metric, raw=False).max() < widest * typical
