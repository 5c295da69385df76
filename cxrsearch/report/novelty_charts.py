"""Figures of novelty: how a score is distributed among known and held-out images, and every finding in one chart."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image

from cxrsearch.analysis.metrics import Flags, Floats
from cxrsearch.report import style
from cxrsearch.report.typesetting import shorten

_COLUMNS = 4
_PANEL = (330, 250)
_HEAD, _FOOT = 110, 56
_BINS = 20
_CLIP = 0.5, 99.5
"""Percentiles between which a score is shown; what lies beyond counts in the outermost bins."""
_FEW = 10
"""Images of a group under which each is a tick, as a histogram would be noise."""
_MARKERS = "osD^"
_LINE = 34
"""Height of a finding in the chart of all."""


@dataclass(frozen=True, eq=False)
class ScorePanel:
    """A score of n images.

    Attributes:
        name: of the score.
        values: float64 (n,), higher is more novel; None where it could not be computed.
        caption: a line under the name, such as its AUROC.
    """

    name: str
    values: Floats | None
    caption: str


@dataclass(frozen=True)
class FindingLine:
    """A held-out finding in the chart of all.

    Attributes:
        finding: its name.
        points: by score, AUROC and its interval (nan where there is none).
        images, patients: that show it.
    """

    finding: str
    points: Mapping[str, tuple[float, float, float]]
    images: int
    patients: int


def histogram(values: Floats, group: Flags) -> tuple[Floats, Floats]:
    """The edges of 20 bins (21,), and the share of the group's images in each, (20,); outliers in the outermost."""
    low, high = np.percentile(values, _CLIP)
    edges = np.linspace(low, high if high > low else low + 1, _BINS + 1)
    counts = np.histogram(np.clip(values[group], edges[0], edges[-1]), edges)[0]
    return edges, counts / max(1, group.sum())


def distributions(panels: Sequence[ScorePanel], groups: Mapping[str, Flags], *, title: str) -> Image.Image:
    """Draw the distribution of each score in each group, an RGB image; the same values give the same pixels.

    Args:
        panels: the scores.
        groups: by name, bool (n,); the last one is the held-out finding.
        title: what the figure shows.
    """
    columns = min(_COLUMNS, len(panels))
    rows = -(-len(panels) // columns)

    def draw(figure: Figure, width: int, height: int) -> None:
        grid = figure.add_gridspec(
            rows,
            columns,
            left=style.WIDE / width,
            right=1 - style.WIDE / width,
            top=1 - (_HEAD + 44) / height,
            bottom=(_FOOT + 24) / height,
            hspace=0.55,
            wspace=0.1,
        )
        for i, panel in enumerate(panels):
            _draw_panel(figure.add_subplot(grid[i // columns, i % columns]), panel, groups)
        handles = [Line2D([], [], color=colour, label=name, linewidth=2) for name, colour in _colours(groups).items()]
        _draw_legend(figure, handles, width, height)

    note = "Share of a group's images by score, higher is more novel; the outermost 0.5% lie in the last bins"
    return _drawn((max(3, columns) * _PANEL[0] + style.WIDE, _HEAD + rows * _PANEL[1] + _FOOT), title, note, draw)


def findings_chart(lines: Sequence[FindingLine], *, title: str) -> Image.Image:
    """Draw the AUROC of some scores for every finding, an RGB image; hollow marks have no interval.

    Args:
        lines: a finding each.
        title: what the figure shows.
    """
    scores = list(dict.fromkeys(name for line in lines for name in line.points))
    size = 1040, _HEAD + (len(lines) + 1) * _LINE + _FOOT

    def draw(figure: Figure, width: int, height: int) -> None:
        left, right = 210 / width, 1 - 230 / width
        axes = figure.add_axes((left, (_FOOT + 24) / height, right - left, 1 - (_HEAD + _FOOT + 24) / height))
        axes.axvline(0.5, color=style.LINE, linewidth=1.5)
        for place, line in enumerate(lines):
            for i, name in enumerate(scores):
                _draw_mark(axes, place + (i - (len(scores) - 1) / 2) * 0.2, line.points.get(name), i)
            counted = f"{line.images:,} images, {line.patients:,} patients"
            axes.text(1.02, place, counted, transform=axes.get_yaxis_transform(), color=style.INK_QUIET, va="center")
        axes.set_yticks(range(len(lines)), [line.finding.replace("_", " ") for line in lines])
        axes.set_ylim(len(lines) - 0.4, -0.6)
        axes.set_xlim(0, 1)
        handles = [
            Line2D([], [], color=style.CATEGORIES[i], marker=_MARKERS[i], linestyle="none", label=name)
            for i, name in enumerate(scores)
        ]
        _draw_legend(figure, handles, width, height)

    return _drawn(size, title, "AUROC of any image with the finding against all others, with 95% intervals", draw)


def _drawn(size: tuple[int, int], title: str, note: str, draw: Callable[[Figure, int, int], None]) -> Image.Image:
    width, height = size
    with matplotlib.style.context(["default", style.FIGURE]):
        figure = Figure(figsize=(width / style.DPI, height / style.DPI), dpi=style.DPI)
        canvas: Any = FigureCanvasAgg(figure)  # its drawing has no types
        left, fitting = style.WIDE / width, shorten(title, style.TITLE, int(0.75 * (width - 2 * style.WIDE)))
        figure.text(left, 1 - style.GAP / height, fitting, fontsize=style.TITLE * style.POINT, va="top")
        figure.text(left, style.GAP / height, f"{note}. {style.DISCLAIMER}", color=style.INK_QUIET, va="bottom")
        draw(figure, width, height)
        canvas.draw()
        return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def _draw_legend(figure: Figure, handles: Sequence[Line2D], width: int, height: int) -> None:
    place = (style.WIDE / width, 1 - (style.GAP + style.line_height(style.TITLE)) / height)
    figure.legend(
        handles=handles, loc="upper left", bbox_to_anchor=place, ncols=len(handles), frameon=False, borderpad=0
    )


def _colours(groups: Mapping[str, Flags]) -> dict[str, str]:
    """The last group, which was asked about, in the accent."""
    names = list(groups)
    return dict(zip(names, [*style.CATEGORIES[: len(names) - 1], style.ACCENT], strict=True))


def _draw_panel(axes: Axes, panel: ScorePanel, groups: Mapping[str, Flags]) -> None:
    axes.set_title(f"{panel.name}\n", loc="left")
    axes.text(0, 1.04, panel.caption, transform=axes.transAxes, color=style.INK_QUIET, va="bottom")
    axes.set_yticks([])
    values = panel.values
    if values is None:
        axes.set_xticks([])
        axes.text(0.5, 0.5, "not computed", transform=axes.transAxes, color=style.INK_QUIET, ha="center")
        return
    for name, colour in _colours(groups).items():
        own = groups[name]
        if own.sum() < _FEW:
            axes.plot(values[own], np.full(own.sum(), 0.04), "|", color=colour, transform=axes.get_xaxis_transform())
        else:
            edges, shares = histogram(values, own)
            axes.stairs(shares, edges, color=colour, linewidth=1.8)
    axes.locator_params(axis="x", nbins=4)
    axes.set_ylim(bottom=0)


def _draw_mark(axes: Axes, place: float, point: tuple[float, float, float] | None, number: int) -> None:
    if point is None or np.isnan(point[0]):
        return
    auroc, low, high = point
    colour, sure = style.CATEGORIES[number], not np.isnan(low)
    if sure:
        axes.plot([low, high], [place, place], color=colour, linewidth=1.5)
    face = colour if sure else style.PANEL
    axes.plot([auroc], [place], _MARKERS[number], color=colour, markerfacecolor=face, markersize=6)
