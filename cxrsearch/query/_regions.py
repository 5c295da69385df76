"""Query by a region: find candidates by embedding, then rank them by their most similar region.

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
"""Number of candidates: the images whose embeddings are nearest to the region's vector. Their regions are compared."""

_BATCH = 16


def box_shares(box: Box, size: tuple[int, int], preprocess: Preprocess) -> Box:
    """Convert a box in pixels of the original image to shares of the part that the network sees.

    Args:
        box: left, top, width and height in pixels.
        size: width and height of the original.
        preprocess: the encoder's.

    Returns:
        Left, top, width and height as shares.

    Raises:
        UsageError: numbers that are not finite, no area, a box that is not inside the image, or a box that the
            encoder's centre crop leaves out.
    """
    left, top, width, height = box
    if not np.isfinite(box).all() or width <= 0 or height <= 0:
        raise UsageError(f"the box {_text(box)} has no area", "give x,y,w,h: its upper left corner, width and height")
    if left < 0 or top < 0 or left + width > size[0] or top + height > size[1]:
        raise UsageError(
            f"the box {_text(box)} is not inside the image of {size[0]} x {size[1]} pixels",
            "give x,y,w,h in pixels of this file",
        )
    start, seen = preprocess.window()
    side = preprocess.pixel_side
    (x, w), (y, h) = (
        _clip(low * side / whole, extent * side / whole, start, seen)
        for low, extent, whole in ((left, width, size[0]), (top, height, size[1]))
    )
    if w <= 0 or h <= 0:
        raise UsageError(f"the box {_text(box)} lies outside the centre that the encoder sees", "choose another box")
    return x, y, w, h


def image_shares(windows: Floats, preprocess: Preprocess) -> Floats:
    """Convert windows, float64 (n, 4), from shares of the part that the network sees to shares of the whole image."""
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
    """Rank candidates by their best matching region.

    Args:
        embedder: the encoder.
        query: an embedded image with activations.
        box: the region, as shares of the part that the network sees.
        centre: float64 (dim,), the mean embedding.
        candidates: maps the region's vector, float64 (dim,), to the rows to compare, int64 (m,).
        pixels: maps a row to its stored pixels.
        progress: called while feature maps are computed.

    Returns:
        Rows, int64 (m,), nearest first, ties by row. Distances, float64 (m,): 1 - cosine of the deviations from the
        centre. Matching regions, float64 (m, 4), as shares of the images' sides.
    """
    assert query.activations is not None
    region = pool(query.activations, box)
    rows = candidates(region)
    matches = [(np.zeros(0), np.zeros((0, 4)))]  # so that no candidates at all concatenate, too
    for start in range(0, len(rows), _BATCH):
        progress("matching regions", start, len(rows))
        batch = network_pixels(embedder, [pixels(int(row)) for row in rows[start : start + _BATCH]])
        matches.append(best_windows(embedder.activations(batch), region, box[2:], centre))
    progress("matching regions", len(rows), len(rows))
    distances, windows = (np.concatenate(part) for part in zip(*matches, strict=True))
    order = np.lexsort((rows, distances))
    return rows[order], distances[order], image_shares(windows[order], embedder.spec.preprocess)


def _clip(low: float, extent: float, start: int, seen: int) -> tuple[float, float]:
    """Clip an interval of stored pixels to what the network sees: its start and extent as shares of that."""
    begin, end = max(low, start), min(low + extent, start + seen)
    return (begin - start) / seen, (end - begin) / seen


def _text(box: Box) -> str:
    return ",".join(f"{side:g}" for side in box)
