"""Heat maps over X-rays. The more a place adds, the more colour covers the grey; a scale gives the numbers.

The colours are `style.SCALE`, safe for colour-blind readers and ordered by lightness. A place that adds nothing stays
grey. All heat maps of a sheet share one scale, so a pale one adds little.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageDraw

from cxrsearch.arrays import Floats
from cxrsearch.errors import UsageError
from cxrsearch.report import style
from cxrsearch.report.contact_sheet import Tile, contact_sheet

MOST_MAPS = 14
_OPAQUE = 0.7
"""The share of the grey that the strongest colour covers."""
_BAR = 14
"""Height of the scale, in pixels."""
_BOX = style.CATEGORIES[0]


@dataclass(frozen=True, eq=False)
class Layer:
    """A heat map over an image.

    Attributes:
        pixels: uint8 (side, side), the image.
        values: float64 (side, side), the heat map; places that are not positive stay grey.
        heading: what the heat map shows.
        lines: further text.
        boxes: float64 (m, 4), left, top, width and height in pixels.
    """

    pixels: NDArray[np.uint8]
    values: Floats
    heading: str
    lines: Sequence[str]
    boxes: Floats


def overlay_sheet(
    image: Tile, layers: Sequence[Layer], *, title: str, names: tuple[str, str], scale: str, footer: str
) -> Image.Image:
    """Draw an image beside its heat maps, with a scale; the same arguments give the same pixels.

    Args:
        image: the image without a heat map, for comparison.
        layers: in reading order, at most 14.
        title: what the sheet shows.
        names: the headings over the image, and over the layers.
        scale: what the numbers of the scale mean.
        footer: the text at the bottom.

    Raises:
        UsageError: no heat map, or more than 14.
    """
    if not 0 < len(layers) <= MOST_MAPS:
        raise UsageError(f"a sheet of {len(layers)} maps", f"name 1 to {MOST_MAPS} findings")
    top = max(float(layer.values.max()) for layer in layers)
    tiles = [Tile(tint(layer, top), layer.heading, layer.lines) for layer in layers]
    sheet = contact_sheet([image, *tiles], title=title, columns=4, footer=footer, names=names)
    return _add_scale(sheet, top, scale, boxes=any(len(layer.boxes) for layer in layers))


def tint(layer: Layer, top: float) -> NDArray[np.uint8]:
    """Draw a heat map over its image, uint8 (side, side, 3); `top` is the value with the strongest colour."""
    share = np.clip(layer.values / top, 0, 1) if top > 0 else np.zeros_like(layer.values)
    cover = _OPAQUE * share[..., None]
    grey = layer.pixels[..., None].astype(np.float64)
    mixed = Image.fromarray(np.rint((1 - cover) * grey + cover * _colours(share)).astype(np.uint8))
    pen = ImageDraw.Draw(mixed)
    for left, top_edge, width, height in layer.boxes:
        corners = (round(left), round(top_edge), round(left + width) - 1, round(top_edge + height) - 1)
        pen.rectangle(corners, outline=_BOX, width=2)
    pixels: NDArray[np.uint8] = np.asarray(mixed)
    return pixels


def _colours(share: Floats) -> Floats:
    """The colour of each share of the scale's range, float64 (..., 3)."""
    steps = np.array([ImageColor.getrgb(colour) for colour in style.SCALE], dtype=np.float64)
    at = np.linspace(0, 1, len(steps))
    return np.stack([np.interp(share, at, channel) for channel in steps.T], axis=-1)


def _add_scale(sheet: Image.Image, top: float, scale: str, *, boxes: bool) -> Image.Image:
    """Add the scale under the sheet, drawn like the heat maps, over grey."""
    line, room = style.line_height(style.BODY), sheet.width - 2 * style.WIDE
    whole = Image.new("RGB", (sheet.width, sheet.height + _BAR + (2 + boxes) * line), style.BACKGROUND)
    whole.paste(sheet, (0, 0))
    pen, y = ImageDraw.Draw(whole), sheet.height - style.GAP
    width = min(room, 320)
    ramp = np.broadcast_to(np.linspace(0, 1, width), (_BAR, width))
    grey = np.full((_BAR, width), 96, dtype=np.uint8)
    bar = Layer(grey, np.ascontiguousarray(ramp), "", (), np.zeros((0, 4)))
    whole.paste(Image.fromarray(tint(bar, 1.0)), (style.WIDE, y))
    face, under = style.font(style.BODY), y + _BAR + style.STROKE
    pen.text((style.WIDE, under), "0 or less", style.INK_QUIET, face)
    pen.text((style.WIDE + width, under), f"{top:.3g}", style.INK_QUIET, face, anchor="ra")
    pen.text((style.WIDE + width + style.GAP, y), scale, style.INK_QUIET, face)
    if boxes:
        pen.rectangle((style.WIDE, under + line + 2, style.WIDE + _BAR, under + line + 2 + _BAR), None, _BOX, 2)
        pen.text((style.WIDE + _BAR + style.TIGHT, under + line), "box around a region", style.INK_QUIET, face)
    return whole
