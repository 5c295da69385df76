"""How good scores are: ranking (AUROC, average precision) and calibration (Brier, ECE), a value for each finding.

A finding's scores are sorted once, into a `Ranking`. A weighted metric is then two sparse products and a running sum
over its steps, so that thousands of weightings (the replicates of a bootstrap) need no further sort.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import sparse, stats

from cxrsearch.arrays import Flags, Floats, Reals
from cxrsearch.errors import UsageError

Metric = Literal["auroc", "average_precision"]

ECE_BINS = 15


@dataclass(frozen=True)
class Ranking:
    """The images of one finding by falling score, in steps: equal scores share one, and so do neighbours all negative.

    Joining negatives that no positive separates changes neither metric; P positives leave at most 2 P + 1 steps.

    Attributes:
        positive: float64 sparse (steps, m), how many positive images of each column (of a patient, say) a step has.
        negative: the same of negative images.
    """

    positive: sparse.csr_array
    negative: sparse.csr_array

    @classmethod
    def of(cls, labels: Flags, scores: Reals, columns: NDArray[np.int64], width: int) -> "Ranking":
        """Sort n images, bool (n,) with scores (n,) without nan, each in one of m = `width` columns."""
        order = np.argsort(-scores, kind="stable")
        labels, scores, columns = labels[order], scores[order], columns[order]
        tie = np.cumsum(np.append(False, scores[1:] != scores[:-1]))
        mixed = np.bincount(tie, weights=labels) > 0
        step = np.cumsum(np.append(False, mixed[1:] | mixed[:-1]))[tie]

        def tally(rows: Flags) -> sparse.csr_array:
            cells = (step[rows], columns[rows])
            return sparse.csr_array((np.ones(len(cells[0])), cells), shape=(step[-1] + 1, width))

        return cls(tally(labels), tally(~labels))

    def auroc(self, weights: Floats) -> Floats:
        """The share of positive-negative pairs that are in order, ties counting half, under r weightings.

        Args:
            weights: float64 (m, r), the weight of each column's images.

        Returns:
            float64 (r,), nan where all positive or all negative images have weight 0.
        """
        positive, negative = self.positive @ weights, self.negative @ weights
        pairs = positive.sum(axis=0) * negative.sum(axis=0)
        above = np.cumsum(positive, axis=0) - positive / 2
        return _ratio(np.einsum("sr,sr->r", negative, above), pairs)

    def average_precision(self, weights: Floats) -> Floats:
        """The precision at each positive, averaged (see `average_precision`); arguments and result as of `auroc`."""
        positive, negative = self.positive @ weights, self.negative @ weights
        hits = np.cumsum(positive, axis=0)
        found = hits + np.cumsum(negative, axis=0)
        precision = np.divide(hits, found, out=np.zeros_like(hits), where=found > 0)
        value = _ratio(np.einsum("sr,sr->r", positive, precision), hits[-1])
        return np.where(found[-1] > hits[-1], value, np.nan)


def auroc(labels: Flags, scores: Reals, weights: Floats | None = None) -> Floats:
    """The area under the ROC curve: the chance that a positive image scores above a negative one, ties counting half.

    As the Mann-Whitney statistic (Hanley and McNeil 1982, Radiology 143(1), 29-36); `sklearn.metrics.roc_auc_score`.

    Args:
        labels: bool (n, F).
        scores: floating (n, F), higher is more likely; infinities are allowed.
        weights: float64 (n,), not negative: how often each image counts (its patient's multiplicity); once by default.

    Returns:
        float64 (F,), nan for a finding that has no positive or no negative image (of weight above 0).

    Raises:
        UsageError: no images, a nan score, or arrays that do not fit together.
    """
    return _ranked(labels, scores, weights, Ranking.auroc)


def average_precision(labels: Flags, scores: Reals, weights: Floats | None = None) -> Floats:
    """The area under the precision-recall curve as sum_k (R_k - R_(k-1)) P_k over the distinct scores, falling.

    `sklearn.metrics.average_precision_score`: no interpolation (Davis and Goadrich 2006, ICML, on why). Chance level is
    the prevalence. Arguments, result and errors as of `auroc`.
    """
    return _ranked(labels, scores, weights, Ranking.average_precision)


def mean_over_classes(values: Floats, usable: Flags) -> tuple[float, int]:
    """The mean of the usable values that are not nan, (F,) both, and how many these are; nan of none."""
    kept = values[usable & ~np.isnan(values)]
    return (float(kept.mean()) if len(kept) else float("nan")), len(kept)


def within_folds(scores: Reals, folds: NDArray[np.int64]) -> Floats:
    """Scores of a cross-validation's models, each a rank among its own model's scores, so that they can be pooled.

    The models of different folds need not score alike: pooled as they are, an offset between two of them would count as
    a difference between their images. A score becomes (r - 1/2) / m, its mid-rank r among the m scores of its fold. For
    one fold that changes no order.

    Args:
        scores: floating (n, F), without nan.
        folds: int64 (n,), the fold whose model gave the scores of an image.

    Returns:
        float64 (n, F), between 0 and 1; the mean is 1/2 in every fold.

    Raises:
        UsageError: arrays that do not fit together, or a nan score.
    """
    if scores.ndim != 2 or folds.shape != (len(scores),):
        got = f"scores {scores.shape}, folds {folds.shape}"
        raise UsageError(f"scores must be (images, findings), with a fold for each image: got {got}", "give both alike")
    if np.isnan(scores).any():
        raise UsageError("nan scores have no rank", "leave out the images that have no score")
    share = np.empty(scores.shape)
    for fold in np.unique(folds):
        own = folds == fold
        share[own] = (stats.rankdata(scores[own], axis=0) - 0.5) / np.count_nonzero(own)
    return share


def brier(labels: Flags, probability: Reals) -> Floats:
    """The mean squared difference of probability and outcome (Brier 1950, Monthly Weather Review 78(1), 1-3).

    Args:
        labels: bool (n, F).
        probability: floating (n, F), in [0, 1].

    Returns:
        float64 (F,); 0 is perfect, and the prevalence p given to every image scores p (1 - p).

    Raises:
        UsageError: no images, arrays that do not fit together, or values outside [0, 1].
    """
    probability = check_probability(labels, probability)
    score: Floats = np.mean((probability - labels) ** 2, axis=0)
    return score


def calibration_error(labels: Flags, probability: Reals) -> Floats:
    """The expected calibration error (ECE) over 15 bins of equal mass, of each finding.

    ECE = sum_b n_b / n |mean probability in b - share of positives in b| (Naeini et al. 2015, AAAI), with bins that
    hold equally many images (Nguyen and O'Connor 2015, EMNLP; Nixon et al. 2019, arXiv:1904.01685): for a rare finding,
    bins of equal width leave nearly all images in the first. An image's bin is floor(15 (r - 1/2) / n) of its mid-rank
    r, so equal probabilities share a bin, and the order of the images does not matter.

    Arguments, result shape and errors as of `brier`.
    """
    probability = check_probability(labels, probability)
    rank = stats.rankdata(probability, axis=0) - 0.5
    bins = (ECE_BINS * rank / len(labels)).astype(np.int64)
    gap = probability - labels
    sums = [np.bincount(b, weights=g, minlength=ECE_BINS) for b, g in zip(bins.T, gap.T, strict=True)]
    return np.array([np.abs(s).sum() / len(labels) for s in sums], dtype=np.float64)


def check_scores(labels: Flags, scores: Reals) -> None:
    """Refuse labels and scores that cannot be compared.

    Raises:
        UsageError: labels that are not bool (n, F) with n > 0, scores of another shape, or a nan score.
    """
    if labels.dtype != np.bool_ or labels.ndim != 2 or not len(labels) or scores.shape != labels.shape:
        got = f"labels {labels.dtype} {labels.shape}, scores {scores.shape}"
        raise UsageError(f"labels must be bool (images, findings), scores alike: got {got}", "give one row an image")
    unknown = np.isnan(scores).sum(axis=0)
    if unknown.any():
        worst = int(unknown.argmax())
        raise UsageError(
            f"nan scores of {np.count_nonzero(unknown)} findings, most of finding {worst} (column {worst}, from 0): "
            f"{unknown[worst]} of {len(labels)} images",
            "leave out the images that have no score",
        )


def _ranked(
    labels: Flags, scores: Reals, weights: Floats | None, metric: Callable[[Ranking, Floats], Floats]
) -> Floats:
    check_scores(labels, scores)
    n = len(labels)
    weights = np.ones(n) if weights is None else np.asarray(weights, dtype=np.float64)
    if weights.shape != (n,) or not np.isfinite(weights).all() or (weights < 0).any():
        raise UsageError(f"weights must be {n} finite numbers, none negative: got {weights.shape}", "one an image")
    rows = np.arange(n)
    rankings = (Ranking.of(labels[:, f], scores[:, f], rows, n) for f in range(labels.shape[1]))
    return np.array([metric(ranking, weights[:, None])[0] for ranking in rankings], dtype=np.float64)


def check_probability(labels: Flags, probability: Reals) -> Floats:
    """The probabilities as float64; what cannot be compared with the labels, or lies outside [0, 1], is refused.

    Raises:
        UsageError: as `check_scores`, or values outside [0, 1].
    """
    check_scores(labels, probability)
    if probability.size and not (probability.min() >= 0 and probability.max() <= 1):
        got = f"{probability.min():.3g} to {probability.max():.3g}"
        raise UsageError(f"probabilities must lie in [0, 1]: got {got}", "calibrate the scores first")
    return probability.astype(np.float64)


def _ratio(above: Floats, below: Floats) -> Floats:
    return np.divide(above, below, out=np.full_like(above, np.nan), where=below > 0)
