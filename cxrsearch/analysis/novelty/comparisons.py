"""Novel images against known ones: which are compared, and how well a score tells them apart."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from cxrsearch.analysis.measures.bootstrap import PatientBootstrap
from cxrsearch.arrays import Flags, Floats
from cxrsearch.json_values import number

Positives = Literal["any", "only"]
Negatives = Literal["all", "no-finding", "other-findings"]
POSITIVES: tuple[Positives, ...] = get_args(Positives)
NEGATIVES: tuple[Negatives, ...] = get_args(Negatives)

_HIT = 0.95


@dataclass(frozen=True)
class NoveltyRow:
    """How well one score tells images with the held-out finding from one set of others; None is not computed.

    Attributes:
        score: its name.
        positives: `any` image with the finding, or those with it `only`.
        negatives: `all` images without it, those with `no-finding`, or those with `other-findings`.
        auroc, auroc_low, auroc_high: with the 95% patient-bootstrap interval, from 10 positive patients on.
        aupr: average precision; to be held against `prevalence`.
        prevalence: the share of positives among the images compared.
        fpr95: the share of negatives that score as high as the lowest of the highest 95% of the positives.
        n_positive, n_patients: positive images, and their patients.
        n_negative: the others.
    """

    score: str
    positives: Positives
    negatives: Negatives
    auroc: float | None
    auroc_low: float | None
    auroc_high: float | None
    aupr: float | None
    prevalence: float | None
    fpr95: float | None
    n_positive: int
    n_patients: int
    n_negative: int


def compared(labels: Flags, finding: int) -> Iterator[tuple[Positives, Negatives, Flags, Flags]]:
    """The positive and the negative images of each of the six comparisons, bool (n,), of labels (n, F)."""
    own = labels[:, finding]
    others = np.delete(labels, finding, axis=1).any(axis=1)
    positive: dict[Positives, Flags] = {"any": own, "only": own & ~others}
    negative: dict[Negatives, Flags] = {"all": ~own, "no-finding": ~own & ~others, "other-findings": ~own & others}
    for p in POSITIVES:
        for n in NEGATIVES:
            yield p, n, positive[p], negative[n]


def rows(
    labels: Flags,
    finding: int,
    patients: NDArray[np.int64],
    scores: Mapping[str, Floats | None],
    *,
    replicates: int,
    seed: int,
) -> list[NoveltyRow]:
    """Every score in every comparison, the scores of one comparison by the same replicates.

    Args:
        labels: bool (n, F).
        finding: the column of the held-out one.
        patients: int64 (n,).
        scores: by name, float64 (n,), finite; None for one that could not be computed.
        replicates, seed: of the bootstrap.
    """
    found = {name: values for name, values in scores.items() if values is not None}
    made: list[NoveltyRow] = []
    for p, n, positive, negative in compared(labels, finding):
        counts = int(positive.sum()), len(np.unique(patients[positive])), int(negative.sum())
        metrics = _metrics(found, positive, negative, patients, replicates, seed) if counts[0] and counts[2] else {}
        share = counts[0] / (counts[0] + counts[2]) if counts[0] + counts[2] else None
        for name in scores:
            auroc, low, high, aupr, fpr95 = metrics.get(name, (None,) * 5)
            made.append(NoveltyRow(name, p, n, auroc, low, high, aupr, share, fpr95, *counts))
    return made


def _metrics(
    scores: Mapping[str, Floats],
    positive: Flags,
    negative: Flags,
    patients: NDArray[np.int64],
    replicates: int,
    seed: int,
) -> dict[str, tuple[float | None, ...]]:
    if not scores:
        return {}
    used = positive | negative
    columns = np.column_stack([values[used] for values in scores.values()])
    labels = np.repeat(positive[used][:, None], len(scores), axis=1)
    bootstrap = PatientBootstrap(patients[used], replicates, seed)
    auroc = bootstrap.auroc(labels, columns)
    aupr = PatientBootstrap(patients[used], 1, seed).average_precision(labels, columns).point
    return {
        name: (
            *(number(values[i]) for values in (auroc.point, auroc.low, auroc.high, aupr)),
            false_positive_rate(values[positive], values[negative]),
        )
        for i, (name, values) in enumerate(scores.items())
    }


def false_positive_rate(positive: Floats, negative: Floats, hit: float = _HIT) -> float:
    """The share of negatives at or above the highest threshold that at least `hit` of the positives reach."""
    threshold = np.sort(positive)[::-1][int(np.ceil(hit * len(positive) - 1e-9)) - 1]
    return float(np.mean(negative >= threshold))
