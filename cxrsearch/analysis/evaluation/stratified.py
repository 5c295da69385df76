"""Every model's AUROC within strata. A model that only recognises the stratum is no better than chance inside it."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from cxrsearch.analysis.evaluation.evaluate_scores import Scored, make_comparable
from cxrsearch.analysis.measures.bootstrap import REPLICATES, Intervals, PatientBootstrap
from cxrsearch.arrays import Flags


@dataclass(frozen=True)
class Stratum:
    """The AUROC of every model on the images of one stratum.

    Attributes:
        name: as `strata` names it.
        images, patients: their numbers.
        auroc: by model, with patient-bootstrap intervals. The mean is over the findings that are usable in this
            stratum, so means of different strata may be over different findings.
    """

    name: str
    images: int
    patients: int
    auroc: Mapping[str, Intervals]

    @property
    def findings(self) -> int:
        """How many findings the means are over; they are the same for every model."""
        return next(iter(self.auroc.values())).mean.findings


def stratify(
    scored: Scored, masks: Mapping[str, Flags], *, replicates: int = REPLICATES, seed: int = 0
) -> tuple[Stratum, ...]:
    """Compute the AUROC of every model in every stratum.

    Args:
        scored: the models' scores. With cross-validation, ranks are taken over whole folds, then split into strata.
        masks: bool (n,) by name, with at least one image each; see `strata`.
        replicates, seed: of the bootstrap of a stratum's patients, the same for every model.

    Raises:
        UsageError: arrays that do not fit together, or a nan score.
    """
    ranked = {name: make_comparable(values, scored.folds) for name, values in scored.scores.items()}
    rows = []
    for name, mask in masks.items():
        patients = scored.patients[mask]
        bootstrap = PatientBootstrap(patients, replicates, seed)
        auroc = {model: bootstrap.auroc(scored.labels[mask], values[mask]) for model, values in ranked.items()}
        rows.append(Stratum(name, len(patients), len(np.unique(patients)), auroc))
    return tuple(rows)
