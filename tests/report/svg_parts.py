"""What is drawn in an SVG of matplotlib, in pixels of the house."""

import re

import numpy as np
from numpy.typing import NDArray

from cxrsearch.report import style

_PATH = re.compile(r'<path d="([^"]*)"[^>]*style="([^"]*)"')
_USE = re.compile(r'<use xlink:href="#m[^"]*" x="([^"]*)" y="([^"]*)" style="([^"]*)"')
_DATA = re.compile(r"[ML] (\S+) (\S+)")


def texts(svg: str) -> list[str]:
    """Every line of text, in the order of drawing."""
    return re.findall(r"<!-- (.*?) -->", svg)


def boxes(svg: str) -> list[tuple[float, float, float, float]]:
    """Left, top, right and bottom of the panels, in the order of drawing."""
    found = [_points(data) for data, look in _PATH.findall(svg) if look == f"fill: {style.PANEL}"]
    return [(*points.min(axis=0), *points.max(axis=0)) for points in found]


def lines(svg: str, colour: str, width: float) -> list[NDArray[np.float64]]:
    """The corners, (n, 2), of each line of a colour and a width."""
    found = [(data, dict(re.findall(r"([a-z-]+): ([^;]+)", look))) for data, look in _PATH.findall(svg)]
    return [
        _points(data)
        for data, look in found
        if look.get("stroke") == colour and float(look.get("stroke-width", 1)) == width  # 1 is left out
    ]


def marks(svg: str, colour: str) -> list[tuple[float, float, bool]]:
    """The place of each mark with an edge of a colour, and whether it is filled with it."""
    found = [(x, y, look) for x, y, look in _USE.findall(svg) if f"stroke: {colour}" in look]
    return [(float(x) / style.POINT, float(y) / style.POINT, f"fill: {colour}" in look) for x, y, look in found]


def _points(data: str) -> NDArray[np.float64]:
    return np.array(_DATA.findall(data), dtype=np.float64) / style.POINT
