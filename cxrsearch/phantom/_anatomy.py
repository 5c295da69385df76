"""A chest in centimetres: its measures, and the outlines that follow from them.

`side` is -1 for the patient's right (the left of the image) and +1 for the left. The proportions are those of an
adult's frontal film: a thorax about 27 cm wide, a heart a little under half as wide, and a right dome that is higher
because of the liver.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxrsearch.phantom._film_frame import Points, curve, ellipse, move

SIDES = (-1, 1)
MIDLINE_GAP = 2.3
"""Half of the least width that the mediastinum takes from the lungs, in cm."""

Values = NDArray[np.floating]


@dataclass(frozen=True)
class Anatomy:
    """The measures of one chest on one film; lengths are in cm.

    Attributes:
        half_width: from the midline to the inner chest wall at its widest.
        length: from the apices to the right dome.
        dome_depth: from the top of a dome down to the costophrenic angle.
        raised: how far the right and the left dome stand above their usual height.
        depth: of the body, from front to back.
        flank: thickness of the soft tissue outside the ribs.
        heart_width: from the right atrium to the apex.
        heart_turn: share of the heart's width right of the midline.
        knob: radius of the aortic knob.
        mediastinum: half the width of the upper mediastinum.
        pull: how far heart and trachea are pulled to the patient's left (rotation or lost volume).
        bend: sideways bow of the spine.
        rib_slope: how far ribs fall from back to front, per cm of depth.
        rib_pitch: distance between ribs at the spine.
        rib_level: height of the first rib at the spine.
        clavicle_rise: how much higher the outer end of a clavicle stands.
        scapula: distance of the inner edge of the scapulae from the chest wall, outwards.
        arm: how far the arms are held from the body, 0 to 1.
        breast: radius of the breast shadows, 0 for none.
        bubble: radius of the gas in the stomach, 0 for none.
    """

    half_width: float
    length: float
    dome_depth: float
    raised: tuple[float, float]
    depth: float
    flank: float
    heart_width: float
    heart_turn: float
    knob: float
    mediastinum: float
    pull: float
    bend: float
    rib_slope: float
    rib_pitch: float
    rib_level: float
    clavicle_rise: float
    scapula: float
    arm: float
    breast: float
    bubble: float

    def wall(self, y: Values) -> Values:
        """Half the width inside the ribs at heights y, in cm."""
        down = np.clip(np.asarray(y) / (0.85 * self.length), 0.0, 1.0)
        narrowing = 1 - 0.015 * np.clip(np.asarray(y) - self.length, 0, 8)
        width: Values = self.half_width * narrowing * (1 - (1 - down) ** 2.2) ** 0.5
        return width

    def dome(self, side: int) -> tuple[float, float]:
        """x and y, in cm, of the top of a dome of the diaphragm."""
        top = self.length + (1.1 if side > 0 else 0.0) - self.raised[side > 0]
        return side * 0.5 * self.half_width, top

    def diaphragm(self, side: int, x: Values) -> Values:
        """Height y of the diaphragm, in cm, at distances x >= 0 from the midline."""
        centre, top = self.dome(side)
        out = (x - abs(centre)) / (self.half_width - abs(centre))
        lateral, medial = np.clip(out, 0, 1.2) ** 2.3, np.clip(-out, 0, 1) ** 2
        height: Values = top + self.dome_depth * (lateral + 0.3 * medial)
        return height

    def angle(self, side: int) -> tuple[float, float]:
        """x and y, in cm, of the costophrenic angle."""
        x = self.half_width * 0.985
        return side * x, float(self.diaphragm(side, np.array(x)))

    def lung(self, side: int) -> Points:
        """The outline of a lung: down the chest wall, inwards along the diaphragm, up the mediastinum."""
        bottom = self.angle(side)[1]
        y = np.linspace(0.25, bottom - 0.4, 40)
        wall = np.stack([self.wall(y), y], axis=1)
        x = np.linspace(self.half_width * 0.97, MIDLINE_GAP, 30)
        floor = np.stack([x, self.diaphragm(side, x)], axis=1)
        inner = np.array([[MIDLINE_GAP, 2.0], [MIDLINE_GAP, 0.8]])
        return np.concatenate([wall, floor, inner]) * [side, 1]

    def heart(self) -> Points:
        """The outline of the heart, without the great vessels."""
        right, left = self.heart_turn * self.heart_width, (1 - self.heart_turn) * self.heart_width
        top, low = 0.44 * self.length, self.length + 1.6 - max(self.raised) / 2
        tall = low - top
        knots = [
            (-2.0, top),
            (-0.78 * right, top + 0.34 * tall),
            (-right, top + 0.62 * tall),
            (-0.86 * right, low - 0.6),
            (0.0, low + 0.3),
            (0.72 * left, low + 0.2),
            (left, low - 0.16 * tall),
            (0.98 * left, low - 0.34 * tall),
            (0.78 * left, low - 0.57 * tall),
            (max(0.54 * left, 2.9), top + 0.2 * tall),
            (2.4, top - 0.6),
        ]
        return move(curve(knots, closed=True), self.pull)

    def vessels_of_the_neck(self) -> Points:
        """The outline of the upper mediastinum, with the superior vena cava on the right."""
        m, low = self.mediastinum, 0.62 * self.length
        knots = [(-m, -6.0), (-m, 1.5), (-m * 1.12, 5.0), (-m * 1.05, low), (m * 0.95, low), (m, 4.0), (m * 0.9, -6.0)]
        return move(np.asarray(knots), 0.8 * self.pull)

    def aorta(self) -> list[Points]:
        """The outlines of the aortic knob and of the descending aorta."""
        x, y = 1.75 + 0.8 * self.pull, 0.27 * self.length
        down = curve([(x + self.knob * 0.93, y), (x + self.knob * 0.7, y + 5), (x + 0.9, y + 12), (x + 0.3, y + 17)])
        return [ellipse(x, y, self.knob, self.knob * 1.08), np.vstack([down, [[x - 2, y + 17], [x - 2, y]]])]

    def hilum(self, side: int) -> tuple[float, float]:
        """x and y, in cm, of the root of a lung; the left one is higher."""
        return side * (self.mediastinum + 0.9) + 0.6 * self.pull, (0.43 if side > 0 else 0.46) * self.length

    def body(self) -> list[Points]:
        """The outlines of the trunk with the neck, and of the arms."""
        y = np.linspace(5.0, 40.0, 30)
        trunk = self.wall(y) + self.flank + 0.9 + 0.04 * np.clip(y - self.length, 0, 20)
        neck = [(-6.2, -16.0), (-6.5, -8.5), (-8.0, -6.4), (-11.0, -5.2), (-17.0, -3.5)]
        flank = np.stack([-np.maximum(trunk, 14.5 - 0.35 * (y - 5)), y], axis=1)
        half = np.concatenate([np.asarray(neck), flank])
        return [np.concatenate([half, half[::-1] * [-1, 1]])] + [self._arm(side) for side in SIDES]

    def _arm(self, side: int) -> Points:
        reach = 6.0 + 6.0 * self.arm
        outer = [(9.0, -4.0), (16.5, -3.6), (21.0, -1.0), (22.5 + reach * 0.5, 9.0), (24.0 + reach, 24.0)]
        inner = [(15.5 + reach, 27.0), (16.5 + reach * 0.3, 14.0), (15.2, 7.0), (10.0, 6.0)]
        return curve([*outer, *inner], closed=True) * [side, 1]
