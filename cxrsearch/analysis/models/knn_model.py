"""Neighbour votes as models: the training part is the bank, and only other patients' images are neighbours.

`Knn` is the paper's model: the share of the 20 nearest neighbours, all with the same weight. `TunedKnn` chooses its
settings on the validation part. The mean AUROC chooses how many neighbours vote, and with what weights (`vote`). Then
the Brier score chooses m, the number of votes for the bank's prevalence p0. After k votes for p, the probability is
(k p + m p0) / (k + m). This is the m-estimate (Cestnik 1990, ECAI, 147-149). It corrects the size of a probability. It
is one rising function for all images with k neighbours, so it does not change their order.

An image without a neighbour (the bank holds only its own patient) gets the bank's prevalence.
"""

from dataclasses import dataclass
from itertools import product
from typing import get_args
from weakref import WeakKeyDictionary

import numpy as np

from cxrsearch.analysis.measures.metrics import brier
from cxrsearch.analysis.models.model import Fitted, Sample, require_alike, selection_score
from cxrsearch.analysis.neighbours.mlknn import MLkNN
from cxrsearch.analysis.neighbours.vote import Votes, Weighting, keep, vote
from cxrsearch.arrays import Floats
from cxrsearch.errors import UsageError
from cxrsearch.progress import Progress, silent
from cxrsearch_indexes import Metric, Neighbours, Restriction, VectorIndex, build

PAPER_K = 20
K_GRID = (5, 10, 20, 50, 100, 200)
WEIGHTINGS: tuple[Weighting, ...] = get_args(Weighting)
PRIOR_GRID = (0.0, 1.0, 2.0, 5.0, 10.0, 20.0)

UNCHOSEN = "no finding of the validation part has both positive and negative images: the paper's settings were used"

_CHUNK = 2048


class Searches:
    """Nearest images of other patients, searched once per pair of samples and shared by all models.

    The neighbours are kept for as long as both samples live.

    Args:
        metric: of the distances.
        k: at least this many neighbours are searched at once, so that a model that needs more need not search again.
        progress: called as queries are answered.
    """

    def __init__(self, metric: Metric = "l2", k: int = max(K_GRID), progress: Progress = silent) -> None:
        self._metric, self._k, self._progress = metric, k, progress
        self._indexes: WeakKeyDictionary[Sample, VectorIndex] = WeakKeyDictionary()
        self._kept: WeakKeyDictionary[Sample, WeakKeyDictionary[Sample, tuple[int, Neighbours]]] = WeakKeyDictionary()

    def neighbours(self, bank: Sample, queries: Sample, k: int) -> Neighbours:
        """The first k neighbours of each query among the bank's images of other patients; fewer if there are fewer.

        Raises:
            UsageError: k < 1, or samples of different dimensions.
        """
        if k < 1:
            raise UsageError(f"k = {k}", "ask for one neighbour or more")
        require_alike(bank, queries)
        of_bank = self._kept.setdefault(bank, WeakKeyDictionary())
        searched, neighbours = of_bank.get(queries, (0, None))
        if neighbours is None or searched < k:
            # Only ML-kNN asks for a bank's neighbours in itself, and with a single k: more would be wasted.
            searched = k if bank is queries else max(k, self._k)
            neighbours = self._search(bank, queries, searched)
            of_bank[queries] = searched, neighbours
        return first(neighbours, k)

    def index(self, bank: Sample) -> VectorIndex:
        """The exact index over a bank's embeddings, built once."""
        if bank not in self._indexes:
            self._indexes[bank] = build("exact", [bank.embeddings], self._metric)
        return self._indexes[bank]

    def _search(self, bank: Sample, queries: Sample, k: int) -> Neighbours:
        index, answers = self.index(bank), []
        for start in range(0, len(queries), _CHUNK):
            self._progress("searching neighbours", start, len(queries))
            part = slice(start, start + _CHUNK)
            others = Restriction(groups=bank.patients, query_groups=queries.patients[part])
            answers.append(index.search(queries.embeddings[part], k, others))
        self._progress("searching neighbours", len(queries), len(queries))
        return Neighbours.concatenate(answers)


@dataclass(frozen=True)
class Knn:
    """The uniform vote of the k nearest neighbours."""

    searches: Searches
    k: int = PAPER_K

    def fit(self, train: Sample, val: Sample) -> Fitted:
        """Nothing is learned; see `Model.fit`."""
        require_alike(train, val)

        def score(sample: Sample) -> Floats:
            neighbours = self.searches.neighbours(train, sample, self.k)
            return vote_probability(vote(neighbours, train.labels, weighting="uniform"))

        return Fitted(train, {"k": self.k, "weighting": "uniform"}, score)


@dataclass(frozen=True)
class TunedKnn:
    """A vote whose k, weighting and prior are chosen on the validation part from three grids."""

    searches: Searches
    ks: tuple[int, ...] = K_GRID
    weightings: tuple[Weighting, ...] = WEIGHTINGS
    priors: tuple[float, ...] = PRIOR_GRID

    def fit(self, train: Sample, val: Sample) -> Fitted:
        """Try the grids on one search for the largest k; see `Model.fit`."""
        require_alike(train, val)
        neighbours = self.searches.neighbours(train, val, max(self.ks))
        chosen = self._choose(neighbours, train, val)
        k, weighting, prior = chosen or (PAPER_K, WEIGHTINGS[0], 0.0)

        def score(sample: Sample) -> Floats:
            nearest = self.searches.neighbours(train, sample, k)
            return vote_probability(vote(nearest, train.labels, weighting=weighting), prior)

        settings = {"k": k, "weighting": weighting, "prior_votes": prior}
        return Fitted(train, settings, score, () if chosen else (UNCHOSEN,))

    def _choose(self, neighbours: Neighbours, train: Sample, val: Sample) -> tuple[int, Weighting, float] | None:
        """Choose k, weighting and prior, the first of equals; None if no AUROC is defined on the validation part."""
        best: tuple[int, Weighting, Votes] | None = None
        best_score = -np.inf
        for k, weighting in product(self.ks, self.weightings):
            votes = vote(first(neighbours, k), train.labels, weighting=weighting)
            score = selection_score(val, vote_probability(votes))
            if score > best_score:
                best, best_score = (k, weighting, votes), score
        if best is None:
            return None
        errors = [brier(val.labels, vote_probability(best[2], prior)).mean() for prior in self.priors]
        return best[0], best[1], self.priors[int(np.argmin(errors))]


@dataclass(frozen=True)
class MLkNNModel:
    """ML-kNN (`cxrsearch.analysis.neighbours.mlknn`), fitted on all images of the training part."""

    searches: Searches
    k: int = PAPER_K
    smoothing: float = 1.0

    def fit(self, train: Sample, val: Sample) -> Fitted:
        """Search every training image's neighbours, and count their findings; see `Model.fit`."""
        require_alike(train, val)
        neighbours = self.searches.neighbours(train, train, self.k)
        model = MLkNN.fit(neighbours, train.labels, train.labels, k=self.k, smoothing=self.smoothing)

        def score(sample: Sample) -> Floats:
            return vote_probability(model.predict(self.searches.neighbours(train, sample, self.k), train.labels))

        return Fitted(train, {"k": self.k, "smoothing": self.smoothing}, score)


def first(neighbours: Neighbours, k: int) -> Neighbours:
    """The first k neighbours of each query; fewer if there are fewer."""
    place = np.arange(len(neighbours.rows)) - np.repeat(neighbours.offsets[:-1], neighbours.counts)
    return keep(neighbours, place < k)


def vote_probability(votes: Votes, prior_votes: float = 0.0) -> Floats:
    """The probabilities of a vote with `prior_votes` votes for the prevalence added: float64 (q, F), never nan."""
    total = votes.k_used[:, None] + prior_votes
    share = np.divide(prior_votes, total, out=np.ones(total.shape), where=total > 0)
    probability: Floats = (1 - share) * np.nan_to_num(votes.probability) + share * votes.prevalence
    return probability
