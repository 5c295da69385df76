"""Distances over all pairs of images, summed within every group of images and between any two groups.

The sums are a matrix product with the membership matrix Y (n, K). With the distances D (n, n), Y' D Y holds the sum
over i in a and j in b, for all groups a and b at once. D is never held in memory:

    squared L2   closed form, from counts, sums of vectors and sums of squared norms, in O(n d K)
    L1           closed form in the sorted order of each dimension, in O(n d (log n + K))
    L2           one pass over half of the square tiles of D, as float32 products of centred points

Groups may overlap; an image is never paired with itself. The few pairs of images of one patient are computed directly,
in float64. Leaving them out is a subtraction.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from cxrsearch.arrays import Embeddings, Flags, Floats, Integers
from cxrsearch.errors import UsageError
from cxrsearch.progress import Progress, silent

BLOCK = 4096
TILE = 1024
"""Images along a side of a tile; its 4 MB stay in the processor's cache."""

MANY = 0.01
"""A tile with more than this share of near pairs is computed again in float64."""

_NEAR: tuple[tuple[Any, float], ...] = ((np.float32, 1e-2), (np.float64, 1e-8))
"""A pair is near if its squared distance is below this share of the sum of its squared norms. The product then has a
relative error of more than about 1e-5 (float32) or 1e-7 (float64). Such a distance is computed from the difference of
the points."""

_PAIRS = 2048
_DIMENSIONS = 16
_PIECE = 512


@dataclass(frozen=True)
class PairSums:
    """Sums over the ordered pairs (i in a, j in b), i not j, for any two of K groups; all arrays are symmetric (K, K).

    Attributes:
        pairs: int64, the number of pairs; within a group, each unordered pair counts twice.
        l2, squared_l2, l1: float64, the sums of the distances.
    """

    pairs: Integers
    l2: Floats
    squared_l2: Floats
    l1: Floats

    def without(self, other: "PairSums") -> "PairSums":
        """The sums over the pairs that are not in `other`, which must be a subset of these."""
        return PairSums(
            self.pairs - other.pairs, self.l2 - other.l2, self.squared_l2 - other.squared_l2, self.l1 - other.l1
        )

    def mean(self, metric: str) -> Floats:
        """The mean distance, float64 (K, K), for `metric` l2, squared_l2 or l1; nan without pairs."""
        return mean_of_pairs(getattr(self, metric), self.pairs)

    def mean_to_rest(self, metric: str) -> Floats:
        """The mean distance from a group's images to all other images, float64 (K,); group 0 must hold every image."""
        sums = getattr(self, metric)
        return mean_of_pairs(sums[:, 0] - sums.diagonal(), self.pairs[:, 0] - self.pairs.diagonal())


@dataclass(frozen=True)
class SamePatientPairs:
    """The m unordered pairs of different images of one patient, sorted by patient, and their distances.

    Attributes:
        first, second: int64 (m,), rows; first < second.
        l2, squared_l2, l1: float64 (m,), the distances of the pairs.
    """

    first: Integers
    second: Integers
    l2: Floats
    squared_l2: Floats
    l1: Floats

    def to_groups(self, values: Floats, groups: Flags) -> Floats:
        """Sum values of the pairs, float64 (m,), from each image to each of the groups, bool (n, K): float64 (n, K)."""
        half = sparse.csr_array((values, (self.first, self.second)), shape=(len(groups), len(groups)))
        return np.asarray((half + half.T) @ groups.astype(np.float64))

    def sums(self, groups: Flags) -> PairSums:
        """The sums of these pairs for groups, bool (n, K)."""
        values = (np.ones(len(self.first)), self.l2, self.squared_l2, self.l1)
        pairs, l2, squared, l1 = (groups.T.astype(np.float64) @ self.to_groups(value, groups) for value in values)
        return PairSums(pairs.astype(np.int64), l2, squared, l1)


@dataclass(frozen=True)
class GroupDistances:
    """The sums of distances of K groups among n images.

    Attributes:
        all_pairs: over all pairs of images.
        other_patients: over the pairs of images of different patients.
        image_l2: float64 (n, K), the sum of L2 from each image to each group's images of other patients.
        image_pairs: int64 (n, K), the number of these images.
    """

    all_pairs: PairSums
    other_patients: PairSums
    image_l2: Floats
    image_pairs: Integers


def group_distances(
    points: Embeddings, groups: Flags, same: SamePatientPairs, progress: Progress = silent, device: str = "cpu"
) -> GroupDistances:
    """Sum the distances of all pairs, within and between K groups.

    Args:
        points: float32 (n, d), centred (`Space.points`).
        groups: bool (n, K), which images are in each group.
        same: the pairs of images of one patient among these points.
        progress: called as the tiles are done.
        device: where L2 is summed: `cpu`, or a torch device.

    Raises:
        UsageError: arrays that do not fit together.
    """
    _check(points, groups)
    to_groups = l2_to_groups(points, groups, progress, device)
    l2 = groups.T.astype(np.float64) @ to_groups
    everything = PairSums(
        pair_counts(groups), (l2 + l2.T) / 2, squared_l2_sums(points, groups), l1_sums(points, groups)
    )
    own_pairs = same.to_groups(np.ones(len(same.first)), groups).astype(np.int64)
    return GroupDistances(
        everything,
        everything.without(same.sums(groups)),
        image_l2=to_groups - same.to_groups(same.l2, groups),
        image_pairs=groups.sum(axis=0) - groups - own_pairs,
    )


def same_patient(points: Embeddings, patients: NDArray[Any]) -> SamePatientPairs:
    """List the pairs of different images of one patient, with float64 distances from the difference of the points.

    Args:
        points: float32 (n, d).
        patients: (n,), the patient of each image.

    Raises:
        UsageError: the numbers of patients and points differ.
    """
    if len(patients) != len(points):
        raise UsageError(f"{len(points)} images, patients of {len(patients)}", "give each image its patient")
    first, second = _pairs_of_one(np.unique(patients, return_inverse=True)[1])
    squared, l1 = np.empty(len(first)), np.empty(len(first))
    for at in range(0, len(first), _PAIRS):
        part = slice(at, at + _PAIRS)
        difference = points[first[part]].astype(np.float64) - points[second[part]]
        squared[part] = np.einsum("ij,ij->i", difference, difference)
        l1[part] = np.abs(difference, out=difference).sum(axis=1)
    return SamePatientPairs(first, second, np.sqrt(squared), squared, l1)


def pair_counts(groups: Flags) -> Integers:
    """How many ordered pairs of different images any two groups have: int64 (K, K)."""
    images = groups.sum(axis=0, dtype=np.int64)
    both = (groups.T.astype(np.float64) @ groups).astype(np.int64)
    return np.asarray(images[:, None] * images - both)


def squared_l2_sums(points: Embeddings, groups: Flags) -> Floats:
    """The sums of squared L2, float64 (K, K).

    sum |x_i - x_j|^2 = m_b q_a + m_a q_b - 2 v_a.v_b. Here m is the number of images of a group, q the sum of their
    squared norms and v the sum of their vectors, all float64.
    """
    count = groups.sum(axis=0, dtype=np.float64)
    vectors, squares = np.zeros((len(count), points.shape[1])), np.zeros(len(count))
    for at in range(0, len(points), BLOCK):
        block, members = points[at : at + BLOCK].astype(np.float64), groups[at : at + BLOCK].astype(np.float64)
        vectors += members.T @ block
        squares += members.T @ np.einsum("ij,ij->i", block, block)
    norms = np.outer(squares, count)
    return np.asarray(np.maximum(norms + norms.T - 2 * vectors @ vectors.T, 0.0))


def l1_sums(points: Embeddings, groups: Flags) -> Floats:
    """The sums of L1, float64 (K, K).

    Take the k-th gap between neighbours in the sorted order of a dimension. It lies between the two images of a pair if
    exactly one of them is among the first k. Let A_k and B_k of the first k images be in a and in b. Then the gap lies
    in A_k (m_b - B_k) + (m_a - A_k) B_k pairs. If a and b are all images, this is the familiar sum of
    (2 r - n - 1) x_(r), doubled.
    """
    members = np.ascontiguousarray(groups.T, dtype=np.int32)
    crossed, first = np.zeros((len(members), len(members))), np.zeros(len(members))
    for at in range(0, points.shape[1], _DIMENSIONS):
        for values in np.ascontiguousarray(points[:, at : at + _DIMENSIONS].T):
            order = np.argsort(values)
            below = np.cumsum(np.take(members, order[:-1], axis=1), axis=1, dtype=np.int32)
            weighted = below * np.diff(values[order].astype(np.float64))
            first += weighted.sum(axis=1)
            crossed += _long_product(weighted, below.astype(np.float64))
    single = np.outer(first, members.sum(axis=1))
    return np.asarray(single + single.T - 2 * crossed)


def _long_product(a: Floats, b: Floats) -> Floats:
    """a @ b.T of (K, n) arrays, in pieces: BLAS is several times slower on one product so long and thin."""
    pieces = (slice(at, at + _PIECE) for at in range(0, a.shape[1], _PIECE))
    return np.asarray(sum(a[:, piece] @ b[:, piece].T for piece in pieces))


def l2_to_groups(points: Embeddings, groups: Flags, progress: Progress = silent, device: str = "cpu") -> Floats:
    """Sum L2 from each image to the images of each group: float64 (n, K).

    On the CPU, tiles and the sums along a tile are float32, which is safe as all terms are positive. Sums over tiles
    are float64. On another device, everything is float64.
    """
    if device != "cpu":
        import torch

        from cxrsearch.analysis.clusters._pair_distances_gpu import l2_to_groups_on

        return l2_to_groups_on(torch.device(device), points, groups, progress)
    sums = np.zeros(groups.shape)
    if not points.shape[1]:
        return sums
    members = groups.astype(np.float32)
    norms = np.einsum("ij,ij->i", points, points, dtype=np.float64)
    tiles = [slice(at, at + TILE) for at in range(0, len(points), TILE)]
    done, total = 0, len(tiles) * (len(tiles) + 1) // 2
    for i, rows in enumerate(tiles):
        progress("distances of all pairs", done, total)
        for columns in tiles[i:]:  # D is symmetric: each tile above the diagonal serves both halves
            distances = np.sqrt(_squared(points[rows], points[columns], norms[rows], norms[columns]))
            sums[rows] += distances @ members[columns]
            if rows != columns:
                sums[columns] += distances.T @ members[rows]
        done += len(tiles) - i
    progress("distances of all pairs", total, total)
    return sums


def _squared(a: Embeddings, b: Embeddings, norms_a: Floats, norms_b: Floats) -> Embeddings:
    """The squared L2 between two sets of points, float32 (len(a), len(b)); near pairs are computed from differences."""
    for dtype, share in _NEAR:
        squared: NDArray[Any] = a.astype(dtype, copy=False) @ b.astype(dtype, copy=False).T
        squared *= -2
        squared += norms_a[:, None].astype(dtype)
        squared += norms_b.astype(dtype)
        near_a, near_b = _near(squared, norms_a, norms_b, share)
        if len(near_a) <= MANY * squared.size:
            break
    for at in range(0, len(near_a), _PAIRS):
        i, j = near_a[at : at + _PAIRS], near_b[at : at + _PAIRS]
        difference = a[i].astype(np.float64) - b[j]
        squared[i, j] = np.einsum("ij,ij->i", difference, difference)
    return squared.astype(np.float32, copy=False)


def _near(squared: NDArray[Any], norms_a: Floats, norms_b: Floats, share: float) -> tuple[Integers, Integers]:
    """Find the near pairs; only rows that can hold one are compared pair by pair."""
    rows = np.flatnonzero(squared.min(axis=1) <= share * (norms_a + norms_b.max()))
    i, j = np.nonzero(squared[rows] <= share * (norms_a[rows, None] + norms_b))
    return rows[i], j


def _pairs_of_one(patient: Integers) -> tuple[Integers, Integers]:
    """The rows of the unordered pairs of each patient, int64 (m,) each; patients are numbers from 0."""
    order = np.argsort(patient, kind="stable")
    size = np.bincount(patient)[patient[order]]
    place = np.arange(len(order)) - np.searchsorted(patient[order], patient[order])
    later = size - 1 - place
    first = np.repeat(np.arange(len(order)), later)
    step = np.arange(len(first)) - np.repeat(np.cumsum(later) - later, later)
    return order[first], order[first + 1 + step]


def mean_of_pairs(sums: Floats, pairs: NDArray[Any]) -> Floats:
    """Sums divided by numbers of pairs, float64, for shapes that broadcast; nan if there is no pair."""
    sums, pairs = np.broadcast_arrays(sums, pairs)
    mean: Floats = np.divide(sums, pairs, out=np.full(sums.shape, np.nan), where=pairs > 0)
    return mean


def _check(points: Embeddings, groups: Flags) -> None:
    if groups.dtype != np.bool_ or groups.ndim != 2 or len(groups) != len(points) or not len(points):
        got = f"points {points.shape}, groups {groups.dtype} {groups.shape}"
        raise UsageError(
            f"groups must be bool (images, groups), one row per point: got {got}", "give one row per image"
        )
