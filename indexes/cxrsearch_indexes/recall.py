"""The recall of an approximate search."""

import numpy as np

from cxrsearch_indexes.base import Neighbours


def recall_at_k(found: Neighbours, truth: Neighbours) -> float:
    """The share of true neighbours that were found, averaged over queries; in [0, 1].

    With k true neighbours, a found row counts if it is no farther than the k-th of them. So a row at the same distance
    may replace it (Aumueller, Bernhardsson and Faithfull, ANN-Benchmarks, Information Systems 87, 2020). Queries
    without true neighbours do not count. If no other queries are left, nothing was missed, and the recall is 1.

    Args:
        found: the answer of a search for q queries, with a k no larger than that of `truth`.
        truth: the answer of exact search for the same queries, with the same metric and restriction.

    Raises:
        ValueError: the numbers of queries differ.
    """
    if len(found) != len(truth):
        raise ValueError(f"recall of {len(found)} queries against {len(truth)}")
    pairs = [(found[query][1], truth[query][1]) for query in range(len(truth)) if truth.counts[query]]
    shares = [min(1.0, np.count_nonzero(got <= true[-1]) / len(true)) for got, true in pairs]
    return float(np.mean(shares)) if shares else 1.0
