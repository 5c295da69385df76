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
