"""How well models find each finding, side by side: AUROC and AUPRC with intervals, differences, calibration."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxrsearch.analysis.measures.bootstrap import REPLICATES, Intervals, PatientBootstrap
from cxrsearch.analysis.measures.metrics import brier, calibration_error, within_folds
from cxrsearch.arrays import Flags, Floats


@dataclass(frozen=True, eq=False)
class Scored:
    """The labels of n images and the models' scores for them.

    Attributes:
        labels: bool (n, F).
        patients: int64 (n,).
        scores: by model, float64 (n, F); higher is more likely.
        calibrated: by model, calibrated probabilities, float64 (n, F); only models that could be calibrated.
        folds: int64 (n,), the cross-validation fold whose model scored each image; all 0 without cross-validation.
            With several folds, AUROC and AUPRC are computed on ranks within folds; see `within_folds`.
    """

    labels: Flags
    patients: NDArray[np.int64]
    scores: Mapping[str, Floats]
    calibrated: Mapping[str, Floats]
    folds: NDArray[np.int64]


@dataclass(frozen=True)
class ModelMetrics:
    """One model's metrics for F findings. `Intervals` holds the values, intervals and means.

    Attributes:
        auroc, auprc: with patient-bootstrap intervals.
        difference: this AUROC minus the reference's, from the same replicates; None for the reference itself.
        before, after: calibration of the raw and of the calibrated scores; None if they are not probabilities.
    """

    auroc: Intervals
    auprc: Intervals
    difference: Intervals | None
    before: "CalibrationMetrics | None"
    after: "CalibrationMetrics | None"

    @property
    def apart(self) -> Flags:
        """Whether the difference to the reference excludes 0, bool (F,)."""
        if self.difference is None:
            return np.zeros(len(self.auroc.point), dtype=np.bool_)
        return (self.difference.low > 0) | (self.difference.high < 0)


@dataclass(frozen=True)
class CalibrationMetrics:
    """The Brier score and the expected calibration error (ECE) of each finding, float64 (F,)."""

    brier: Floats
    ece: Floats

    @classmethod
    def of(cls, labels: Flags, scores: Floats | None) -> "CalibrationMetrics | None":
        """Measure scores, float64 (n, F); None if there are none, or if some lie outside [0, 1]."""
        if scores is None or scores.min() < 0 or scores.max() > 1:
            return None
        return cls(brier(labels, scores), calibration_error(labels, scores))


def evaluate_scores(
    scored: Scored, reference: str | None = None, *, replicates: int = REPLICATES, seed: int = 0
) -> dict[str, ModelMetrics]:
    """Compute the metrics of every model from the same bootstrap replicates.

    Args:
        scored: the models' scores.
        reference: the model that the others are compared with; None compares none.
        replicates, seed: of the bootstrap; see `PatientBootstrap`.

    Returns:
        The metrics by model.

    Raises:
        UsageError: arrays that do not fit together, or a nan score.
    """
    bootstrap = PatientBootstrap(scored.patients, replicates, seed)
    ranked = {name: make_comparable(values, scored.folds) for name, values in scored.scores.items()}
    if reference is None:
        aurocs, differences = {name: bootstrap.auroc(scored.labels, values) for name, values in ranked.items()}, {}
    else:
        comparison = bootstrap.compare(scored.labels, ranked, reference)
        aurocs, differences = comparison.models, comparison.differences
    return {
        name: ModelMetrics(
            auroc=aurocs[name],
            auprc=bootstrap.average_precision(scored.labels, values),
            difference=differences.get(name),
            before=CalibrationMetrics.of(scored.labels, scored.scores[name]),
            after=CalibrationMetrics.of(scored.labels, scored.calibrated.get(name)),
        )
        for name, values in ranked.items()
    }


def make_comparable(scores: Floats, folds: NDArray[np.int64]) -> Floats:
    """Scores (n, F) that may be pooled over folds: ranks within folds if there are several, else the scores."""
    return within_folds(scores, folds) if folds.any() else scores
