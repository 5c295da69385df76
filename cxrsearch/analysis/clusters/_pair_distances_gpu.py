"""Sums of L2 to groups of images on a GPU: the tiles of `pair_distances.l2_to_groups`, in float64."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cxrsearch.progress import Progress, silent

TILE = 4096
"""Images along a side of a tile; a tile takes 128 MiB, and three are held at once."""

_PAIRS = 4096
"""Near pairs whose points are held at once; this bounds the memory if there are many duplicates."""

NEAR = 1e-8
"""A pair is near if its squared distance is below this share of the sum of its squared norms. The product then has a
relative error of more than about 1e-7, so the distance is computed from the difference of the points."""


def l2_to_groups_on(
    device: torch.device, points: NDArray[np.float32], groups: NDArray[np.bool_], progress: Progress = silent
) -> NDArray[np.float64]:
    """Sum L2 from each image to the images of each group: float64 (n, K), as `l2_to_groups` does.

    The device holds the points once (n x d x 4 bytes). All sums are float64.

    Args:
        device: any device that torch has.
        points: float32 (n, d), centred.
        groups: bool (n, K).
        progress: called as the tiles are done.
    """
    held, members = torch.from_numpy(points).to(device), torch.from_numpy(groups).to(device, torch.float64)
    sums = torch.zeros_like(members)
    tiles = [slice(at, at + TILE) for at in range(0, len(points), TILE)]
    done, total = 0, len(tiles) * (len(tiles) + 1) // 2
    for i, rows in enumerate(tiles):
        progress("distances of all pairs", done, total)
        a = held[rows].double()
        for columns in tiles[i:]:
            distances = _distances(a, held[columns].double())
            sums[rows] += distances @ members[columns]
            if rows != columns:
                sums[columns] += distances.T @ members[rows]
        done += len(tiles) - i
    progress("distances of all pairs", total, total)
    return sums.cpu().numpy()


def _distances(a: Tensor, b: Tensor) -> Tensor:
    """The L2 distances between two sets of points, float64 (len(a), len(b))."""
    norms = a.square().sum(1)[:, None] + b.square().sum(1)
    squared = torch.addmm(norms, a, b.T, alpha=-2)
    near = (squared <= NEAR * norms).nonzero()
    for at in range(0, len(near), _PAIRS):
        i, j = near[at : at + _PAIRS].T
        squared[i, j] = (a[i] - b[j]).square().sum(1)
    return squared.sqrt_()
