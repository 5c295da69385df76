"""Metrics of scores, one value per finding: ranking (AUROC, average precision) and calibration (Brier, ECE).

A finding's scores are sorted once, into a `Ranking`. A weighted metric is then two sparse products and a running sum
over the steps. Thousands of weightings (the replicates of a bootstrap) need no further sort.
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
    """The images of one finding by falling score, in steps.

    Equal scores share a step, and so do negative images that no positive separates. Joining these negatives changes
    neither metric, and P positives leave at most 2 P + 1 steps.

    Attributes:
        positive: float64 sparse (steps, m), how many positive images of each column (a patient, for example) a step
            has.
        negative: the same for negative images.
    """

    positive: sparse.csr_array
    negative: sparse.csr_array

    @classmethod
    def of(cls, labels: Flags, scores: Reals, columns: NDArray[np.int64], width: int) -> "Ranking":
        """Sort n images: labels bool (n,), scores (n,) without nan, each image in one of m = `width` columns."""
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
        """The share of positive-negative pairs in the right order, with ties counting half, under r weightings.

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
        """The mean precision at the positives (see `average_precision`); arguments and result as for `auroc`."""
        positive, negative = self.positive @ weights, self.negative @ weights
        hits = np.cumsum(positive, axis=0)
        retrieved = hits + np.cumsum(negative, axis=0)
        precision = np.divide(hits, retrieved, out=np.zeros_like(hits), where=retrieved > 0)
        value = _ratio(np.einsum("sr,sr->r", positive, precision), hits[-1])
        # Average precision without negatives would be 1; it is nan instead, as AUROC is.
        return np.where(retrieved[-1] > hits[-1], value, np.nan)


def auroc(labels: Flags, scores: Reals, weights: Floats | None = None) -> Floats:
    """The area under the ROC curve: the chance that a positive image scores above a negative one; ties count half.

    Computed as the Mann-Whitney statistic (Hanley and McNeil 1982, Radiology 143(1), 29-36); equal to
    `sklearn.metrics.roc_auc_score`.

    Args:
        labels: bool (n, F).
        scores: floating (n, F), higher is more likely; infinities are allowed.
        weights: float64 (n,), not negative: how often each image counts (its patient's multiplicity); 1 by default.

    Returns:
        float64 (F,), nan for a finding without a positive or without a negative image (of weight above 0).

    Raises:
        UsageError: no images, a nan score, or arrays that do not fit together.
    """
    return _evaluate(labels, scores, weights, Ranking.auroc)


def average_precision(labels: Flags, scores: Reals, weights: Floats | None = None) -> Floats:
    """The area under the precision-recall curve as sum_k (R_k - R_(k-1)) P_k over the distinct scores, falling.

    Equal to `sklearn.metrics.average_precision_score`, without interpolation (Davis and Goadrich 2006, ICML, say why).
    Chance level is the prevalence. Arguments, result and errors as for `auroc`.
    """
    return _evaluate(labels, scores, weights, Ranking.average_precision)


def mean_over_classes(values: Floats, usable: Flags) -> tuple[float, int]:
    """The mean of the usable values that are not nan, and their number; nan and 0 if there are none. Both are (F,)."""
    kept = values[usable & ~np.isnan(values)]
    return (float(kept.mean()) if len(kept) else float("nan")), len(kept)


def within_folds(scores: Reals, folds: NDArray[np.int64]) -> Floats:
    """Replace the scores of a cross-validation by their ranks within folds, so that they can be pooled.

    The models of different folds need not score on the same scale. In pooled raw scores, an offset between two models
    would count as a difference between their images. So a score becomes (r - 1/2) / m, with its mid-rank r among the m
    scores of its fold. With a single fold this changes no order.

    Args:
        scores: floating (n, F), without nan.
        folds: int64 (n,), the fold whose model scored each image.

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
        rows = folds == fold
        share[rows] = (stats.rankdata(scores[rows], axis=0) - 0.5) / np.count_nonzero(rows)
    return share


def brier(labels: Flags, probability: Reals) -> Floats:
    """The mean squared difference of probability and outcome (Brier 1950, Monthly Weather Review 78(1), 1-3).

    Args:
        labels: bool (n, F).
        probability: floating (n, F), in [0, 1].

    Returns:
        float64 (F,); 0 is perfect. A constant probability equal to the prevalence p scores p (1 - p).

    Raises:
        UsageError: no images, arrays that do not fit together, or values outside [0, 1].
    """
    probability = check_probability(labels, probability)
    score: Floats = np.mean((probability - labels) ** 2, axis=0)
    return score


def calibration_error(labels: Flags, probability: Reals) -> Floats:
    """The expected calibration error (ECE) of each finding over 15 bins of equal mass.

    ECE = sum_b n_b / n |mean probability in b - share of positives in b| (Naeini et al. 2015, AAAI). The bins hold
    equally many images (Nguyen and O'Connor 2015, EMNLP; Nixon et al. 2019, arXiv:1904.01685). For a rare finding, bins
    of equal width would leave nearly all images in the first. An image of mid-rank r is in bin floor(15 (r - 1/2) / n).
    So equal probabilities share a bin, and the order of the images does not matter.

    Arguments, result shape and errors as for `brier`.
    """
    probability = check_probability(labels, probability)
    rank = stats.rankdata(probability, axis=0) - 0.5
    bins = (ECE_BINS * rank / len(labels)).astype(np.int64)
    gap = probability - labels
    # n_b / n times the difference of two means over bin b is the sum of the gaps in b over n.
    sums = [np.bincount(b, weights=g, minlength=ECE_BINS) for b, g in zip(bins.T, gap.T, strict=True)]
    return np.array([np.abs(s).sum() / len(labels) for s in sums], dtype=np.float64)


def check_scores(labels: Flags, scores: Reals) -> None:
    """Check that labels and scores can be compared.

    Raises:
        UsageError: labels that are not bool (n, F) with n > 0, scores of another shape, or a nan score.
    """
    if labels.dtype != np.bool_ or labels.ndim != 2 or not len(labels) or scores.shape != labels.shape:
        got = f"labels {labels.dtype} {labels.shape}, scores {scores.shape}"
        raise UsageError(f"labels must be bool (images, findings), scores alike: got {got}", "give one row per image")
    missing = np.isnan(scores).sum(axis=0)
    if missing.any():
        worst = int(missing.argmax())
        raise UsageError(
            f"nan scores of {np.count_nonzero(missing)} findings, most of finding {worst} (column {worst}, from 0): "
            f"{missing[worst]} of {len(labels)} images",
            "leave out the images that have no score",
        )


def _evaluate(
    labels: Flags, scores: Reals, weights: Floats | None, metric: Callable[[Ranking, Floats], Floats]
) -> Floats:
    check_scores(labels, scores)
    n = len(labels)
    weights = np.ones(n) if weights is None else np.asarray(weights, dtype=np.float64)
    if weights.shape != (n,) or not np.isfinite(weights).all() or (weights < 0).any():
        raise UsageError(
            f"weights must be {n} finite numbers, none negative: got {weights.shape}", "give one per image"
        )
    rows = np.arange(n)
    rankings = (Ranking.of(labels[:, f], scores[:, f], rows, n) for f in range(labels.shape[1]))
    return np.array([metric(ranking, weights[:, None])[0] for ranking in rankings], dtype=np.float64)


def check_probability(labels: Flags, probability: Reals) -> Floats:
    """Check probabilities (n, F) against labels (n, F), and return them as float64.

    Raises:
        UsageError: as for `check_scores`, or values outside [0, 1].
    """
    check_scores(labels, probability)
    if probability.size and not (probability.min() >= 0 and probability.max() <= 1):
        got = f"{probability.min():.3g} to {probability.max():.3g}"
        raise UsageError(f"probabilities must lie in [0, 1]: got {got}", "calibrate the scores first")
    return probability.astype(np.float64)


def _ratio(above: Floats, below: Floats) -> Floats:
    return np.divide(above, below, out=np.full_like(above, np.nan), where=below > 0)
