"""Regions of feature maps: the mean inside a box, and the most similar region of that size in another feature map.

A box may lie anywhere, not only along the cells of a feature map. A cell counts by the share of it that the box covers.
"""

import numpy as np

from cxrsearch.arrays import Floats, Reals
from cxrsearch.errors import UsageError

Box = tuple[float, float, float, float]
"""Left, top, width and height, as shares of the sides of the feature map."""

STEPS = 2
"""How many windows are tried per cell in each direction; per window, if the window is smaller than a cell."""

_MOST_PLACES = 33


def pool(activations: Reals, box: Box) -> Floats:
    """The mean of a feature map inside a box.

    Args:
        activations: floating (dim, h, w).
        box: at least partly inside the feature map.

    Returns:
        float64 (dim,).

    Raises:
        UsageError: a box without area, or outside the feature map.
    """
    left, top, width, height = box
    rows = cover(np.array([top]), height, activations.shape[1])
    columns = cover(np.array([left]), width, activations.shape[2])
    mean: Floats = np.einsum("chw,h,w->c", activations.astype(np.float64), rows[0], columns[0])
    return mean


def cover(starts: Floats, extent: float, cells: int) -> Floats:
    """The weights of a side's cells in windows that begin at `starts`, float64 (n,): float64 (n, cells), row sums 1.

    Raises:
        UsageError: a window without extent, or outside the side.
    """
    edges = np.arange(cells + 1) / cells
    ends = np.minimum(starts + extent, 1.0)
    low, high = np.maximum(edges[:-1], starts[:, None]), np.minimum(edges[1:], ends[:, None])
    shared = np.clip(high - low, 0, None)
    total = shared.sum(axis=1, keepdims=True)
    if not (total > 0).all():
        raise UsageError(f"a window of {extent:g} from {starts.min():g} on, of a side of 1", "put it inside the image")
    weights: Floats = shared / total
    return weights


def windows(extent: float, cells: int) -> Floats:
    """Where windows of an extent begin along a side, as shares of it: evenly spaced from one end to the other."""
    room, step = max(0.0, 1.0 - extent), min(1 / cells, extent) / STEPS
    places = min(int(np.ceil(round(room / step, 6))) + 1, _MOST_PLACES)
    return np.linspace(0.0, room, places)


def best_windows(
    activations: Reals, region: Floats, size: tuple[float, float], centre: Floats
) -> tuple[Floats, Floats]:
    """Find the window most similar to a region in each of b feature maps.

    Similarity is the cosine of the deviations from a centre.

    Args:
        activations: floating (b, dim, h, w).
        region: float64 (dim,), the mean of the wanted region; see `pool`.
        size: width and height of a window, as shares of the sides of a feature map.
        centre: float64 (dim,), the mean of all embeddings; what all X-rays have in common says nothing.

    Returns:
        Distances, float64 (b,), 1 - cosine, in [0, 2]; and windows, float64 (b, 4): left, top, width and height as
        shares.
    """
    height, width = activations.shape[2:]
    extents = min(size[0], 1.0), min(size[1], 1.0)
    lefts, tops = windows(extents[0], width), windows(extents[1], height)
    columns, rows = cover(lefts, extents[0], width), cover(tops, extents[1], height)
    weights: Floats = np.einsum("yh,xw->yxhw", rows, columns).reshape(len(tops) * len(lefts), height * width)
    cosines = _cosines(activations, region, weights, centre)
    best = cosines.argmax(axis=1)
    y, x = np.divmod(best, len(lefts))
    boxes = np.stack([lefts[x], tops[y], np.full(len(best), extents[0]), np.full(len(best), extents[1])], axis=1)
    distances: Floats = 1 - cosines[np.arange(len(best)), best]
    return np.clip(distances, 0, 2), boxes


def _cosines(activations: Reals, region: Floats, weights: Floats, centre: Floats) -> Floats:
    """The cosines of n windows in each of b feature maps, float64 (b, n), from the cell weights, float64 (n, h w).

    A window's mean is a weighted sum of cells, so its inner products follow from those of the cells. There are fewer
    cells than windows, and far fewer cells than channels.
    """
    tiny = np.finfo(np.float64).tiny
    cells = np.moveaxis(activations.astype(np.float64).reshape(*activations.shape[:2], -1), 1, 2) - centre
    wanted = (region - centre) / max(float(np.linalg.norm(region - centre)), tiny)
    products = (cells @ wanted) @ weights.T
    gram = cells @ np.moveaxis(cells, 1, 2)
    lengths = np.sqrt(np.maximum(((weights @ gram) * weights).sum(axis=2), tiny))
    cosines: Floats = products / lengths
    return cosines
