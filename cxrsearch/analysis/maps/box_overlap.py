"""Boxes from maps, and how well they lie on those of readers. A box is left, top, width and height, in any unit."""

import numpy as np
from scipy import ndimage

from cxrsearch.arrays import Floats, Reals
from cxrsearch.errors import UsageError

_TOUCHING = np.ones((3, 3))
"""Cells that touch at a corner are of one region, too."""


def intersections(found: Floats, real: Floats) -> Floats:
    """The area that boxes share: float64 (m, 4) and (n, 4) to (m, n)."""
    low = np.maximum(found[:, None, :2], real[None, :, :2])
    high = np.minimum((found[:, :2] + found[:, 2:])[:, None], (real[:, :2] + real[:, 2:])[None])
    shared: Floats = np.clip(high - low, 0, None).prod(axis=2)
    return shared


def iou(found: Floats, real: Floats) -> Floats:
    """Intersection over union, float64 (m, n), of boxes (m, 4) and (n, 4)."""
    shared = intersections(found, real)
    ratio: Floats = shared / (_areas(found)[:, None] + _areas(real)[None] - shared)
    return ratio


def iobb(found: Floats, real: Floats) -> Floats:
    """Intersection over the detected box (Wang et al. 2017), float64 (m, n): the share of a found box in a real one.

    It does not ask whether the real box is covered: a tiny box inside it scores 1.
    """
    ratio: Floats = intersections(found, real) / _areas(found)[:, None]
    return ratio


def enlarged(values: Reals, side: int) -> Floats:
    """A map (h, w) as float64 (side, side), bilinear between the cells' middles, constant outside of these."""
    height, width = values.shape
    rows, columns = ((np.arange(side) + 0.5) * cells / side - 0.5 for cells in (height, width))
    grid = np.meshgrid(rows, columns, indexing="ij")
    large: Floats = ndimage.map_coordinates(values.astype(np.float64), grid, order=1, mode="nearest")
    return large


def map_boxes(values: Reals, threshold: float) -> tuple[Floats, Floats]:
    """Boxes around the connected regions that reach a threshold, as in Wang et al. 2017 (CVPR, section 4).

    Args:
        values: floating (h, w).
        threshold: between 0, the map's least value, and 1, its greatest.

    Returns:
        Boxes, float64 (m, 4) in cells of the map, that of the highest peak first; and the peaks, float64 (m,), values
        of the map. No box where the map is constant.

    Raises:
        UsageError: a threshold outside (0, 1), or a map that is not two-dimensional and finite.
    """
    if not 0 < threshold < 1:
        raise UsageError(f"threshold {threshold}", "use a share of the map's range, between 0 and 1")
    if values.ndim != 2 or not np.isfinite(values).all():
        raise UsageError(f"a map {values.shape} that is not two-dimensional and finite", "give one finding's map")
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
