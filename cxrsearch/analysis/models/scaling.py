"""Standardised embeddings: every dimension has mean 0 and standard deviation 1. Rows are processed in blocks."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from cxrsearch.arrays import Embeddings, Floats

_BLOCK = 4096


@dataclass(frozen=True, eq=False)
class Scale:
    """The mean and scale that standardise embeddings.

    Attributes:
        mean: float64 (dim,).
        factor: float64 (dim,), one over the standard deviation (ddof 0); 0 for a constant dimension.
    """

    mean: Floats
    factor: Floats

    @classmethod
    def of(cls, embeddings: Embeddings) -> "Scale":
        """Measure embeddings, float32 (n, dim), finite, n >= 1; sums are float64."""
        n, dim = embeddings.shape
        mean, squares, constant = np.zeros(dim), np.zeros(dim), np.ones(dim, dtype=np.bool_)
        for _, block in blocks(embeddings):
            mean += block.sum(axis=0) / n
            constant &= (block == embeddings[0]).all(axis=0)  # rounding of the mean would hide a constant dimension
        for _, block in blocks(embeddings):
            squares += ((block - mean) ** 2).sum(axis=0) / n
        return cls(mean, np.divide(1.0, np.sqrt(squares), out=np.zeros(dim), where=~constant))

    def __call__(self, embeddings: Embeddings | Floats) -> Floats:
        """Standardise embeddings (m, dim), as a float64 copy."""
        scaled: Floats = (embeddings - self.mean) * self.factor
        return scaled


def blocks(embeddings: Embeddings) -> Iterator[tuple[slice, Floats]]:
    """Yield the rows in blocks, each with its place and as float64, so that no float64 copy of all rows is made."""
    for place in places(len(embeddings)):
        yield place, embeddings[place].astype(np.float64)


def places(n: int) -> Iterator[slice]:
    """Yield the slices of the blocks of n rows."""
    for start in range(0, n, _BLOCK):
        yield slice(start, min(start + _BLOCK, n))
