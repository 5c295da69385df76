"""How much of the truth an approximate search finds."""

import numpy as np

from cxrsearch_indexes.base import Neighbours


def recall_at_k(found: Neighbours, truth: Neighbours) -> float:
    """Mean over queries of the share of the true neighbours that were found, in [0, 1].

    With k true neighbours, a found row counts if it is no farther than the k-th of them, so that a row as far as the
    k-th may stand for it (Aumueller, Bernhardsson and Faithfull, ANN-Benchmarks, Information Systems 87, 2020). Queries
    without any true neighbour do not count; if there are no others, nothing was missed: 1.

    Args:
        found: what a search gave for q queries, k at most as in `truth`.
        truth: what exact search gave for the same queries, with the same metric and restriction.

    Raises:
        ValueError: the numbers of queries differ.
    """
    if len(found) != len(truth):
        raise ValueError(f"recall of {len(found)} queries against {len(truth)}")
    pairs = [(found[query][1], truth[query][1]) for query in range(len(truth)) if truth.counts[query]]
    shares = [min(1.0, np.count_nonzero(got <= true[-1]) / len(true)) for got, true in pairs]
    return float(np.mean(shares)) if shares else 1.0
