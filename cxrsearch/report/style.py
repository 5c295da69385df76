"""The visual language of every figure, sheet and page: colours, type and spacing.

It is dark, as reading rooms are. Colours are `#rrggbb`, which Pillow, matplotlib and CSS all read; lengths are pixels.
Both inks and the accent have a contrast of at least 4.5 to 1 on both surfaces (WCAG 2.2, level AA), and the categories
of at least 3 to 1.
"""

from functools import cache
from typing import Any

from PIL import ImageFont

BACKGROUND = "#0f1216"
PANEL = "#1a1f26"
"""The surface of images and cards."""
LINE = "#39424e"
INK = "#f1f3f5"
INK_QUIET = "#aeb7c2"
ACCENT = "#e69f00"
"""The colour of what the reader asked about; used for nothing else."""

CATEGORIES = ("#56b4e9", "#009e73", "#f0e442", "#d55e00", "#cc79a7", "#0072b2")
"""Colours that distinguish categories, without the accent: Okabe and Ito 2008, safe for colour-blind readers."""

PAPER, PAPER_PANEL, PAPER_LINE = "#ffffff", "#f3f5f7", "#c9d0d8"
PAPER_INK, PAPER_INK_QUIET, PAPER_ACCENT = "#14181d", "#4d5763", "#8a5a00"
PAPER_CATEGORIES = ("#0072b2", "#d55e00", "#007a5a", "#a8457f", "#7d6b00", "#3b3f46")
"""The same colours for print: dark on white, with the same contrasts."""

SCALE = ("#2c728e", "#21918c", "#37b878", "#95d840", "#fde725")
"""Five steps from low to high: the upper two thirds of matplotlib's viridis, safe for colour-blind readers."""

ROLES = {"vote": CATEGORIES[0], "calm": CATEGORIES[1], "warn": CATEGORIES[3], "network": CATEGORIES[4]}
PAPER_ROLES = {
    "vote": PAPER_CATEGORIES[0],
    "calm": PAPER_CATEGORIES[2],
    "warn": PAPER_CATEGORIES[1],
    "network": PAPER_CATEGORIES[3],
}
"""What a colour means wherever an answer is shown: votes, an ordinary image, a warning, the network."""

TITLE, HEADING, BODY = 24, 16, 14
"""Type sizes, in pixels."""
SMALL = 12
"""Type size of the text beside a picture on a page, in pixels."""
LEADING = 1.4
"""Height of a line of text, as a multiple of the type size."""

TIGHT, GAP, WIDE = 8, 16, 32
"""Spacing in pixels: inside an element, between elements, between groups of elements."""
STROKE, FRAME = 1, 3
"""Thickness of a line and of a frame, in pixels."""

DPI = 100
POINT = 72 / DPI
"""The size of a pixel in points, matplotlib's unit."""
FIGURE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": BODY * POINT,
    "axes.titlesize": HEADING * POINT,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.facecolor": PANEL,
    "axes.edgecolor": LINE,
    "axes.labelcolor": INK_QUIET,
    "xtick.color": INK_QUIET,
    "ytick.color": INK_QUIET,
    "legend.labelcolor": INK_QUIET,
    "text.color": INK,
    "text.parse_math": False,
    "figure.facecolor": BACKGROUND,
}
"""matplotlib's settings for a figure on a screen."""

DISCLAIMER = "Research use only, not a medical device"


@cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """The typeface Aileron, which ships with Pillow, so that letters are the same on every machine."""
    face = ImageFont.load_default(size)
    assert isinstance(face, ImageFont.FreeTypeFont)
    return face


def line_height(size: int) -> int:
    """Pixels from one line of text to the next."""
    return round(LEADING * size)
