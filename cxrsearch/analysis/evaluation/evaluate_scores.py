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
    """What models say of n images.

    Attributes:
        labels: bool (n, F).
        patients: int64 (n,).
        scores: float64 (n, F) of each model, higher is more likely.
        calibrated: probabilities of the models that could be calibrated, float64 (n, F).
        folds: int64 (n,), the fold of a cross-validation whose model scored an image; all 0 without one. Where there
            are several, AUROC and AUPRC are those of ranks within folds, see `within_folds`.
    """

    labels: Flags
    patients: NDArray[np.int64]
    scores: Mapping[str, Floats]
    calibrated: Mapping[str, Floats]
    folds: NDArray[np.int64]


@dataclass(frozen=True)
class ModelMetrics:
    """One model's metrics, for F findings; see `Intervals` for values, intervals and means.

    Attributes:
        auroc, auprc: with patient-bootstrap intervals.
        difference: of the AUROC to the reference's, from the same replicates; None for the reference itself.
        before, after: calibration of the scores as they are, and calibrated; None where they are no probabilities.
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
    """The Brier score and the expected calibration error of each finding, float64 (F,)."""

    brier: Floats
    ece: Floats

    @classmethod
    def of(cls, labels: Flags, scores: Floats | None) -> "CalibrationMetrics | None":
        """Of probabilities (n, F); None of none."""
        if scores is None or scores.min() < 0 or scores.max() > 1:
            return None
        return cls(brier(labels, scores), calibration_error(labels, scores))


def evaluate_scores(
    scored: Scored, reference: str | None = None, *, replicates: int = REPLICATES, seed: int = 0
) -> dict[str, ModelMetrics]:
    """The metrics of every model, from the same bootstrap replicates.

    Args:
        scored: the models' scores.
        reference: the model that the others are compared with; None compares none.
        replicates, seed: of the bootstrap; see `PatientBootstrap`.

    Raises:
        UsageError: arrays that do not fit together, or a nan score.
    """
    bootstrap = PatientBootstrap(scored.patients, replicates, seed)
    ranked = {name: comparable(values, scored.folds) for name, values in scored.scores.items()}
    if reference is None:
        aurocs, differences = {name: bootstrap.auroc(scored.labels, values) for name, values in ranked.items()}, {}
    else:
        compared = bootstrap.compare(scored.labels, ranked, reference)
        aurocs, differences = compared.models, compared.differences
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


def comparable(scores: Floats, folds: NDArray[np.int64]) -> Floats:
    """Scores (n, F) that may be pooled: ranks within folds, where there are several."""
    return within_folds(scores, folds) if folds.any() else scores
