"""Rows of an index as a model sees them, and the network's own head."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cxrsearch.analysis.models.model import Sample
from cxrsearch.arrays import Floats

if TYPE_CHECKING:  # it loads torch
    from cxrsearch.store.reader import StoredIndex


def labels_of(stored: "StoredIndex") -> NDArray[np.bool_]:
    """The label matrix, bool (n, F), of an index whose findings are known."""
    labels = stored.catalogue.labels
    assert labels is not None  # the operations refuse an index without
    return labels


def sample(stored: "StoredIndex", rows: NDArray[np.int64]) -> Sample:
    """The embeddings, labels and patients of some rows."""
    return Sample(stored.vectors.take(rows), labels_of(stored)[rows], stored.catalogue.patient_groups()[rows])


def head_of(stored: "StoredIndex", findings: Sequence[str]) -> tuple[Floats, Floats, list[str]] | None:
    """The outputs of an encoder's trained head that stand for some findings.

    Returns:
        float64 weights (dim, m) and bias (m,), and the m findings they stand for; None without any.
    """
    spec = stored.manifest.encoder
    known = [name for name in findings if name in ((spec or {}).get("findings") or ())]
    if spec is None or not known:
        return None
    head = stored.load_encoder().classifier
    assert head is not None
    columns = [spec["findings"].index(name) for name in known]
    weight = head.weight.detach().numpy()[columns].astype(np.float64)
    return weight.T, head.bias.detach().numpy()[columns].astype(np.float64), known
