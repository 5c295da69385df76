"""Intervals from resampled patients, since images of one patient are alike (Field and Welsh 2007, JRSS B 69, 369-390).

A replicate draws as many patients as there are, with replacement. An image counts as often as its patient was drawn. So
a replicate is a weighting of rankings that were sorted once. Replicates are evaluated in blocks, as matrix products.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from cxrsearch.analysis.measures.metrics import Metric, Ranking, check_scores, mean_over_classes
from cxrsearch.arrays import Flags, Floats, Reals
from cxrsearch.errors import UsageError

MIN_POSITIVE_PATIENTS = 10
"""A finding with fewer gets a point without an interval, and stays out of the mean.

In 1,000 simulated data sets, 95% intervals of the AUROC contained the truth in 91% with 10 positive patients, 93% with
15, 94% with 20 and with 50, and 95.5% with 100 (`benchmarks/coverage.py`).
"""

BLOCK = 128
"""Replicates evaluated together. It bounds the memory: besides the rankings (16 bytes per image and finding), about
1 KiB x (2 x patients + 12 x positive images of the commonest finding)."""

LOW, HIGH = 2.5, 97.5

REPLICATES = 2000
"""The default: 50 replicates then lie beyond either end of a 95% interval."""


@dataclass(frozen=True)
class MeanInterval:
    """The mean over the usable findings, its 95% interval, and how many findings it is over; nan if there are none."""

    point: float
    low: float
    high: float
    findings: int


@dataclass(frozen=True)
class Intervals:
    """A metric, or a difference of two, for each of F findings, with its 95% percentile interval.

    Attributes:
        point: float64 (F,), the value on the original images; nan without both positive and negative images.
        low: float64 (F,), nan where not usable.
        high: float64 (F,), nan where not usable.
        positives: int64 (F,), the number of positive images.
        positive_patients: int64 (F,), the number of patients with a positive image.
        prevalence: float64 (F,), the share of images that are positive.
        usable: bool (F,), at least 10 positive patients, and a negative image.
        replicates: int64 (F,), the number of replicates with both kinds of images; the interval is over these.
        mean: over the usable findings. Its interval is from the replicates in which all of them have a value.
    """

    point: Floats
    low: Floats
    high: Floats
    positives: NDArray[np.int64]
    positive_patients: NDArray[np.int64]
    prevalence: Floats
    usable: Flags
    replicates: NDArray[np.int64]
    mean: MeanInterval

    def to_frame(self, findings: Sequence[str]) -> pd.DataFrame:
        """One row per finding, in the order of the arrays; the columns are `finding` and the names of the arrays.

        Raises:
            UsageError: the number of names is not the number of findings.
        """
        if len(findings) != len(self.point):
            raise UsageError(f"{len(findings)} names for {len(self.point)} findings", "name every finding")
        names = [name for name in self.__dataclass_fields__ if name != "mean"]
        return pd.DataFrame({"finding": list(findings)} | {name: getattr(self, name) for name in names})


@dataclass(frozen=True)
class Averages:
    """Means of M quantities over G groups of images, with their 95% percentile intervals.

    Attributes:
        point: float64 (G, M), nan for a group without images.
        low: float64 (G, M), nan for a group of fewer than 10 patients.
        high: float64 (G, M), alike.
        images: int64 (G,), the number of images.
        patients: int64 (G,), the number of patients.
    """

    point: Floats
    low: Floats
    high: Floats
    images: NDArray[np.int64]
    patients: NDArray[np.int64]

    def take(self, groups: NDArray[np.int64], quantities: NDArray[np.int64]) -> "Averages":
        """Select g groups, int64 (g,), and m quantities of each, int64 (g, m), or (1, m) for the same of all."""
        cells = groups[:, None], quantities
        return Averages(
            self.point[cells], self.low[cells], self.high[cells], self.images[groups], self.patients[groups]
        )


@dataclass(frozen=True)
class Comparison:
    """Several models on the same images, with the same replicates.

    Attributes:
        reference: the model that the others are compared with.
        models: each model's metric.
        differences: each other model's metric minus the reference's.
        best: for each finding, the model with the highest point, if the interval of its difference to the reference
            excludes 0; for the reference, if every difference to it does. None otherwise.
        best_mean: the same for the means.
    """

    reference: str
    models: dict[str, Intervals]
    differences: dict[str, Intervals]
    best: tuple[str | None, ...]
    best_mean: str | None


class PatientBootstrap:
    """The replicates of one set of images, the same for every model and metric.

    Replicate r has its own generator, seeded with (seed, r). It depends only on the number of patients and their sorted
    order, not on the order of the images or the number of replicates. No replicate is stored.
    """

    def __init__(self, patients: Sequence[str] | NDArray[Any], replicates: int = 2000, seed: int = 0) -> None:
        """Take the patients of n images, (n,).

        Raises:
            UsageError: no images, no replicates, or a negative seed.
        """
        if not len(patients) or replicates < 1 or seed < 0:
            got = f"{len(patients)} images, {replicates} replicates, seed {seed}"
            raise UsageError(f"a bootstrap needs images, replicates and a seed from 0 on: got {got}", "correct these")
        names, self._patient = np.unique(np.asarray(patients), return_inverse=True)
        self._patients = len(names)
        self._replicates = replicates
        self._seed = seed

    def auroc(self, labels: Flags, scores: Reals) -> Intervals:
        """`metrics.auroc` of bool labels (n, F) and scores (n, F), with intervals.

        Raises:
            UsageError: as `metrics.auroc`, or a number of images other than the bootstrap's.
        """
        return self._intervals(labels, self._values(labels, scores, "auroc"))

    def average_precision(self, labels: Flags, scores: Reals) -> Intervals:
        """`metrics.average_precision`, with intervals; arguments and errors as for `auroc`."""
        return self._intervals(labels, self._values(labels, scores, "average_precision"))

    def difference(self, labels: Flags, scores_a: Reals, scores_b: Reals, metric: Metric = "auroc") -> Intervals:
        """The metric of `scores_a` minus that of `scores_b`, paired over the replicates. Errors as for `auroc`."""
        values = self._values(labels, scores_a, metric) - self._values(labels, scores_b, metric)
        return self._intervals(labels, values)

    def compare(
        self, labels: Flags, scores: Mapping[str, Reals], reference: str, metric: Metric = "auroc"
    ) -> Comparison:
        """Evaluate every model once, and its difference to the reference model.

        Raises:
            UsageError: as for `auroc`, or no scores of the reference.
        """
        if reference not in scores:
            raise UsageError(f"no scores of {reference!r} to compare with", f"choose one of {', '.join(scores)}")
        values = {name: self._values(labels, model_scores, metric) for name, model_scores in scores.items()}
        models = {name: self._intervals(labels, model_values) for name, model_values in values.items()}
        others = [name for name in values if name != reference]
        differences = {name: self._intervals(labels, values[name] - values[reference]) for name in others}
        best = [
            _best(
                {n: m.point[f] for n, m in models.items()}, {n: (d.low[f], d.high[f]) for n, d in differences.items()}
            )
            for f in range(labels.shape[1])
        ]
        best_mean = _best(
            {n: m.mean.point for n, m in models.items()}, {n: (d.mean.low, d.mean.high) for n, d in differences.items()}
        )
        return Comparison(reference, models, differences, tuple(best), best_mean)

    def averages(self, values: Floats, groups: Flags) -> Averages:
        """Means of M quantities over G groups of images, with intervals.

        Args:
            values: float64 (n, M); nan is allowed for an image that is in no group.
            groups: bool (n, G); an image may be in several groups.

        Raises:
            UsageError: arrays that do not fit together.
        """
        n, size = len(self._patient), values.shape[1]
        if len(values) != n or groups.shape[:1] != (n,) or groups.dtype != np.bool_:
            got = f"values {values.shape}, groups {groups.dtype} {groups.shape}"
            raise UsageError(f"values and groups must have a row for each of {n} images: got {got}", "give both alike")
        by_patient = sparse.csr_array((np.ones(n), (self._patient, np.arange(n))), shape=(self._patients, n))
        sums = np.hstack([by_patient @ np.where(group[:, None], values, 0) for group in groups.T])
        images = by_patient @ groups.astype(np.float64)
        drawn = np.concatenate([_means(sums, images, weights) for weights in self._weightings()])
        drawn = drawn.reshape(-1, groups.shape[1], size)
        patients = np.count_nonzero(images, axis=0)
        bounds = np.full((2, *drawn.shape[1:]), np.nan)
        for group in np.flatnonzero(patients >= MIN_POSITIVE_PATIENTS):
            bounds[:, group] = np.array([_percentiles(column) for column in drawn[1:, group].T]).reshape(-1, 2).T
        low, high = bounds
        return Averages(drawn[0], low, high, np.count_nonzero(groups, axis=0), patients)

    def multiplicities(self, replicates: range) -> Floats:
        """How often each patient, in sorted order, is drawn in these replicates: float64 (patients, replicates)."""
        m = self._patients
        draws = (np.random.default_rng((self._seed, r)).integers(m, size=m) for r in replicates)
        return np.stack([np.bincount(draw, minlength=m) for draw in draws], axis=1).astype(np.float64)

    def _values(self, labels: Flags, scores: Reals, metric: Metric) -> Floats:
        """The metric of the original images, then of every replicate: float64 (1 + replicates, F)."""
        check_scores(labels, scores)
        if len(labels) != len(self._patient):
            raise UsageError(f"{len(labels)} images, patients of {len(self._patient)}", "give each image its patient")
        columns = zip(labels.T, scores.T, strict=True)
        rankings = [Ranking.of(positive, values, self._patient, self._patients) for positive, values in columns]
        evaluated = [[getattr(r, metric)(weights) for r in rankings] for weights in self._weightings()]
        return np.concatenate(evaluated, axis=1).T

    def _weightings(self) -> Iterator[Floats]:
        """Patient weights: everyone once, float64 (patients, 1), then the replicates in blocks (patients, r)."""
        yield np.ones((self._patients, 1))
        for start in range(0, self._replicates, BLOCK):
            yield self.multiplicities(range(start, min(start + BLOCK, self._replicates)))

    def _intervals(self, labels: Flags, values: Floats) -> Intervals:
        point, replicates = values[0], values[1:]
        positive_patients = np.array([len(np.unique(self._patient[positive])) for positive in labels.T], dtype=np.int64)
        usable = (positive_patients >= MIN_POSITIVE_PATIENTS) & ~np.isnan(point)
        bounds = [
            _percentiles(drawn) if use else (np.nan, np.nan) for drawn, use in zip(replicates.T, usable, strict=True)
        ]
        low, high = np.array(bounds, dtype=np.float64).reshape(-1, 2).T
        return Intervals(
            point,
            low,
            high,
            positives=np.count_nonzero(labels, axis=0).astype(np.int64),
            positive_patients=positive_patients,
            prevalence=labels.mean(axis=0),
            usable=usable,
            replicates=np.count_nonzero(~np.isnan(replicates), axis=0).astype(np.int64),
            mean=_mean(point, replicates, usable),
        )


def _mean(point: Floats, replicates: Floats, usable: Flags) -> MeanInterval:
    value, findings = mean_over_classes(point, usable)
    if not findings:
        return MeanInterval(value, np.nan, np.nan, 0)
    return MeanInterval(value, *_percentiles(replicates[:, usable].mean(axis=1)), findings)


def _means(sums: Floats, images: Floats, weights: Floats) -> Floats:
    """Means (r, G, M) under weights (m, r), from patients' sums (m, G M) and images (m, G); nan without weight."""
    total, number = weights.T @ sums, weights.T @ images
    total = total.reshape(*number.shape, -1)
    return np.divide(total, number[..., None], out=np.full_like(total, np.nan), where=number[..., None] > 0)


def _best(points: dict[str, float], differences: dict[str, tuple[float, float]]) -> str | None:
    """The model with the highest point, if the interval of its difference to the reference excludes 0.

    The reference is the model without a difference. It is best if the intervals of all others lie below 0.
    """
    numbers = {name: point for name, point in points.items() if not np.isnan(point)}
    if not numbers or not differences:
        return None
    best = max(numbers, key=lambda name: numbers[name])
    if best in differences:
        return best if differences[best][0] > 0 else None
    return best if all(high < 0 for _, high in differences.values()) else None


def _percentiles(drawn: Floats) -> tuple[float, float]:
    """The 2.5th and the 97.5th percentile of the values that are not nan; nan if there are none."""
    kept = drawn[~np.isnan(drawn)]
    low, high = np.percentile(kept, (LOW, HIGH)) if len(kept) else (np.nan, np.nan)
    return float(low), float(high)
