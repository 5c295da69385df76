"""A figure for the screen: title and legend above, notes below, and any plots in between."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image

from cxrsearch.errors import UsageError
from cxrsearch.files import write_bytes
from cxrsearch.report import style
from cxrsearch.report._typesetting import shorten, wrap

FORMATS = (".png", ".svg")
_WIDER = 0.75
"""matplotlib's letters are wider than those that `_typesetting` measures, so texts get this share of the width."""
_LEGEND_COLUMNS = 4
_STYLE: dict[Any, Any] = {**style.FIGURE, "svg.hashsalt": "cxrsearch"}


@dataclass(frozen=True)
class PixelFigure:
    """An empty figure with coordinates in pixels from its upper left corner."""

    figure: Figure
    width: int
    height: int

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """Add axes in a box, given in pixels."""
        return self.figure.add_axes(
            (left / self.width, 1 - (top + height) / self.height, width / self.width, height / self.height)
        )

    def text(self, left: float, top: float, text: str, size: int, colour: str) -> None:
        """Add one line of text whose upper left corner is at (left, top), in pixels."""
        place = left / self.width, 1 - top / self.height
        self.figure.text(*place, text, fontsize=size * style.POINT, color=colour, va="top")


@dataclass(frozen=True)
class Drawing:
    """A figure that is not drawn yet.

    Attributes:
        size: width and height of the plots, in pixels; title, legend and notes come above and below.
        title: if it is too long, its middle is left out.
        legend: lines or marks, each with a label; at most four side by side.
        notes: sentences under the figure, without a full stop.
        draw: draws the plots; it gets the sheet, and the y coordinate in pixels at which the plots begin.
    """

    size: tuple[int, int]
    title: str
    legend: Sequence[Line2D]
    notes: Sequence[str]
    draw: Callable[[PixelFigure, int], None]

    def image(self) -> Image.Image:
        """Draw the figure as an RGB image; the same drawing gives the same pixels."""
        with matplotlib.style.context(["default", _STYLE]):
            canvas: Any = self._figure().canvas  # matplotlib ships no types for drawing it
            canvas.draw()
            return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")

    def save(self, path: Path) -> None:
        """Write the figure as PNG or SVG, as the name says, whole or not at all. The same drawing gives the same bytes.

        Raises:
            UsageError: the name ends in neither `.png` nor `.svg`.
            WriteError: the folder is missing or read-only, or the disk is full.
        """
        require_figure(path)
        suffix = path.suffix.lower()
        # Version and date would change the bytes of an unchanged drawing.
        metadata: dict[str, Any] = {"Software": None} if suffix == ".png" else {"Date": None, "Creator": None}
        file = io.BytesIO()
        with matplotlib.style.context(["default", _STYLE]):
            self._figure().savefig(file, format=suffix[1:], dpi=style.DPI, metadata=metadata)
        write_bytes(path, file.getvalue())

    def _figure(self) -> Figure:
        width, room = self.size[0], int(_WIDER * (self.size[0] - 2 * style.WIDE))
        texts = wrap(" ".join(f"{note}." for note in (*self.notes, style.DISCLAIMER)), style.BODY, room)
        under_title = style.GAP + style.line_height(style.TITLE) + style.TIGHT
        rows = -(-len(self.legend) // _LEGEND_COLUMNS)
        top = under_title + rows * style.line_height(style.BODY) + style.GAP
        height = top + self.size[1] + style.GAP + len(texts) * style.line_height(style.BODY) + style.GAP
        figure = Figure(figsize=(width / style.DPI, height / style.DPI), dpi=style.DPI)
        FigureCanvasAgg(figure)
        sheet = PixelFigure(figure, width, height)
        sheet.text(style.WIDE, style.GAP, shorten(self.title, style.TITLE, room), style.TITLE, style.INK)
        for row, text in enumerate(texts):
            line = top + self.size[1] + style.GAP + row * style.line_height(style.BODY)
            sheet.text(style.WIDE, line, text, style.BODY, style.INK_QUIET)
        if self.legend:
            self._add_legend(sheet, under_title)
        self.draw(sheet, top)
        return figure

    def _add_legend(self, sheet: PixelFigure, top: int) -> None:
        columns = min(_LEGEND_COLUMNS, len(self.legend))
        room = int(_WIDER * (sheet.width - 2 * style.WIDE) / columns) - style.WIDE
        sheet.figure.legend(
            handles=self.legend,
            labels=[shorten(str(handle.get_label()), style.BODY, room) for handle in self.legend],
            loc="upper left",
            bbox_to_anchor=(style.WIDE / sheet.width, 1 - top / sheet.height),
            ncols=columns,
            frameon=False,
            borderpad=0,
            borderaxespad=0,
        )


def fit_text(text: str, size: int, width: int) -> str:
    """A text that fits into `width` pixels of a figure; if it is too long, its middle is left out."""
    return shorten(text, size, int(_WIDER * width))


def require_figure(path: Path) -> None:
    """Raise UsageError unless a name ends in .png or .svg; a caller can check this before the work."""
    if path.suffix.lower() not in FORMATS:
        raise UsageError(f"a figure is a PNG or SVG file: got the name {path.name!r}", "end it in .png or .svg")
