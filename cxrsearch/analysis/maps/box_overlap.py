"""Boxes from heat maps, and their overlap with readers' boxes. A box is left, top, width and height, in any unit."""

import numpy as np
from scipy import ndimage

from cxrsearch.arrays import Floats, Reals
from cxrsearch.errors import UsageError

_TOUCHING = np.ones((3, 3))
"""Cells that touch only at a corner belong to one region too."""


def intersections(found: Floats, real: Floats) -> Floats:
    """The area that each two boxes share: float64 (m, n), from boxes float64 (m, 4) and (n, 4)."""
    low = np.maximum(found[:, None, :2], real[None, :, :2])
    high = np.minimum((found[:, :2] + found[:, 2:])[:, None], (real[:, :2] + real[:, 2:])[None])
    shared: Floats = np.clip(high - low, 0, None).prod(axis=2)
    return shared


def iou(found: Floats, real: Floats) -> Floats:
    """The intersection over union of each two boxes: float64 (m, n), from boxes float64 (m, 4) and (n, 4)."""
    shared = intersections(found, real)
    ratio: Floats = shared / (_areas(found)[:, None] + _areas(real)[None] - shared)
    return ratio


def iobb(found: Floats, real: Floats) -> Floats:
    """The intersection over the detected box (Wang et al. 2017): the share of a found box inside a real box.

    It ignores whether the real box is covered: a tiny box inside it scores 1. Boxes are float64 (m, 4) and (n, 4); the
    result is float64 (m, n).
    """
    ratio: Floats = intersections(found, real) / _areas(found)[:, None]
    return ratio


def enlarge(values: Reals, side: int) -> Floats:
    """A heat map (h, w) as float64 (side, side): bilinear between the centres of the cells, constant beyond them."""
    height, width = values.shape
    rows, columns = ((np.arange(side) + 0.5) * cells / side - 0.5 for cells in (height, width))
    grid = np.meshgrid(rows, columns, indexing="ij")
    large: Floats = ndimage.map_coordinates(values.astype(np.float64), grid, order=1, mode="nearest")
    return large


def map_boxes(values: Reals, threshold: float) -> tuple[Floats, Floats]:
    """Boxes around the connected regions that reach a threshold, as in Wang et al. 2017 (CVPR, section 4).

    Args:
        values: the heat map, floating (h, w).
        threshold: between 0, the smallest value of the heat map, and 1, its largest.

    Returns:
        Boxes, float64 (m, 4) in cells, the one with the highest peak first; and the peaks, float64 (m,), as values of
        the heat map. A constant heat map has no box.

    Raises:
        UsageError: a threshold outside (0, 1), or a heat map that is not two-dimensional and finite.
    """
    if not 0 < threshold < 1:
        raise UsageError(f"threshold {threshold}", "use a share of the heat map's range, between 0 and 1")
    if values.ndim != 2 or not np.isfinite(values).all():
        raise UsageError(f"a heat map {values.shape} is not two-dimensional and finite", "give one finding's heat map")
    low, high = float(values.min()), float(values.max())
    if low == high:
        return np.zeros((0, 4)), np.zeros(0)
    labels, count = ndimage.label(values >= low + threshold * (high - low), structure=_TOUCHING)
    regions = ndimage.find_objects(labels)
    boxes = np.array([[x.start, y.start, x.stop - x.start, y.stop - y.start] for y, x in regions], dtype=np.float64)
    peaks = np.array(ndimage.maximum(values, labels, np.arange(1, count + 1)), dtype=np.float64)
    order = np.argsort(-peaks, kind="stable")
    return boxes[order], peaks[order]


def _areas(boxes: Floats) -> Floats:
    areas: Floats = boxes[:, 2] * boxes[:, 3]
    return areas
