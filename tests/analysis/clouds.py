"""Points, groups and patients at random, and plain float64 references over explicit pairs."""

from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrsearch.analysis.clusters.pair_distances import SamePatientPairs, same_patient
from cxrsearch.analysis.clusters.spaces import to_space
from cxrsearch.arrays import Embeddings, Flags, Floats


@dataclass(frozen=True)
class Cloud:
    """Standardised points, K overlapping groups of which the first holds all, and patients of 1 to 4 images."""

    points: Embeddings
    groups: Flags
    patients: NDArray[Any]

    @property
    def same(self) -> SamePatientPairs:
        return same_patient(self.points, self.patients)


def cloud(seed: int, *, patients: int, dim: int = 6, shares: tuple[float, ...] = (0.5, 0.2)) -> Cloud:
    rng = np.random.default_rng(seed)
    names = rng.permutation(np.repeat([f"p{i}" for i in range(patients)], rng.integers(1, 5, patients)))
    own = {name: rng.normal(size=dim) for name in np.unique(names)}
    embeddings = rng.normal(size=(len(names), dim)) + [own[name] for name in names]
    groups = np.column_stack([np.ones(len(names), dtype=np.bool_), rng.random((len(names), len(shares))) < shares])
    return Cloud(to_space(embeddings).points, groups, names)


def mean_over_pairs(values: Floats, pairs: Flags) -> float:
    """The mean of a matrix over chosen cells; nan of none."""
    return float(values[pairs].mean()) if pairs.any() else float("nan")


def squared(points: NDArray[Any]) -> Floats:
    """All squared distances, (n, n), from the differences."""
    exact = points.astype(np.float64)
    return np.asarray(((exact[:, None] - exact[None]) ** 2).sum(axis=2))


def contrast(points: Embeddings, group: Flags, patients: NDArray[Any]) -> float:
    """Mean squared distance between minus within, over an explicit list of pairs of different patients."""
    distances = squared(points)
    within: list[float] = []
    between: list[float] = []
    for i, j in combinations(range(len(points)), 2):
        if patients[i] == patients[j] or not (group[i] or group[j]):
            continue
        (within if group[i] and group[j] else between).append(distances[i, j])
    return float(np.mean(between) - np.mean(within))
