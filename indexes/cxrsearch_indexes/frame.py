"""Where float32 is accurate: vectors centred on their mean, and a bound on what float32 gets wrong there.

A search computes a cheap float32 score for every row and the float64 distance for few. Which few, is decided by this
bound, so that the answer is that of float64 arithmetic, proven and not hoped for.

Notation. Rows and queries (of unit length for cosine, the query of unit length for the inner product) are x and q, the
centre is c, and y = fl(x - c), p = fl(q - c) (p = q for the inner product) are what the float32 product sees. u = 2^-24
is the rounding unit, g = m u / (1 - m u) with m = dim + 16. A dot product of dim terms, in any order of summation, with
or without fused multiply-add, is off by at most g |x| |y| (N. J. Higham, Accuracy and Stability of Numerical
Algorithms, 2nd ed., SIAM 2002, eq. 3.5); the 16 covers the single roundings of subtraction, norm, query and threshold.
The score of a row is |y|^2 / 2 - y.p (inner product: -y.p), off by at most an E, so

    a row at a distance of at most t from the query has a score of at most limit(t) = its score in exact arithmetic + E

l2 and cosine (where 1 - cosine = |x - q|^2 / 2): with e = 0 for l2 and e = 8 u for the rounding of unit vectors, a row
    within t has |y| <= R = |p| + t + e, so |y|^2 / 2 and y.p are off by at most 1.5 g R^2 together, and |y - p| differs
    from |x - q| by at most 2 u R + e; hence E = 2 g R^2 + 2 e R + 4 e^2.
inner product: E = g max|y|, plus the float64 rounding of c.q, since the c's share of x.q is added in float64.
Raw products x.p in the place of y.p = x.p - c.p save a pass over the rows; as |x| <= |c| + |y| they add g |c| |p|.
Underflow adds at most 2^-126 for each operation (Higham, section 2.8, with flushing to zero).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxrsearch_indexes.base import Metric
from cxrsearch_indexes.metric import SHORTEST, Float64, dots, units

Float32 = NDArray[np.float32]

_ROUNDING_32 = 2.0**-24
_ROUNDING_64 = 2.0**-53
_UNDERFLOW = 2.0**-126


@dataclass(frozen=True)
class Frame:
    """The coordinates of one index.

    Attributes:
        metric: of the index.
        centre: float32 (dim,); any vector is correct, one near the mean is fast.
        radius: at least the largest norm of a centred row.
        raw: whether scores come from products with rows that were not centred, without the constant c.p.
    """

    metric: Metric
    centre: Float32
    radius: float
    raw: bool = False

    def queries(self, queries: Float32) -> Float32:
        """Take queries (q, dim) to p (q, dim)."""
        exact = queries.astype(np.float64)
        if self.metric == "cosine":
            exact = units(exact)[0]
        if self.metric == "ip":
            return (exact / _lengths(exact)[:, None]).astype(np.float32)
        return exact.astype(np.float32) - self.centre

    def limits(self, queries: Float32, distances: Float64) -> Float64:
        """The score up to which a row must be looked at, lest one within a distance be missed.

        Args:
            queries: float32 (q, dim), as they were asked.
            distances: float64 (q,), of the metric; inf: any row.

        Returns:
            float64 (q,).
        """
        p, centre = self.queries(queries).astype(np.float64), self.centre.astype(np.float64)
        limits = self._inner_limits if self.metric == "ip" else self._distance_limits
        known = np.isfinite(distances)
        scores = limits(queries.astype(np.float64), p, np.where(known, distances, 0.0))
        scores += (2 * len(centre) + 16) * _UNDERFLOW
        if self.raw:
            scores += _bound(len(centre), _ROUNDING_32) * _lengths(p) * _lengths(centre[None]) - p @ centre
        return np.where(known, scores, np.inf)

    def _distance_limits(self, queries: Float64, p: Float64, distances: Float64) -> Float64:
        cosine = self.metric == "cosine"
        unit_error = 8 * _ROUNDING_32 if cosine else 0.0
        squares = 2 * distances if cosine else distances**2
        reach = _lengths(p) + np.sqrt(squares) + unit_error
        error = 2 * _bound(p.shape[1], _ROUNDING_32) * reach**2 + 2 * unit_error * reach + 4 * unit_error**2
        return squares / 2 - dots(p, p) / 2 + error

    def _inner_limits(self, queries: Float64, p: Float64, distances: Float64) -> Float64:
        centre = self.centre.astype(np.float64)
        rounding = 4 * _bound(len(centre), _ROUNDING_64) * (_lengths(centre[None]) + self.radius)
        error = _bound(len(centre), _ROUNDING_32) * self.radius + rounding
        return (distances + queries @ centre) / _lengths(queries) + error


def _bound(dim: int, rounding: float) -> float:
    terms = (dim + 16) * rounding
    return terms / (1 - terms)


def _lengths(vectors: Float64) -> Float64:
    """Norms of (m, dim), none of them 0, so that they can divide."""
    return np.maximum(np.sqrt(dots(vectors, vectors)), SHORTEST)
