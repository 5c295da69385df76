"""A search as a figure: the AUROC of its trials in their order, and against every value that was varied."""

from collections.abc import Sequence
from typing import Any

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image

from cxrsearch.encoder.tuning.space import Range, SearchSpace
from cxrsearch.encoder.tuning.trial import State, Trial, best_of, shown
from cxrsearch.report import style
from cxrsearch.report.typesetting import shorten

_COLUMNS = 4
_PANEL = (340, 300)
"""Width and height of what a value was varied over, axis included; the trials in their order go over the full width."""
_HEAD, _FOOT = 84, 40
_OPTIMISTIC = "Chosen by these validation images, so the best is optimistic: judge it on the test part"

_MARKERS: dict[State, tuple[str, str]] = {
    "complete": ("o", style.CATEGORIES[0]),
    "pruned": ("v", style.INK_QUIET),
    "failed": ("x", style.CATEGORIES[3]),
}
_BEST = style.CATEGORIES[2]


def study_plot(trials: Sequence[Trial], space: SearchSpace, *, title: str) -> Image.Image:
    """Draw a search, an RGB image; the same trials give the same pixels.

    Args:
        trials: the finished ones, by number.
        space: what was varied: a panel each.
        title: what the figure shows.
    """
    columns = min(_COLUMNS, len(space.entries))
    rows = 1 + -(-len(space.entries) // columns)
    width = max(3, columns) * _PANEL[0] + style.WIDE
    height = _HEAD + rows * _PANEL[1] + _FOOT
    with matplotlib.style.context(["default", style.FIGURE]):
        figure = Figure(figsize=(width / style.DPI, height / style.DPI), dpi=style.DPI)
        canvas: Any = FigureCanvasAgg(figure)  # its drawing has no types
        grid = figure.add_gridspec(
            rows,
            columns,
            left=72 / width,
            right=1 - style.WIDE / width,
            top=1 - _HEAD / height,
            bottom=(_FOOT + 56) / height,
            hspace=0.4,
            wspace=0.12,
        )
        order = figure.add_subplot(grid[0, :])
        _draw_order(order, trials)
        for i, name in enumerate(space.entries):
            panel = figure.add_subplot(grid[1 + i // columns, i % columns], sharey=order)
            _draw_values(panel, trials, space, name, first=i % columns == 0)
        _write_texts(figure, title, width, height)
        canvas.draw()
        return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def _write_texts(figure: Figure, title: str, width: int, height: int) -> None:
    left = style.WIDE / width
    fitting = _fitting(title, style.TITLE, width - 2 * style.WIDE)
    figure.text(left, 1 - style.GAP / height, fitting, fontsize=style.TITLE * style.POINT, va="top", parse_math=False)
    figure.text(left, style.GAP / height, f"{_OPTIMISTIC}. {style.DISCLAIMER}", color=style.INK_QUIET, va="bottom")


def _fitting(text: str, size: int, width: int) -> str:
    """The text in `width` pixels, its middle left out where it is longer; matplotlib's letters are wider than ours."""
    return shorten(text, size, int(0.75 * width))


def _draw_order(axes: Axes, trials: Sequence[Trial]) -> None:
    """The trials by number, and the highest AUROC so far."""
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
    """The trials by one of their values."""
    entry = space.entries[name]
    axes.set_title(name)
    axes.tick_params(labelleft=first)
    if isinstance(entry, Range):
        axes.set_xscale("log" if entry.log else "linear")
        axes.set_xlim(entry.low, entry.high)
        axes.margins(x=0.05)
        _draw_trials(axes, trials, [float(trial.values[name]) for trial in trials])
    else:
        room = _PANEL[0] // len(entry.values) - style.GAP
        labels = [_fitting(shown(value), style.BODY, room) for value in entry.values]
        axes.set_xticks(range(len(entry.values)), labels, parse_math=False)
        axes.set_xlim(-0.5, len(entry.values) - 0.5)
        _draw_trials(axes, trials, [float(entry.values.index(trial.values[name])) for trial in trials])


def _draw_trials(axes: Axes, trials: Sequence[Trial], x: Sequence[float]) -> None:
    """A mark each; a failed trial has no AUROC that counts, so its mark is at the bottom."""
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
