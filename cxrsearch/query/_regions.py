"""Asking by a region: candidates by embedding, each then judged by its region that is most like the one asked for.

box in the original -> shares of the feature map -> pooled vector -> candidates' feature maps -> best windows
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from cxrsearch.analysis.maps.windows import Box, best_windows, pool
from cxrsearch.arrays import Floats
from cxrsearch.encoder.embed import Embedder
from cxrsearch.errors import UsageError
from cxrsearch.images.preprocess import Pixels, Preprocess
from cxrsearch.progress import Progress
from cxrsearch.query.embedded import Embedded, network_pixels

CANDIDATES = 200
"""Images whose embeddings are the nearest to the region's vector, which are judged by their regions."""

_BATCH = 16


def box_shares(box: Box, size: tuple[int, int], preprocess: Preprocess) -> Box:
    """A box in pixels of the original image, as shares of the sides of what the network sees.

    Args:
        box: left, top, width and height in pixels.
        size: width and height of the original.
        preprocess: of the encoder.

    Raises:
        UsageError: numbers that are not finite, no area, a box that leaves the image, or one that the encoder's centre
            crop leaves out.
    """
    left, top, width, height = box
    if not np.isfinite(box).all() or width <= 0 or height <= 0:
        raise UsageError(f"the box {_text(box)} has no area", "give x,y,w,h: its upper left corner, width and height")
    if left < 0 or top < 0 or left + width > size[0] or top + height > size[1]:
        raise UsageError(
            f"the box {_text(box)} leaves the image of {size[0]} x {size[1]} pixels",
            "give x,y,w,h in pixels of this file",
        )
    start, seen = preprocess.window()
    side = preprocess.pixel_side
    (x, w), (y, h) = (
        _seen(low * side / whole, extent * side / whole, start, seen)
        for low, extent, whole in ((left, width, size[0]), (top, height, size[1]))
    )
    if w <= 0 or h <= 0:
        raise UsageError(f"the box {_text(box)} lies outside the middle that the encoder sees", "choose another box")
    return x, y, w, h


def image_shares(windows: Floats, preprocess: Preprocess) -> Floats:
    """Windows as shares of what the network sees, float64 (n, 4), as shares of the whole image."""
    start, seen = preprocess.window()
    shares: Floats = (windows * seen + np.array([start, start, 0, 0])) / preprocess.pixel_side
    return shares


def match_regions(
    embedder: Embedder,
    query: Embedded,
    box: Box,
    centre: Floats,
    candidates: Callable[[Floats], NDArray[np.int64]],
    pixels: Callable[[int], Pixels],
    progress: Progress,
) -> tuple[NDArray[np.int64], Floats, Floats]:
    """Order candidates by their best matching region.

    Args:
        embedder: the encoder.
        query: with activations.
        box: as shares of what the network sees.
        centre: float64 (dim,), the mean embedding.
        candidates: the rows, int64 (m,), to judge, given the region's vector, float64 (dim,).
        pixels: the stored pixels of a row.
        progress: called while feature maps are computed.

    Returns:
        Rows, int64 (m,), nearest first, equal ones by row; distances, float64 (m,), 1 minus the cosine of the
        deviations from the centre; and the matching regions, float64 (m, 4), as shares of the images' sides.
    """
    assert query.activations is not None
    region = pool(query.activations, box)
    rows = candidates(region)
    found = [(np.zeros(0), np.zeros((0, 4)))]
    for start in range(0, len(rows), _BATCH):
        progress("matching regions", start, len(rows))
        batch = network_pixels(embedder, [pixels(int(row)) for row in rows[start : start + _BATCH]])
        found.append(best_windows(embedder.activations(batch), region, box[2:], centre))
    progress("matching regions", len(rows), len(rows))
    distances, windows = (np.concatenate(part) for part in zip(*found, strict=True))
    order = np.lexsort((rows, distances))
    return rows[order], distances[order], image_shares(windows[order], embedder.spec.preprocess)


def _seen(low: float, extent: float, start: int, seen: int) -> tuple[float, float]:
    """The part of a stretch of stored pixels that the network sees, as its start and extent in shares."""
    begin, end = max(low, start), min(low + extent, start + seen)
    return (begin - start) / seen, (end - begin) / seen


def _text(box: Box) -> str:
    return ",".join(f"{side:g}" for side in box)
