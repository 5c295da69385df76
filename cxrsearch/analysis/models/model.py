"""The protocol of models that are fitted on embeddings, so that an evaluation is one loop.

    for name, model in create(names).items():  # `cxrsearch.analysis.models.model_registry`
        fitted = model.fit(train, val)
        scores[name] = fitted.predict(test)

A finding that all training images have, or none, cannot be learned. Its probability is its prevalence, 1 or 0.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from cxrsearch.analysis.measures.bootstrap import MIN_POSITIVE_PATIENTS
from cxrsearch.analysis.measures.metrics import auroc, mean_over_classes
from cxrsearch.arrays import Embeddings, Flags, Floats, Integers
from cxrsearch.errors import UsageError
from cxrsearch_indexes.vectors import LARGEST_NORM, unusable


@dataclass(frozen=True, eq=False)
class Sample:
    """Images as a model sees them. Nothing is copied, so memory-mapped embeddings stay on disk.

    Attributes:
        embeddings: float32 (n, dim), n >= 1, finite.
        labels: bool (n, F).
        patients: int64 (n,), numbered from 0.

    Raises:
        UsageError: arrays of other types or shapes, or an embedding that is not finite or too long (the message names
            its row).
    """

    embeddings: Embeddings
    labels: Flags
    patients: Integers

    def __post_init__(self) -> None:
        check_labels(self.labels)
        n, shape = len(self.labels), self.embeddings.shape
        if self.embeddings.dtype != np.float32 or len(shape) != 2 or shape[0] != n or not shape[1]:
            got = f"{self.embeddings.dtype} {shape}"
            raise UsageError(f"embeddings must be float32 ({n}, dim): got {got}", "give one row a labelled image")
        check_patients(self.patients, n)
        for start in range(0, n, _BLOCK):
            refused = unusable(self.embeddings[start : start + _BLOCK])
            if refused.size:
                problem = f"embedding {start + refused[0]} is not finite, or its norm exceeds {LARGEST_NORM:g}"
                raise UsageError(problem, "leave that image out, or embed it again")

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def dim(self) -> int:
        """The length of an embedding."""
        return int(self.embeddings.shape[1])

    @property
    def prevalence(self) -> Floats:
        """The share of images with each finding, float64 (F,)."""
        share: Floats = self.labels.mean(axis=0)
        return share

    def take(self, rows: Integers) -> "Sample":
        """Copy these rows, in this order.

        Raises:
            UsageError: no rows.
        """
        return Sample(self.embeddings[rows], self.labels[rows], self.patients[rows])


@dataclass(frozen=True, eq=False)
class Fitted:
    """A fitted model.

    Attributes:
        train: the sample that it was fitted on; `len(train)` is the number of images.
        settings: the settings of the fit, including chosen ones; numbers and names that JSON can hold.
        score: the function that `predict` calls with a checked sample.
        notes: sentences for the reader of a result.
    """

    train: Sample
    settings: Mapping[str, Any]
    score: Callable[[Sample], Floats] = field(repr=False)
    notes: tuple[str, ...] = ()

    def predict(self, sample: Sample) -> Floats:
        """The probability of every finding, float64 (n, F); the sample's labels are not used.

        Raises:
            UsageError: a dimension or a number of findings other than those of the fit.
        """
        require_alike(self.train, sample)
        return self.score(sample)


class Model(Protocol):
    """A model that is fitted on the training part, with settings chosen on the validation part."""

    def fit(self, train: Sample, val: Sample) -> Fitted:
        """Fit the model; the same samples give the same result.

        Raises:
            UsageError: samples of different dimensions or findings.
        """
        ...


_BLOCK = 8192


def check_labels(labels: Flags) -> None:
    """Raise UsageError unless labels are bool (n, F) with n >= 1."""
    if labels.dtype != np.bool_ or labels.ndim != 2 or not len(labels):
        got = f"{labels.dtype} {labels.shape}"
        raise UsageError(f"labels must be bool (images, findings), of at least one image: got {got}", "encode them")


def check_patients(patients: Integers, n: int) -> None:
    """Raise UsageError unless patients are int64 (n,), numbered from 0."""
    if patients.shape != (n,) or patients.dtype != np.int64 or (patients < 0).any():
        got = f"{patients.dtype} {patients.shape}"
        raise UsageError(f"patients must be int64 ({n},), from 0 on: got {got}", "give each image its patient's number")


def require_alike(train: Sample, other: Sample) -> None:
    """Raise UsageError unless both samples have the same dimension and number of findings."""
    one, two = ((s.dim, s.labels.shape[1]) for s in (train, other))
    if one != two:
        got = f"{one[0]} dimensions and {one[1]} findings, then {two[0]} and {two[1]}"
        raise UsageError(f"samples that do not belong together: {got}", "take all parts from one index")


def learnable(labels: Flags) -> Integers:
    """The findings that some images have and some do not: columns, int64, ascending."""
    return np.flatnonzero(labels.any(axis=0) & ~labels.all(axis=0))


def by_finding(train: Sample, n: int, scored: Mapping[int, Floats]) -> Floats:
    """Probabilities, float64 (n, F), from those of some findings, (n,) each; the others get their prevalence."""
    probability = np.tile(train.prevalence, (n, 1))
    for finding, values in scored.items():
        probability[:, finding] = values
    return probability


def positive_patients(labels: Flags, patients: Integers) -> Integers:
    """How many patients have an image with each finding, int64 (F,)."""
    return np.array([len(np.unique(patients[positive])) for positive in labels.T], dtype=np.int64)


def selection_score(sample: Sample, probability: Floats) -> float:
    """The criterion for choosing settings: the mean AUROC over the findings with at least 10 positive patients.

    If there are none, the mean is over all findings with both positive and negative images; nan if there are none.
    """
    values = auroc(sample.labels, probability)
    usable = positive_patients(sample.labels, sample.patients) >= MIN_POSITIVE_PATIENTS
    defined = ~np.isnan(values)
    return mean_over_classes(values, usable if (usable & defined).any() else defined)[0]


def sample_patients(sample: Sample, limit: int, seed: int) -> Sample:
    """Draw whole patients at random, up to `limit` images; the sample itself if it has no more.

    Patients are drawn one after the other, until the images of the next one would be too many. Rows keep their order.

    Raises:
        UsageError: the first patient drawn has more images than the limit.
    """
    if len(sample) <= limit:
        return sample
    _, patient, images = np.unique(sample.patients, return_inverse=True, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(images))
    drawn = order[np.cumsum(images[order]) <= limit]
    if not len(drawn):
        raise UsageError(f"no patient's images fit into {limit}", "allow more training images")
    return sample.take(np.flatnonzero(np.isin(patient, drawn)))
