"""Retrieval with and without the query's own patient, side by side."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxrsearch.analysis.measures.bootstrap import REPLICATES, Averages, PatientBootstrap
from cxrsearch.analysis.retrieval._same_patient import same_patient
from cxrsearch.analysis.retrieval.retrieval import RetrievalSummary, retrieval, summarise
from cxrsearch.arrays import Flags, Integers
from cxrsearch_indexes import Neighbours, Restriction


@dataclass(frozen=True, eq=False)
class SearchQuality:
    """The retrieval of q queries, rows of an index of n images.

    Attributes:
        k: how many neighbours were judged.
        queries: the number of queries, q.
        others: the result if only images of other patients may answer.
        everyone: the result if all images except the query itself may answer.
        own: re-identification (2, 3), if all images except the query itself may answer. Groups: queries whose patient
            has another image, and all queries. Quantities: whether the nearest image is of the same patient, the share
            of the first k that are, and the chance of either in a random order.
    """

    k: int
    queries: int
    others: RetrievalSummary
    everyone: RetrievalSummary
    own: Averages


def others_only(rows: Integers, patients: NDArray[np.int64]) -> Restriction:
    """A restriction: only images of other patients may answer these rows of the index; patients are int64 (n,)."""
    return Restriction(groups=patients, query_groups=patients[rows])


def all_but_itself(rows: Integers, n: int) -> Restriction:
    """A restriction: all n images except the query itself may answer these rows of the index."""
    return Restriction(groups=np.arange(n), query_groups=rows)


def search_quality(
    others: Neighbours,
    everyone: Neighbours,
    rows: Integers,
    labels: Flags,
    patients: NDArray[np.int64],
    k: int,
    *,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> SearchQuality:
    """Judge two searches of the same queries.

    Args:
        others: neighbours under `others_only`, at least k per query if that many may answer.
        everyone: neighbours under `all_but_itself`, likewise.
        rows: int64 (q,), the rows of the queries.
        labels: bool (n, F), of the indexed images.
        patients: int64 (n,), of the indexed images.
        k: at least 1.
        replicates, seed: of the bootstrap of the queries' patients.

    Raises:
        UsageError: k < 1, or arrays that do not fit together.
    """
    bootstrap = PatientBootstrap(patients[rows], replicates, seed)
    searches = (others, others_only(rows, patients)), (everyone, all_but_itself(rows, len(patients)))
    without, with_own = (
        summarise(retrieval(neighbours, labels[rows], labels, k, restriction), bootstrap)
        for neighbours, restriction in searches
    )
    same = same_patient(everyone, patients[rows], patients, k, searches[1][1])
    values = np.stack([same.nearest, same.share, same.chance], axis=1)
    groups = np.stack([same.possible, ~np.isnan(same.nearest)], axis=1)
    return SearchQuality(k, len(rows), without, with_own, bootstrap.averages(values, groups))
