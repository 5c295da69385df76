"""Rows of an index as a model sees them, and the network's trained head."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cxrsearch.analysis.models.model import Sample
from cxrsearch.arrays import Floats

if TYPE_CHECKING:  # it loads torch
    from cxrsearch.store.reader import StoredIndex


def require_labels(stored: "StoredIndex") -> NDArray[np.bool_]:
    """Return the label matrix, bool (n, F), of an index whose findings are known."""
    labels = stored.catalogue.labels
    assert labels is not None  # the operations refuse an index without labels before they come here
    return labels


def sample(stored: "StoredIndex", rows: NDArray[np.int64]) -> Sample:
    """Collect the embeddings, labels and patients of some rows, int64 (m,)."""
    return Sample(stored.vectors.take(rows), require_labels(stored)[rows], stored.catalogue.patient_groups()[rows])


def load_head(stored: "StoredIndex", findings: Sequence[str]) -> tuple[Floats, Floats, list[str]] | None:
    """Load the outputs of the encoder's trained head for some findings.

    Returns:
        float64 weights (dim, m) and bias (m,), and the m of these findings that have an output; None if there are none.
    """
    spec = stored.manifest.encoder
    predicted = [name for name in findings if name in ((spec or {}).get("findings") or ())]
    if spec is None or not predicted:
        return None
    head = stored.load_encoder().classifier
    assert head is not None
    columns = [spec["findings"].index(name) for name in predicted]
    weight = head.weight.detach().numpy()[columns].astype(np.float64)
    return weight.T, head.bias.detach().numpy()[columns].astype(np.float64), predicted
