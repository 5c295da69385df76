"""Where everything of a contact sheet goes; `contact_sheet` draws it.

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
"""Side of a picture: that of the pixels an index keeps, which are shown one to one."""

NAMES = ("query", "neighbours, nearest first")
"""What stands over the emphasised tile, and over the others."""

Box = tuple[int, int, int, int]
"""Left, top, right, bottom; right and bottom are outside, as in Pillow's `crop`."""


@dataclass(frozen=True)
class Tile:
    """A picture and what is written under it.

    Attributes:
        pixels: uint8 (height, width), or (height, width, 3) in colour, shown whole and with its proportions kept; None
            where there is no image.
        heading: rank and name of the image, say; one line, its middle left out where it is too long.
        lines: what else is known of it; each is wrapped where it is too long, an empty one leaves a gap.
        emphasised: whether this is the query, to be set apart.
    """

    pixels: NDArray[np.uint8] | None
    heading: str
    lines: Sequence[str]
    emphasised: bool = False


@dataclass(frozen=True)
class Text:
    """One line of text as it is drawn; `left` and `top` are where it begins."""

    left: int
    top: int
    text: str
    size: int
    colour: str

    @property
    def bottom(self) -> int:
        """Where the next line begins."""
        return self.top + style.line_height(self.size)


@dataclass(frozen=True)
class Placed:
    """A tile in its place: the box of its picture, and its text, the heading first."""

    tile: Tile
    picture: Box
    texts: tuple[Text, ...]

    @property
    def box(self) -> Box:
        """Everything of the tile: frame, picture and text."""
        left, top, right, _ = grown(self.picture, style.FRAME)
        return left, top, right, self.texts[-1].bottom


@dataclass(frozen=True)
class SheetLayout:
    """The size of the sheet, width and height, its tiles, and the text that belongs to none."""

    size: tuple[int, int]
    tiles: tuple[Placed, ...]
    texts: tuple[Text, ...]


def arrange(
    tiles: Sequence[Tile], *, title: str, columns: int, footer: str, names: tuple[str, str] = NAMES
) -> SheetLayout:
    """Find a place for everything: the query at the left, the other tiles in rows beside it.

    The tiles of a row start at the same height, below the longest text of the row above.
    """
    asked = [tile for tile in tiles if tile.emphasised]
    others = [tile for tile in tiles if not tile.emphasised]
    columns = min(columns, len(others))
    grid = style.WIDE + (THUMBNAIL + style.WIDE if asked else 0)
    right = grid + columns * (THUMBNAIL + style.GAP) - style.GAP if others else style.WIDE + THUMBNAIL
    head = _paragraph(title, style.WIDE, style.WIDE, style.TITLE, style.INK, right - style.WIDE)
    labels = _labels(names, grid, head[-1].bottom + style.GAP, others=bool(others)) if asked else ()
    top = labels[-1].bottom + style.TIGHT if labels else head[-1].bottom + style.GAP
    placed = (*_in_rows(asked, 1, style.WIDE, top), *_in_rows(others, columns, grid, top))
    bottom = max((tile.box[3] for tile in placed), default=top) + style.WIDE
    foot = _paragraph(footer, style.WIDE, bottom, style.BODY, style.INK_QUIET, right - style.WIDE)
    return SheetLayout((right + style.WIDE, foot[-1].bottom + style.WIDE), placed, (*head, *labels, *foot))


def grown(box: Box, by: int) -> Box:
    """A box with a margin."""
    left, top, right, bottom = box
    return left - by, top - by, right + by, bottom + by


def _labels(names: tuple[str, str], grid: int, top: int, *, others: bool) -> tuple[Text, ...]:
    """What the query and the other tiles are, over the first of each."""
    query = Text(style.WIDE, top, names[0], style.BODY, style.ACCENT)
    rest = Text(grid, top, names[1], style.BODY, style.INK_QUIET)
    return (query, rest) if others else (query,)


def _in_rows(tiles: Sequence[Tile], columns: int, left: int, top: int) -> list[Placed]:
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
    """A text in lines of at most `width`; an empty text is one empty line."""
    lines = wrap(drawable(text), size, width) or [""]
    return tuple(Text(left, top + row * style.line_height(size), line, size, colour) for row, line in enumerate(lines))
