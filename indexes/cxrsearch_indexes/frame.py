"""Coordinates in which float32 is accurate: vectors centred on their mean, with a bound on the float32 error.

A search computes a cheap float32 score for every row, and the float64 distance for only a few rows. This bound decides
which ones, so that the answer is provably that of float64 arithmetic.

Notation. Rows and queries are x and q. Both have unit length for cosine, and the query has for the inner product. The
centre is c. The float32 product works on y = fl(x - c) and p = fl(q - c) (p = q for the inner product). u = 2^-24 is
the rounding unit, and g = m u / (1 - m u) with m = dim + 16. A dot product of dim terms is off by at most g |x| |y|, in
any order of summation, with or without fused multiply-add (N. J. Higham, Accuracy and Stability of Numerical
Algorithms, 2nd ed., SIAM 2002, eq. 3.5). The 16 covers the single roundings of subtraction, norm, query and threshold.
The score of a row is |y|^2 / 2 - y.p (inner product: -y.p). It is off by at most E, so

    a row at a distance of at most t from the query has a score of at most limit(t) = its score in exact arithmetic + E

l2 and cosine (where 1 - cosine = |x - q|^2 / 2): let e = 0 for l2, and e = 8 u for the rounding of unit vectors. A row
    within t has |y| <= R = |p| + t + e, so |y|^2 / 2 and y.p are off by at most 1.5 g R^2 together. |y - p| differs
    from |x - q| by at most 2 u R + e. Hence E = 2 g R^2 + 2 e R + 4 e^2.
inner product: E = g max|y|, plus the float64 rounding of c.q, since the share of c in x.q is added in float64.
Raw products x.p instead of y.p = x.p - c.p save a pass over the rows. As |x| <= |c| + |y|, they add g |c| |p|.
Underflow adds at most 2^-126 per operation (Higham, section 2.8, with flushing to zero).
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
        metric: the metric of the index.
        centre: float32 (dim,); any vector gives correct answers, and one near the mean gives them fast.
        radius: an upper bound on the norms of the centred rows.
        raw: whether scores come from products with uncentred rows, without the constant c.p.
    """

    metric: Metric
    centre: Float32
    radius: float
    raw: bool = False

    def queries(self, queries: Float32) -> Float32:
        """Transform queries, float32 (q, dim), into p, float32 (q, dim)."""
        exact = queries.astype(np.float64)
        if self.metric == "cosine":
            exact = units(exact)[0]
        if self.metric == "ip":
            return (exact / _lengths(exact)[:, None]).astype(np.float32)
        return exact.astype(np.float32) - self.centre

    def limits(self, queries: Float32, distances: Float64) -> Float64:
        """The score up to which rows must be checked, so that no row within a distance is missed.

        Args:
            queries: float32 (q, dim), before any transformation.
            distances: float64 (q,), in the metric; inf means any row.

        Returns:
            float64 (q,); inf where the distance is inf.
        """
        p, centre = self.queries(queries).astype(np.float64), self.centre.astype(np.float64)
        limits = self._inner_limits if self.metric == "ip" else self._distance_limits
        finite = np.isfinite(distances)
        scores = limits(queries.astype(np.float64), p, np.where(finite, distances, 0.0))
        scores += (2 * len(centre) + 16) * _UNDERFLOW
        if self.raw:
            scores += _bound(len(centre), _ROUNDING_32) * _lengths(p) * _lengths(centre[None]) - p @ centre
        return np.where(finite, scores, np.inf)

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
    """The norms of vectors (m, dim), never 0, so that they can be divisors."""
    return np.maximum(np.sqrt(dots(vectors, vectors)), SHORTEST)
