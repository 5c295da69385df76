"""How much a smaller bank loses: the AUROC of kNN votes against the fraction of the bank that is used.

The paper's bank was 1% of the training images, stratified by finding. Here whole patients are drawn. They are
stratified by the rarest finding that they have (or none). For a fraction f, floor(f M + u) of the M patients in a
stratum are drawn, with u uniform in [0, 1). Every patient is therefore in a share f of the draws. Within one draw, the
patients of a smaller fraction are a subset of those of a larger one.

One search of the whole bank serves the larger fractions. The nearest drawn images are the drawn ones among the nearest
images, if enough of these are drawn. Otherwise the drawn images are searched. Either way the answer is exact.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxrsearch.analysis.measures.bootstrap import MIN_POSITIVE_PATIENTS
from cxrsearch.analysis.measures.metrics import auroc, mean_over_classes
from cxrsearch.analysis.models.knn_model import K_GRID, PAPER_K, Searches, first, vote_probability
from cxrsearch.analysis.models.model import Sample, positive_patients, require_alike
from cxrsearch.analysis.neighbours.vote import keep, vote
from cxrsearch.arrays import Flags, Floats
from cxrsearch.errors import UsageError
from cxrsearch.progress import Progress, silent
from cxrsearch_indexes import Neighbours, Restriction

FRACTIONS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
DRAWS = 10

_ENOUGH = 2
"""The whole bank's neighbours are used if at least this many times k of them are expected to be drawn."""
_CHUNK = 2048


@dataclass(frozen=True, eq=False)
class FractionCurve:
    """The AUROC of the uniform vote of k neighbours, for S fractions and D draws.

    Attributes:
        fractions: float64 (S,), in the order of the request.
        images: int64 (S, D), how many images were drawn.
        auroc: float64 (S, D, F), nan for a finding without both positive and negative queries.
        mean: float64 (S, D), over the findings with at least 10 positive patients among the queries; nan if none has.
        findings: how many findings the mean is over.
        k: how many neighbours vote.
    """

    fractions: Floats
    images: NDArray[np.int64]
    auroc: Floats
    mean: Floats
    findings: int
    k: int


def fraction_curve(
    bank: Sample,
    queries: Sample,
    searches: Searches,
    *,
    fractions: Sequence[float] = FRACTIONS,
    draws: int = DRAWS,
    k: int = PAPER_K,
    seed: int = 0,
    progress: Progress = silent,
) -> FractionCurve:
    """Let fractions of the bank vote, and measure each vote's AUROC.

    Args:
        bank: the images to draw from.
        queries: the images to score; images of a query's own patient never vote.
        searches: finds and keeps the neighbours.
        fractions: in (0, 1].
        draws: how often each fraction is drawn; the whole bank votes only once.
        k: how many neighbours vote.
        seed: of the draws.
        progress: called for every draw.

    Raises:
        UsageError: a fraction outside (0, 1], no fractions, no draws, k < 1, or samples that do not belong together.
    """
    if not fractions or not all(0 < fraction <= 1 for fraction in fractions) or draws < 1:
        got = f"{list(fractions)}, {draws} draws"
        raise UsageError(f"fractions must be above 0 and at most 1, with at least one draw: got {got}", "correct them")
    require_alike(bank, queries)
    near = searches.neighbours(bank, queries, max(k, *K_GRID))
    images = np.zeros((len(fractions), draws), np.int64)
    values = np.empty((len(fractions), draws, bank.labels.shape[1]))
    for s, fraction in enumerate(fractions):
        for draw in range(draws):
            progress("voting with fractions of the bank", s * draws + draw, len(fractions) * draws)
            if fraction == 1 and draw:
                images[s, draw], values[s, draw] = images[s, 0], values[s, 0]
                continue
            drawn = draw_patients(bank, fraction, seed, draw)
            nearest = near_drawn(bank, queries, searches, near, drawn, k)
            images[s, draw] = np.count_nonzero(drawn)
            values[s, draw] = auroc(
                queries.labels, vote_probability(vote(nearest, bank.labels, weighting="uniform", bank=drawn))
            )
    progress("voting with fractions of the bank", len(fractions) * draws, len(fractions) * draws)
    usable = positive_patients(queries.labels, queries.patients) >= MIN_POSITIVE_PATIENTS
    means = np.array([[mean_over_classes(aurocs, usable)[0] for aurocs in row] for row in values])
    findings = mean_over_classes(values[0, 0], usable)[1]
    return FractionCurve(np.array(fractions, dtype=np.float64), images, values, means, findings, k)


def draw_patients(sample: Sample, fraction: float, seed: int, draw: int) -> Flags:
    """Draw patients, at least one, as the module describes; returns which images are theirs, bool (n,)."""
    _, patient = np.unique(sample.patients, return_inverse=True)
    stratum = _strata(sample.labels, patient)
    rng = np.random.default_rng((seed, draw))
    # The order does not depend on the fraction, so a smaller fraction takes a prefix of a larger one.
    order, extra = rng.permutation(len(stratum)), rng.random(sample.labels.shape[1] + 1)
    drawn = np.zeros(len(stratum), np.bool_)
    for number, more in enumerate(extra):
        members = order[stratum[order] == number]
        drawn[members[: int(fraction * len(members) + more)]] = True
    if not drawn.any():
        drawn[order[0]] = True
    return drawn[patient]


def near_drawn(bank: Sample, queries: Sample, searches: Searches, near: Neighbours, drawn: Flags, k: int) -> Neighbours:
    """Find the k nearest drawn images of other patients for each query.

    Args:
        bank: n images.
        queries: q images.
        searches: finds the neighbours.
        near: the queries' first K neighbours in the whole bank; all of them if fewer than K may answer.
        drawn: bool (n,), which images may answer.
        k: at most K.

    Returns:
        The exact neighbours of the q queries; a query with fewer than k drawn neighbours has all of them.
    """
    most = int(near.counts.max(initial=0))
    kept = first(keep(near, drawn[near.rows]), k)
    # A query with fewer than `most` neighbours already has all images that may answer: searching again finds no more.
    short = (kept.counts < k) & (near.counts == most)
    if drawn.mean() * most < _ENOUGH * k:
        short[:] = True
    again = np.flatnonzero(short)
    if not len(again):
        return kept
    index, parts = searches.index(bank), [kept.part(np.flatnonzero(~short))]
    for start in range(0, len(again), _CHUNK):
        rows = again[start : start + _CHUNK]
        others = Restriction(drawn, bank.patients, queries.patients[rows])
        parts.append(index.search(queries.embeddings[rows], k, others))
    place = np.argsort(np.concatenate([np.flatnonzero(~short), again]), kind="stable")
    return Neighbours.concatenate(parts).part(place)


def _strata(labels: Flags, patient: NDArray[np.int64]) -> NDArray[np.int64]:
    """The rarest finding of each patient, int64 (m,); F if the patient has none; the last of equally rare ones."""
    findings = labels.shape[1]
    stratum = np.full(patient.max() + 1, findings)
    for finding in np.argsort(-labels.sum(axis=0), kind="stable"):
        stratum[patient[labels[:, finding]]] = finding
    return stratum
