"""Learning curves: losses and validation AUROC, an epoch a point."""

from collections.abc import Mapping, Sequence

from PIL import Image, ImageDraw

from cxrsearch.report import style
from cxrsearch.report.typesetting import shorten

_PLOT = (440, 260)
_AXIS = 56
_Point = tuple[float, float]


def learning_curves(panels: Mapping[str, Mapping[str, Sequence[float | None]]], *, title: str) -> Image.Image:
    """Draw panels side by side, an RGB image; the same values give the same pixels.

    Args:
        panels: by their heading, the series by their name: a value an epoch, counted from 1, None where there is none.
        title: what the figure shows.
    """
    width = len(panels) * (_PLOT[0] + _AXIS + style.WIDE) + style.WIDE
    top = style.GAP + style.line_height(style.TITLE) + style.GAP
    height = top + style.line_height(style.HEADING) + _PLOT[1] + 3 * style.line_height(style.BODY) + style.WIDE
    image = Image.new("RGB", (width, height), style.BACKGROUND)
    draw = ImageDraw.Draw(image)
    fitting = shorten(title, style.TITLE, width - 2 * style.WIDE)
    draw.text((style.WIDE, style.GAP), fitting, style.INK, style.font(style.TITLE))
    for i, (heading, series) in enumerate(panels.items()):
        left = style.WIDE + _AXIS + i * (_PLOT[0] + _AXIS + style.WIDE)
        draw.text((left, top), heading, style.INK, style.font(style.HEADING))
        _draw_panel(draw, left, top + style.line_height(style.HEADING), series)
    bottom = height - style.GAP - style.line_height(style.BODY)
    draw.text((style.WIDE, bottom), style.DISCLAIMER, style.INK_QUIET, style.font(style.BODY))
    return image


def _draw_panel(draw: ImageDraw.ImageDraw, left: int, top: int, series: Mapping[str, Sequence[float | None]]) -> None:
    width, height = _PLOT
    draw.rectangle((left, top, left + width, top + height), style.PANEL, style.LINE)
    values = [value for line in series.values() for value in line if value is not None]
    epochs = max(map(len, series.values()), default=0)
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    span = high - low or 1.0
    font = style.font(style.BODY)
    for value, y in ((high, top), (low, top + height)):
        draw.text((left - style.TIGHT, y), f"{value:.3f}", style.INK_QUIET, font, anchor="rm")
    under = top + height + style.TIGHT
    draw.text((left, under), "epoch 1", style.INK_QUIET, font)
    draw.text((left + width, under), str(epochs), style.INK_QUIET, font, anchor="ra")
    x = float(left)
    for (name, line), colour in zip(series.items(), style.CATEGORIES, strict=False):
        points = [
            (left + width * i / max(1, epochs - 1), top + height * (high - value) / span)
            for i, value in enumerate(line)
            if value is not None
        ]
        _draw_line(draw, points, colour)
        draw.text((x, under + style.line_height(style.BODY)), name, colour, font)
        x += font.getlength(name) + style.GAP


def _draw_line(draw: ImageDraw.ImageDraw, points: Sequence[_Point], colour: str) -> None:
    draw.line([xy for point in points for xy in point], colour, 2)
    for x, y in points:
        draw.ellipse((x - 3, y - 3, x + 3, y + 3), colour)
