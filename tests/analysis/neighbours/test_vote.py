from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors

from cxrsearch.analysis.neighbours.vote import VOTES, Weighting, vote
from cxrsearch.arrays import Flags, Floats
from cxrsearch.errors import UsageError
from cxrsearch_indexes.base import Neighbours
from tests.refusals import message

Make = Callable[..., Neighbours]
WEIGHTINGS: tuple[Weighting, ...] = ("uniform", "distance", "softmax")


def plain_weights(distances: Sequence[float], weighting: str) -> list[float]:
    """The definitions, one neighbour at a time."""
    nearest, farthest = distances[0], distances[-1]
    if weighting == "uniform" or nearest == farthest:
        return [1.0] * len(distances)
    if weighting == "distance":
        return [(farthest - d) / (farthest - nearest) for d in distances]
    temperature = sum(d - nearest for d in distances) / len(distances)
    return [float(np.exp(-(d - nearest) / temperature)) for d in distances]


def plain_vote(neighbours: Neighbours, labels: Flags, weighting: str, bank: Flags) -> Floats:
    """The vote, one query and one finding at a time."""
    probability = np.full((len(neighbours), labels.shape[1]), np.nan)
    for query in range(len(neighbours)):
        voters = [(row, d) for row, d in zip(*neighbours[query], strict=True) if bank[row]]
        if voters:
            weights = plain_weights([d for _, d in voters], weighting)
            for finding in range(labels.shape[1]):
                in_favour = sum(w for w, (row, _) in zip(weights, voters, strict=True) if labels[row, finding])
                probability[query, finding] = in_favour / sum(weights)
    return probability


@pytest.mark.parametrize("weighting", WEIGHTINGS)
@pytest.mark.parametrize("seed", range(5))
def test_equals_plain_loops_with_and_without_a_bank(drawn: Make, weighting: Weighting, seed: int) -> None:
    rng = np.random.default_rng(seed)
    neighbours = drawn(rng, queries=40, n=30, k=9)
    labels = rng.random((30, 5)) < 0.4
    everyone = np.ones(30, dtype=np.bool_)
    for given_bank, bank in ((None, everyone), (half := rng.random(30) < 0.6, half)):
        votes = vote(neighbours, labels, weighting=weighting, bank=given_bank)
        expected = plain_vote(neighbours, labels, weighting, bank)
        assert 0 < np.isnan(expected[:, 0]).sum() < 40
        np.testing.assert_allclose(votes.probability, expected, rtol=1e-12)
        np.testing.assert_allclose(votes.prevalence, np.count_nonzero(labels[bank], axis=0) / np.count_nonzero(bank))
        assert votes.k_used.tolist() == [int(bank[neighbours[query][0]].sum()) for query in range(40)]


def test_weights_worked_by_hand(by_hand: Make) -> None:
    neighbours = by_hand([(0, -3.0), (1, -2.0), (2, 1.0)])  # a negated inner product: excess 0, 1, 4, their mean 5/3
    labels = np.eye(3, dtype=np.bool_)
    np.testing.assert_allclose(vote(neighbours, labels, weighting="uniform").probability, [[1 / 3] * 3])
    np.testing.assert_allclose(vote(neighbours, labels, weighting="distance").probability, [[4 / 7, 3 / 7, 0]])
    e = np.exp([0, -3 / 5, -12 / 5])
    np.testing.assert_allclose(vote(neighbours, labels, weighting="softmax").probability[0], e / e.sum())


def test_uniform_equals_scikit_learn() -> None:
    rng = np.random.default_rng(1)
    bank, queries = rng.normal(size=(200, 6)), rng.normal(size=(50, 6))
    labels = rng.random((200, 4)) < 0.3
    distances, rows = NearestNeighbors(n_neighbors=20).fit(bank).kneighbors(queries)
    neighbours = Neighbours(rows.ravel(), distances.ravel(), np.arange(0, 1001, 20))
    peer = KNeighborsClassifier(20, weights="uniform").fit(bank, labels).predict_proba(queries)
    expected = np.stack([share[:, 1] for share in peer], axis=1)
    np.testing.assert_array_equal(vote(neighbours, labels, weighting="uniform").probability, expected)


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_equally_far_neighbours_count_alike(by_hand: Make, weighting: Weighting) -> None:
    labels = np.array([[True], [True], [False], [False]])
    duplicates = by_hand([(0, 0.0), (1, 0.0), (2, 0.0)], [(3, 5.0)])
    np.testing.assert_allclose(vote(duplicates, labels, weighting=weighting).probability[:, 0], [2 / 3, 0])


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_far_outliers_neither_overflow_nor_warn(by_hand: Make, weighting: Weighting) -> None:
    labels = np.array([[True], [False]])
    neighbours = by_hand([(0, 0.0), (1, 1e300)], [(0, 1e-320), (1, 2e-320)], [(0, -1e300), (1, 1e300)])
    expected = {"uniform": 0.5, "distance": 1.0, "softmax": 1 / (1 + np.exp(-2))}[weighting]
    np.testing.assert_allclose(vote(neighbours, labels, weighting=weighting).probability, [[expected]] * 3, rtol=1e-3)


def test_a_finding_nobody_has_and_one_all_have(by_hand: Make) -> None:
    labels = np.array([[False, True]] * 3)
    votes = vote(by_hand([(0, 1.0), (2, 1.7)], []), labels, weighting="softmax")
    np.testing.assert_array_equal(votes.probability, [[0, 1], [np.nan, np.nan]])
    np.testing.assert_array_equal(votes.prevalence, [0, 1])
    np.testing.assert_array_equal(votes.lift, [[np.nan, 1], [np.nan, np.nan]])


def test_lift_is_the_probability_over_the_prevalence(by_hand: Make) -> None:
    labels = np.array([[True], [False], [False], [False]])
    assert vote(by_hand([(0, 1.0), (3, 2.0)]), labels, weighting="uniform").lift.tolist() == [[2.0]]


def test_an_empty_bank_knows_nothing(by_hand: Make) -> None:
    none = np.zeros(2, dtype=np.bool_)
    votes = vote(by_hand([(0, 1.0)], []), np.ones((2, 3), dtype=np.bool_), weighting="uniform", bank=none)
    assert np.isnan(votes.probability).all()
    assert np.isnan(votes.prevalence).all()
    assert np.isnan(votes.lift).all()
    assert votes.k_used.tolist() == [0, 0]


@settings(deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    weighting=st.sampled_from(WEIGHTINGS),
    shift=st.floats(-100, 100),
    scale=st.floats(1e-3, 1e3),
)
def test_shift_and_scale_of_distances_change_nothing(
    drawn: Make, seed: int, weighting: Weighting, shift: float, scale: float
) -> None:
    rng = np.random.default_rng(seed)
    neighbours, labels = drawn(rng, queries=5, n=12, k=6), rng.random((12, 3)) < 0.5
    moved = Neighbours(neighbours.rows, neighbours.distances * scale + shift, neighbours.offsets)
    before, after = (vote(n, labels, weighting=weighting).probability for n in (neighbours, moved))
    np.testing.assert_allclose(after, before, atol=1e-9)
    assert np.nanmin(before, initial=0) >= 0
    assert np.nanmax(before, initial=1) <= 1


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1), weighting=st.sampled_from(WEIGHTINGS))
def test_the_order_of_equally_far_neighbours_changes_nothing(drawn: Make, seed: int, weighting: Weighting) -> None:
    rng = np.random.default_rng(seed)
    neighbours, labels = drawn(rng, queries=5, n=12, k=8), rng.random((12, 3)) < 0.5
    query = np.repeat(np.arange(5), neighbours.counts)
    order = np.lexsort((rng.random(len(query)), neighbours.distances, query))
    shuffled = Neighbours(neighbours.rows[order], neighbours.distances[order], neighbours.offsets)
    before, after = (vote(n, labels, weighting=weighting).probability for n in (neighbours, shuffled))
    np.testing.assert_allclose(after, before, rtol=1e-12)


def test_every_name_but_mlknn_is_a_weighting() -> None:
    assert (*WEIGHTINGS, "mlknn") == VOTES


NO_ROW = "a neighbour is not one of the 2 labelled images — give the labels of the searched index"
NO_LABELS = "labels must be bool (n, findings): got "


@pytest.mark.parametrize(
    ("rows", "labels", "options", "said"),
    [
        (
            [0],
            np.ones((2, 1), np.bool_),
            {"weighting": "mlknn"},
            "unknown weighting 'mlknn' — choose one of uniform, distance, softmax",
        ),
        ([2], np.ones((2, 1), np.bool_), {"weighting": "uniform"}, NO_ROW),
        ([-1], np.ones((2, 1), np.bool_), {"weighting": "uniform"}, NO_ROW),
        ([0], np.ones((2, 1)), {"weighting": "uniform"}, NO_LABELS + "float64 (2, 1) — encode them first"),
        ([0], np.ones(2, np.bool_), {"weighting": "uniform"}, NO_LABELS + "bool (2,) — encode them first"),
        (
            [0],
            np.ones((2, 1), np.bool_),
            {"weighting": "uniform", "bank": np.ones(3, np.bool_)},
            "the bank must be bool (2,): got bool (3,) — give one flag per image",
        ),
        (
            [0],
            np.ones((2, 1), np.bool_),
            {"weighting": "uniform", "bank": np.array([0, 1])},
            "the bank must be bool (2,): got int64 (2,) — give one flag per image",
        ),
    ],
)
def test_arrays_that_do_not_fit_are_refused(
    by_hand: Make, rows: list[int], labels: Flags, options: dict[str, Weighting], said: str
) -> None:
    assert message(UsageError, vote, by_hand([(row, 1.0) for row in rows]), labels, **options) == said
