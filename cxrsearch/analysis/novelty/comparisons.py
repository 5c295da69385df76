"""Novel images against known ones: which images are compared, and how well a score tells them apart."""

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
    """How well one score tells images with the held-out finding from one set of others. None means not computed.

    Attributes:
        score: the name of the score.
        positives: `any` image with the finding, or images with it `only`.
        negatives: `all` images without the finding, those with `no-finding`, or those with `other-findings`.
        auroc, auroc_low, auroc_high: with the 95% patient-bootstrap interval, if there are at least 10 positive
            patients.
        aupr: average precision; its chance level is `prevalence`.
        prevalence: the share of positives among the images compared.
        fpr95: the false-positive rate at the threshold that at least 95% of the positives reach.
        n_positive, n_patients: the numbers of positive images and of their patients.
        n_negative: the number of negative images.
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


def iterate_comparisons(labels: Flags, finding: int) -> Iterator[tuple[Positives, Negatives, Flags, Flags]]:
    """Yield the positive and the negative images, bool (n,), of each of the six comparisons; labels are bool (n, F)."""
    held_out = labels[:, finding]
    others = np.delete(labels, finding, axis=1).any(axis=1)
    positive: dict[Positives, Flags] = {"any": held_out, "only": held_out & ~others}
    negative: dict[Negatives, Flags] = {
        "all": ~held_out,
        "no-finding": ~held_out & ~others,
        "other-findings": ~held_out & others,
    }
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
    """Evaluate every score in every comparison; the scores of one comparison share their replicates.

    Args:
        labels: bool (n, F).
        finding: the column of the held-out finding.
        patients: int64 (n,).
        scores: by name, float64 (n,), finite; None for a score that could not be computed.
        replicates, seed: of the bootstrap.

    Returns:
        One row per comparison and score.
    """
    computed = {name: values for name, values in scores.items() if values is not None}
    made: list[NoveltyRow] = []
    for p, n, positive, negative in iterate_comparisons(labels, finding):
        counts = int(positive.sum()), len(np.unique(patients[positive])), int(negative.sum())
        metrics = _metrics(computed, positive, negative, patients, replicates, seed) if counts[0] and counts[2] else {}
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
    # The tolerance keeps a product such as 0.55 x 100 = 55.00000000000001 from being rounded up.
    threshold = np.sort(positive)[::-1][int(np.ceil(hit * len(positive) - 1e-9)) - 1]
    return float(np.mean(negative >= threshold))
