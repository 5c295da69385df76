"""Synthetic embeddings that several benchmarks share."""

import numpy as np
from numpy.typing import NDArray


def embeddings(n: int, dim: int, seed: int = 0) -> NDArray[np.float32]:
    """float32 (n, dim), not negative, of 32 intrinsic dimensions and noise, as a DenseNet's pooled features are."""
    rng = np.random.default_rng(seed)
    mixing = rng.standard_normal((32, dim), dtype=np.float32) / np.float32(32**0.5)
    rows = np.empty((n, dim), np.float32)
    for start in range(0, n, 4096):
        part = rows[start : start + 4096]
        part[:] = rng.standard_normal((len(part), 32), dtype=np.float32) @ mixing
        part += np.float32(0.3) * rng.standard_normal(part.shape, dtype=np.float32)
    return np.maximum(rows, 0, out=rows)
