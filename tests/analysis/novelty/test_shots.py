"""A few known cases: by hand, and that they help."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.metrics import roc_auc_score

from cxrsearch.analysis.models.model import Sample
from cxrsearch.analysis.novelty.shots import DRAWS, few_shots

DIM = 5


def world(n: int, seed: int, *, novel: bool) -> Sample:
    rng = np.random.default_rng(seed)
    labels = np.column_stack([np.full(n, novel), rng.random(n) < 0.4])
    points = rng.normal(size=(n, DIM)) + 4 + labels @ np.array([[0, 2.0, 0, 0, 0], [2.0, 0, 0, 0, 0]])
    return Sample(points.astype(np.float32), labels, np.arange(n, dtype=np.int64) // 2)


KNOWN, CASES = world(200, 0, novel=False), world(20, 1, novel=True)
ASKED = np.concatenate([world(60, 2, novel=False).embeddings, world(40, 3, novel=True).embeddings])
POSITIVE = np.arange(100) >= 60


def test_no_shot_is_a_score_of_novelty_and_all_cases_are_a_prototype_by_hand() -> None:
    found = {(r.score, r.shots): r for r in few_shots(KNOWN, CASES, ASKED, POSITIVE, (0, 10), k=3, seed=0)}
    exact, asked = KNOWN.embeddings.astype(np.float64), ASKED.astype(np.float64)
    mean, deviation = exact.mean(0), exact.std(0)
    centroids = [((exact - mean) / deviation)[own].mean(0) for own in (KNOWN.labels[:, 1], ~KNOWN.labels[:, 1])]
    nearest = cdist((asked - mean) / deviation, centroids, "sqeuclidean").min(1)
    none = found["prototype", 0]
    assert none.auroc == pytest.approx(roc_auc_score(POSITIVE, nearest))
    assert (none.draws, none.lowest, none.highest) == (1, none.auroc, none.auroc)
    prototype = ((CASES.embeddings.astype(np.float64) - mean) / deviation).mean(0)
    margin = nearest - cdist((asked - mean) / deviation, [prototype], "sqeuclidean")[:, 0]
    every = found["prototype", 10]
    assert every.auroc == pytest.approx(roc_auc_score(POSITIVE, margin))
    assert every.draws == DRAWS
    assert every.highest == pytest.approx(every.lowest)  # all ten patients, whichever way they are drawn

    def unit(points: np.ndarray) -> np.ndarray:
        return np.asarray(points / np.linalg.norm(points, axis=1, keepdims=True))

    third = np.sort(cdist(unit(asked), unit(exact)), axis=1)[:, 2]
    case = cdist(unit(asked), unit(CASES.embeddings.astype(np.float64))).min(1)
    assert found["knn", 0].auroc == pytest.approx(roc_auc_score(POSITIVE, third))
    assert found["knn", 10].auroc == pytest.approx(roc_auc_score(POSITIVE, third - case))


def test_more_cases_find_more_and_draws_are_seeded() -> None:
    once, again = (few_shots(KNOWN, CASES, ASKED, POSITIVE, (0, 1, 5), k=3, seed=1) for _ in range(2))
    assert once == again
    prototype = [row.auroc or 0 for row in once if row.score == "prototype"]
    assert prototype[0] < prototype[1] < prototype[2]
    one = next(row for row in once if (row.score, row.shots) == ("prototype", 1))
    assert (one.lowest or 0) < (one.auroc or 0) < (one.highest or 0)


@pytest.mark.parametrize("cases", [CASES, None])
def test_more_shots_than_patients_are_not_computed(cases: Sample | None) -> None:
    found = few_shots(KNOWN, cases, ASKED, POSITIVE, (11,), k=3, seed=0)
    assert [(row.auroc, row.draws) for row in found] == [(None, 0)] * 2
