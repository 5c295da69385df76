from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxrsearch.analysis.neighbours.mlknn import MLkNN
from cxrsearch.arrays import Flags, Floats
from cxrsearch.errors import UsageError
from cxrsearch_indexes.base import Neighbours
from tests.refusals import message

Make = Callable[..., Neighbours]


def literal_fit(
    neighbours: Neighbours, own: Flags, labels: Flags, bank: Flags, k: int, s: float
) -> tuple[Floats, Floats, Floats]:
    """The definition of scikit-multilearn, one image and one finding at a time."""
    findings = labels.shape[1]
    prior = np.array([(s + labels[bank, f].sum()) / (s * 2 + bank.sum()) for f in range(findings)])
    c, cn = np.zeros((findings, k + 1)), np.zeros((findings, k + 1))
    for image in range(len(neighbours)):
        rows = [row for row in neighbours[image][0] if bank[row]][:k]
        for f in range(findings if rows else 0):
            delta = sum(bool(labels[row, f]) for row in rows)
            (c if own[image, f] else cn)[f, delta] += 1
    true, false = np.zeros_like(c), np.zeros_like(cn)
    for f in range(findings):
        for j in range(k + 1):
            true[f, j] = (s + c[f, j]) / (s * (k + 1) + c[f].sum())
            false[f, j] = (s + cn[f, j]) / (s * (k + 1) + cn[f].sum())
    return prior, true, false


def literal_predict(
    tables: tuple[Floats, Floats, Floats], neighbours: Neighbours, labels: Flags, bank: Flags, k: int
) -> Floats:
    prior, true, false = tables
    probability = np.full((len(neighbours), labels.shape[1]), np.nan)
    for query in range(len(neighbours)):
        rows = [row for row in neighbours[query][0] if bank[row]][:k]
        for f in range(labels.shape[1] if rows else 0):
            delta = sum(bool(labels[row, f]) for row in rows)
            p_true, p_false = prior[f] * true[f, delta], (1 - prior[f]) * false[f, delta]
            probability[query, f] = p_true / (p_true + p_false)
    return probability


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    k=st.integers(1, 8),
    smoothing=st.sampled_from([0.5, 1.0, 2.0]),
    everyone=st.booleans(),
)
def test_equals_the_literal_definition(drawn: Make, seed: int, k: int, smoothing: float, everyone: bool) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.random((25, 3)) < rng.random(3)
    bank = np.ones(25, dtype=np.bool_) if everyone else rng.random(25) < 0.6
    rows = np.flatnonzero(bank)
    near, asked = drawn(rng, queries=len(rows), n=25, k=10), drawn(rng, queries=15, n=25, k=10)
    fitted = MLkNN.fit(near, labels[rows], labels, k=k, smoothing=smoothing, bank=None if everyone else bank)
    tables = literal_fit(near, labels[rows], labels, bank, k, smoothing)
    for got, expected in zip((fitted.prior, fitted.present, fitted.absent), tables, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-12)
    votes = fitted.predict(asked, labels, bank=None if everyone else bank)
    np.testing.assert_allclose(votes.probability, literal_predict(tables, asked, labels, bank, k), rtol=1e-12)


def test_four_images_worked_by_hand(by_hand: Make) -> None:
    """Rows 0 and 1 have the finding, 2 and 3 do not; k = 2, s = 1.

    Prior (1 + 2) / (2 + 4) = 1/2. Neighbours with it: image 0 has 1 of {1, 2}, 1 has 1 of {0, 2}, 2 has 1 of {3, 0},
    3 has 0 of {2}: it has no second one. Present: counts (0, 2, 0), so (1, 3, 1) / 5. Absent: (1, 1, 0), (2, 2, 1) / 5.
    """
    labels = np.array([[True], [True], [False], [False]])
    bank = by_hand([(1, 0.1), (2, 0.5)], [(0, 0.1), (2, 0.6)], [(3, 0.2), (0, 0.5)], [(2, 0.2)])
    fitted = MLkNN.fit(bank, labels, labels, k=2)
    np.testing.assert_allclose(fitted.prior, [1 / 2])
    np.testing.assert_allclose(fitted.present, [[1 / 5, 3 / 5, 1 / 5]])
    np.testing.assert_allclose(fitted.absent, [[2 / 5, 2 / 5, 1 / 5]])
    queries = by_hand([(2, 0.1), (3, 0.2)], [(0, 0.1), (3, 0.2)], [(0, 0.1), (1, 0.1), (3, 0.4)], [(1, 0.3)], [])
    votes = fitted.predict(queries, labels)
    np.testing.assert_allclose(votes.probability[:, 0], [1 / 3, 3 / 5, 1 / 2, 3 / 5, np.nan])
    np.testing.assert_array_equal(votes.prevalence, [0.5])
    assert votes.k_used.tolist() == [2, 2, 2, 1, 0]
    np.testing.assert_allclose(votes.lift[0], [2 / 3])


def test_a_finding_that_nobody_has_stays_improbable(by_hand: Make) -> None:
    labels = np.zeros((3, 1), dtype=np.bool_)
    bank = by_hand([(1, 0.1)], [(0, 0.1)], [(0, 0.4)])
    fitted = MLkNN.fit(bank, labels, labels, k=1)
    votes = fitted.predict(by_hand([(0, 1.0)]), labels)  # prior 1/5; no count: (1, 1) / 2 present, (4, 1) / 5 absent
    np.testing.assert_allclose(votes.probability, [[(1 / 5 * 1 / 2) / (1 / 5 * 1 / 2 + 4 / 5 * 4 / 5)]])
    assert np.isnan(votes.lift).all()


NO_LABELS = "own labels must be bool (images, 2): got "


@pytest.mark.parametrize(
    ("own", "options", "said"),
    [
        (np.ones((1, 2), np.bool_), {"k": 0}, "ML-kNN with k = 0 and s = 1.0 — choose k >= 1 and s > 0"),
        (np.ones((1, 2), np.bool_), {"smoothing": 0.0}, "ML-kNN with k = 20 and s = 0.0 — choose k >= 1 and s > 0"),
        (
            np.ones((1, 2), np.bool_),
            {"smoothing": float("nan")},
            "ML-kNN with k = 20 and s = nan — choose k >= 1 and s > 0",
        ),
        (np.ones((2, 2), np.bool_), {}, NO_LABELS + "bool (2, 2) for 1 images — give one row per image"),
        (np.ones((1, 3), np.bool_), {}, NO_LABELS + "bool (1, 3) for 1 images — give one row per image"),
        (np.ones((1, 2)), {}, NO_LABELS + "float64 (1, 2) for 1 images — give one row per image"),
    ],
)
def test_what_cannot_be_fitted_is_refused(by_hand: Make, own: Flags, options: dict[str, int], said: str) -> None:
    assert message(UsageError, MLkNN.fit, by_hand([(0, 1.0)]), own, np.ones((2, 2), np.bool_), **options) == said


def test_labels_of_another_vocabulary_are_refused(by_hand: Make) -> None:
    near = by_hand([(0, 1.0)])
    fitted = MLkNN.fit(near, np.ones((1, 2), np.bool_), np.ones((1, 2), np.bool_))
    said = "labels of 3 findings, ML-kNN fitted on 2 — fit it again"
    assert message(UsageError, fitted.predict, near, np.ones((1, 3), np.bool_)) == said
    assert (fitted.k, fitted.smoothing, fitted.present.shape) == (20, 1.0, (2, 21))
