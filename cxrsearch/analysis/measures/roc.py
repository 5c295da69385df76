"""ROC curves with pointwise 95% bands from resampled patients, and reliability curves of probabilities."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from cxrsearch.analysis.measures.bootstrap import BLOCK, HIGH, LOW, MIN_POSITIVE_PATIENTS, PatientBootstrap
from cxrsearch.analysis.measures.metrics import ECE_BINS, Ranking
from cxrsearch.arrays import Flags, Floats, Reals

GRID = np.linspace(0, 1, 101)
"""The false-positive rates at which a curve is evaluated."""


@dataclass(frozen=True, eq=False)
class RocCurve:
    """The ROC curve of one finding.

    Attributes:
        tpr: float64 (101,), the true-positive rate at `GRID`; nan without both positive and negative images.
        low, high: float64 (101,), the 2.5th and 97.5th percentile over the replicates; nan if there are fewer than 10
            positive patients.
    """

    tpr: Floats
    low: Floats
    high: Floats


def roc_curve(
    labels: Flags, scores: Reals, patients: NDArray[np.int64], *, replicates: int = 2000, seed: int = 0
) -> RocCurve:
    """Compute the ROC curve of one finding with its band; equal scores are joined by a straight line.

    Args:
        labels: bool (n,).
        scores: floating (n,), without nan; higher is more likely.
        patients: int64 (n,).
        replicates, seed: of the `PatientBootstrap` that draws the band's replicates.
    """
    names, patient = np.unique(patients, return_inverse=True)
    ranking = Ranking.of(labels, scores, patient, len(names))
    tpr = _curves(ranking, np.ones((len(names), 1)))[0]
    no_band = np.full(len(GRID), np.nan)
    if len(np.unique(patient[labels])) < MIN_POSITIVE_PATIENTS or np.isnan(tpr).any():
        return RocCurve(tpr, no_band, no_band)
    bootstrap = PatientBootstrap(patients, replicates, seed)
    blocks = (range(start, min(start + BLOCK, replicates)) for start in range(0, replicates, BLOCK))
    drawn = np.concatenate([_curves(ranking, bootstrap.multiplicities(block)) for block in blocks])
    drawn = drawn[~np.isnan(drawn[:, 0])]
    low, high = np.percentile(drawn, (LOW, HIGH), axis=0) if len(drawn) else (no_band, no_band)
    return RocCurve(tpr, low, high)


def _curves(ranking: Ranking, weights: Floats) -> Floats:
    """True-positive rates at the grid under weights (m, r): float64 (r, 101), nan without both kinds of images."""
    hits, alarms = (np.cumsum(part @ weights, axis=0) for part in (ranking.positive, ranking.negative))
    curves = np.full((weights.shape[1], len(GRID)), np.nan)
    for r in np.flatnonzero((hits[-1] > 0) & (alarms[-1] > 0)):
        across, up = np.append(0, alarms[:, r] / alarms[-1, r]), np.append(0, hits[:, r] / hits[-1, r])
        curves[r] = np.interp(GRID, across, up)
    return curves


def reliability(labels: Flags, probability: Floats) -> tuple[Floats, Floats]:
    """Mean probability and share of positives in each bin of `calibration_error`: at most 15, of equal mass.

    Args:
        labels: bool (n,).
        probability: float64 (n,), in [0, 1].

    Returns:
        Mean probabilities and shares of positives, float64 (bins,) each; empty bins are left out.
    """
    rank = stats.rankdata(probability) - 0.5
    bins = (ECE_BINS * rank / len(labels)).astype(np.int64)
    _, place, size = np.unique(bins, return_inverse=True, return_counts=True)
    return np.bincount(place, probability) / size, np.bincount(place, labels) / size
