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
    """What q queries, rows of an index of n images, get.

    Attributes:
        k: how many neighbours were looked at.
        queries: q.
        others: where images of other patients may answer.
        everyone: where all images but the query itself may.
        own: where all but the query itself may, (2, 3). Groups: queries whose patient has another image, and all
            queries. Quantities: whether the nearest image is the same patient's, the share of the first k that are, and
            the chance of either in a random order.
    """

    k: int
    queries: int
    others: RetrievalSummary
    everyone: RetrievalSummary
    own: Averages


def others_only(rows: Integers, patients: NDArray[np.int64]) -> Restriction:
    """Queries, rows of the index, that images of other patients may answer; patients int64 (n,)."""
    return Restriction(groups=patients, query_groups=patients[rows])


def all_but_itself(rows: Integers, n: int) -> Restriction:
    """Queries, rows of the index, that all n images but the query may answer."""
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
        others: neighbours under `others_only`, at least k of each query where so many may answer.
        everyone: neighbours under `all_but_itself`, alike.
        rows: int64 (q,), the queries.
        labels: bool (n, F), of the index.
        patients: int64 (n,), of the index.
        k: at least 1.
        replicates, seed: of the bootstrap of the queries' patients.

    Raises:
        UsageError: k < 1, or arrays that do not fit together.
    """
    bootstrap = PatientBootstrap(patients[rows], replicates, seed)
    searches = (others, others_only(rows, patients)), (everyone, all_but_itself(rows, len(patients)))
    without, with_own = (
        summarise(retrieval(found, labels[rows], labels, k, restriction), bootstrap) for found, restriction in searches
    )
    same = same_patient(everyone, patients[rows], patients, k, searches[1][1])
    values = np.stack([same.nearest, same.share, same.chance], axis=1)
    groups = np.stack([same.possible, ~np.isnan(same.nearest)], axis=1)
    return SearchQuality(k, len(rows), without, with_own, bootstrap.averages(values, groups))
