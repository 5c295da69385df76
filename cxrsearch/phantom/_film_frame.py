"""The coordinates of a film, and the few ways of drawing on it.

Anatomy is in centimetres. x grows to the right of the image (the patient's left), and y grows downwards. The origin is
the midline at the height of the apices of the lungs. A `FilmFrame` converts this to the pixels of one film.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

Map = NDArray[np.float32]
"""One value per pixel, float32 (size, size)."""

Points = NDArray[np.float64]
"""Places in centimetres, float64 (n, 2)."""

Stroke = tuple[Points, float, float]
"""A line: its points, its width in cm, and its level from 0 to 1. Width 0 means the outline of a filled shape."""

_DRAWN_SIDE = 256
_SMOOTH_SIDE = 128
_WIDE_BLUR = 0.3


@dataclass(frozen=True)
class FilmFrame:
    """The position of a patient on one square film.

    Attributes:
        size: side of the film, in pixels.
        width: what the film covers from left to right, in cm.
        height: what the film covers from top to bottom, in cm.
        origin: the anatomical origin on the film, in cm from the top left corner.
        angle: how far the patient leans, in radians.
    """

    size: int
    width: float
    height: float
    origin: tuple[float, float]
    angle: float

    @cached_property
    def _scale(self) -> NDArray[np.float64]:
        return self.size / np.array([self.width, self.height])

    @cached_property
    def _turn(self) -> NDArray[np.float64]:
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        return np.array([[cos, sin], [-sin, cos]])

    def pixels(self, points: Points) -> NDArray[np.float64]:
        """Pixel coordinates (n, 2) of points in cm."""
        placed: NDArray[np.float64] = (points @ self._turn + self.origin) * self._scale
        return placed

    def centimetres(self, side: int) -> tuple[Map, Map]:
        """x and y in cm at the centres of a side x side raster over the film."""
        steps = (np.arange(side) + 0.5) / side
        x = steps[None, :] * self.width - self.origin[0]
        y = steps[:, None] * self.height - self.origin[1]
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        return (x * cos + y * sin).astype(np.float32), (y * cos - x * sin).astype(np.float32)

    @cached_property
    def grid(self) -> tuple[Map, Map]:
        """x and y in cm of every pixel."""
        return self.centimetres(self.size)

    @cached_property
    def coarse_grid(self) -> tuple[Map, Map]:
        """x and y in cm on the coarse raster that `smooth` expects."""
        return self.centimetres(min(_SMOOTH_SIDE, self.size))

    def smooth(self, coarse: Map) -> Map:
        """Interpolate a slowly varying layer, computed on `coarse_grid`, to every pixel."""
        if coarse.shape[0] == self.size:
            return coarse
        image = Image.fromarray(coarse).resize((self.size, self.size), Image.Resampling.BILINEAR)
        return np.asarray(image, dtype=np.float32)

    def fill(self, outlines: Iterable[Points], blur: float = 0.05) -> Map:
        """Draw 1 inside any of the outlines and 0 outside; edges are blurred with a standard deviation of `blur` cm."""
        return self.stroke([(points, 0.0, 1.0) for points in outlines], blur)

    def stroke(self, strokes: Sequence[Stroke], blur: float = 0.05) -> Map:
        """Draw lines and shapes, each with its level, blurred by `blur` cm; where they cross, the last one counts."""
        # A coarse raster is enough for a wide blur. Sharp, thin lines need a fine one, even on small films.
        side = _SMOOTH_SIDE if blur >= _WIDE_BLUR else max(self.size, _DRAWN_SIDE)
        zoom, cm = side / self.size, side / self.width
        image = Image.new("L", (side, side))
        pen = ImageDraw.Draw(image)
        flat = self._flat([points for points, *_ in strokes], zoom)
        for places, (_, width, level) in zip(flat, strokes, strict=True):
            if width:
                level *= min(1.0, width * cm)  # a line thinner than a pixel is drawn as a fainter one
                pen.line(places, fill=round(255 * level), width=max(1, round(width * cm)), joint="curve")
            else:
                pen.polygon(places, fill=round(255 * level))
        image = image.filter(_blur(blur * cm))
        if side != self.size:
            image = image.resize((self.size, self.size), Image.Resampling.BILINEAR)
        return np.asarray(image, dtype=np.float32) * np.float32(1 / 255)

    def _flat(self, lines: Sequence[Points], zoom: float) -> Iterator[list[float]]:
        """Each line's coordinates on the raster, x and y in turn; converted all at once, since there are hundreds."""
        flat = (self.pixels(np.concatenate(lines)) * zoom).ravel().tolist()
        ends = itertools.accumulate(2 * len(line) for line in lines)
        return (flat[end - 2 * len(line) : end] for end, line in zip(ends, lines, strict=True))


def _blur(deviation: float) -> ImageFilter.Filter:
    """A Gaussian blur if it is wide enough to show, else a box of the same variance, which takes half the time."""
    if deviation > 2:
        return ImageFilter.GaussianBlur(deviation)
    return ImageFilter.BoxBlur(max((12**0.5 * deviation - 1) / 2, 0.5))


def curve(knots: Sequence[tuple[float, float]], *, closed: bool = False, steps: int = 8) -> Points:
    """A smooth line through the knots (Catmull and Rom 1974), with `steps` points from each knot to the next."""
    p = np.asarray(knots, dtype=np.float64)
    p = np.vstack([p[-1:], p, p[:2]]) if closed else np.vstack([2 * p[:1] - p[1:2], p, 2 * p[-1:] - p[-2:-1]])
    t = np.linspace(0, 1, steps, endpoint=False)[None, :, None]
    a, b, c, d = (p[i : len(p) - 3 + i, None, :] for i in range(4))
    pieces = b + t * (c - a) / 2 + t**2 * (a - 2.5 * b + 2 * c - d / 2) + t**3 * (1.5 * (b - c) + (d - a) / 2)
    points: Points = pieces.reshape(-1, 2)
    return points if closed else np.vstack([points, p[-2:-1]])


def move(points: Points, x: float, y: float = 0.0) -> Points:
    """Shift points by x and y, in cm."""
    shifted: Points = points + np.array([x, y])
    return shifted


def ellipse(x: float, y: float, rx: float, ry: float, turn: float = 0.0) -> Points:
    """The outline of an ellipse with radii in cm, turned by `turn` radians."""
    t = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    u, v = rx * np.cos(t), ry * np.sin(t)
    return np.stack([x + u * np.cos(turn) - v * np.sin(turn), y + u * np.sin(turn) + v * np.cos(turn)], axis=1)
