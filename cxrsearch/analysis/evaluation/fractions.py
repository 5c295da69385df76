"""What a bank of fewer images loses: the AUROC of kNN votes against the share of the bank that is used.

The paper's bank was 1% of the training images, stratified by finding. Here whole patients are drawn, stratified by the
rarest finding that they have (or none): of M patients in a stratum floor(f M + u) for a fraction f, with u uniform in
[0, 1), so that every patient is in f of the draws. Within one draw the patients of a smaller fraction are among those
of a larger one.

One search of the whole bank serves the larger fractions: the nearest drawn images are the drawn ones among the nearest
images, if there are enough of them. Where there are not, the drawn ones are searched. Either way the answer is exact.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxrsearch.analysis.measures.bootstrap import MIN_POSITIVE_PATIENTS
from cxrsearch.analysis.measures.metrics import auroc, mean_over_classes
from cxrsearch.analysis.models.knn_model import K_GRID, PAPER_K, Searches, first, voted
from cxrsearch.analysis.models.model import Sample, positive_patients, require_alike
from cxrsearch.analysis.neighbours.vote import keep, vote
from cxrsearch.arrays import Flags, Floats
from cxrsearch.errors import UsageError
from cxrsearch.progress import Progress, silent
from cxrsearch_indexes import Neighbours, Restriction

FRACTIONS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
DRAWS = 10

_ENOUGH = 2
"""The whole bank's neighbours are used if so many times k of them are expected to be drawn."""
_CHUNK = 2048


@dataclass(frozen=True, eq=False)
class FractionCurve:
    """The AUROC of the uniform vote of k, of S fractions in D draws.

    Attributes:
        fractions: float64 (S,), as asked for.
        images: int64 (S, D), how many images were drawn.
        auroc: float64 (S, D, F), nan for a finding of which the queries lack a kind.
        mean: float64 (S, D), over the findings with 10 positive patients and more among the queries; nan of none.
        findings: how many findings these are.
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
    """Vote with fractions of the bank.

    Args:
        bank: the images to draw from.
        queries: the images to score; images of their own patients never vote.
        searches: of neighbours.
        fractions: in (0, 1].
        draws: how often each is drawn; the whole bank is voted with once.
        k: how many neighbours vote.
        seed: of the draws.
        progress: called for every draw.

    Raises:
        UsageError: a fraction outside (0, 1], none, no draws, k < 1, or samples that do not belong together.
    """
    if not fractions or not all(0 < fraction <= 1 for fraction in fractions) or draws < 1:
        got = f"{list(fractions)}, {draws} draws"
        raise UsageError(
            f"fractions must lie above 0 and up to 1, and be drawn once or more: got {got}", "correct them"
        )
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
            found = near_drawn(bank, queries, searches, near, drawn, k)
            images[s, draw] = np.count_nonzero(drawn)
            values[s, draw] = auroc(queries.labels, voted(vote(found, bank.labels, weighting="uniform", bank=drawn)))
    progress("voting with fractions of the bank", len(fractions) * draws, len(fractions) * draws)
    usable = positive_patients(queries.labels, queries.patients) >= MIN_POSITIVE_PATIENTS
    means = np.array([[mean_over_classes(own, usable)[0] for own in row] for row in values])
    findings = mean_over_classes(values[0, 0], usable)[1]
    return FractionCurve(np.array(fractions, dtype=np.float64), images, values, means, findings, k)


def draw_patients(sample: Sample, fraction: float, seed: int, draw: int) -> Flags:
    """The images of the patients drawn, bool (n,): those of one at least. See the module for how."""
    _, patient = np.unique(sample.patients, return_inverse=True)
    stratum = _strata(sample.labels, patient)
    rng = np.random.default_rng((seed, draw))
    order, extra = rng.permutation(len(stratum)), rng.random(sample.labels.shape[1] + 1)
    drawn = np.zeros(len(stratum), np.bool_)
    for number, more in enumerate(extra):
        members = order[stratum[order] == number]
        drawn[members[: int(fraction * len(members) + more)]] = True
    if not drawn.any():
        drawn[order[0]] = True
    return drawn[patient]


def near_drawn(bank: Sample, queries: Sample, searches: Searches, near: Neighbours, drawn: Flags, k: int) -> Neighbours:
    """The k nearest drawn images of other patients, of each query.

    Args:
        bank: n images.
        queries: q images.
        searches: of neighbours.
        near: the queries' first K neighbours in the whole bank, all there are where fewer than K may answer.
        drawn: bool (n,), which images may answer.
        k: at most K.
    """
    most = int(near.counts.max(initial=0))
    kept = first(keep(near, drawn[near.rows]), k)
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
    """The rarest finding that each patient has, int64 (m,); F for none; of equally rare ones the last."""
    findings = labels.shape[1]
    stratum = np.full(patient.max() + 1, findings)
    for finding in np.argsort(-labels.sum(axis=0), kind="stable"):
        stratum[patient[labels[:, finding]]] = finding
    return stratum
