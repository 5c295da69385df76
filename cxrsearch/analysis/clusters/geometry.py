"""The shape of a cloud of embeddings: effective dimension, separation of groups, hubs among neighbours."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from cxrsearch.analysis.clusters.pair_distances import BLOCK
from cxrsearch.arrays import Embeddings, Flags, Floats, Integers
from cxrsearch_indexes.base import Neighbours


@dataclass(frozen=True)
class Hubness:
    """How unevenly images are neighbours of others (Radovanovic et al. 2010, JMLR 11, 2487-2531).

    Attributes:
        k: how many neighbours of each image were counted.
        skew: the skewness of the k-occurrence, that is, of how often an image is among the k nearest of another. 0 is
            even; above 1, some images are hubs. nan if all occur equally often.
        anti_hub_share: the share of images that are never among the k nearest.
    """

    k: int
    skew: float
    anti_hub_share: float


def participation_ratio(points: Embeddings) -> float:
    """The effective dimension (sum l)^2 / sum l^2, for the eigenvalues l of the covariance.

    It is D if all D dimensions vary equally and independently, 1 if the points lie on a line, and nan if they do not
    vary (Gao et al. 2017, bioRxiv 214262).

    Args:
        points: float32 (n, D), centred (`Space.points`).
    """
    gram = np.zeros((points.shape[1], points.shape[1]))
    for at in range(0, len(points), BLOCK):
        block = points[at : at + BLOCK]
        gram += block.T @ block
    # The sum of l is the trace and the sum of l^2 the squared Frobenius norm, so no eigenvalue is computed.
    squares = float((gram**2).sum())
    return float(np.trace(gram)) ** 2 / squares if squares else float("nan")


def separation(image_l2: Floats, image_pairs: Integers, groups: Flags) -> Floats:
    """The mean silhouette of each group's images (Rousseeuw 1987, J. Comput. Appl. Math. 20, 53-65).

    An image's silhouette in a group is (b - a) / max(a, b). Here a is its mean L2 to the group's images, and b the
    lowest mean L2 to a group that it is not in. The silhouette is 0 if a or b is unknown. High values mean separated
    groups. Groups may overlap, and pairs of one patient may be left out. For a partition with all pairs, this is the
    mean of `sklearn.metrics.silhouette_samples`.

    Args:
        image_l2: float64 (n, G), the sum of L2 from each image to each group (`GroupDistances`).
        image_pairs: int64 (n, G), the number of terms in each sum.
        groups: bool (n, G), which images are in each group.

    Returns:
        float64 (G,), in [-1, 1]; nan for a group without images.
    """
    infinite = np.full(image_l2.shape, np.inf)
    means: Floats = np.divide(image_l2, image_pairs, out=infinite, where=image_pairs > 0)
    other = np.where(groups, np.inf, means).min(axis=1, initial=np.inf)
    values = np.full(groups.shape[1], np.nan)
    for g, group in enumerate(groups.T):
        if group.any():
            values[g] = _silhouettes(means[group, g], other[group]).mean()
    return values


def hubness(neighbours: Neighbours, k: int, n: int) -> Hubness:
    """The hubness of n images, from the at most k nearest neighbours of each image."""
    occurrence = np.bincount(neighbours.rows, minlength=n)
    uneven = occurrence.min() < occurrence.max()
    skew = float(stats.skew(occurrence)) if uneven else float("nan")
    return Hubness(k, skew, float(np.mean(occurrence == 0)))


def _silhouettes(within: Floats, other: Floats) -> NDArray[np.float64]:
    defined = np.isfinite(within) & np.isfinite(other) & (np.maximum(within, other) > 0)
    difference, larger = other[defined] - within[defined], np.maximum(within, other)[defined]
    values = np.zeros(len(within))
    values[defined] = difference / larger
    return values
