"""Sums over a group's images that give its mean squared distances within and to the rest, in closed form.

Let m be the number of images in a group, q the sum of their squared norms, and v the sum of their vectors. Capitals are
the same for all images. Then the sums of squared L2 over all pairs are

    within   m q - |v|^2                    to the rest   (M - m) q + m (Q - q) - 2 v.(V - v)

The sums over pairs of images of one patient are subtracted. Images may have weights, those of their patients: w in
linear sums, and w^2 in sums over pairs of one patient. So a patient who counts twice is never paired with itself.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrsearch.analysis.clusters.pair_distances import SamePatientPairs, mean_of_pairs
from cxrsearch.arrays import Embeddings, Flags, Floats, Integers


@dataclass(frozen=True)
class GroupSums:
    """The sums of one group under r weightings, float64 (r,); a single number where all weightings agree.

    Attributes:
        images, squares: the number of images, and the sum of their squared norms.
        vector: (d, r), the sum of their vectors.
        own_pairs: the number of ordered pairs of one patient within the group, including an image with itself.
        own_pairs_rest: the number of pairs of one patient with one image in the group and one outside.
        own_within, own_rest: sums of squared distances over unordered pairs of one patient, within and to the rest.
    """

    images: Floats
    squares: Floats
    vector: Floats
    own_pairs: Floats
    own_pairs_rest: Floats
    own_within: Floats
    own_rest: Floats

    def mean_within(self) -> Floats:
        """The mean squared distance over the group's pairs of different patients, (r,); nan without such pairs."""
        total = self.images * self.squares - (self.vector**2).sum(axis=0) - self.own_within
        return mean_of_pairs(total, (self.images**2 - self.own_pairs) / 2)

    def contrast(self, everyone: "GroupSums") -> Floats:
        """The mean to the rest minus the mean within, (r,). High is clustered; nan without pairs of either kind."""
        rest = everyone.images - self.images
        total = rest * self.squares + self.images * (everyone.squares - self.squares) - self.own_rest
        total = total - 2 * (self.vector * (everyone.vector - self.vector)).sum(axis=0)
        return mean_of_pairs(total, self.images * rest - self.own_pairs_rest) - self.mean_within()


@dataclass(frozen=True)
class PatientSums:
    """The sums of a group for each of the k patients who have images in it.

    Attributes:
        who: int64 (k,), the patients.
        linear: float64 (2, k), `images` and `squares` of `GroupSums`.
        quadratic: float64 (4, k), the sums over pairs of one patient, in the order of `GroupSums`.
        vectors: float64 (k, d), the sums of the vectors.
    """

    who: Integers
    linear: Floats
    quadratic: Floats
    vectors: Floats

    @classmethod
    def of(cls, points: Embeddings, group: Flags, patient: Integers, same: SamePatientPairs) -> "PatientSums":
        """Sum the images of a group by patient.

        Args:
            points: float32 (n, d).
            group: bool (n,), not empty.
            patient: int64 (n,), numbered from 0.
            same: the pairs of images of one patient among these points.
        """
        rows = np.flatnonzero(group)
        rows = rows[np.argsort(patient[rows], kind="stable")]
        members = points[rows]
        who, first = np.unique(patient[rows], return_index=True)
        vectors = np.add.reduceat(members, first, axis=0, dtype=np.float64)
        images = np.bincount(patient, group.astype(np.float64))
        squares = np.bincount(patient[rows], squared_norms(members), minlength=len(images))
        one, two, whose = group[same.first], group[same.second], patient[same.first]
        within = np.bincount(whose, same.squared_l2 * (one & two), minlength=len(images))
        rest = np.bincount(whose, same.squared_l2 * (one ^ two), minlength=len(images))
        linear: Floats = np.stack([images, squares])
        quadratic: Floats = np.stack([images**2, images * (np.bincount(patient) - images), within, rest])
        return cls(who.astype(np.int64), linear[:, who], quadratic[:, who], vectors)

    def weigh(self, weights: NDArray[np.number[Any]]) -> GroupSums:
        """The group's sums under r weightings of all P patients, (P, r)."""
        chosen = weights[self.who].astype(np.float64)
        images, squares = self.linear @ chosen
        return GroupSums(images, squares, self.vectors.T @ chosen, *(self.quadratic @ chosen**2))


def squared_norms(points: Embeddings) -> Floats:
    """The squared length of each point, float64 (n,)."""
    return np.asarray(np.einsum("ij,ij->i", points, points, dtype=np.float64))
