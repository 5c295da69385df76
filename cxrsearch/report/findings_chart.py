"""All held-out findings in one chart: how well novelty scores detect the images of each, with intervals."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from PIL import Image

from cxrsearch.report import style
from cxrsearch.report.drawing import Drawing, PixelFigure, fit_text
from cxrsearch.words import counted

_MARKERS = "osD^"
_LINE = 44
"""Height of a finding's line, in pixels."""
_NAMES, _PLOT, _COUNTS = 220, 580, 290
"""Widths of the three columns, in pixels."""
_ABOVE, _BELOW = 22, 52
"""Room for the word "chance" above the plot, and for the scale below it, in pixels."""

Point = tuple[float, float, float]
"""AUROC and the ends of its interval; nan if unknown."""


@dataclass(frozen=True)
class FindingLine:
    """The line of one held-out finding.

    Attributes:
        finding: the name of the finding.
        points: by score, AUROC and its interval (nan if there is none); at most four scores.
        images, patients: the numbers of images and patients that show it.
    """

    finding: str
    points: Mapping[str, Point]
    images: int
    patients: int


def findings_chart(lines: Sequence[FindingLine], *, title: str, note: str = "") -> Image.Image:
    """Draw the AUROC of scores for every finding as an RGB image; hollow marks have no interval.

    Args:
        lines: one per finding, from top to bottom.
        title: what the figure shows.
        note: a sentence under the figure, without a full stop.
    """
    return _drawing(title, lines, note).image()


def save_findings(path: Path, title: str, rows: Sequence[FindingLine], note: str = "") -> None:
    """Write the figure of `findings_chart` as PNG or SVG, as the name says, whole or not at all.

    Raises:
        UsageError: the name ends in neither `.png` nor `.svg`.
        WriteError: the folder is missing or read-only, or the disk is full.
    """
    _drawing(title, rows, note).save(path)


def _drawing(title: str, lines: Sequence[FindingLine], note: str) -> Drawing:
    scores = list(dict.fromkeys(name for line in lines for name in line.points))[: len(_MARKERS)]
    height = max(1, len(lines)) * _LINE

    def draw(sheet: PixelFigure, top: int) -> None:
        axes = sheet.axes(style.WIDE + _NAMES, top + _ABOVE, _PLOT, height)
        _draw_scales(axes, lines)
        for place, line in enumerate(lines):
            for i, name in enumerate(scores):
                _draw_mark(axes, place + (i - (len(scores) - 1) / 2) * 0.21, line.points.get(name), i)

    legend = [
        Line2D([], [], color=style.CATEGORIES[i], marker=_MARKERS[i], linestyle="none", label=name)
        for i, name in enumerate(scores)
    ]
    size = 2 * style.WIDE + _NAMES + _PLOT + _COUNTS, _ABOVE + height + _BELOW
    return Drawing(size, title, legend, _notes(lines, note), draw)


def _notes(lines: Sequence[FindingLine], note: str) -> list[str]:
    points = [point for line in lines for point in line.points.values()]
    notes = ["AUROC of any image with the finding against all others, with 95% intervals"]
    if any(not np.isnan(auroc) and np.isnan(low) for auroc, low, _ in points):
        notes.append("Hollow marks have none: too few patients")
    if any(np.isnan(auroc) for auroc, *_ in points):
        notes.append("Where there is no mark, there is no AUROC")
    return [*notes, note] if note else notes


def _draw_scales(axes: Axes, lines: Sequence[FindingLine]) -> None:
    """Draw names at the left, numbers at the right, AUROC below, the line of chance, and bands behind the lines."""
    for place, line in enumerate(lines):
        if place % 2:
            axes.axhspan(place - 0.5, place + 0.5, color=style.BACKGROUND, alpha=0.5, linewidth=0)
        numbers = f"{counted(line.images, 'image')}, {counted(line.patients, 'patient')}"
        where = axes.get_yaxis_transform()
        axes.text(1 + style.GAP / _PLOT, place, numbers, transform=where, color=style.INK_QUIET, va="center")
    names = [fit_text(line.finding.replace("_", " "), style.BODY, _NAMES) for line in lines]
    axes.set_yticks(range(len(lines)), names, color=style.INK)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(max(1, len(lines)) - 0.5, -0.5)
    axes.axvline(0.5, color=style.INK_QUIET, linewidth=1)
    over = 1 + style.TIGHT / 2 / (max(1, len(lines)) * _LINE)
    axes.text(0.5, over, "chance", transform=axes.get_xaxis_transform(), color=style.INK_QUIET, ha="center")
    axes.set_xlim(_lowest(lines), 1)
    axes.set_xlabel("AUROC")


def _lowest(lines: Sequence[FindingLine]) -> float:
    """Where the scale begins: at 0.4, or at the tenth below the lowest value drawn."""
    ends = [end for line in lines for auroc, low, _ in line.points.values() for end in (auroc, low)]
    least = min((end for end in ends if not np.isnan(end)), default=0.4)
    return max(0.0, min(0.4, math.floor(10 * least) / 10))


def _draw_mark(axes: Axes, place: float, point: Point | None, number: int) -> None:
    if point is None or np.isnan(point[0]):
        return
    auroc, low, high = point
    colour, sure = style.CATEGORIES[number], not np.isnan(low)
    if sure:
        axes.plot([low, high], [place, place], color=colour, linewidth=1.5)
    face = colour if sure else style.PANEL
    # Not clipped: half a mark at the edge would look like another mark.
    axes.plot([auroc], [place], _MARKERS[number], color=colour, markerfacecolor=face, markersize=5.5, clip_on=False)
