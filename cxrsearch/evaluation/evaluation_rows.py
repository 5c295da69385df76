"""The optional parts of an evaluation as JSON; None for a part that was not requested."""

from collections.abc import Mapping, Sequence
from typing import Any

from cxrsearch.analysis.evaluation.fractions import FractionCurve
from cxrsearch.analysis.evaluation.stratified import Stratum
from cxrsearch.analysis.retrieval.retrieval import METRICS, RetrievalSummary
from cxrsearch.analysis.retrieval.search_quality import SearchQuality
from cxrsearch.files import Json
from cxrsearch.images.findings import NO_FINDING
from cxrsearch.json_values import number

ALL, WITH_FINDINGS = "all", "with findings"


def strata_json(strata: Sequence[Stratum], findings: Sequence[str]) -> Json | None:
    """`rows`, one per stratum, model and finding, and `means`, one per stratum and model."""
    if not strata:
        return None
    rows = [
        {"stratum": stratum.name, "finding": finding, "model": model}
        | {"auroc": number(auroc.point[f]), "auroc_low": number(auroc.low[f]), "auroc_high": number(auroc.high[f])}
        | {"positives": number(auroc.positives[f]), "patients": number(auroc.positive_patients[f])}
        for stratum in strata
        for model, auroc in stratum.auroc.items()
        for f, finding in enumerate(findings)
    ]
    means = [
        {"stratum": stratum.name, "model": model, "images": stratum.images, "patients": stratum.patients}
        | {"findings": auroc.mean.findings, "auroc": number(auroc.mean.point)}
        | {"auroc_low": number(auroc.mean.low), "auroc_high": number(auroc.mean.high)}
        for stratum in strata
        for model, auroc in stratum.auroc.items()
    ]
    return {"rows": rows, "means": means}


def group_names(findings: Sequence[str]) -> list[str]:
    """The groups of queries that retrieval is reported for, in the order of its arrays."""
    return [*findings, NO_FINDING, ALL, WITH_FINDINGS]


def retrieval_json(quality: SearchQuality | None, findings: Sequence[str]) -> Json | None:
    """`rows`, one per group of queries, with other patients only; the same with all patients; re-identification."""
    if quality is None:
        return None
    same = quality.own
    names = ("nearest", "share")
    groups = ("with_another_image", "all")
    return {
        "k": quality.k,
        "queries": quality.queries,
        "rows": _retrieval_rows(quality.others, findings),
        "rows_same_patient_allowed": _retrieval_rows(quality.everyone, findings),
        "same_patient": {
            group: {
                "images": int(same.images[g]),
                "patients": int(same.patients[g]),
                "chance": number(same.point[g, 2]),
            }
            | {
                f"{name}{suffix}": number(values[g, i])
                for i, name in enumerate(names)
                for suffix, values in (("", same.point), ("_low", same.low), ("_high", same.high))
            }
            for g, group in enumerate(groups)
        },
    }


def _retrieval_rows(summary: RetrievalSummary, findings: Sequence[str]) -> list[Json]:
    values, label = summary.values, summary.label
    rows = []
    for g, group in enumerate(group_names(findings)):
        row: Json = {"group": group, "images": int(values.images[g]), "patients": int(values.patients[g])}
        for i, name in enumerate(METRICS):
            row |= {name: number(values.point[g, i]), f"{name}_low": number(values.low[g, i])}
            row |= {f"{name}_high": number(values.high[g, i]), f"{name}_chance": number(summary.chance[g, i])}
        with_label = g < len(summary.label_chance)
        row["label_share"] = number(label.point[g, 0]) if with_label else None
        row["label_chance"] = number(summary.label_chance[g]) if with_label else None
        rows.append(row)
    return rows


def fractions_json(curve: FractionCurve | None, findings: Sequence[str]) -> Json | None:
    """`rows`, one per fraction: the mean, lowest and highest AUROC of its draws; `findings_rows`, also per finding."""
    if curve is None:
        return None
    rows = [
        {"fraction": float(fraction), "images": number(images.mean())} | _range(means)
        for fraction, images, means in zip(curve.fractions, curve.images, curve.mean, strict=True)
    ]
    findings_rows = [
        {"fraction": float(fraction), "finding": finding} | _range(values[:, f])
        for fraction, values in zip(curve.fractions, curve.auroc, strict=True)
        for f, finding in enumerate(findings)
    ]
    draws = curve.images.shape[1]
    return {"k": curve.k, "draws": draws, "findings": curve.findings, "rows": rows, "findings_rows": findings_rows}


def _range(values: Any) -> Json:
    return {"auroc": number(values.mean()), "auroc_lowest": number(values.min()), "auroc_highest": number(values.max())}


def published_json(columns: Mapping[str, Sequence[float]], findings: Sequence[str], mean: str) -> list[Json] | None:
    """The paper's numbers, one row per finding and model, including the mean."""
    if not columns:
        return None
    names = [*findings, mean]
    return [
        {"finding": finding, "model": model, "auroc": number(value)}
        for model, values in columns.items()
        for finding, value in zip(names, values, strict=True)
    ]
