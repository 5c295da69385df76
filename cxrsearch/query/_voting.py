"""The votes of a query's neighbours."""

import numpy as np

from cxrsearch.analysis.neighbours.mlknn import MLkNN
from cxrsearch.analysis.neighbours.typicality import reference_rows
from cxrsearch.analysis.neighbours.vote import Votes, vote
from cxrsearch.arrays import Flags
from cxrsearch.progress import Progress
from cxrsearch.query.options import Vote
from cxrsearch.store.filtered_search import search_rows
from cxrsearch.store.reader import StoredIndex
from cxrsearch_indexes import Neighbours, Restriction, VectorIndex

MLKNN_ROWS = 20_000
"""ML-kNN is fitted on at most this many rows of the bank, drawn with a fixed seed. A warning says so."""


def cast_votes(
    stored: StoredIndex,
    vectors: VectorIndex,
    neighbours: Neighbours,
    bank: Flags,
    *,
    k: int,
    weighting: Vote,
    progress: Progress,
) -> tuple[Votes | None, list[str]]:
    """Let neighbours vote.

    Args:
        stored: the index.
        vectors: its search structure.
        neighbours: of one query.
        bank: bool (n,), the images that may vote.
        k: neighbours of each image that ML-kNN is fitted on.
        weighting: `uniform`, `distance`, `softmax` or `mlknn`.
        progress: called while ML-kNN is fitted.

    Returns:
        The votes, None if the findings of the indexed images are not known; and warnings.
    """
    labels = stored.catalogue.labels
    if labels is None:
        return None, ["no votes: the findings of the indexed images are not known (build the index with --labels)"]
    if weighting != "mlknn":
        return vote(neighbours, labels, weighting=weighting, bank=bank), []
    model, warnings = _fit_mlknn(stored, vectors, labels, bank, k, progress)
    return model.predict(neighbours, labels, bank=bank), warnings


def _fit_mlknn(
    stored: StoredIndex, vectors: VectorIndex, labels: Flags, bank: Flags, k: int, progress: Progress
) -> tuple[MLkNN, list[str]]:
    """Fit ML-kNN on the bank. The neighbours of each row are those of other patients in the bank."""
    members, patients = np.flatnonzero(bank), stored.catalogue.patient_groups()
    rows = members[reference_rows(len(members), seed=0, limit=MLKNN_ROWS)]
    others = Restriction(bank, patients, patients[rows])
    neighbours = search_rows(stored, vectors, rows, k, others, "fitting ML-kNN", progress)
    model = MLkNN.fit(neighbours, labels[rows], labels, k=k, bank=bank)
    sampled = f"ML-kNN was fitted on {len(rows)} of the bank's {len(members)} images (seed 0)"
    return model, [sampled] if len(rows) < len(members) else []
