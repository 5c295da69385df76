"""The plots of an evaluation, as SVG for print: ROC and calibration of a finding, fractions of the bank, strata."""

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from cxrsearch.analysis.evaluation.fractions import FractionCurve
from cxrsearch.analysis.measures.bootstrap import MeanInterval
from cxrsearch.analysis.measures.roc import GRID, RocCurve
from cxrsearch.arrays import Floats
from cxrsearch.report import style

_PIXEL = 1 / 100
"""A pixel of `style`, in inches."""
_POINT = 72 * _PIXEL
_PANEL = (240, 240)
_WIDE = (760, 360)
_MARKERS = "osD^vP"
BEFORE, AFTER, LINE = style.PAPER_CATEGORIES[1], style.PAPER_CATEGORIES[0], style.PAPER_CATEGORIES[0]

_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": style.BODY * _POINT,
    "text.color": style.PAPER_INK,
    "text.parse_math": False,
    "figure.facecolor": style.PAPER,
    "axes.facecolor": style.PAPER_PANEL,
    "axes.edgecolor": style.PAPER_LINE,
    "axes.labelcolor": style.PAPER_INK_QUIET,
    "xtick.color": style.PAPER_INK_QUIET,
    "ytick.color": style.PAPER_INK_QUIET,
    "legend.labelcolor": style.PAPER_INK,
    "figure.constrained_layout.use": True,
    "svg.hashsalt": "cxrsearch",
}


def roc_chart(curve: RocCurve) -> str:
    """Draw one finding's ROC curve with its band, as a data URI. The same curve gives the same text."""

    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=style.PAPER_INK_QUIET, linewidth=0.8, linestyle=":")
        if not np.isnan(curve.low).any():
            axes.fill_between(GRID, curve.low, curve.high, color=LINE, alpha=0.25, linewidth=0)
        axes.plot(GRID, curve.tpr, color=LINE, linewidth=1.6)
        axes.set(xlabel="1 − specificity", ylabel="sensitivity", xlim=(0, 1), ylim=(0, 1.01))
        axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
        axes.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])

    return _svg(_PANEL, draw)


def calibration_chart(before: tuple[Floats, Floats] | None, after: tuple[Floats, Floats] | None) -> str:
    """Draw one finding's mean probability and share of positives by bin, before and after calibration.

    The pairs come from `reliability`. Returns a data URI.
    """
    kinds = [(pair, colour, marker) for pair, colour, marker in ((before, BEFORE, "s"), (after, AFTER, "o")) if pair]
    most = min(1.0, 1.08 * max((float(np.max(pair)) for pair, *_ in kinds), default=1.0) + 1e-3)

    def draw(axes: Axes) -> None:
        axes.plot([0, most], [0, most], color=style.PAPER_INK_QUIET, linewidth=0.8, linestyle=":")
        for pair, colour, marker in kinds:
            axes.plot(*pair, color=colour, marker=marker, markersize=4, linewidth=1)
        axes.set(xlabel="predicted", ylabel="observed", xlim=(0, most), ylim=(-0.02 * most, most))
        axes.locator_params(nbins=3)

    return _svg(_PANEL, draw)


def fraction_chart(curve: FractionCurve) -> str:
    """Draw the mean AUROC by fraction: the mean and the range of the draws. Returns a data URI."""

    def draw(axes: Axes) -> None:
        share, order = 100 * curve.fractions, np.argsort(curve.fractions)
        mean, low, high = curve.mean.mean(axis=1), curve.mean.min(axis=1), curve.mean.max(axis=1)
        axes.fill_between(share[order], low[order], high[order], color=LINE, alpha=0.25, linewidth=0)
        axes.plot(share[order], mean[order], color=LINE, marker="o", linewidth=1.6)
        axes.set_xscale("log")
        axes.set_xticks(share[order], [f"{value:g}%" for value in share[order]])
        axes.minorticks_off()
        axes.set(xlabel="share of the training patients that may vote", ylabel="mean AUROC")
        axes.grid(axis="y", color=style.PAPER_LINE, linewidth=0.6)

    return _svg(_WIDE, draw)


def strata_chart(strata: Sequence[str], means: Mapping[str, Sequence[MeanInterval]]) -> str:
    """Draw the mean AUROC of up to six models in each stratum, with 95% intervals. Returns a data URI.

    Args:
        strata: names, from top to bottom.
        means: by model, one interval per stratum.
    """
    models = list(means.items())[: len(_MARKERS)]

    def draw(axes: Axes) -> None:
        for i, (model, values) in enumerate(models):
            colour, marker = style.PAPER_CATEGORIES[i], _MARKERS[i]
            rows = np.arange(len(strata)) + 0.7 * ((i + 0.5) / len(models) - 0.5)
            axes.hlines(rows, [v.low for v in values], [v.high for v in values], color=colour, linewidth=1.2)
            points = [v.point for v in values]
            axes.plot(points, rows, color=colour, marker=marker, markersize=5, linestyle="none", label=model)
        axes.axvline(0.5, color=style.PAPER_INK_QUIET, linewidth=0.8, linestyle=":")
        axes.set_yticks(range(len(strata)), list(strata))
        axes.set_ylim(len(strata) - 0.5, -0.5)
        axes.set_xlabel("mean AUROC")
        axes.figure.legend(loc="outside upper left", ncols=3, frameon=False)

    height = 90 + len(strata) * max(32, 11 * len(models))
    return _svg((_WIDE[0], height), draw)


def _svg(size: tuple[int, int], draw: Callable[[Axes], None]) -> str:
    """The drawing as the data URI of an SVG, without date and version, so that equal plots are equal bytes."""
    with matplotlib.style.context(["default", _STYLE]):
        figure = Figure(figsize=(size[0] * _PIXEL, size[1] * _PIXEL))
        FigureCanvasAgg(figure)
        draw(figure.add_subplot())
        file = io.BytesIO()
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    return f"data:image/svg+xml;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"
