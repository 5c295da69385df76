"""Standardised embeddings: every dimension with mean 0 and standard deviation 1, a block of rows at a time."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from cxrsearch.arrays import Embeddings, Floats

_BLOCK = 4096


@dataclass(frozen=True, eq=False)
class Scale:
    """How to standardise.

    Attributes:
        mean: float64 (dim,).
        factor: float64 (dim,), one over the standard deviation (ddof 0); 0 for a constant dimension.
    """

    mean: Floats
    factor: Floats

    @classmethod
    def of(cls, embeddings: Embeddings) -> "Scale":
        """Of float32 (n, dim), finite, n >= 1; sums are float64."""
        n, dim = embeddings.shape
        mean, squares, constant = np.zeros(dim), np.zeros(dim), np.ones(dim, dtype=np.bool_)
        for _, block in blocks(embeddings):
            mean += block.sum(axis=0) / n
            constant &= (block == embeddings[0]).all(axis=0)
        for _, block in blocks(embeddings):
            squares += ((block - mean) ** 2).sum(axis=0) / n
        return cls(mean, np.divide(1.0, np.sqrt(squares), out=np.zeros(dim), where=~constant))

    def __call__(self, embeddings: Embeddings | Floats) -> Floats:
        """Standardise (m, dim), into a float64 copy."""
        scaled: Floats = (embeddings - self.mean) * self.factor
        return scaled


def blocks(embeddings: Embeddings) -> Iterator[tuple[slice, Floats]]:
    """The rows in blocks, each as float64 and with its place, so that there is no float64 copy of them all."""
    for place in places(len(embeddings)):
        yield place, embeddings[place].astype(np.float64)


def places(n: int) -> Iterator[slice]:
    """Where the blocks of n rows are."""
    for start in range(0, n, _BLOCK):
        yield slice(start, min(start + _BLOCK, n))
