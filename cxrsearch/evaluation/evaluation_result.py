"""The result of an evaluation, for Python, as JSON, CSV and LaTeX."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from cxrsearch.analysis.evaluation.evaluate_scores import ModelMetrics, Scored
from cxrsearch.analysis.evaluation.fractions import FractionCurve
from cxrsearch.analysis.evaluation.published import published_auroc
from cxrsearch.analysis.evaluation.stratified import Stratum
from cxrsearch.analysis.retrieval.search_quality import SearchQuality
from cxrsearch.evaluation.evaluation_rows import fractions_json, published_json, retrieval_json, strata_json
from cxrsearch.files import Json
from cxrsearch.json_values import number, refusals
from cxrsearch.shown import Shown
from cxrsearch.words import images_of

MEAN = "Mean"


@dataclass(frozen=True, repr=False)
class EvaluationResult(Shown):
    """How well models predict each finding.

    Attributes:
        split: the definition of the split.
        part: the part that was scored.
        encoder: name of the encoder; in a cross-validation, the names of all folds' encoders.
        images: number of scored images, n.
        patients: number of their patients.
        findings: the vocabulary, F findings.
        reference: the model that the others are compared with; None if there is none.
        metrics: the metrics of every model by its name, in the order of the table.
        replicates: bootstrap replicates.
        seed: seed of the bootstrap.
        settings: the settings that each model was fitted with.
        warnings: what a reader must know.
        folds: number of folds; 1 without cross-validation.
        image_ids: ids of the n scored images.
        scored: labels and scores of these images, for further analysis.
        strata: the AUROC by view, sex and age band; empty by default.
        retrieval: the evaluation of the neighbours; None by default.
        fractions: the votes with fractions of the training images; None by default.
        refused: image and reason for every file that could not be used.
    """

    split: str
    part: str
    encoder: str
    images: int
    patients: int
    findings: tuple[str, ...]
    reference: str | None
    metrics: Mapping[str, ModelMetrics]
    replicates: int
    seed: int
    settings: Mapping[str, Any]
    warnings: tuple[str, ...]
    folds: int
    image_ids: tuple[str, ...]
    scored: Scored
    strata: tuple[Stratum, ...] = ()
    retrieval: SearchQuality | None = None
    fractions: FractionCurve | None = None
    refused: tuple[tuple[str, str], ...] = ()

    def heading(self) -> str:
        """What was scored, in one line."""
        which = f"{self.folds}-fold cross-validation" if self.folds > 1 else f"part {self.part} of split {self.split}"
        return f"{images_of(self.images, self.patients)}, {which}, encoder {self.encoder}"

    @property
    def drawn_model(self) -> str:
        """The model whose curves are drawn: the reference, or else the first model."""
        return self.reference or next(iter(self.metrics))

    def stressed(self) -> list[frozenset[str]]:
        """For each finding and the mean, the models that `auroc_cells` marks."""
        marked = self.auroc_cells(lambda cell: f"{cell}*")
        return [frozenset(m for m, cell in zip(self.metrics, row, strict=True) if cell.endswith("*")) for row in marked]

    def published(self) -> dict[str, list[float]]:
        """The paper's AUROC of each finding and the mean, by model; empty for another split or part."""
        return published_auroc(self.split, self.part, self.findings)

    def to_json(self) -> Json:
        """The object that `cxrsearch evaluate --json` prints."""
        return {
            "split": self.split,
            "part": self.part,
            "encoder": self.encoder,
            "images": self.images,
            "patients": self.patients,
            "folds": self.folds,
            "reference": self.reference,
            "replicates": self.replicates,
            "seed": self.seed,
            "rows": [row for model in self.metrics for row in self._rows(model)],
            "means": [self._mean(model) for model in self.metrics],
            "published": published_json(self.published(), self.findings, MEAN),
            "strata": strata_json(self.strata, self.findings),
            "retrieval": retrieval_json(self.retrieval, self.findings),
            "fractions": fractions_json(self.fractions, self.findings),
            "settings": dict(self.settings),
            "warnings": list(self.warnings),
            "refused": refusals(self.refused),
        }

    def to_frame(self) -> pd.DataFrame:
        """A table with one row per finding and model, and the columns of the JSON's rows."""
        return pd.DataFrame([row for model in self.metrics for row in self._rows(model)])

    def to_latex(self) -> str:
        """Table 2 as LaTeX: the AUROC, one row per finding and the mean, one column per model.

        Bold: the best of a row, if its difference to the reference excludes 0.
        """
        models = list(self.metrics)
        names = [name.replace("_", " ") for name in (*self.findings, MEAN)]
        lines = [" & ".join([name, *row]) + r" \\" for name, row in zip(names, self.auroc_cells(_bold), strict=True)]
        head = " & ".join(["Finding", *models]) + r" \\"
        caption = _escape(f"AUROC. {self.heading()}. 95\\% patient-bootstrap intervals in the JSON.")
        body = "\n".join([r"\toprule", head, r"\midrule", *lines[:-1], r"\midrule", lines[-1], r"\bottomrule"])
        columns = "l" + "r" * len(models)
        return (
            f"\\begin{{table}}\n\\begin{{tabular}}{{{columns}}}\n{body}\n\\end{{tabular}}\n"
            f"\\caption{{{caption}}}\n\\end{{table}}"
        )

    def auroc_cells(self, mark: Any = str) -> list[list[str]]:
        """The AUROC as text: one row per finding and the mean, one cell per model.

        Args:
            mark: applied to a cell that is the best of its row, if its difference to the reference excludes 0.
        """
        rows = []
        for f in range(len(self.findings)):
            points = [metrics.auroc.point[f] for metrics in self.metrics.values()]
            apart = [bool(metrics.apart[f]) for metrics in self.metrics.values()]
            rows.append(_cells(points, apart, mark))
        means = [metrics.auroc.mean.point for metrics in self.metrics.values()]
        return [*rows, _cells(means, [_mean_apart(metrics) for metrics in self.metrics.values()], mark)]

    def _rows(self, model: str) -> list[Json]:
        metrics = self.metrics[model]
        columns: dict[str, Any] = {
            "auroc": metrics.auroc.point,
            "auroc_low": metrics.auroc.low,
            "auroc_high": metrics.auroc.high,
            "auprc": metrics.auprc.point,
            "auprc_low": metrics.auprc.low,
            "auprc_high": metrics.auprc.high,
            "prevalence": metrics.auroc.prevalence,
            "positives": metrics.auroc.positives,
            "patients": metrics.auroc.positive_patients,
            "difference": None if metrics.difference is None else metrics.difference.point,
            "difference_low": None if metrics.difference is None else metrics.difference.low,
            "difference_high": None if metrics.difference is None else metrics.difference.high,
            "brier": None if metrics.before is None else metrics.before.brier,
            "ece": None if metrics.before is None else metrics.before.ece,
            "brier_calibrated": None if metrics.after is None else metrics.after.brier,
            "ece_calibrated": None if metrics.after is None else metrics.after.ece,
        }
        return [
            {"finding": finding, "model": model}
            | {name: None if values is None else number(values[f]) for name, values in columns.items()}
            for f, finding in enumerate(self.findings)
        ]

    def _mean(self, model: str) -> Json:
        metrics = self.metrics[model]
        mean, auprc = metrics.auroc.mean, metrics.auprc.mean
        difference = None if metrics.difference is None else metrics.difference.mean
        return {
            "model": model,
            "findings": mean.findings,
            "auroc": number(mean.point),
            "auroc_low": number(mean.low),
            "auroc_high": number(mean.high),
            "auprc": number(auprc.point),
            "auprc_low": number(auprc.low),
            "auprc_high": number(auprc.high),
            "difference": None if difference is None else number(difference.point),
            "difference_low": None if difference is None else number(difference.low),
            "difference_high": None if difference is None else number(difference.high),
        }


def _cells(points: list[float], apart: list[bool], mark: Any) -> list[str]:
    best = max((p for p in points if np.isfinite(p)), default=float("nan"))
    return [
        "" if not np.isfinite(p) else mark(f"{p:.3f}") if p == best and a else f"{p:.3f}"
        for p, a in zip(points, apart, strict=True)
    ]


def _mean_apart(metrics: ModelMetrics) -> bool:
    mean = None if metrics.difference is None else metrics.difference.mean
    return mean is not None and bool(mean.low > 0 or mean.high < 0)


def _bold(text: str) -> str:
    return rf"\textbf{{{text}}}"


def _escape(text: str) -> str:
    return text.replace("_", r"\_").replace("\\%", "%").replace("%", r"\%")
