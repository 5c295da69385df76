"""The skeleton of a chest: ribs, spine, clavicles, scapulae and arms, as a frontal film shows them.

Each rib is an ellipse around the chest, tilted forwards and seen from the front. That alone gives the crossing arcs of
the posterior and the anterior ribs.
"""

import numpy as np
from numpy.typing import NDArray

from cxrsearch.phantom._anatomy import SIDES, Anatomy
from cxrsearch.phantom._film_frame import FilmFrame, Map, Points, Stroke, curve, ellipse, move

_POSTERIOR = np.linspace(0.12, 1.7, 18)
_ANTERIOR = np.linspace(1.65, 2.5, 12)
_RIBS = 12
_CHEST_DEPTH = 8.5


def draw_bones(frame: FilmFrame, anatomy: Anatomy) -> Map:
    """Draw the bones, in cm of soft tissue that would weaken the beam as much; float32 (size, size)."""
    return _ribs(frame, anatomy) + _spine(frame, anatomy) + _shoulders(frame, anatomy)


def rib(anatomy: Anatomy, number: int, angles: NDArray[np.float64]) -> Points:
    """The midline of a left rib at angles around the chest, in radians: 0 at the spine, pi at the breast bone."""
    start = anatomy.rib_level + anatomy.rib_pitch * number
    fall = anatomy.rib_slope * (0.55 + 0.45 * min(number / 4, 1.0)) * _CHEST_DEPTH
    reach = float(anatomy.wall(np.array(max(start + fall, 1.2)))) + 0.25
    x = 1.2 + (reach - 1.2) * np.sin(angles)
    y = start + fall * (1 - np.cos(angles)) - 0.5 * np.sin(angles * 1.3)
    return np.stack([x, y], axis=1)


def _band(midline: Points, half_height: NDArray[np.float64]) -> tuple[Points, Points]:
    """The two edges of a band around a line, each at `half_height` cm from it."""
    along = np.gradient(midline, axis=0)
    across = np.stack([-along[:, 1], along[:, 0]], axis=1) / np.linalg.norm(along, axis=1, keepdims=True)
    return midline + across * half_height[:, None], midline - across * half_height[:, None]


def _ribs(frame: FilmFrame, anatomy: Anatomy) -> Map:
    behind = frame.stroke(_rib_strokes(anatomy, _POSTERIOR, _RIBS, 0.68), 0.07)
    before = frame.stroke(_rib_strokes(anatomy, _ANTERIOR, 8, 0.75), 0.07)
    x = np.abs(frame.coarse_grid[0]) * np.float32(1 / anatomy.half_width)
    weight = np.clip(5 * x - 0.45, 0.05, 1) * np.clip(
        5.2 - 4.6 * x, 0.55, 1
    )  # less in front of the spine and at the wall
    return (np.float32(1.35) * behind + np.float32(0.75) * before) * frame.smooth(weight)


def _rib_strokes(anatomy: Anatomy, angles: NDArray[np.float64], count: int, thick: float) -> list[Stroke]:
    """The filled shape of each rib, and its two edges of denser bone."""
    half = thick * (0.45 + 0.55 * np.abs(np.cos(angles)))
    strokes: list[Stroke] = []
    for number in range(count):
        part = angles < 1.35 if number > 8 else angles > 0  # the lowest ribs end before they turn forwards
        thickness = half[part] * (0.75 if number == 0 else 1.0)
        upper, lower = _band(rib(anatomy, number, angles[part]), thickness)
        left = [(np.concatenate([upper, lower[::-1]]), 0.0, 0.52), (upper, 0.14, 0.85), (lower, 0.14, 1.0)]
        strokes += left + [(points * [-1, 1], width, level) for points, width, level in left]
    return strokes


def _spine(frame: FilmFrame, anatomy: Anatomy) -> Map:
    strokes: list[Stroke] = []
    for y in np.arange(-12.0, 34.0, 2.35) + anatomy.rib_level % 1:
        x, wide = anatomy.bend * np.sin((y + 6) / 9), 1.45 + 0.016 * (y + 10)
        upper = [(-wide, -0.95), (0, -0.85), (wide, -0.95), (wide * 0.86, 0)]
        body = move(curve(upper + [(-dx, -dy) for dx, dy in upper], closed=True, steps=3), x, y)
        strokes += [(body, 0.0, 0.5), (body[:7], 0.16, 0.75), (body[12:19], 0.16, 0.75)]
        strokes += [(ellipse(x + side, y - 0.2, 0.3, 0.42), 0.0, 0.85) for side in SIDES]
        strokes.append((ellipse(x, y + 0.7, 0.25, 0.6), 0.0, 0.85))
    return frame.stroke(strokes, 0.12) * np.float32(1.8)


def _shoulders(frame: FilmFrame, anatomy: Anatomy) -> Map:
    strokes: list[Stroke] = []
    for side in SIDES:
        blade, collar = _scapula(anatomy, side), _clavicle(anatomy, side)
        swing = 5 * anatomy.arm
        shaft = np.array([[17.3, 4.6], [20.4, 4.2], [22.0 + swing, 20.0], [20.2 + swing, 20.3]]) * [side, 1]
        head = ellipse(side * 18.6, 3.4, 2.4, 2.6)
        strokes += [(blade, 0.0, 0.3), (np.vstack([blade, blade[:1]]), 0.25, 0.5), (head, 0.0, 0.5), (shaft, 0.0, 0.4)]
        strokes += [(collar, 0.0, 0.6), (np.vstack([collar, collar[:1]]), 0.2, 0.85)]
    return frame.stroke(strokes, 0.12) * np.float32(2.4)


def _clavicle(anatomy: Anatomy, side: int) -> Points:
    rise = anatomy.clavicle_rise
    knots = [
        (1.5, 4.6),
        (3.2, 4.0),
        (6.5, 2.6 - 0.3 * rise),
        (10.5, 1.7 - 0.6 * rise),
        (14.0, 1.3 - 0.8 * rise),
        (17.4, 1.7 - 0.8 * rise),
    ]
    midline = move(curve(knots) * [side, 1], 0.6 * anatomy.pull)
    half = np.interp(np.linspace(0, 1, len(midline)), [0, 0.12, 0.5, 1], [0.95, 0.62, 0.5, 0.6])
    upper, lower = _band(midline, half)
    return np.concatenate([upper, lower[::-1]])


def _scapula(anatomy: Anatomy, side: int) -> Points:
    inner = float(anatomy.wall(np.array(7.0))) + anatomy.scapula
    border = [(inner + 1.0, 1.6), (inner - 0.2, 5.0), (inner + 0.2, 10.5), (inner + 1.2, 13.0)]
    outer = [(inner + 2.4, 10.0), (16.8, 3.4), (15.4, 0.6)]
    return curve([*border, *outer], closed=True) * [side, 1]
