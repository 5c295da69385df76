"""A new disease of which there are a few cases: from how many on is it found?

Two scores that are a score of novelty without a case, and the more a detector of the finding the more cases there are:

    prototype: squared L2 to the nearest class centroid minus that to the mean of the cases (standardised space), after
        Snell et al. 2017, Prototypical networks for few-shot learning, NeurIPS, arXiv:1703.05175
    knn: the distance to the k-th known image minus that to the nearest case (embeddings of length 1)
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
    """The AUROC of a score with so many patients of the finding: mean and range over draws; None with too few patients.

    Attributes:
        score: `prototype` or `knn`.
        shots: positive patients that are known, all of their images with the finding.
        auroc, lowest, highest: of any image with the finding against all others.
        draws: sets of patients that were drawn.
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
    """Both scores with each number of shots.

    Args:
        known: images without the finding.
        cases: training images with it, of patients to draw from; None: there are none.
        embeddings: float32 (m, dim), to score.
        positive: bool (m,), which of these show the finding.
        shots: numbers of patients, from 0.
        k: of `knn`.
        seed: of the draws.
    """
    centroid = Centroid().fit(known.embeddings, known.labels)
    nearest = {
        "prototype": squared_distances(centroid.scale, centroid.centroids, embeddings).min(axis=1),
        "knn": KNeighbours(k).fit(known.embeddings, known.labels).score(embeddings),
    }
    patients = np.unique(cases.patients) if cases is not None else np.array([], dtype=np.int64)
    rows: list[ShotsRow] = []
    for n in shots:
        found: dict[str, list[float]] = {name: [] for name in nearest}
        draws = 1 if n == 0 else DRAWS
        for draw in range(draws if n <= len(patients) else 0):
            drawn = np.random.default_rng((seed, n, draw)).choice(patients, n, replace=False)
            seen = _distances(centroid, cases, drawn, embeddings)
            for name, far in nearest.items():
                values = far - seen[name] if seen else far
                found[name].append(float(auroc(positive[:, None], values[:, None])[0]))
        rows += [_row(name, n, values) for name, values in found.items()]
    return rows


def _distances(centroid: Centroid, cases: Sample | None, drawn: Integers, embeddings: Embeddings) -> dict[str, Floats]:
    """How far (m, dim) are from the cases of some patients, (m,) by score; nothing of nobody."""
    if cases is None or not len(drawn):
        return {}
    own = cases.embeddings[np.isin(cases.patients, drawn)]
    one = np.ones((len(own), 1), dtype=np.bool_)
    prototype = class_means(own, one, centroid.scale)
    return {
        "prototype": squared_distances(centroid.scale, prototype, embeddings)[:, 0],
        "knn": KNeighbours(1).fit(own, one).score(embeddings),
    }


def _row(score: str, shots: int, values: Sequence[float]) -> ShotsRow:
    known = [value for value in values if np.isfinite(value)]
    if not known:
        return ShotsRow(score, shots, None, None, None, len(values))
    return ShotsRow(score, shots, float(np.mean(known)), min(known), max(known), len(values))
