from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from sklearn.metrics import brier_score_loss, roc_auc_score

from cxrsearch.analysis.models.knn_model import UNCHOSEN, Knn, MLkNNModel, Searches, TunedKnn, first, vote_probability
from cxrsearch.analysis.models.model import Sample
from cxrsearch.analysis.neighbours.mlknn import MLkNN
from cxrsearch.analysis.neighbours.vote import Votes, Weighting, vote
from cxrsearch.arrays import Floats
from cxrsearch.errors import UsageError
from cxrsearch_indexes import Neighbours

Draw = Callable[..., tuple[Sample, ...]]


def plain_neighbours(bank: Sample, query: int, queries: Sample, k: int) -> NDArray[np.int64]:
    """The rows of the k nearest images of other patients, in float64, one query at a time."""
    distances = cdist(queries.embeddings[[query]].astype(np.float64), bank.embeddings.astype(np.float64))[0]
    rows = np.flatnonzero(bank.patients != queries.patients[query])
    return rows[np.lexsort((rows, distances[rows]))][:k]


def plain_shares(bank: Sample, queries: Sample, k: int) -> Floats:
    rows = [plain_neighbours(bank, query, queries, k) for query in range(len(queries))]
    return np.array([bank.labels[own].mean(axis=0) if len(own) else bank.prevalence for own in rows])


def test_knn_is_the_share_among_the_nearest_of_other_patients(samples: Draw) -> None:
    train, val, test = samples(120, 30, 40)
    mixed = Sample(test.embeddings, test.labels, np.where(np.arange(40) < 20, test.patients, np.arange(40)))
    fitted = Knn(Searches()).fit(train, val)
    np.testing.assert_array_equal(fitted.predict(mixed), plain_shares(train, mixed, 20))
    np.testing.assert_array_equal(fitted.predict(train), plain_shares(train, train, 20))
    assert fitted.settings == {"k": 20, "weighting": "uniform"}
    other = Sample(mixed.embeddings, ~mixed.labels, mixed.patients)
    np.testing.assert_array_equal(fitted.predict(other), fitted.predict(mixed))


def test_more_neighbours_than_images_and_none_at_all(samples: Draw) -> None:
    train, test = samples(10, 4)
    assert (Knn(Searches(), k=50).fit(train, test).predict(test) == train.prevalence).all()
    alone = Sample(train.embeddings, train.labels, np.zeros(10, np.int64))
    for model in (Knn(Searches()), TunedKnn(Searches()), MLkNNModel(Searches())):
        np.testing.assert_array_equal(model.fit(alone, alone).predict(alone), np.tile(train.prevalence, (10, 1)))


def test_duplicates_vote_in_the_order_of_their_rows() -> None:
    train = Sample(np.zeros((4, 2), np.float32), np.eye(4, dtype=np.bool_), np.arange(4))
    query = Sample(np.zeros((1, 2), np.float32), np.zeros((1, 4), np.bool_), np.array([1]))
    assert Knn(Searches(), k=2).fit(train, train).predict(query).tolist() == [[0.5, 0, 0.5, 0]]


def plain_choice(train: Sample, val: Sample, ks: tuple[int, ...], priors: tuple[float, ...]) -> tuple[int, str, float]:
    """The best of the grid, each setting on its own search, by scikit-learn's scores."""
    best: tuple[float, int, str, Votes] | None = None
    weightings: tuple[Weighting, ...] = ("uniform", "distance", "softmax")
    for k, weighting in product(ks, weightings):
        votes = vote(Searches(k=1).neighbours(train, val, k), train.labels, weighting=weighting)
        value = roc_auc_score(val.labels, votes.probability)
        if best is None or value > best[0]:
            best = (value, k, weighting, votes)
    assert best is not None
    errors = []
    for m in priors:
        p = (best[1] * best[3].probability + m * train.prevalence) / (best[1] + m)
        errors.append(np.mean([brier_score_loss(val.labels[:, f], p[:, f]) for f in range(p.shape[1])]))
    return best[1], best[2], priors[int(np.argmin(errors))]


@pytest.mark.parametrize("seed", range(4))
def test_tuned_settings_are_the_best_of_the_grid(samples: Draw, seed: int) -> None:
    train, val, test = samples(300, 120, 30, seed=seed)
    ks, priors = (3, 8, 15, 40), (0.0, 1.0, 5.0, 20.0)
    fitted = TunedKnn(Searches(), ks=ks, priors=priors).fit(train, val)
    k, weighting, prior = plain_choice(train, val, ks, priors)
    assert fitted.settings == {"k": k, "weighting": weighting, "prior_votes": prior}
    votes = vote(Searches(k=1).neighbours(train, test, k), train.labels, weighting=fitted.settings["weighting"])
    expected = (k * votes.probability + prior * train.prevalence) / (k + prior)
    np.testing.assert_allclose(fitted.predict(test), expected, rtol=1e-12)


def test_without_a_finding_to_choose_by_the_papers_settings_are_used(samples: Draw) -> None:
    train, val = samples(60, 10)
    empty = Sample(val.embeddings, np.zeros_like(val.labels), val.patients)
    fitted = TunedKnn(Searches()).fit(train, empty)
    assert fitted.settings == {"k": 20, "weighting": "uniform", "prior_votes": 0.0}
    assert fitted.notes == (UNCHOSEN,)
    np.testing.assert_array_equal(fitted.predict(val), Knn(Searches()).fit(train, val).predict(val))


def test_mlknn_is_fitted_on_the_bank_and_other_patients(samples: Draw) -> None:
    train, val, test = samples(150, 20, 30)
    fitted = MLkNNModel(Searches()).fit(train, val)

    def neighbours(queries: Sample) -> Neighbours:
        rows = [plain_neighbours(train, q, queries, 20) for q in range(len(queries))]
        return Neighbours(np.concatenate(rows), np.zeros(20 * len(rows)), np.arange(0, 20 * len(rows) + 1, 20))

    plain = MLkNN.fit(neighbours(train), train.labels, train.labels, k=20, smoothing=1.0)
    expected = plain.predict(neighbours(test), train.labels).probability
    np.testing.assert_allclose(fitted.predict(test), expected, rtol=1e-12)


def test_rare_findings_are_no_obstacle(samples: Draw) -> None:
    train, val = samples(60, 30)
    labels = np.zeros((60, 3), np.bool_)
    labels[5, 1] = labels[:, 2] = True
    rare = Sample(train.embeddings, labels, train.patients)
    for model in (Knn(Searches()), TunedKnn(Searches())):
        predicted = model.fit(rare, val).predict(val)
        assert (predicted[:, 0] == 0).all()
        assert (predicted[:, 2] == 1).all()
        assert 0 < predicted[:, 1].max() <= 0.2
    assert np.isfinite(MLkNNModel(Searches()).fit(rare, val).predict(val)).all()


def test_each_pair_of_samples_is_searched_once_for_the_largest_k(samples: Draw) -> None:
    train, val, test = samples(50, 20, 20)
    seen: list[str] = []
    searches = Searches(k=30, progress=lambda stage, done, total: seen.append(f"{done}/{total}"))
    five = searches.neighbours(train, val, 5)
    assert seen == ["0/20", "20/20"]
    np.testing.assert_array_equal(searches.neighbours(train, val, 30).part(np.arange(20)).counts, 30)
    np.testing.assert_array_equal(first(searches.neighbours(train, val, 30), 5).rows, five.rows)
    assert len(seen) == 2
    searches.neighbours(train, test, 5)
    assert len(seen) == 4
    assert searches.neighbours(train, val, 40).counts.tolist() == [40] * 20
    assert len(seen) == 6
    for k in (0, -1):
        with pytest.raises(UsageError, match="ask for one neighbour or more"):
            searches.neighbours(train, val, k)


def test_first_of_unequal_lists(by_hand: Callable[..., Neighbours]) -> None:
    cut = first(by_hand([(4, 1.0), (2, 2.0), (7, 3.0)], [], [(1, 0.5)]), 2)
    assert (cut.rows.tolist(), cut.distances.tolist(), cut.offsets.tolist()) == (
        [4, 2, 1],
        [1.0, 2.0, 0.5],
        [0, 2, 2, 3],
    )


def test_votes_and_votes_for_the_prevalence_by_hand() -> None:
    votes = Votes(np.array([[0.5], [np.nan], [0.0]]), np.array([0.1]), np.array([4, 0, 2]))
    np.testing.assert_array_equal(vote_probability(votes), [[0.5], [0.1], [0.0]])
    np.testing.assert_allclose(
        vote_probability(votes, 6.0), [[(4 * 0.5 + 6 * 0.1) / 10], [0.1], [6 * 0.1 / 8]], rtol=1e-12
    )


def test_other_metrics_are_passed_on(samples: Draw) -> None:
    train, test = samples(80, 10, images=1)
    rows = Searches("cosine").neighbours(train, test, 5).rows.reshape(10, 5)
    expected = np.argsort(cdist(test.embeddings.astype(float), train.embeddings.astype(float), "cosine"), axis=1)[:, :5]
    np.testing.assert_array_equal(rows, expected)


def test_of_equal_settings_the_first_is_chosen(samples: Draw) -> None:
    train, val = samples(80, 40)
    equal = Sample(np.zeros_like(train.embeddings), train.labels, train.patients)
    assert TunedKnn(Searches(), ks=(7, 15)).fit(equal, val).settings["k"] == 7
    assert TunedKnn(Searches(), ks=(7, 15)).fit(equal, val).settings["weighting"] == "uniform"
