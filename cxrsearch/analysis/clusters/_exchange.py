"""Which patients may exchange their labels: those with the same number of images in every stratum.

A patient's images, sorted by stratum and then by row, are a block. The labels of a whole block go to another patient's
block, in order (whole-block exchange: Winkler et al. 2015, NeuroImage 123, 253-268). So an image gets the label of an
image in its own stratum, and the labels of one patient stay together.
"""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrsearch.arrays import Integers
from cxrsearch.errors import UsageError


@dataclass(frozen=True)
class Blocks:
    """The blocks of P patients, numbered from 0, with n images in all.

    Attributes:
        order: int64 (n,), the rows of the images, block by block.
        start: int64 (P,), where each block begins in `order`.
        size: int64 (P,), the length of each block.
        cell: int64 (P,), the cell of each patient; patients of one cell exchange labels.
    """

    order: Integers
    start: Integers
    size: Integers
    cell: Integers

    @classmethod
    def of(cls, patient: Integers, strata: Integers) -> "Blocks":
        """Build the blocks of n images from their patients and strata, int64 (n,) each.

        Patients are 0 to P - 1, and each has an image.

        Raises:
            UsageError: patients and strata of different lengths.
        """
        if patient.shape != strata.shape:
            got = f"{patient.shape} and {strata.shape}"
            raise UsageError(f"patients and strata must be as many: got {got}", "give each image its stratum")
        order = np.lexsort((strata, patient)).astype(np.int64)
        size = np.bincount(patient).astype(np.int64)
        start = np.cumsum(size) - size
        codes = np.split(strata[order], start[1:])
        cell = pd.factorize(np.array([block.tobytes() for block in codes], dtype=object))[0]
        return cls(order, start, size, cell.astype(np.int64))

    @property
    def fixed(self) -> NDArray[np.bool_]:
        """Which patients are alone in their cell and so keep their labels, bool (P,)."""
        return np.asarray(np.bincount(self.cell)[self.cell] == 1)

    @property
    def patient(self) -> Integers:
        """The patient of each image of `order`, int64 (n,)."""
        return np.repeat(np.arange(len(self.size)), self.size)

    def draw(self, rng: np.random.Generator) -> Integers:
        """Draw a uniform permutation within every cell: the patient whose labels each patient gets, int64 (P,)."""
        donor = np.empty_like(self.cell)
        donor[np.argsort(self.cell, kind="stable")] = np.lexsort((rng.random(len(donor)), self.cell))
        return donor


@dataclass(frozen=True)
class BlockPairs:
    """A value for every pair of images of one patient, with the same layout in all blocks of one size.

    Attributes:
        start: int64 (P,), where the table of each block begins; a block of s images has s x s cells.
        table: float64, the values, each in the cell of its two images.
        patient, place: int64 (m,), the patient of each pair, and its cell in the patient's table.
    """

    start: Integers
    table: NDArray[np.float64]
    patient: Integers
    place: Integers

    @classmethod
    def of(cls, blocks: Blocks, first: Integers, second: Integers, values: NDArray[np.float64]) -> "BlockPairs":
        """Build the tables from pairs of rows `first` and `second`, int64 (m,), each once, and values, float64 (m,)."""
        cells = blocks.size**2
        start = np.cumsum(cells) - cells
        position = np.empty_like(blocks.order)
        position[blocks.order] = np.arange(len(position))
        patient = blocks.patient[position[first]]
        ends = np.sort([position[first], position[second]], axis=0) - blocks.start[patient]
        place = ends[0] * blocks.size[patient] + ends[1]
        table = np.zeros(int(cells.sum()))
        table[start[patient] + place] = values
        return cls(start, table, patient, place)

    def part(self, chosen: NDArray[np.bool_]) -> "BlockPairs":
        """Keep only the chosen pairs, bool (m,), with the table of all pairs."""
        return replace(self, patient=self.patient[chosen], place=self.place[chosen])

    def total(self, receiver: Integers) -> float:
        """The sum of the values of the pairs to which these pairs move if patient p's labels go to `receiver[p]`."""
        return float(self.table[self.start[receiver[self.patient]] + self.place].sum())
