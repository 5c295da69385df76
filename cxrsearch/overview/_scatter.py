"""The embedding map as a figure for print: one dot per image, coloured by one legend."""

import io
from dataclasses import dataclass
from typing import Any, Literal

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.textpath import text_to_path
from numpy.typing import NDArray

from cxrsearch.overview._scatter_colours import Colouring
from cxrsearch.report import style

_DPI = 200
_PIXEL = 1 / 100
"""A pixel of `style`, in inches; the figure has two dots per pixel."""
_POINT = 72 * _PIXEL
_MAP, _LEGEND = 720, 300
"""The square in which the dots lie, and the width of the legend beside it."""

_RASTER = 5000
"""From this number of dots, an SVG holds them as one picture, because each drawn dot takes 100 bytes."""
_COVERED = 0.6
"""The share of the square that the dots would cover side by side, within the limits of a dot's diameter."""
_DIAMETER = (1.4, 7.0)

_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": style.BODY * _POINT,
    "legend.labelcolor": style.INK,
    "text.color": style.INK,
    "text.parse_math": False,
    "figure.facecolor": style.BACKGROUND,
    "axes.facecolor": style.PANEL,
    "svg.hashsalt": "cxrsearch",
}


@dataclass(frozen=True)
class Scatter:
    """An embedding map of n images, ready to be drawn.

    Attributes:
        coordinates: float32 (n, 2).
        colouring: of the images.
        title: what the map shows.
        lines: how it was made, and what to know of it.
    """

    coordinates: NDArray[np.float32]
    colouring: Colouring
    title: str
    lines: tuple[str, ...]


def scatter_file(scatter: Scatter, file_format: Literal["png", "svg"]) -> bytes:
    """Draw an embedding map. The same values give the same bytes (date and software version are left out)."""
    with matplotlib.style.context(["default", _STYLE]):
        figure = _figure(scatter)
        file = io.BytesIO()
        metadata: dict[str, Any] = {"Software": None} if file_format == "png" else {"Date": None, "Creator": None}
        figure.savefig(file, format=file_format, dpi=_DPI, metadata=metadata)
    return file.getvalue()


def order_of_drawing(colouring: Colouring) -> NDArray[np.int64]:
    """The order of drawing: quiet images first, so that they lie below; the others in random order."""
    shuffled = np.random.default_rng(0).permutation(len(colouring.codes))
    loud = ~np.asarray(colouring.quiet)[colouring.codes[shuffled]]
    return np.concatenate([shuffled[~loud], shuffled[loud]])


def _figure(scatter: Scatter) -> Figure:
    texts = [text for line in scatter.lines for text in _wrap(line, style.BODY, _MAP + _LEGEND)]
    head = style.WIDE + style.line_height(style.TITLE)
    foot = style.GAP + (len(texts) + 1) * style.line_height(style.BODY) + style.WIDE
    width, height = style.WIDE + _MAP + style.GAP + _LEGEND, head + _MAP + foot
    figure = Figure(figsize=(width * _PIXEL, height * _PIXEL))
    FigureCanvasAgg(figure)
    _text(figure, scatter.title, style.WIDE, style.GAP, style.TITLE, style.INK)
    for row, text in enumerate([*texts, style.DISCLAIMER]):
        top = head + _MAP + style.GAP + row * style.line_height(style.BODY)
        _text(figure, text, style.WIDE, top, style.BODY, style.INK_QUIET)
    axes = figure.add_axes((style.WIDE / width, foot / height, _MAP / width, _MAP / height))
    _draw_dots(axes, scatter)
    _draw_legend(figure, scatter.colouring, (style.WIDE + _MAP + style.GAP) / width, 1 - head / height)
    return figure


def _text(figure: Figure, text: str, left: float, top: float, size: int, colour: str) -> None:
    width, height = figure.get_size_inches() / _PIXEL
    place = (left / width, 1 - top / height)
    figure.text(*place, text, fontsize=size * _POINT, color=colour, verticalalignment="top")


def _draw_dots(axes: Axes, scatter: Scatter) -> None:
    n, order = len(scatter.coordinates), order_of_drawing(scatter.colouring)
    diameter = np.clip(_MAP * _POINT * np.sqrt(_COVERED / n), *_DIAMETER)
    colours = np.array(scatter.colouring.colours)[scatter.colouring.codes[order]]
    across, up = scatter.coordinates[order].T
    axes.scatter(
        across,
        up,
        s=diameter**2,
        c=colours.tolist(),
        alpha=0.85 if n < _RASTER else 0.6,
        linewidths=0,
        rasterized=n >= _RASTER,
    )
    axes.set_aspect("equal", adjustable="datalim")
    axes.margins(0.03)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def _draw_legend(figure: Figure, colouring: Colouring, left: float, top: float) -> None:
    entries = zip(colouring.classes, colouring.counts, strict=True)
    figure.legend(
        handles=[_dot(colour) for colour in colouring.colours],
        labels=[f"{name}  ({count:,})" for name, count in entries],
        title="\n".join(_wrap(colouring.title, style.HEADING, _LEGEND - style.WIDE)),
        title_fontproperties={"size": style.HEADING * _POINT},
        loc="upper left",
        bbox_to_anchor=(left, top),
        alignment="left",
        frameon=False,
        borderpad=0,
        borderaxespad=0,
        handletextpad=0.4,
        labelspacing=0.6,
    )


def _dot(colour: str) -> Line2D:
    return Line2D([], [], linestyle="none", marker="o", markersize=9, markeredgewidth=0, color=colour)


def _wrap(text: str, size: int, width: int) -> list[str]:
    """Break `text` at spaces into lines of at most `width` pixels in the figure's typeface."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else ""
        if longer and text_to_path.get_text_width_height_descent(longer, FontProperties(size=size), False)[0] <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines
