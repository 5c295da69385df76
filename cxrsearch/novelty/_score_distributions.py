"""Draw the distributions of novelty scores among known and held-out images, one panel per score."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from PIL import Image

from cxrsearch.arrays import Flags, Floats
from cxrsearch.report import style
from cxrsearch.report.drawing import Drawing, PixelFigure, fit_text

_COLUMNS = 4
_PLOT = (276, 150)
_SCALE, _AXIS = 44, 28
"""Room for the shares at the right of a plot, and for the scores below it."""
_BINS = 20
_CLIP = 0.5, 99.5
"""Percentiles at which the axis of a score ends. Values beyond count in the outermost bins."""
_FEW = 10
"""A group with fewer images is drawn as ticks, because its histogram would be noise."""
_ROUND = (0.5, 0.2, 0.1, 0.05, 0.02, 0.01)
"""Shares that the horizontal line can mark."""
_NOT_COMPUTED, _CONSTANT = "not computed", "the same for every image"


@dataclass(frozen=True, eq=False)
class ScorePanel:
    """A score of n images.

    Attributes:
        name: the score's name.
        values: float64 (n,), higher is more novel, nan for images without a value; None if it could not be computed.
        caption: a line under the name, such as its AUROC.
    """

    name: str
    values: Floats | None
    caption: str


def histogram(values: Floats, group: Flags) -> tuple[Floats, Floats]:
    """The bins of a score, and the shares of a group's images in them.

    Args:
        values: (n,), at least one finite; nan is left out.
        group: bool (n,).

    Returns:
        The edges of 20 bins, (21,), the same for every group; and the share of the group's images in each, (20,), all
        0 for an empty group. Outliers are in the outermost bins.
    """
    low, high = np.percentile(values[np.isfinite(values)], _CLIP)
    if _constant(low, high):
        margin = max(0.5, 1e-6 * abs(low))
        low, high = low - margin, high + margin
    edges = np.linspace(low, high, _BINS + 1)
    inside = values[group & ~np.isnan(values)]
    counts = np.histogram(np.clip(inside, edges[0], edges[-1]), edges)[0]
    return edges, counts / max(1, len(inside))


def distributions(
    panels: Sequence[ScorePanel], groups: Mapping[str, Flags], *, title: str, note: str = ""
) -> Image.Image:
    """Draw the distribution of each score in each group, as an RGB image. The same values give the same pixels.

    Args:
        panels: the scores.
        groups: up to seven groups by name, bool (n,); the last one is the held-out finding. Fewer than ten images are
            drawn as ticks.
        title: the figure's title.
        note: a sentence under it, without a full stop.
    """
    return _drawing(title, panels, groups, note).image()


def save_distributions(
    path: Path, title: str, panels: Sequence[ScorePanel], groups: Mapping[str, Flags], note: str = ""
) -> None:
    """Write the figure of `distributions` as PNG or SVG, by the file's name, atomically.

    Raises:
        UsageError: the name ends in neither `.png` nor `.svg`.
        WriteError: the folder is missing or read-only, or the disk is full.
    """
    _drawing(title, panels, groups, note).save(path)


def _drawing(title: str, panels: Sequence[ScorePanel], groups: Mapping[str, Flags], note: str) -> Drawing:
    columns = min(_COLUMNS, max(3, len(panels)))  # fewer than three columns leave no room for the title
    head = style.line_height(style.HEADING) + style.line_height(style.BODY) + style.TIGHT // 2
    across, down = _PLOT[0] + _SCALE + style.TIGHT, head + _PLOT[1] + _AXIS + style.GAP

    def draw(sheet: PixelFigure, top: int) -> None:
        for i, panel in enumerate(panels):
            left, upper = style.WIDE + i % columns * across, top + i // columns * down
            sheet.text(left, upper, fit_text(panel.name, style.HEADING, _PLOT[0]), style.HEADING, style.INK)
            under = upper + style.line_height(style.HEADING)
            caption = fit_text(panel.caption, style.BODY, _PLOT[0] + _SCALE)
            sheet.text(left, under, caption, style.BODY, style.INK_QUIET)
            _draw_panel(sheet.axes(left, upper + head, *_PLOT), panel.values, groups)

    legend = [Line2D([], [], color=colour, label=name, linewidth=2) for name, colour in _colours(groups).items()]
    size = 2 * style.WIDE - style.TIGHT + columns * across, -(-len(panels) // columns) * down - style.GAP
    return Drawing(size, title, legend, _notes(panels, groups, note), draw)


def _notes(panels: Sequence[ScorePanel], groups: Mapping[str, Flags], note: str) -> list[str]:
    notes = ["Share of a group's images by score, higher is more novel"]
    computed = [panel.values for panel in panels if panel.values is not None and _computed(panel.values)]
    beyond = max(map(_beyond, computed), default=0)
    if beyond:
        notes.append(
            f"An axis ends at the percentiles {_CLIP[0]} and {_CLIP[1]}; beyond it, and counted in the outermost bins, "
            f"are at most {beyond:,} of {len(computed[0]):,} images of a score"
        )
    if any(0 < group.sum() < _FEW for group in groups.values()):
        notes.append(f"Of a group of under {_FEW} images, each is a tick")
    return [*notes, note] if note else notes


def _beyond(values: Floats) -> int:
    """The number of images outside the axis of a score."""
    low, high = np.percentile(values[np.isfinite(values)], _CLIP)
    return int(((values < low) | (values > high)).sum())


def _computed(values: Floats) -> bool:
    return bool(np.isfinite(values).any())


def _constant(low: float, high: float) -> bool:
    return bool(high - low <= 1e-12 * max(abs(low), abs(high)))


def _colours(groups: Mapping[str, Flags]) -> dict[str, str]:
    """The colours of the groups; the last one, the held-out finding, has the accent colour."""
    names = list(groups)
    return dict(zip(names, [*style.CATEGORIES[: len(names) - 1], style.ACCENT], strict=True))


def _draw_panel(axes: Axes, values: Floats | None, groups: Mapping[str, Flags]) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    if values is None or not _computed(values):
        _say(axes, _NOT_COMPUTED)
    elif np.nanmin(values) == np.nanmax(values):
        _say(axes, f"{_CONSTANT}: {values[np.isfinite(values)][0]:.4g}")
    else:
        _draw_groups(axes, values, groups)


def _say(axes: Axes, text: str) -> None:
    axes.text(0.5, 0.5, text, transform=axes.transAxes, color=style.INK_QUIET, ha="center", va="center")


def _draw_groups(axes: Axes, values: Floats, groups: Mapping[str, Flags]) -> None:
    """Draw a histogram or ticks for each group, the last one on top."""
    most, edges = 0.0, histogram(values, np.zeros(len(values), dtype=np.bool_))[0]
    for place, (name, colour) in enumerate(_colours(groups).items()):
        group = groups[name] & ~np.isnan(values)
        last = place == len(groups) - 1
        if group.sum() < _FEW:
            inside = np.clip(values[group], edges[0], edges[-1])
            height = np.full(len(inside), 0.06 + 0.12 * place)  # one height per group, so that ticks stay apart
            axes.plot(inside, height, "|", color=colour, markersize=12, mew=2, transform=axes.get_xaxis_transform())
            continue
        shares = histogram(values, group)[1]
        most = max(most, float(shares.max()))
        axes.stairs(shares, edges, color=colour, linewidth=2.2 if last else 1.5)
        if not last:
            axes.stairs(shares, edges, color=colour, alpha=0.12, fill=True)
    _draw_scales(axes, edges, most)


def _draw_scales(axes: Axes, edges: Floats, most: float) -> None:
    """Draw the scores under the plot, and one round share at its right."""
    margin = 0.02 * (edges[-1] - edges[0])
    axes.set_xlim(edges[0] - margin, edges[-1] + margin)
    ticks = [
        tick
        for tick in MaxNLocator(3, steps=[1, 2, 5, 10]).tick_values(edges[0], edges[-1])
        if edges[0] <= tick <= edges[-1]
    ]
    axes.set_xticks(ticks, _labels(ticks))
    axes.set_ylim(0, 1.08 * most or 1)
    axes.yaxis.tick_right()
    if most:
        marked = next((share for share in _ROUND if share <= most), most)
        axes.set_yticks([marked], [f"{marked:.0%}"])
        axes.axhline(marked, color=style.LINE, linewidth=1, zorder=0)


def _labels(ticks: Sequence[float]) -> list[str]:
    """Evenly spaced numbers as text with as few digits as possible; large or small ones have an exponent."""
    largest = max(map(abs, ticks), default=0.0)
    kind = "f" if 1e-3 <= largest < 1e6 else "e"
    labels: list[str] = []
    for digits in range(16):
        labels = [f"{tick:.{digits}{kind}}" for tick in ticks]
        if np.allclose([float(label) for label in labels], ticks, rtol=1e-9, atol=1e-9 * largest):
            break
    return [_plain(label) for label in labels]


def _plain(number: str) -> str:
    """A number as text with a typographic minus sign and no zeros in its exponent; zero is `0`."""
    if float(number) == 0:
        return "0"
    return re.sub(r"e([+-])0*(\d+)", lambda e: f"e{e[1].strip('+')}{e[2]}", number).replace("-", "−")
