"""The figure of a search: the AUROC of its trials in order, and against every entry that was varied."""

from collections.abc import Sequence
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, StrMethodFormatter
from PIL import Image

from cxrsearch.report import style
from cxrsearch.report.drawing import Drawing, PixelFigure, fit_text
from cxrsearch.training.search._space import Range, SearchSpace
from cxrsearch.training.search.trial import State, Trial, best_of, shown

_COLUMNS = 4
_PANEL = (340, 300)
"""Width and height of the panel of one entry, axis included. The panel of all trials in order has the full width."""
_AXIS, _ABOVE, _BELOW = 40, 28, 44
"""Room for a panel's scale at its left, its heading above, and its values below."""
_OPTIMISTIC = "Chosen by these validation images, so the best is optimistic: evaluate it on the test part"

_MARKERS: dict[State, tuple[str, str]] = {
    "complete": ("o", style.CATEGORIES[0]),
    "pruned": ("v", style.INK_QUIET),
    "failed": ("x", style.CATEGORIES[3]),
}
_BEST = style.CATEGORIES[2]


def search_plot(trials: Sequence[Trial], space: SearchSpace, *, title: str) -> Image.Image:
    """Draw a search as an RGB image. The same trials give the same pixels.

    Args:
        trials: the finished trials, by number.
        space: the entries that were varied, one panel each.
        title: the figure's title.
    """
    columns = min(_COLUMNS, len(space.entries))
    rows = 1 + -(-len(space.entries) // columns)
    size = max(3, columns) * _PANEL[0] + style.WIDE, rows * _PANEL[1]
    return Drawing(size, title, (), (_OPTIMISTIC,), partial(_draw, trials, space, columns)).image()


def _draw(trials: Sequence[Trial], space: SearchSpace, columns: int, sheet: PixelFigure, top: int) -> None:
    """Draw the trials in order over the full width, and below them one panel per entry."""
    left, height = style.WIDE + _AXIS, _PANEL[1] - _ABOVE - _BELOW
    room = sheet.width - left - style.WIDE
    _draw_order(sheet.axes(left, top + _ABOVE, room, height), trials)
    for i, name in enumerate(space.entries):
        row, column = divmod(i, columns)
        place = left + column * (room + style.WIDE) / columns, top + (row + 1) * _PANEL[1] + _ABOVE
        panel = sheet.axes(*place, (room + style.WIDE) / columns - style.WIDE, height)
        panel.sharey(sheet.figure.axes[0])
        _draw_values(panel, trials, space, name, first=column == 0)


def _draw_order(axes: Axes, trials: Sequence[Trial]) -> None:
    """Draw the trials by number, and the highest AUROC so far."""
    axes.set_title("Mean validation AUROC by trial")
    _draw_trials(axes, trials, [float(trial.number) for trial in trials])
    complete = [trial for trial in trials if trial.state == "complete"]
    so_far = np.maximum.accumulate([trial.best or 0.0 for trial in complete]).tolist()
    axes.step([trial.number for trial in complete], so_far, where="post", color=_BEST, label="best so far", zorder=1)
    axes.set_xlim(-0.5, max(1, len(trials)) - 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.margins(y=0.12)
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=4, frameon=False, borderpad=0)


def _draw_values(axes: Axes, trials: Sequence[Trial], space: SearchSpace, name: str, *, first: bool) -> None:
    """Draw the AUROC of the trials against one entry."""
    entry = space.entries[name]
    axes.set_title(name)
    axes.tick_params(labelleft=first)
    if isinstance(entry, Range):
        axes.set_xscale("log" if entry.log else "linear")
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.set_xlim(entry.low, entry.high)
        axes.margins(x=0.05)
        _draw_trials(axes, trials, [float(trial.values[name]) for trial in trials])
    else:
        room = _PANEL[0] // len(entry.values) - style.GAP
        labels = [fit_text(shown(value), style.BODY, room) for value in entry.values]
        axes.set_xticks(range(len(entry.values)), labels, parse_math=False)
        axes.set_xlim(-0.5, len(entry.values) - 0.5)
        _draw_trials(axes, trials, [float(entry.values.index(trial.values[name])) for trial in trials])


def _draw_trials(axes: Axes, trials: Sequence[Trial], x: Sequence[float]) -> None:
    """Draw one mark per trial. A failed trial has no valid AUROC, so its mark is at the bottom."""
    for state, (marker, colour) in _MARKERS.items():
        failed = state == "failed"
        points = [
            (at, 0.04 if failed else trial.best)
            for at, trial in zip(x, trials, strict=True)
            if trial.state == state and (failed or trial.best is not None)
        ]
        if points:
            across, up = zip(*points, strict=True)
            system = axes.get_xaxis_transform() if failed else axes.transData
            mark = axes.scatter(across, up, s=36, marker=marker, color=colour, label=state, transform=system, zorder=2)
            mark.set_clip_on(False)
    if best := best_of(trials):
        i = trials.index(best)
        axes.scatter([x[i]], [best.best or 0.0], s=140, facecolors="none", edgecolors=_BEST, linewidths=2, zorder=3)
