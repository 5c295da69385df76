"""Re-identification: does the index return images of the query's own patient, if these may answer?

A network trained for re-identification nearly always finds a patient's other images (Packhäuser et al. 2022, Scientific
Reports 12, 14851). A network trained for findings still leaks the identity of patients. This is why only other
patients' images answer elsewhere.
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
    """Whether each of q queries finds its own patient, if that patient's other images may answer.

    Attributes:
        nearest: float64 (q,), 1 if the nearest image is of the query's patient, else 0; nan without a neighbour.
        share: float64 (q,), the share of the first k neighbours of the query's patient; nan without a neighbour.
        chance: float64 (q,), the share of the query's patient among all images that may answer. It is the expectation
            of both in a random order.
        possible: bool (q,), whether any image of the query's patient may answer.
    """

    nearest: Floats
    share: Floats
    chance: Floats
    possible: Flags


def same_patient(
    neighbours: Neighbours, query_patients: Integers, patients: Integers, k: int, restriction: Restriction
) -> Reidentification:
    """Judge the first k neighbours of q queries among n images by their patients.

    Args:
        neighbours: of the queries; only each query itself was left out, not its patient.
        query_patients: int64 (q,).
        patients: int64 (n,).
        k: at least 1.
        restriction: the restriction of the search; see `retrieval`.

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
    answers, of_patient = _count_admissible(query_patients, patients, restriction)
    share = _ratio(np.bincount(of, same, q), near.counts)
    return Reidentification(nearest, share, _ratio(of_patient, answers), of_patient > 0)


def _count_admissible(
    query_patients: Integers, patients: Integers, restriction: Restriction
) -> tuple[Integers, Integers]:
    """Count the images that may answer each query, and those of its patient among them: int64 (q,) each."""
    q = len(query_patients)
    allowed = np.ones(len(patients), np.bool_) if restriction.allowed is None else restriction.allowed
    in_order = np.sort(patients[allowed])
    of_patient = np.searchsorted(in_order, query_patients, side="right") - np.searchsorted(in_order, query_patients)
    rows, of = restriction.excluded(q)
    same = patients[rows] == query_patients[of]
    return len(in_order) - np.bincount(of, minlength=q), of_patient - np.bincount(of[same], minlength=q)


def _ratio(above: NDArray[Any], below: Integers) -> Floats:
    """The ratio `above / below`, float64; nan where `below` is 0."""
    ratio: Floats = np.divide(above, below, out=np.full(len(below), np.nan), where=below > 0)
    return ratio
