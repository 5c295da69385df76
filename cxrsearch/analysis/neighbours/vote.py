"""What the neighbours of a query say about it: for every finding, the weighted share of neighbours that have it.

A vote is a product of two matrices: weights times labels. The weights have one row per query, zero except at its
neighbours; the labels are those of the bank. The weights depend only on the order and the relative spacing of a
query's distances, not on their unit or sign. So the same vote serves L2, cosine and the negated inner product.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from cxrsearch.arrays import Flags, Floats
from cxrsearch.errors import UsageError
from cxrsearch_indexes.base import Neighbours

Weighting = Literal["uniform", "distance", "softmax"]

VOTES: tuple[str, ...] = (*get_args(Weighting), "mlknn")
"""The names of all votes; `mlknn` must be fitted first, see `cxrsearch.analysis.neighbours.mlknn`."""


@dataclass(frozen=True)
class Votes:
    """The result of a vote for q queries and F findings.

    Attributes:
        probability: float64 (q, F), in [0, 1]; nan in the rows of queries without a neighbour in the bank.
        prevalence: float64 (F,), the share of the bank's images with each finding; nan for an empty bank.
        k_used: int64 (q,), how many neighbours voted.
    """

    probability: Floats
    prevalence: Floats
    k_used: NDArray[np.int64]

    @property
    def lift(self) -> Floats:
        """`probability / prevalence`, float64 (q, F); nan where the prevalence is 0 or the probability is nan."""
        positive = np.broadcast_to(self.prevalence > 0, self.probability.shape)
        return np.divide(self.probability, self.prevalence, out=np.full_like(self.probability, np.nan), where=positive)


def vote(neighbours: Neighbours, labels: Flags, *, weighting: Weighting, bank: Flags | None = None) -> Votes:
    """Let each query's neighbours vote on the findings.

    With d_1 <= ... <= d_k the distances of a query's neighbours, the weight of the i-th is

        uniform    1
        distance   (d_k - d_i) / (d_k - d_1): Dudani 1976, IEEE Trans. SMC 6(4), 325-327. The nearest counts
                   1, the farthest 0.
        softmax    exp(-(d_i - d_1) / T) with T = mean_i(d_i - d_1): the local kernel of UMAP (McInnes et al. 2018,
                   arXiv:1802.03426, section 3.1). Here T is the maximum-likelihood scale of an exponential law.

    If d_1 = d_k, every weight is 1. Adding a constant to a query's distances, or multiplying them by a positive
    constant, changes nothing.

    Args:
        neighbours: the neighbours of q queries, as rows of `labels`.
        labels: bool (n, F), the findings of the indexed images.
        weighting: how much each neighbour counts.
        bank: bool (n,), the images that may vote; all of them by default. Neighbours outside it have no vote.

    Raises:
        UsageError: an unknown weighting, or arrays that do not fit together.
    """
    bank = check_bank(neighbours, labels, bank)
    neighbours = keep(neighbours, bank[neighbours.rows])
    weights = ballots(neighbours, _weights(neighbours, weighting), len(labels))
    # The weights are divided by their total last: a unanimous vote is then exactly 1, and nothing exceeds 1.
    total = weights @ np.ones(len(labels))
    cast = weights @ labels.astype(np.float64)
    answered = np.broadcast_to(total[:, None] > 0, cast.shape)
    probability = np.divide(cast, total[:, None], out=np.full_like(cast, np.nan), where=answered)
    return Votes(probability, prevalence(labels, bank), neighbours.counts)


def ballots(neighbours: Neighbours, weights: Floats, n: int) -> sparse.csr_array:
    """The sparse matrix of weights, float64 (q, n), from the weights, float64 (m,), of neighbours among n images."""
    return sparse.csr_array((weights, neighbours.rows, neighbours.offsets), shape=(len(neighbours), n))


def prevalence(labels: Flags, bank: Flags) -> Floats:
    """The share of the bank's images with each finding, float64 (F,); nan for an empty bank."""
    share: Floats = labels[bank].mean(axis=0) if bank.any() else np.full(labels.shape[1], np.nan)
    return share


def keep(neighbours: Neighbours, kept: NDArray[np.bool_]) -> Neighbours:
    """Keep the neighbours for which `kept`, bool (m,), is true, in the same order."""
    offsets = np.concatenate(([0], np.cumsum(kept)))[neighbours.offsets]
    return Neighbours(neighbours.rows[kept], neighbours.distances[kept], offsets)


def check_bank(neighbours: Neighbours, labels: Flags, bank: Flags | None) -> Flags:
    """Check the labels and the neighbours, and return the bank, bool (n,): all images by default.

    Raises:
        UsageError: labels that are not a bool matrix, a bank of another length, or neighbours that are not its rows.
    """
    if labels.ndim != 2 or labels.dtype != np.bool_:
        raise UsageError(f"labels must be bool (n, findings): got {labels.dtype} {labels.shape}", "encode them first")
    n = len(labels)
    if bank is None:
        bank = np.ones(n, dtype=np.bool_)
    if bank.shape != (n,) or bank.dtype != np.bool_:
        raise UsageError(f"the bank must be bool ({n},): got {bank.dtype} {bank.shape}", "give one flag per image")
    if neighbours.rows.size and not 0 <= neighbours.rows.min() <= neighbours.rows.max() < n:
        raise UsageError(f"a neighbour is not one of the {n} labelled images", "give the labels of the searched index")
    return bank


def _weights(neighbours: Neighbours, weighting: Weighting) -> Floats:
    """The weight of every neighbour, float64 (m,), in [0, 1], as defined in `vote`."""
    if weighting == "uniform":
        return np.ones(len(neighbours.rows))
    counts = neighbours.counts
    nearest = np.repeat(neighbours.offsets[:-1], counts)
    excess = neighbours.distances - neighbours.distances[nearest]
    if weighting == "distance":
        return 1 - _ratio(excess, excess[np.repeat(neighbours.offsets[1:] - 1, counts)])
    if weighting == "softmax":
        query = np.repeat(np.arange(len(counts)), counts)
        return np.exp(-_ratio(excess, np.bincount(query, weights=excess)[query] / counts[query]))
    raise UsageError(f"unknown weighting {weighting!r}", f"choose one of {', '.join(get_args(Weighting))}")


def _ratio(excess: Floats, scale: Floats) -> Floats:
    """`excess / scale`; 0 where the scale is 0, that is, where all neighbours are equally far."""
    return np.divide(excess, scale, out=np.zeros_like(excess), where=scale > 0)
