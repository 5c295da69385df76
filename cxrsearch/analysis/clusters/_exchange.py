"""Which patients may exchange their labels: those with the same number of images in every stratum.

A patient's images, by stratum and then by row, are a block; the labels of a whole block go to another patient's block,
in order (whole-block exchange: Winkler et al. 2015, NeuroImage 123, 253-268). An image's new label is therefore that of
an image of its own stratum, and what the images of one patient have in common stays together.
"""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrsearch.arrays import Integers
from cxrsearch.errors import UsageError


@dataclass(frozen=True)
class Blocks:
    """The blocks of P patients, who are numbers from 0, and of their n images.

    Attributes:
        order: int64 (n,), the images' rows, block by block.
        start: int64 (P,), where each block begins in `order`.
        size: int64 (P,), its length.
        cell: int64 (P,), patients of one cell exchange labels.
    """

    order: Integers
    start: Integers
    size: Integers
    cell: Integers

    @classmethod
    def of(cls, patient: Integers, strata: Integers) -> "Blocks":
        """The blocks of images whose patients are 0 to P - 1, each with images, and of their strata; int64 (n,) both.

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
        """Which patients are alone in their cell and keep their labels, bool (P,)."""
        return np.asarray(np.bincount(self.cell)[self.cell] == 1)

    @property
    def patient(self) -> Integers:
        """The patient of each image of `order`, int64 (n,)."""
        return np.repeat(np.arange(len(self.size)), self.size)

    def draw(self, rng: np.random.Generator) -> Integers:
        """A permutation within every cell, each as likely: the patient whose labels each patient gets, int64 (P,)."""
        donor = np.empty_like(self.cell)
        donor[np.argsort(self.cell, kind="stable")] = np.lexsort((rng.random(len(donor)), self.cell))
        return donor


@dataclass(frozen=True)
class BlockPairs:
    """A value of every pair of images of one patient, laid out alike in all blocks of a size.

    Attributes:
        start: int64 (P,), where the table of each block begins; a block of s images has s x s cells.
        table: float64, the values, each in the cell of its two images.
        patient, place: int64 (m,), whose each pair is, and its cell in the patient's table.
    """

    start: Integers
    table: NDArray[np.float64]
    patient: Integers
    place: Integers

    @classmethod
    def of(cls, blocks: Blocks, first: Integers, second: Integers, values: NDArray[np.float64]) -> "BlockPairs":
        """Of the pairs of rows `first` and `second`, int64 (m,), each once, and their values, float64 (m,)."""
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
        """Only the chosen pairs, bool (m,), with the table of all."""
        return replace(self, patient=self.patient[chosen], place=self.place[chosen])

    def total(self, receiver: Integers) -> float:
        """The sum of the values of the pairs to which these go when patient p's labels go to `receiver[p]`."""
        return float(self.table[self.start[receiver[self.patient]] + self.place].sum())
