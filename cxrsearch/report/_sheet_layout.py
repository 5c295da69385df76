"""The layout of a contact sheet; `contact_sheet` draws it.

+---------------------------------------------+
| title                                       |
| query     neighbours, nearest first         |
| [=====]   [-----] [-----] [-----] [-----]   |
| [=====]   [-----] [-----] [-----] [-----]   |
| heading   heading ...                       |
| lines     lines                             |
|           [-----] ...                       |
| footer                                      |
+---------------------------------------------+
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxrsearch.images.preprocess import DISPLAY_SIDE
from cxrsearch.report import style
from cxrsearch.report._typesetting import drawable, shorten, wrap

THUMBNAIL = DISPLAY_SIDE
"""Side of a picture, in pixels. An index stores pixels of this size, so they are shown one to one."""

NAMES = ("query", "neighbours, nearest first")
"""The headings over the emphasised tile, and over the others."""

Box = tuple[int, int, int, int]
"""Left, top, right, bottom, in pixels; right and bottom are outside the box, as in Pillow's `crop`."""


@dataclass(frozen=True)
class Tile:
    """A picture and the text under it.

    Attributes:
        pixels: uint8 (height, width), or (height, width, 3) in colour; shown whole, with its proportions. None if
            there is no image.
        heading: one line, for example rank and name of the image; if it is too long, its middle is left out.
        lines: further text; a line that is too long is wrapped, and an empty line leaves a gap.
        emphasised: whether this is the query, which is set apart.
    """

    pixels: NDArray[np.uint8] | None
    heading: str
    lines: Sequence[str]
    emphasised: bool = False


@dataclass(frozen=True)
class Text:
    """One line of text to draw; `left` and `top`, in pixels, are where it begins."""

    left: int
    top: int
    text: str
    size: int
    colour: str

    @property
    def bottom(self) -> int:
        """The y coordinate at which the next line begins."""
        return self.top + style.line_height(self.size)


@dataclass(frozen=True)
class Placed:
    """A tile in its place: the box of its picture, and its lines of text, starting with the heading."""

    tile: Tile
    picture: Box
    texts: tuple[Text, ...]

    @property
    def box(self) -> Box:
        """The box around the whole tile: frame, picture and text."""
        left, top, right, _ = grow(self.picture, style.FRAME)
        return left, top, right, self.texts[-1].bottom


@dataclass(frozen=True)
class SheetLayout:
    """The size of the sheet (width, height), its tiles, and the text outside the tiles."""

    size: tuple[int, int]
    tiles: tuple[Placed, ...]
    texts: tuple[Text, ...]


def arrange(
    tiles: Sequence[Tile], *, title: str, columns: int, footer: str, names: tuple[str, str] = NAMES
) -> SheetLayout:
    """Place everything: the query at the left, the other tiles in rows beside it.

    The tiles of a row start at the same height, below the longest text of the row above.
    """
    queries = [tile for tile in tiles if tile.emphasised]
    others = [tile for tile in tiles if not tile.emphasised]
    columns = min(columns, len(others))
    grid = style.WIDE + (THUMBNAIL + style.WIDE if queries else 0)
    right = grid + columns * (THUMBNAIL + style.GAP) - style.GAP if others else style.WIDE + THUMBNAIL
    head = _paragraph(title, style.WIDE, style.WIDE, style.TITLE, style.INK, right - style.WIDE)
    labels = _labels(names, grid, head[-1].bottom + style.GAP, others=bool(others)) if queries else ()
    top = labels[-1].bottom + style.TIGHT if labels else head[-1].bottom + style.GAP
    placed = (*_place_rows(queries, 1, style.WIDE, top), *_place_rows(others, columns, grid, top))
    bottom = max((tile.box[3] for tile in placed), default=top) + style.WIDE
    foot = _paragraph(footer, style.WIDE, bottom, style.BODY, style.INK_QUIET, right - style.WIDE)
    return SheetLayout((right + style.WIDE, foot[-1].bottom + style.WIDE), placed, (*head, *labels, *foot))


def grow(box: Box, by: int) -> Box:
    """Grow a box by a margin on every side."""
    left, top, right, bottom = box
    return left - by, top - by, right + by, bottom + by


def _labels(names: tuple[str, str], grid: int, top: int, *, others: bool) -> tuple[Text, ...]:
    """The headings over the query and over the other tiles."""
    query = Text(style.WIDE, top, names[0], style.BODY, style.ACCENT)
    rest = Text(grid, top, names[1], style.BODY, style.INK_QUIET)
    return (query, rest) if others else (query,)


def _place_rows(tiles: Sequence[Tile], columns: int, left: int, top: int) -> list[Placed]:
    placed: list[Placed] = []
    for place, tile in enumerate(tiles):
        column = place % columns
        if column == 0 and placed:
            top = max(above.box[3] for above in placed[-columns:]) + style.GAP + style.FRAME
        placed.append(_place(tile, left + column * (THUMBNAIL + style.GAP), top))
    return placed


def _place(tile: Tile, left: int, top: int) -> Placed:
    picture = (left, top, left + THUMBNAIL, top + THUMBNAIL)
    name = shorten(drawable(tile.heading), style.HEADING, THUMBNAIL)
    texts = [Text(left, picture[3] + style.FRAME + style.TIGHT, name, style.HEADING, style.INK)]
    for line in tile.lines:
        texts += _paragraph(line, left, texts[-1].bottom, style.BODY, style.INK_QUIET, THUMBNAIL)
    return Placed(tile, picture, tuple(texts))


def _paragraph(text: str, left: int, top: int, size: int, colour: str, width: int) -> tuple[Text, ...]:
    """Break a text into lines of at most `width` pixels; an empty text is one empty line."""
    lines = wrap(drawable(text), size, width) or [""]
    return tuple(Text(left, top + row * style.line_height(size), line, size, colour) for row, line in enumerate(lines))
