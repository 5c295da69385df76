"""What validation chooses: by other findings only, each removed from the known images first."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.metrics import roc_auc_score

from cxrsearch.analysis.models.model import Sample
from cxrsearch.analysis.novelty.head_scores import Head
from cxrsearch.analysis.novelty.neighbours import K_GRID, K
from cxrsearch.analysis.novelty.selection import choose

F, DIM = 4, 6
NO_OUTPUT = np.array([], dtype=np.int64)


def part(n: int, seed: int, *, held: int = 0) -> Sample:
    """Images without the finding `held`; findings 1 and 2 move the embedding, 3 occurs in nobody."""
    rng = np.random.default_rng(seed)
    labels = rng.random((n, F)) < [0, 0.3, 0.3, 0]
    labels[:, held] = False
    points = rng.normal(size=(n, DIM)) + 3
    points[:, 0] += 3 * labels[:, 1]
    points[:, 1] -= 3 * labels[:, 2]
    return Sample(points.astype(np.float32), labels, np.arange(n, dtype=np.int64))


def no_head() -> Head:
    return Head(np.zeros((DIM, 0)), np.zeros(0))


def test_the_mean_auroc_of_other_findings_held_out_by_hand() -> None:
    train, val = part(150, 0), part(90, 1)
    found = choose(["knn"], train, val, no_head(), NO_OUTPUT)
    assert found.findings == (1, 2)

    def unit(sample: Sample) -> np.ndarray:
        exact = sample.embeddings.astype(np.float64)
        return np.asarray(exact / np.linalg.norm(exact, axis=1, keepdims=True))

    by_k = {}
    for k in K_GRID:
        values = []
        for finding in (1, 2):
            bank = unit(train)[~train.labels[:, finding]]
            distance = np.sort(cdist(unit(val), bank), axis=1)[:, min(k, len(bank)) - 1]
            values.append(roc_auc_score(val.labels[:, finding], distance))
        by_k[k] = float(np.mean(values))
    assert found.auroc["knn"] == pytest.approx(max(by_k.values()), abs=1e-6)
    assert found.k["knn"] == max(by_k, key=lambda k: by_k[k])
    assert found.score == "knn"


def test_the_best_score_is_named() -> None:
    found = choose(
        ["knn", "centroid", "mahalanobis"], part(150, 0), part(90, 1), no_head(), np.array([], dtype=np.int64)
    )
    assert found.score == max(found.auroc, key=lambda name: found.auroc[name])
    assert set(found.auroc) == {"knn", "centroid", "mahalanobis"}


def test_the_heads_output_of_a_finding_held_out_is_not_used() -> None:
    """An output that is the finding itself would make max-probability perfectly wrong; without it nothing is left."""
    train, val = part(150, 0), part(90, 1)
    weights = np.zeros((DIM, 2))
    weights[0, 0], weights[1, 1] = 5, -5
    found = choose(["max-probability"], train, val, Head(weights, np.array([-20.0, 20.0])), np.array([1, 2]))
    values = []
    for finding, other in ((1, 1), (2, 0)):
        outputs = val.embeddings.astype(np.float64) @ weights[:, other] + [-20.0, 20.0][other]
        values.append(roc_auc_score(val.labels[:, finding], -outputs))
    assert found.auroc["max-probability"] == pytest.approx(np.mean(values), abs=1e-3)  # p may round to 1


def test_findings_of_few_patients_count_only_where_there_is_no_other() -> None:
    val = part(90, 1)
    labels = np.array(val.labels)
    labels[np.flatnonzero(labels[:, 2])[9:], 2] = False
    some = choose(
        ["centroid"], part(150, 0), Sample(val.embeddings, labels, val.patients), no_head(), np.array([], np.int64)
    )
    assert some.findings == (1,)
    labels[np.flatnonzero(labels[:, 1])[9:], 1] = False
    few = choose(
        ["centroid"], part(150, 0), Sample(val.embeddings, labels, val.patients), no_head(), np.array([], np.int64)
    )
    assert few.findings == (1, 2)


def test_nothing_to_choose_by() -> None:
    val = part(20, 1)
    nothing = Sample(val.embeddings, np.zeros_like(val.labels), val.patients)
    found = choose(["knn"], part(150, 0), nothing, no_head(), NO_OUTPUT)
    assert (found.score, found.k, found.auroc, found.findings) == (None, {"knn": K, "class-knn": K}, {}, ())
