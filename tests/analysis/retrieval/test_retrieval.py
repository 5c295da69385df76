from collections.abc import Callable
from itertools import permutations

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.metrics import average_precision_score, ndcg_score

from cxrsearch.analysis.measures.bootstrap import PatientBootstrap
from cxrsearch.analysis.retrieval.retrieval import METRICS, Retrieval, retrieval, summarise, with_none
from cxrsearch.arrays import Flags, Floats, Integers
from cxrsearch.errors import UsageError
from cxrsearch_indexes import Neighbours, Restriction, build

Make = Callable[..., Neighbours]


def label_sets(labels: Flags) -> list[set[int]]:
    """Each image's findings as a set; {-1} of an image without any."""
    return [set(np.flatnonzero(row).tolist()) or {-1} for row in labels]


def jaccard(one: set[int], other: set[int]) -> float:
    return len(one & other) / len(one | other)


def plain(gains: list[float], all_gains: list[float], k: int) -> list[float]:
    """The four metrics of one query by their definitions: the gains returned, and those of all that may answer."""
    gains, best = gains[:k], sorted(all_gains, reverse=True)[:k]
    relevant = [gain > 0 for gain in gains]
    r = sum(gain > 0 for gain in all_gains)
    precisions = [sum(relevant[: i + 1]) / (i + 1) for i in range(len(gains)) if relevant[i]]
    ideal = sum(gain / np.log2(i + 2) for i, gain in enumerate(best))
    dcg = sum(gain / np.log2(i + 2) for i, gain in enumerate(gains))
    average = sum(precisions) / min(k, r) if r else 0
    return [sum(relevant) / len(gains), float(any(relevant)), average, dcg / ideal if ideal else 0]


def searched(seed: int, n: int, queries: int, k: int) -> tuple[Neighbours, Flags, Flags, Restriction, Floats]:
    """Random images of several patients, a few not allowed; neighbours of other patients."""
    rng = np.random.default_rng(seed)
    x, q = rng.normal(size=(n, 3)).astype(np.float32), rng.normal(size=(queries, 3)).astype(np.float32)
    labels, query_labels = rng.random((n, 3)) < 0.3, rng.random((queries, 3)) < 0.3
    restriction = Restriction(rng.random(n) < 0.8, rng.integers(0, 5, n), rng.integers(-1, 5, queries))
    return build("exact", [x], "l2").search(q, k, restriction), query_labels, labels, restriction, cdist(q, x)


def admissible(restriction: Restriction, query: int) -> Integers:
    assert restriction.allowed is not None
    assert restriction.groups is not None
    assert restriction.query_groups is not None
    return np.flatnonzero(restriction.allowed & (restriction.groups != restriction.query_groups[query]))


@pytest.mark.parametrize("k", [1, 5, 60])
@pytest.mark.parametrize("seed", range(3))
def test_equals_the_definitions_one_query_at_a_time(seed: int, k: int) -> None:
    neighbours, query_labels, labels, restriction, distances = searched(seed, 40, 300, k)
    result = retrieval(neighbours, query_labels, labels, k, restriction)
    bank, asked = label_sets(labels), label_sets(query_labels)
    for query in range(300):
        rows = admissible(restriction, query)
        order = rows[np.argsort(distances[query, rows])]
        every = [jaccard(asked[query], bank[row]) for row in order]
        np.testing.assert_allclose(result.values[query], plain(every, every, k), rtol=1e-12)
        has = [[label in bank[row] for label in (0, 1, 2, -1)] for row in order]
        np.testing.assert_allclose(result.label_share[query], np.mean(has[:k], axis=0), rtol=1e-12)
        np.testing.assert_allclose(result.label_chance[query], np.mean(has, axis=0), rtol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_equals_scikit_learn(seed: int) -> None:
    neighbours, query_labels, labels, restriction, distances = searched(seed, 40, 60, 40)
    asked, bank = label_sets(query_labels), label_sets(labels)
    at = {k: retrieval(neighbours, query_labels, labels, k, restriction).values for k in (7, 40)}
    for query in range(60):
        rows = admissible(restriction, query)
        gains = np.array([jaccard(asked[query], bank[row]) for row in rows])
        if gains.any():
            expected = ndcg_score(gains[None], -distances[[query]][:, rows], k=7)
            assert at[7][query, 3] == pytest.approx(expected, rel=1e-12)
            assert at[40][query, 2] == pytest.approx(
                average_precision_score(gains > 0, -distances[query, rows]), rel=1e-12
            )


@pytest.mark.parametrize("k", [1, 3, 6, 9])
def test_chance_is_the_mean_over_every_order(k: int) -> None:
    rng = np.random.default_rng(k)
    labels, query_labels = rng.random((8, 2)) < 0.4, rng.random((6, 2)) < 0.4
    patients, own = np.array([0, 0, 1, 2, 3, 4, 4, 5]), np.array([0, 1, 4, 5, 9, 0])
    x = rng.normal(size=(8, 2)).astype(np.float32)
    allowed = np.arange(8) != 3
    restriction = Restriction(allowed, patients, own)
    neighbours = build("exact", [x], "l2").search(x[:6], k, restriction)
    result = retrieval(neighbours, query_labels, labels, k, restriction)
    bank, asked = label_sets(labels), label_sets(query_labels)
    for query in range(6):
        gains = [jaccard(asked[query], bank[row]) for row in range(8) if allowed[row] and patients[row] != own[query]]
        expected = np.mean([plain(list(order), gains, k) for order in permutations(gains)], axis=0)
        np.testing.assert_allclose(result.chance[query], expected, rtol=1e-12)


def test_a_case_by_hand(by_hand: Make) -> None:
    labels = np.array([[1, 0], [1, 1], [0, 0], [0, 1], [0, 0]], dtype=np.bool_)  # A, AB, none, B, none
    neighbours = by_hand([(2, 1.0), (1, 2.0), (0, 3.0)], [(2, 0.5), (4, 0.6), (3, 0.7)])
    query_labels = np.array([[True, False], [False, False]])  # A; none
    result = retrieval(neighbours, query_labels, labels, 3, Restriction())
    d = 1 / np.log2([2, 3, 4])
    first = [2 / 3, 1, (1 / 2 + 2 / 3) / 2, (d[1] / 2 + d[2]) / (d[0] + d[1] / 2)]
    np.testing.assert_allclose(result.values, [first, [2 / 3, 1, 1, 1]], rtol=1e-12)
    np.testing.assert_allclose(result.label_share, [[2 / 3, 1 / 3, 1 / 3], [0, 1 / 3, 2 / 3]], rtol=1e-12)
    np.testing.assert_allclose(result.chance[:, 0], [2 / 5, 2 / 5])
    np.testing.assert_allclose(result.chance[:, 1], 1 - (3 * 2 * 1) / (5 * 4 * 3))
    assert result.groups.tolist() == [[True, False, False, True, True], [False, False, True, True, False]]
    assert METRICS == ("precision", "hit", "average_precision", "ndcg")


def test_nothing_relevant_counts_as_nothing(by_hand: Make) -> None:
    result = retrieval(by_hand([(0, 1.0)]), np.array([[True]]), np.array([[False], [False]]), 1, Restriction())
    assert result.values.tolist() == result.chance.tolist() == [[0, 0, 0, 0]]


def test_duplicate_images_are_all_relevant(by_hand: Make) -> None:
    labels = np.ones((4, 2), np.bool_)
    result = retrieval(by_hand([(0, 0.0), (1, 0.0), (2, 0.0)]), labels[:1], labels, 3, Restriction())
    assert result.values.tolist() == [[1, 1, 1, 1]]
    np.testing.assert_allclose(result.chance, [[1, 1, 1, 1]])


def test_one_patient_only_has_no_answers(by_hand: Make) -> None:
    labels = np.ones((2, 1), np.bool_)
    alone = Restriction(groups=np.zeros(2, np.int64), query_groups=np.zeros(2, np.int64))
    result = retrieval(by_hand([], []), labels, labels, 5, alone)
    assert np.isnan([*result.values.ravel(), *result.chance.ravel(), *result.label_share.ravel()]).all()
    assert not result.groups.any()
    summary = summarise(result, PatientBootstrap(np.zeros(2, np.int64), 10))
    assert np.isnan(summary.values.point).all()
    assert summary.values.images.tolist() == [0, 0, 0, 0]


def test_more_findings_than_bits_of_a_byte(by_hand: Make) -> None:
    labels = np.eye(20, dtype=np.bool_)
    result = retrieval(by_hand([(3, 1.0), (19, 2.0)]), labels[[19]], labels, 2, Restriction())
    assert result.values[0].tolist() == [0.5, 1, 0.5, pytest.approx(1 / np.log2(3))]


def summary_of(result: Retrieval, patients: Integers) -> tuple[Floats, Floats]:
    """Means over the groups, and over the patients with a label, by hand."""
    values = np.array([result.values[own].mean(axis=0) for own in result.groups.T])
    labels = [result.label_share[own, f].mean() for f, own in enumerate(result.groups.T[: result.label_share.shape[1]])]
    return values, np.array(labels)


def test_summaries_are_means_with_intervals() -> None:
    neighbours, query_labels, labels, restriction, _ = searched(5, 60, 200, 5)
    patients = np.random.default_rng(0).integers(0, 40, 200)
    result = retrieval(neighbours, query_labels, labels, 5, restriction)
    bootstrap = PatientBootstrap(patients, 200)
    summary = summarise(result, bootstrap)
    values, shares = summary_of(result, patients)
    np.testing.assert_allclose(summary.values.point, values, rtol=1e-12)
    np.testing.assert_allclose(summary.label.point[:, 0], shares, rtol=1e-12)
    np.testing.assert_allclose(
        summary.label_chance,
        [result.label_chance[own, f].mean() for f, own in enumerate(result.groups.T[:4])],
        rtol=1e-12,
    )
    np.testing.assert_allclose(summary.chance, [result.chance[own].mean(axis=0) for own in result.groups.T], rtol=1e-12)
    inside = (summary.values.low < summary.values.point) & (summary.values.point < summary.values.high)
    assert inside.all()
    assert (summary.label.low < summary.label.point).all()
    assert summary.values.images.tolist() == result.groups.sum(axis=0).tolist()
    assert summary.label.images.tolist() == summary.values.images.tolist()[:4]


def test_none_is_a_label_of_its_own() -> None:
    assert with_none(np.array([[True, False], [False, False]])).tolist() == [[True, False, False], [False, False, True]]


def test_what_does_not_fit_is_refused(by_hand: Make) -> None:
    one, labels, anyone = by_hand([(0, 1.0)]), np.zeros((3, 2), np.bool_), Restriction()
    with pytest.raises(UsageError, match="k = 0"):
        retrieval(one, labels[:1], labels, 0, anyone)
    with pytest.raises(UsageError, match="for 1 queries"):
        retrieval(one, labels[:2], labels, 1, anyone)
    with pytest.raises(UsageError, match="labels that do not fit"):
        retrieval(one, labels[:1, :1], labels, 1, anyone)
    with pytest.raises(UsageError, match="not one of the 3 images"):
        retrieval(by_hand([(3, 1.0)]), labels[:1], labels, 1, anyone)
    with pytest.raises(UsageError, match="labels must be bool"):
        retrieval(one, labels[:1], labels.astype(np.int64), 1, anyone)
    with pytest.raises(UsageError, match="allowed has shape"):
        retrieval(one, labels[:1], labels, 1, Restriction(allowed=np.ones(2, np.bool_)))
