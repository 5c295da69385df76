"""Contact sheets: a query and its neighbours side by side, with text under each image."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from cxrsearch.errors import UsageError
from cxrsearch.files import written_atomically
from cxrsearch.report import style
from cxrsearch.report._sheet_layout import NAMES, THUMBNAIL, Placed, Text, Tile, arrange, grow

__all__ = ["MAX_TILES", "Tile", "contact_sheet", "save_png"]

MAX_TILES = 500
_NOT_AVAILABLE = "image not available"


def contact_sheet(
    tiles: Sequence[Tile],
    *,
    title: str,
    columns: int = 5,
    footer: str = style.DISCLAIMER,
    names: tuple[str, str] = NAMES,
) -> Image.Image:
    """Draw a contact sheet, an RGB image. The same tiles give the same pixels.

    Args:
        tiles: in reading order; the emphasised ones (the query) go to the left, one below the other.
        title: what the sheet shows.
        columns: at most this many of the other tiles are side by side.
        footer: the text at the bottom.
        names: the headings over the emphasised tiles, and over the others.

    Raises:
        UsageError: no column, or more than 500 tiles.
    """
    if columns < 1 or len(tiles) > MAX_TILES:
        raise UsageError(
            f"a contact sheet of {len(tiles)} images in {columns} columns",
            f"ask for at most {MAX_TILES} images and at least one column",
        )
    sheet = arrange(tiles, title=title, columns=columns, footer=footer, names=names)
    image = Image.new("RGB", sheet.size, style.BACKGROUND)
    draw = ImageDraw.Draw(image)
    for placed in sheet.tiles:
        _draw_frame(draw, placed)
        _draw_picture(image, draw, placed)
        _draw_texts(draw, placed.texts)
    _draw_texts(draw, sheet.texts)
    return image


def save_png(image: Image.Image, path: Path) -> None:
    """Write an image as PNG, whole or not at all.

    Raises:
        UsageError: the name does not end in .png.
        WriteError: the folder is missing or read-only, or the disk is full.
    """
    require_png(path)
    with written_atomically(path) as file:
        image.save(file, format="PNG")


def require_png(path: Path) -> None:
    """Raise UsageError unless a name ends in .png; a caller can check this before the work."""
    if path.suffix.lower() != ".png":
        raise UsageError(f"a contact sheet is a PNG file: got the name {path.name!r}", "give a name that ends in .png")


def _draw_frame(draw: ImageDraw.ImageDraw, placed: Placed) -> None:
    """Draw the frame around a picture, outside it, and the panel behind the picture."""
    colour, thickness = (style.ACCENT, style.FRAME) if placed.tile.emphasised else (style.LINE, style.STROKE)
    left, top, right, bottom = grow(placed.picture, thickness)
    # Pillow draws the last row and column of a rectangle too, so they are one less than the box's outside edges.
    draw.rectangle((left, top, right - 1, bottom - 1), style.PANEL, colour, thickness)


def _draw_picture(image: Image.Image, draw: ImageDraw.ImageDraw, placed: Placed) -> None:
    left, top, *_ = placed.picture
    if placed.tile.pixels is None:
        middle = (left + THUMBNAIL / 2, top + THUMBNAIL / 2)
        draw.text(middle, _NOT_AVAILABLE, style.INK_QUIET, style.font(style.BODY), anchor="mm")
    else:
        picture = _thumbnail(placed.tile.pixels)
        image.paste(picture, (left + (THUMBNAIL - picture.width) // 2, top + (THUMBNAIL - picture.height) // 2))


def _thumbnail(pixels: NDArray[np.uint8]) -> Image.Image:
    """Resize the whole image so that its longer side is THUMBNAIL."""
    scale = THUMBNAIL / max(pixels.shape[:2])
    height, width = (max(1, round(scale * side)) for side in pixels.shape[:2])
    return Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR)


def _draw_texts(draw: ImageDraw.ImageDraw, texts: Sequence[Text]) -> None:
    for text in texts:
        draw.text((text.left, text.top), text.text, text.colour, style.font(text.size))
