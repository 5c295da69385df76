"""Learning curves: losses and validation AUROC, one point per epoch."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from PIL import Image

from cxrsearch.report import style
from cxrsearch.report.drawing import Drawing, PixelFigure

_PLOT = (440, 260)
_AXIS, _ABOVE, _BELOW = 56, 28, 80
"""Room for a plot's scale at its left, its heading above, and epochs and names below."""


def learning_curves(panels: Mapping[str, Mapping[str, Sequence[float | None]]], *, title: str) -> Image.Image:
    """Draw panels side by side as an RGB image. The same values give the same pixels.

    Args:
        panels: series by name, in panels by heading. A series has one value per epoch, counted from 1; None: no value.
        title: the figure's title.
    """
    pitch = _PLOT[0] + _AXIS + style.WIDE
    size = len(panels) * pitch + style.WIDE, _ABOVE + _PLOT[1] + _BELOW

    def draw(sheet: PixelFigure, top: int) -> None:
        for i, (heading, series) in enumerate(panels.items()):
            axes = sheet.axes(style.WIDE + _AXIS + i * pitch, top + _ABOVE, *_PLOT)
            axes.set_title(heading)
            _draw_series(axes, series)

    return Drawing(size, title, (), (), draw).image()


def _draw_series(axes: Axes, series: Mapping[str, Sequence[float | None]]) -> None:
    for (name, line), colour in zip(series.items(), style.CATEGORIES, strict=False):
        known = [(epoch, value) for epoch, value in enumerate(line, 1) if value is not None]
        axes.plot(
            [epoch for epoch, _ in known],
            [value for _, value in known],
            "o-",
            color=colour,
            ms=5,
            label=name,
            clip_on=False,
        )
    epochs = max(map(len, series.values()), default=0)
    axes.spines[:].set_zorder(1)
    axes.set_xlim(1, max(2, epochs))
    axes.margins(y=0.02)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.legend(
        loc="upper left",
        bbox_to_anchor=(0, -50 / _PLOT[1]),
        ncols=len(series),
        labelcolor="linecolor",
        frameon=False,
        borderpad=0,
        borderaxespad=0,
    )
