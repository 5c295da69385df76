"""ML-kNN (Zhang and Zhou 2007, Pattern Recognition 40(7), 2038-2048): how far to believe a count of neighbours.

Of the bank's images that have a finding, how many have c neighbours with it? And of those that do not? From these two
tables and the finding's prior, Bayes' rule gives the probability that a query with c such neighbours has the finding.

The definition is scikit-multilearn's (`skmultilearn.adapt.MLkNN.predict_proba`), except for the neighbours. Here an
image is not its own neighbour. Only other patients' images are neighbours, so there may be fewer than k; these count.
"""

from dataclasses import dataclass

import numpy as np

from cxrsearch.analysis.neighbours.vote import Votes, ballots, check_bank, keep, prevalence
from cxrsearch.arrays import Flags, Floats, Integers
from cxrsearch.errors import UsageError
from cxrsearch_indexes.base import Neighbours


@dataclass(frozen=True)
class MLkNN:
    """The fitted tables of F findings.

    Attributes:
        prior: float64 (F,), the smoothed share of the bank that has the finding, P(H).
        present: float64 (F, k + 1), P(c neighbours have the finding | the image has it).
        absent: float64 (F, k + 1), P(c neighbours have the finding | the image does not have it).
        k: at most this many neighbours are counted.
        smoothing: added to every count (Laplace: 1).
    """

    prior: Floats
    present: Floats
    absent: Floats
    k: int
    smoothing: float

    @classmethod
    def fit(
        cls,
        neighbours: Neighbours,
        own_labels: Flags,
        labels: Flags,
        *,
        k: int = 20,
        smoothing: float = 1.0,
        bank: Flags | None = None,
    ) -> "MLkNN":
        """Count, over images of the bank, how often their neighbours share their findings.

        Args:
            neighbours: the neighbours of m images of the bank (all of them or a sample), as rows of `labels`.
            own_labels: bool (m, F), the findings of those m images. Images without a neighbour are left out.
            labels: bool (n, F), the findings of the indexed images.
            k: at most this many neighbours of each image are counted.
            smoothing: the s of Zhang and Zhou, in the prior and in both tables.
            bank: bool (n,), the images that give the prior and that count as neighbours; all by default.

        Raises:
            UsageError: k or the smoothing that is not positive, or arrays that do not fit together.
        """
        if k < 1 or not smoothing > 0:
            raise UsageError(f"ML-kNN with k = {k} and s = {smoothing}", "choose k >= 1 and s > 0")
        bank = check_bank(neighbours, labels, bank)
        if own_labels.shape != (len(neighbours), labels.shape[1]) or own_labels.dtype != np.bool_:
            got = f"{own_labels.dtype} {own_labels.shape} for {len(neighbours)} images"
            raise UsageError(
                f"own labels must be bool (images, {labels.shape[1]}): got {got}", "give one row per image"
            )
        with_finding, k_used = _count(neighbours, labels, bank, k)
        some = k_used > 0
        prior = (smoothing + labels[bank].sum(axis=0)) / (2 * smoothing + bank.sum())
        present, absent = (
            _likelihood(with_finding[some], rows[some], k, smoothing) for rows in (own_labels, ~own_labels)
        )
        return cls(prior, present, absent, k, smoothing)

    def predict(self, neighbours: Neighbours, labels: Flags, *, bank: Flags | None = None) -> Votes:
        """The posterior P(H | c) = P(H) P(c | H) / (P(H) P(c | H) + P(not H) P(c | not H)) of every finding.

        Args:
            neighbours: the neighbours of q queries, as rows of `labels`; the first k in the bank are counted.
            labels: bool (n, F), the findings of the indexed images.
            bank: bool (n,), the images that may vote; all by default.

        Returns:
            The posterior as `Votes`; nan for a query without a neighbour in the bank.

        Raises:
            UsageError: arrays that do not fit together, or a number of findings other than the fitted one.
        """
        bank = check_bank(neighbours, labels, bank)
        findings = len(self.prior)
        if labels.shape[1] != findings:
            raise UsageError(f"labels of {labels.shape[1]} findings, ML-kNN fitted on {findings}", "fit it again")
        with_finding, k_used = _count(neighbours, labels, bank, self.k)
        column = np.arange(findings)
        yes = self.prior * self.present[column, with_finding]
        no = (1 - self.prior) * self.absent[column, with_finding]
        probability = np.where(k_used[:, None] > 0, yes / (yes + no), np.nan)
        return Votes(probability, prevalence(labels, bank), k_used)


def _count(neighbours: Neighbours, labels: Flags, bank: Flags, k: int) -> tuple[Integers, Integers]:
    """Count the first k neighbours in the bank: how many have each finding (q, F), and how many there are (q,)."""
    neighbours = keep(neighbours, bank[neighbours.rows])
    place = np.arange(len(neighbours.rows)) - np.repeat(neighbours.offsets[:-1], neighbours.counts)
    neighbours = keep(neighbours, place < k)
    counts = ballots(neighbours, np.ones(len(neighbours.rows)), len(labels)) @ labels.astype(np.float64)
    return counts.astype(np.int64), neighbours.counts


def _likelihood(with_finding: Integers, members: Flags, k: int, smoothing: float) -> Floats:
    """P(c | member), (F, k + 1): the smoothed shares of the counts (m, F) among the members, bool (m, F)."""
    findings = members.shape[1]
    cell = np.arange(findings) * (k + 1) + with_finding
    tally = np.bincount(cell[members], minlength=findings * (k + 1)).reshape(findings, k + 1)
    likelihood: Floats = (smoothing + tally) / (smoothing * (k + 1) + tally.sum(axis=1, keepdims=True))
    return likelihood
