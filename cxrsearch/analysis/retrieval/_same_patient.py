"""Re-identification: does the index return images of the query's own patient, where these may answer?

A network that was trained for it finds a patient's other images nearly always (Packhäuser et al. 2022, Scientific
Reports 12, 14851); one that was trained for findings still leaks who somebody is. This is why, elsewhere, only other
patients' images answer.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrsearch.analysis.models.knn_model import first
from cxrsearch.analysis.models.model import check_patients
from cxrsearch.analysis.retrieval.retrieval import check_search
from cxrsearch.arrays import Flags, Floats, Integers
from cxrsearch_indexes import Neighbours, Restriction


@dataclass(frozen=True, eq=False)
class Reidentification:
    """Whether each of q queries finds its own patient, where its own patient's other images may answer.

    Attributes:
        nearest: float64 (q,), 1 if the nearest image is of the query's patient, else 0; nan without a neighbour.
        share: float64 (q,), the share of the first k neighbours that are; nan without a neighbour.
        chance: float64 (q,), the share of the images that may answer that are: what both are in a random order.
        possible: bool (q,), whether any image of the query's patient may answer.
    """

    nearest: Floats
    share: Floats
    chance: Floats
    possible: Flags


def same_patient(
    neighbours: Neighbours, query_patients: Integers, patients: Integers, k: int, restriction: Restriction
) -> Reidentification:
    """Judge the first k neighbours of q queries among n images by whose they are.

    Args:
        neighbours: of the queries, found without leaving out their patients (but each query itself).
        query_patients: int64 (q,).
        patients: int64 (n,).
        k: at least 1.
        restriction: what the neighbours were searched with; see `retrieval`.

    Raises:
        UsageError: k < 1, or arrays that do not fit together.
    """
    check_patients(query_patients, len(neighbours))
    check_patients(patients, len(patients))
    check_search(neighbours, query_patients[:, None] < 0, patients[:, None] < 0, k, restriction)
    q, near = len(neighbours), first(neighbours, k)
    of = np.repeat(np.arange(q), near.counts)
    same = (patients[near.rows] == query_patients[of]).astype(np.float64)
    nearest = np.full(q, np.nan)
    nearest[near.counts > 0] = same[near.offsets[:-1][near.counts > 0]]
    answers, own = _admissible(query_patients, patients, restriction)
    return Reidentification(nearest, _ratio(np.bincount(of, same, q), near.counts), _ratio(own, answers), own > 0)


def _admissible(query_patients: Integers, patients: Integers, restriction: Restriction) -> tuple[Integers, Integers]:
    """How many images may answer each query, and how many of those are of its patient, int64 (q,)."""
    q = len(query_patients)
    allowed = np.ones(len(patients), np.bool_) if restriction.allowed is None else restriction.allowed
    known = np.sort(patients[allowed])
    own = np.searchsorted(known, query_patients, side="right") - np.searchsorted(known, query_patients)
    rows, of = restriction.excluded(q)
    same = patients[rows] == query_patients[of]
    return len(known) - np.bincount(of, minlength=q), own - np.bincount(of[same], minlength=q)


def _ratio(above: NDArray[Any], below: Integers) -> Floats:
    """The ratio, nan where `below` is 0."""
    ratio: Floats = np.divide(above, below, out=np.full(len(below), np.nan), where=below > 0)
    return ratio
