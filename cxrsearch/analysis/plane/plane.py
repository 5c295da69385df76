"""A plane through the embeddings, spanned by their first two principal axes: one place for any further embedding.

Unlike t-SNE's, such a map does not move when a point is added, so a query can be put into it at once. It keeps the
largest differences and flattens all others: near in it does not mean near.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from cxrsearch.analysis.plane.projection import principal_axes
from cxrsearch.arrays import Floats
from cxrsearch_indexes.vectors import Vectors


@dataclass(frozen=True)
class Plane:
    """Two axes.

    Attributes:
        mean: float64 (dim,).
        axes: float64 (dim, 2); the second column is 0 where all vectors lie on a line.
        unit: vectors are brought to length 1 first.
        corner, span: where the fitted vectors' bounding square begins, float64 (2,), and its side.
        rows: vectors that it was fitted on.
        explained: share of their variance in it, in [0, 1].
    """

    mean: Floats
    axes: Floats
    unit: bool
    corner: Floats
    span: float
    rows: int
    explained: float

    @classmethod
    def fit(cls, vectors: Vectors, *, unit: bool = False) -> Self:
        """The plane of largest variance. Raises UsageError where all vectors are equal."""
        mean, found, explained = principal_axes(vectors, 2, unit=unit)
        axes = np.zeros((vectors.dim, 2))
        axes[:, : found.shape[1]] = found
        bare = cls(mean, axes, unit, np.zeros(2), 1.0, vectors.n, explained)
        places = np.concatenate([bare.place(piece) for _, piece in vectors.pieces(2048)])
        low, high = places.min(axis=0), places.max(axis=0)
        span = float((high - low).max()) or 1.0
        return cls(mean, axes, unit, (low + high - span) / 2, span, vectors.n, explained)

    def place(self, embeddings: NDArray[np.float32]) -> Floats:
        """Where embeddings, float32 (q, dim), lie: float64 (q, 2), the fitted ones in the unit square."""
        values = embeddings.astype(np.float64)
        if self.unit:
            length = np.linalg.norm(values, axis=1, keepdims=True)
            values = np.divide(values, length, out=np.zeros_like(values), where=length > 0)
        placed: Floats = ((values - self.mean) @ self.axes - self.corner) / self.span
        return placed

    @property
    def description(self) -> str:
        """How the map was made, for people."""
        return f"the first two principal components of {self.rows:,} images ({self.explained:.0%} of the variance)"
