"""A new finding with a few cases: how many cases are needed to detect it?

Without cases, each of these two scores is a novelty score. With more cases, it becomes a detector of the finding:

    prototype: squared L2 to the nearest class centroid minus squared L2 to the mean of the cases (standardised space),
        after Snell et al. 2017, Prototypical networks for few-shot learning, NeurIPS, arXiv:1703.05175
    knn: the distance to the k-th known image minus the distance to the nearest case (embeddings of length 1)
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cxrsearch.analysis.measures.metrics import auroc
from cxrsearch.analysis.models.model import Sample
from cxrsearch.analysis.novelty._centroid import Centroid, class_means, squared_distances
from cxrsearch.analysis.novelty.neighbours import KNeighbours
from cxrsearch.arrays import Embeddings, Flags, Floats, Integers

DRAWS = 20


@dataclass(frozen=True)
class ShotsRow:
    """The AUROC of a score that knows some patients with the finding: mean and range over the draws.

    Attributes:
        score: `prototype` or `knn`.
        shots: the number of known positive patients; all of their images with the finding are known.
        auroc, lowest, highest: any image with the finding against all others; None if there are too few patients.
        draws: the number of sets of patients that were drawn.
    """

    score: str
    shots: int
    auroc: float | None
    lowest: float | None
    highest: float | None
    draws: int


def few_shots(
    known: Sample,
    cases: Sample | None,
    embeddings: Embeddings,
    positive: Flags,
    shots: Sequence[int],
    *,
    k: int,
    seed: int,
) -> list[ShotsRow]:
    """Evaluate both scores with each number of known patients.

    Args:
        known: images without the finding.
        cases: training images with the finding, whose patients are drawn; None if there are none.
        embeddings: float32 (m, dim), the images to score.
        positive: bool (m,), which of these show the finding.
        shots: numbers of patients, from 0.
        k: of `knn`.
        seed: of the draws.

    Returns:
        One row per number of shots and score.
    """
    centroid = Centroid().fit(known.embeddings, known.labels)
    nearest = {
        "prototype": squared_distances(centroid.scale, centroid.centroids, embeddings).min(axis=1),
        "knn": KNeighbours(k).fit(known.embeddings, known.labels).score(embeddings),
    }
    patients = np.unique(cases.patients) if cases is not None else np.array([], dtype=np.int64)
    rows: list[ShotsRow] = []
    for n in shots:
        aurocs: dict[str, list[float]] = {name: [] for name in nearest}
        draws = 1 if n == 0 else DRAWS
        for draw in range(draws if n <= len(patients) else 0):
            drawn = np.random.default_rng((seed, n, draw)).choice(patients, n, replace=False)
            to_cases = _distances(centroid, cases, drawn, embeddings)
            for name, far in nearest.items():
                values = far - to_cases[name] if to_cases else far
                aurocs[name].append(float(auroc(positive[:, None], values[:, None])[0]))
        rows += [_row(name, n, values) for name, values in aurocs.items()]
    return rows


def _distances(centroid: Centroid, cases: Sample | None, drawn: Integers, embeddings: Embeddings) -> dict[str, Floats]:
    """Distances from embeddings (m, dim) to the cases of the drawn patients: (m,) by score; empty without patients."""
    if cases is None or not len(drawn):
        return {}
    shots = cases.embeddings[np.isin(cases.patients, drawn)]
    one = np.ones((len(shots), 1), dtype=np.bool_)
    prototype = class_means(shots, one, centroid.scale)
    return {
        "prototype": squared_distances(centroid.scale, prototype, embeddings)[:, 0],
        "knn": KNeighbours(1).fit(shots, one).score(embeddings),
    }


def _row(score: str, shots: int, values: Sequence[float]) -> ShotsRow:
    finite = [value for value in values if np.isfinite(value)]
    if not finite:
        return ShotsRow(score, shots, None, None, None, len(values))
    return ShotsRow(score, shots, float(np.mean(finite)), min(finite), max(finite), len(values))
