"""Does the index return images with the same findings?

The labels of an image are its findings. An image without findings has the label `No Finding`. A returned image is
relevant if it shares a label with the query. Its gain is the Jaccard overlap of the two sets of labels (1 for equal
sets). Over the first k neighbours, with R relevant images among the N that may answer the query:

    precision          the share of relevant images (among those returned, if fewer than k may answer)
    hit                1 if any is relevant
    average_precision  sum over relevant ranks i of the precision at i, over min(k, R)
    ndcg               sum of gain_i / log2(i + 1), over its largest possible value (Järvelin and Kekäläinen 2002, ACM
                       TOIS 20(4), 422-446); scikit-learn's `ndcg_score`

All are 0 if R = 0. Each is given with its expectation for N images in random order, in closed form (k is N if N is
smaller):

    precision          R / N
    hit                1 - C(N - R, k) / C(N, k)
    average_precision  (H_k R / N + (k - H_k) R (R - 1) / (N (N - 1))) / min(k, R) with H_k = 1 + 1/2 + ... + 1/k, since
                       two ranks are both relevant with probability R (R - 1) / (N (N - 1))
    ndcg               the mean gain of all N images at every rank
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrsearch.analysis.measures.bootstrap import Averages, PatientBootstrap
from cxrsearch.analysis.models.knn_model import first
from cxrsearch.analysis.models.model import check_labels
from cxrsearch.arrays import Flags, Floats, Integers
from cxrsearch.errors import UsageError
from cxrsearch_indexes import Neighbours, Restriction

METRICS = ("precision", "hit", "average_precision", "ndcg")

_BLOCK = 256


@dataclass(frozen=True, eq=False)
class Retrieval:
    """The metrics of each of q queries.

    Attributes:
        k: how many neighbours were judged.
        values: float64 (q, 4), the columns `METRICS`; nan in the rows of queries that no image may answer.
        chance: float64 (q, 4), the same metrics expected in a random order.
        label_share: float64 (q, F + 1), the share of neighbours with each finding, then with none.
        label_chance: float64 (q, F + 1), the same shares of all images that may answer.
        groups: bool (q, F + 3), groups of the answered queries: with each finding, without findings, all, and with any
            finding.
    """

    k: int
    values: Floats
    chance: Floats
    label_share: Floats
    label_chance: Floats
    groups: Flags


@dataclass(frozen=True, eq=False)
class RetrievalSummary:
    """Means over the groups of queries: F findings, No Finding, all queries, queries with findings.

    Attributes:
        values: (F + 3, 4), the metrics, with intervals.
        chance: float64 (F + 3, 4), their mean expectation in a random order.
        label: (F + 1, 1), for the queries with a label, the mean share of neighbours that have this label.
        label_chance: float64 (F + 1,), the mean share of all images that have it.
    """

    values: Averages
    chance: Floats
    label: Averages
    label_chance: Floats


def retrieval(
    neighbours: Neighbours, query_labels: Flags, labels: Flags, k: int, restriction: Restriction
) -> Retrieval:
    """Judge the first k neighbours of q queries among n images.

    Args:
        neighbours: of the queries, as rows of `labels`; at least k per query, if that many may answer.
        query_labels: bool (q, F).
        labels: bool (n, F).
        k: at least 1.
        restriction: the restriction of the search, which says what images may answer a query. With patients as groups
            these are other patients' images. With each row as its own group, they are all images except the query.

    Raises:
        UsageError: k < 1, or arrays that do not fit together.
    """
    check_search(neighbours, query_labels, labels, k, restriction)
    bank = _Bank(with_none(labels), restriction)
    wanted, near = with_none(query_labels), first(neighbours, k)
    parts = [_judge(near.part(rows), wanted[rows], bank, k, rows) for rows in _blocks(len(near))]
    values, chance, label_share, label_chance = (np.concatenate(part) for part in zip(*parts, strict=True))
    answered = (near.counts > 0)[:, None]
    groups = answered & np.hstack([wanted, np.ones_like(wanted[:, :1]), ~wanted[:, -1:]])
    for part in (values, chance, label_share, label_chance):
        part[~answered[:, 0]] = np.nan
    return Retrieval(k, values, chance, label_share, label_chance, groups)


def summarise(result: Retrieval, bootstrap: PatientBootstrap) -> RetrievalSummary:
    """Average each group of queries, with intervals from the bootstrap of the queries' patients.

    Raises:
        UsageError: the bootstrap has another number of images.
    """
    columns = np.hstack([result.values, result.chance, result.label_share, result.label_chance])
    averages = bootstrap.averages(columns, result.groups)
    groups, labels = np.arange(result.groups.shape[1]), np.arange(result.label_share.shape[1])
    return RetrievalSummary(
        values=averages.take(groups, np.arange(4)[None]),
        chance=averages.point[:, 4:8],
        label=averages.take(labels, 8 + labels[:, None]),
        label_chance=averages.point[labels, 8 + len(labels) + labels],
    )


def with_none(labels: Flags) -> Flags:
    """Labels, bool (n, F), with a last column for images without findings: bool (n, F + 1)."""
    return np.hstack([labels, ~labels.any(axis=1, keepdims=True)])


class _Bank:
    """The images that may answer, counted by their sets of labels, of which there are far fewer than images."""

    def __init__(self, labels: Flags, restriction: Restriction) -> None:
        packed = np.packbits(labels, axis=1)
        _, chosen, sets = np.unique(packed, axis=0, return_index=True, return_inverse=True)
        self.restriction, self.set_of = restriction, sets.reshape(-1)
        self.sets = labels[chosen].astype(np.float64)
        allowed = self.set_of if restriction.allowed is None else self.set_of[restriction.allowed]
        self._counts = np.bincount(allowed, minlength=len(self.sets))

    def counts(self, rows: Integers) -> Floats:
        """How many images with each set of labels may answer these queries: float64 (b, sets)."""
        excluded, of = self.restriction.part(rows).excluded(len(rows))
        size = len(self.sets)
        left_out = np.bincount(of * size + self.set_of[excluded], minlength=len(rows) * size)
        counts: Floats = (self._counts - left_out.reshape(len(rows), size)).astype(np.float64)
        return counts

    def gains(self, wanted: Flags) -> Floats:
        """The Jaccard overlap of queries' labels, bool (b, F + 1), with each set: float64 (b, sets)."""
        of_queries = wanted.astype(np.float64)
        shared = of_queries @ self.sets.T
        overlap: Floats = shared / (of_queries.sum(axis=1)[:, None] + self.sets.sum(axis=1) - shared)
        return overlap


def _judge(
    near: Neighbours, wanted: Flags, bank: _Bank, k: int, rows: Integers
) -> tuple[Floats, Floats, Floats, Floats]:
    """Values, chance, label shares and their chance for one block of queries; 0 if nothing may answer."""
    counts, by_set = bank.counts(rows), bank.gains(wanted)
    place = np.arange(len(near.rows)) - np.repeat(near.offsets[:-1], near.counts)
    of = np.repeat(np.arange(len(near)), near.counts)
    gain, near_sets = np.zeros((len(near), k)), bank.set_of[near.rows]
    gain[of, place] = by_set[of, near_sets]
    answers, relevant = counts.sum(axis=1), (counts * (by_set > 0)).sum(axis=1)
    best = np.minimum(k, relevant)
    ideal = _ideal(counts, by_set, k)
    hits = np.cumsum(gain > 0, axis=1)
    ranks = np.arange(1, k + 1)
    precisions = ((gain > 0) * hits / ranks).sum(axis=1)
    gained = gain @ (1 / np.log2(ranks + 1))
    values = [
        _ratio_or_zero(hits[:, -1], near.counts),
        (hits[:, -1] > 0).astype(np.float64),
        _ratio_or_zero(precisions, best),
        _ratio_or_zero(gained, ideal),
    ]
    mean_gain = _ratio_or_zero((counts * by_set).sum(axis=1), answers)
    chance = _chance(answers, relevant, mean_gain, ideal, k)
    shares = np.zeros((len(near), wanted.shape[1]))
    np.add.at(shares, of, bank.sets[near_sets])
    label_chance = _ratio_or_zero(counts @ bank.sets, answers[:, None])
    return np.stack(values, axis=1), chance, _ratio_or_zero(shares, near.counts[:, None]), label_chance


def _ideal(counts: Floats, gains: Floats, k: int) -> Floats:
    """The largest possible discounted gain (b,) of k images, given how many images (b, sets) have each gain."""
    # The best order ranks whole sets by gain, so sums of discounts per set replace a sort of all images per query.
    order = np.argsort(-gains, axis=1)
    taken = np.minimum(np.cumsum(np.take_along_axis(counts, order, axis=1), axis=1), k).astype(np.int64)
    discounts = np.concatenate(([0.0], np.cumsum(1 / np.log2(np.arange(k) + 2))))
    worth = np.diff(discounts[taken], axis=1, prepend=0.0)
    ideal: Floats = (np.take_along_axis(gains, order, axis=1) * worth).sum(axis=1)
    return ideal


def _chance(answers: Floats, relevant: Floats, mean_gain: Floats, ideal: Floats, k: int) -> Floats:
    """The expected metrics of answers in random order, float64 (b, 4); see the module for the formulas."""
    ranks = np.arange(1, k + 1)
    reached = ranks <= answers[:, None]
    one, two = _ratio_or_zero(relevant, answers), _ratio_or_zero(relevant * (relevant - 1), answers * (answers - 1))
    missed = np.maximum(answers - relevant - ranks[:, None] + 1, 0) / np.maximum(answers - ranks[:, None] + 1, 1)
    hit = 1 - np.prod(np.where(reached.T, missed, 1), axis=0)
    harmonic = (reached / ranks).sum(axis=1)
    precisions = harmonic * one + (reached.sum(axis=1) - harmonic) * two
    gained = mean_gain * (reached / np.log2(ranks + 1)).sum(axis=1)
    return np.stack(
        [one, hit, _ratio_or_zero(precisions, np.minimum(k, relevant)), _ratio_or_zero(gained, ideal)], axis=1
    )


def check_search(neighbours: Neighbours, of_queries: Flags, of_rows: Flags, k: int, restriction: Restriction) -> None:
    """Check k, and that neighbours and restriction fit the labels of the queries (q, F) and of the images (n, F).

    Raises:
        UsageError: k < 1, or arrays that do not fit together.
    """
    check_labels(of_queries)
    check_labels(of_rows)
    n, rows = len(of_rows), neighbours.rows
    if k < 1:
        raise UsageError(f"retrieval of k = {k} images", "choose k >= 1")
    if len(of_queries) != len(neighbours) or of_queries.shape[1] != of_rows.shape[1]:
        got = f"{of_queries.shape} for {len(neighbours)} queries, {of_rows.shape} for the images"
        raise UsageError(f"labels that do not fit: {got}", "give those of the queries and of the searched images")
    if rows.size and not 0 <= rows.min() <= rows.max() < n:
        raise UsageError(f"a neighbour is not one of the {n} images", "give the labels of the searched images")
    try:
        restriction.check(n, len(neighbours))
    except ValueError as error:
        raise UsageError(str(error), "give the restriction of the search") from error


def _blocks(n: int) -> Iterator[NDArray[np.int64]]:
    for start in range(0, n, _BLOCK):
        yield np.arange(start, min(start + _BLOCK, n))


def _ratio_or_zero(above: NDArray[Any], below: NDArray[Any]) -> Floats:
    """The ratio `above / below`, float64; 0 where `below` is 0."""
    above, below = np.broadcast_arrays(above, below)
    ratio: Floats = np.divide(above, below, out=np.zeros(above.shape), where=below > 0)
    return ratio
