"""Chooses the score and the k that find novel findings best, by holding out the OTHER findings one at a time.

For each finding G except the one in question, all images with G are removed from the known images. The scores are
fitted, and must tell validation images with G from those without. The head's output for G is left out. A head that was
trained on images of G has still seen it, which favours the scores that use a head.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cxrsearch.analysis.measures.bootstrap import MIN_POSITIVE_PATIENTS
from cxrsearch.analysis.measures.metrics import auroc
from cxrsearch.analysis.models.model import Sample, positive_patients, sample_patients
from cxrsearch.analysis.novelty.head_scores import Head
from cxrsearch.analysis.novelty.neighbours import K_GRID, ClassNeighbours, K, KNeighbours
from cxrsearch.analysis.novelty.score_registry import create
from cxrsearch.arrays import Floats, Integers
from cxrsearch.errors import UsageError
from cxrsearch.progress import Progress, silent

TRAIN_LIMIT, VAL_LIMIT = 20_000, 5_000
"""The choice uses at most this many images, those of patients drawn by the seed."""


@dataclass(frozen=True)
class Choice:
    """What the validation part prefers.

    Attributes:
        score: the name of the best score; None if no other finding can be held out.
        k: the best k of `knn` and of `class-knn`.
        auroc: by name, the mean AUROC over the findings held out, with the best k; only scores that were computed.
        findings: the columns of the findings that were held out.
    """

    score: str | None
    k: dict[str, int]
    auroc: dict[str, float]
    findings: tuple[int, ...]


def choose(
    names: Sequence[str],
    train: Sample,
    val: Sample,
    head: Head,
    outputs: Integers,
    *,
    seed: int = 0,
    progress: Progress = silent,
) -> Choice:
    """Choose a score, and a k for the scores that have one.

    Args:
        names: some of `score_registry.SCORES`.
        train, val: images without the finding in question; its column, all False, may be among the labels.
        head: the head of the known findings.
        outputs: int64 (m,), the column of the labels that belongs to each output of the head.
        seed: of the samples.
        progress: called as findings are held out.
    """
    train, val = sample_patients(train, TRAIN_LIMIT, seed), sample_patients(val, VAL_LIMIT, seed)
    held = _worth_holding_out(train, val)
    aurocs: dict[tuple[str, int], list[float]] = {}
    for done, finding in enumerate(held):
        progress("choosing by other findings", done, len(held))
        known = train.take(np.flatnonzero(~train.labels[:, finding]))
        output = np.flatnonzero(outputs == finding)
        for name in names:
            part = head.without(int(output[0])) if len(output) else head
            for k, values in _scores(name, known, val, part, seed).items():
                labels = val.labels[:, [finding]]
                aurocs.setdefault((name, k), []).append(float(auroc(labels, values[:, None])[0]))
    progress("choosing by other findings", len(held), len(held))
    return _choose_best(aurocs, tuple(held))


def _worth_holding_out(train: Sample, val: Sample) -> list[int]:
    """Findings with at least 10 positive patients in val; if there are none, those with both kinds of images."""
    positive, negative = val.labels.any(axis=0), ~val.labels.all(axis=0)
    usable = positive & negative & ~train.labels.all(axis=0)
    often = usable & (positive_patients(val.labels, val.patients) >= MIN_POSITIVE_PATIENTS)
    return [int(column) for column in np.flatnonzero(often if often.any() else usable)]


def _scores(name: str, known: Sample, val: Sample, head: Head, seed: int) -> dict[int, Floats]:
    """The scores of val by k; the key is 0 for a score without a k; empty if the score cannot be computed."""
    score = create(name, head, seed=seed)
    try:
        score.fit(known.embeddings, known.labels)
    except UsageError:
        return {}
    if isinstance(score, KNeighbours | ClassNeighbours):
        return dict(zip(K_GRID, score.by_k(val.embeddings, K_GRID).T, strict=True))
    return {0: score.score(val.embeddings)}


def _choose_best(aurocs: dict[tuple[str, int], list[float]], findings: tuple[int, ...]) -> Choice:
    means = {key: float(np.mean(values)) for key, values in aurocs.items()}
    best: dict[str, tuple[float, int]] = {}
    for (name, k), mean in means.items():
        if name not in best or mean > best[name][0]:
            best[name] = mean, k
    ks = {name: best[name][1] if name in best else K for name in ("knn", "class-knn")}
    ranked = max(best, key=lambda name: best[name][0]) if best else None
    return Choice(ranked, ks, {name: mean for name, (mean, _) in best.items()}, findings)
