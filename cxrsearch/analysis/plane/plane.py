"""A plane spanned by the first two principal axes of the embeddings; any further embedding has one place in it.

Unlike t-SNE's, such an embedding map does not move when a point is added, so a query can be placed at once. It keeps
the largest differences and flattens all others: points that are near in the plane need not be near.
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
    """The first two principal axes of the fitted vectors, and where the vectors lie along them.

    Attributes:
        mean: float64 (dim,), of the fitted vectors.
        axes: float64 (dim, 2); the second column is 0 if all vectors lie on a line.
        unit: whether vectors are scaled to length 1 first.
        corner, span: the lowest corner of the fitted vectors' bounding square, float64 (2,), and its side.
        rows: the number of fitted vectors.
        explained: the share of their variance in the plane, in [0, 1].
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
        """Find the plane of largest variance. Raises UsageError if all vectors are equal."""
        mean, principal, explained = principal_axes(vectors, 2, unit=unit)
        axes = np.zeros((vectors.dim, 2))
        axes[:, : principal.shape[1]] = principal
        bare = cls(mean, axes, unit, np.zeros(2), 1.0, vectors.n, explained)
        places = np.concatenate([bare.place(piece) for _, piece in vectors.pieces(2048)])
        low, high = places.min(axis=0), places.max(axis=0)
        span = float((high - low).max()) or 1.0
        return cls(mean, axes, unit, (low + high - span) / 2, span, vectors.n, explained)

    def place(self, embeddings: NDArray[np.float32]) -> Floats:
        """The coordinates of embeddings, float32 (q, dim): float64 (q, 2). Fitted vectors lie in the unit square."""
        values = embeddings.astype(np.float64)
        if self.unit:
            length = np.linalg.norm(values, axis=1, keepdims=True)
            values = np.divide(values, length, out=np.zeros_like(values), where=length > 0)
        placed: Floats = ((values - self.mean) @ self.axes - self.corner) / self.span
        return placed

    @property
    def description(self) -> str:
        """How the embedding map was made, in words."""
        return f"the first two principal components of {self.rows:,} images ({self.explained:.0%} of the variance)"
