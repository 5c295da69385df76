"""The vessels of the lungs: trees that start at the hila and get thinner towards the chest wall."""

import numpy as np
from numpy.typing import NDArray

from cxrsearch.phantom._anatomy import SIDES, Anatomy
from cxrsearch.phantom._film_frame import FilmFrame, Map, Points, Stroke

_TRUNKS = np.array([-1.3, -0.85, -0.3, 0.25, 0.65, 0.95, 1.15, 1.4])
"""The directions of the first branches, in radians below the horizontal."""


def draw_vessels(frame: FilmFrame, anatomy: Anatomy, rng: np.random.Generator) -> Map:
    """Draw how much of the beam vessels absorb, 0 to 1, float32 (size, size); not yet confined to the lungs."""
    strokes: list[Stroke] = []
    for side in SIDES:
        heading = _TRUNKS + rng.normal(0, 0.1, len(_TRUNKS))
        at = np.array(anatomy.hilum(side)) + rng.normal(0, 0.5, (len(heading), 2))
        strokes += tree(at, heading, side, rng)
    strokes.sort(key=lambda stroke: stroke[1])  # where strokes cross, the last one counts: the thickest
    return frame.stroke(strokes, 0.07)


def tree(
    at: Points, heading: NDArray[np.float64], side: int, rng: np.random.Generator, generations: int = 6
) -> list[Stroke]:
    """Grow branches from places and headings (radians below the horizontal); generations start at the previous tips."""
    width, length, level = 0.56, 2.6, 0.8
    strokes: list[Stroke] = []
    for _ in range(generations):
        reach = length * rng.uniform(0.7, 1.3, len(heading)) * np.where(heading > 0.9, 1.15, 1.0)
        step = np.stack([side * np.cos(heading), np.sin(heading)], axis=1) * reach[:, None]
        bow = rng.normal(0, 0.13, (len(heading), 1)) * step[:, ::-1] * [1, -1]
        lines = np.stack([at, at + step / 2 + bow, at + step], axis=1)
        strokes += [(line, width, level) for line in lines]
        at = np.repeat(at + step, 2, axis=0)
        spread = np.tile([-1.0, 1.0], len(heading)) * rng.uniform(0.1, 0.55, 2 * len(heading))
        heading = np.repeat(heading, 2) + spread
        if len(heading) > 100:  # from here on branches are haze, which the eye cannot count
            keep = rng.random(len(heading)) < 0.6
            at, heading = at[keep], heading[keep]
        width, length, level = width * 0.68, length * 0.9, level * 0.8
    return strokes
