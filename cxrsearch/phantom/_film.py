"""From a chest to a film: sums what weakens the beam, and turns the sum into grey levels.

As in projection imaging, structures add up along the beam. The body has a thickness in cm of soft tissue, the lungs
replace part of it by air, bones add to it, and disease fills the air. The grey level is a sigmoid of that sum (the
characteristic curve of film, Hurter and Driffield 1890). It is sharpened a little, as on digital films, and the noise
of the beam is added.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from cxrsearch.phantom._anatomy import SIDES, Anatomy
from cxrsearch.phantom._bones import draw_bones
from cxrsearch.phantom._film_frame import FilmFrame, Map, ellipse, move
from cxrsearch.phantom._vessels import draw_vessels

_AIR = 0.8
"""Share of a lung that is air."""


@dataclass
class Chest:
    """The layers of a film, which signs change; all are float32 (size, size).

    Attributes:
        frame: the coordinates of the film.
        anatomy: the anatomy that was drawn.
        lungs: by side, 1 inside the lung.
        air: cm of air along the beam if the lungs were clear.
        filled: share of that air that fluid or tissue has replaced, 0 to 1.
        vessels: how much of the beam vessels absorb, 0 to 1.
        added: cm of further tissue, such as bone and soft parts; negative for gas outside the lungs.
        body: cm of soft tissue, as if there were no lungs.
    """

    frame: FilmFrame
    anatomy: Anatomy
    lungs: dict[int, Map]
    air: Map
    filled: Map
    vessels: Map
    added: Map
    body: Map = field(repr=False)

    def fill(self, share: Map) -> None:
        """Replace a share, 0 to 1, of the air that is left."""
        self.filled += (1 - self.filled) * share

    def attenuation(self) -> Map:
        """The attenuation, in cm of soft tissue that would weaken the beam as much."""
        inside = np.minimum(self.lungs[-1] + self.lungs[1], 1)
        vessels = np.minimum(self.vessels * 1.5, self.air) * inside * (1 - self.filled)
        total: Map = self.body + self.added + vessels - _AIR * self.air * (1 - self.filled)
        return total


def draw_chest(frame: FilmFrame, anatomy: Anatomy, rng: np.random.Generator) -> Chest:
    """Draw a chest without findings."""
    lungs = {side: frame.fill([anatomy.lung(side)], 0.1) for side in SIDES}
    x, y = frame.coarse_grid
    across = np.clip(1 - (np.abs(x) / np.maximum(anatomy.wall(y), 0.5)) ** 3, 0, 1) ** 0.5
    depth = anatomy.depth * 0.58 * (0.25 + 0.75 * across) * np.clip(0.5 + y / 12, 0.4, 1)
    air = frame.smooth(depth.astype(np.float32)) * np.minimum(lungs[-1] + lungs[1], 1)
    chest = Chest(
        frame,
        anatomy,
        lungs,
        air=air,
        filled=_middle(frame, anatomy),
        vessels=draw_vessels(frame, anatomy, rng),
        added=draw_bones(frame, anatomy) + _soft_parts(frame, anatomy),
        body=_body(frame, anatomy),
    )
    chest.fill(_texture(frame, rng) * 0.12)
    return chest


def _middle(frame: FilmFrame, anatomy: Anatomy) -> Map:
    """The share of air that heart, great vessels and hila replace, 0 to 1."""
    outline = [anatomy.heart()]
    heart = frame.fill(outline, 0.2) * (0.36 + 0.56 * frame.fill(outline, 1.8))
    great = frame.fill([anatomy.vessels_of_the_neck()], 0.3) * np.float32(0.75)
    aorta = frame.fill(anatomy.aorta(), 0.12) * np.float32(0.6)
    hila = frame.fill([ellipse(*anatomy.hilum(side), 1.1, 2.0, 0.2 * side) for side in SIDES], 0.55) * np.float32(0.36)
    filled: Map = 1 - (1 - heart) * (1 - great) * (1 - aorta) * (1 - hila)
    return filled


def _body(frame: FilmFrame, anatomy: Anatomy) -> Map:
    """The thickness of the body from front to back, in cm."""
    x, y = frame.coarse_grid
    trunk = 1 / (1 + np.exp(-(y - 2.5) / 1.8))
    width = anatomy.wall(np.maximum(y, 6)) + anatomy.flank + 2.0
    across = np.clip(1 - (np.abs(x) / width) ** 2, 0.12, 1) ** 0.3
    thick = (1 - trunk) * (14.0 + 2.5 * np.exp(-((x / 4) ** 2))) + trunk * anatomy.depth * across
    thick += 2.2 / (1 + np.exp(-(y - anatomy.length - 3) / 2))
    outlines = anatomy.body()
    edge = frame.fill(outlines, 0.12) * (0.4 + 0.6 * frame.fill(outlines, 1.8))
    return frame.smooth(thick.astype(np.float32)) * edge


def _soft_parts(frame: FilmFrame, anatomy: Anatomy) -> Map:
    """Trachea, breasts and the gas in the stomach, in cm of soft tissue; gas is negative."""
    pull = anatomy.pull
    fork = 0.33 * anatomy.length
    trachea = np.array([[-0.85, -14], [0.85, -14], [0.8, fork], [3.2, fork + 3.2], [2.4, fork + 4], [0, fork + 1.4]])
    right = np.array([[-0.85, fork - 0.5], [0.2, fork], [-2.6, fork + 3.6], [-3.4, fork + 2.9]])
    tubes = [move(trachea, 0.7 * pull), move(right, 0.7 * pull)]
    soft: Map = frame.fill(tubes, 0.2) * np.float32(-1.5)
    if anatomy.breast:
        soft += _breasts(frame, anatomy)
    if anatomy.bubble:
        x, top = anatomy.dome(1)
        r = anatomy.bubble
        soft -= frame.fill([ellipse(x - 0.4, top + 0.9 + 0.6 * r, 1.5 * r, 0.62 * r)], 0.25) * np.float32(4.5)
    return soft


def _breasts(frame: FilmFrame, anatomy: Anatomy) -> Map:
    r = anatomy.breast
    discs = [ellipse(side * 0.66 * anatomy.half_width, 0.92 * anatomy.length, r, r * 0.85) for side in SIDES]
    _, y = frame.coarse_grid
    slope = np.clip((y - 0.92 * anatomy.length) / r + 0.7, 0, 1.4)
    return frame.fill(discs, 0.45) * frame.smooth(slope.astype(np.float32)) * np.float32(0.33 * r)


def _texture(frame: FilmFrame, rng: np.random.Generator) -> Map:
    """Smooth noise of a coarse and a fine grain, from 0 to 1."""
    total: Map = np.zeros((frame.size, frame.size), np.float32)
    for side, weight in ((20, 0.5), (128, 0.35)):
        grain = rng.standard_normal((side, side), dtype=np.float32)
        image = Image.fromarray(grain).resize((frame.size, frame.size), Image.Resampling.BICUBIC)
        total += np.float32(weight) * np.asarray(image, dtype=np.float32)
    texture: Map = np.clip(total * np.float32(0.5) + np.float32(0.5), 0, 1)
    return texture


@dataclass(frozen=True)
class Exposure:
    """How attenuation becomes a grey level.

    Attributes:
        middle: cm of soft tissue that give a medium grey.
        softness: cm from there to about three quarters of the range; more means less contrast.
        sharpening: weight of the detail that is added back.
        noise: standard deviation on a film of 512 pixels, in grey levels.
    """

    middle: float
    softness: float
    sharpening: float
    noise: float


def expose(attenuation: Map, frame: FilmFrame, exposure: Exposure, rng: np.random.Generator) -> NDArray[np.float32]:
    """Turn attenuation into grey levels, float32 (size, size): about 0 to 255, not yet rounded or clipped."""
    tone = 1 / (1 + np.exp((exposure.middle - attenuation) / exposure.softness))
    small = Image.fromarray(tone.astype(np.float32)).resize((64, 64), Image.Resampling.BOX)
    local = ndimage.gaussian_filter(np.asarray(small), 64 * 1.1 / frame.width, mode="nearest")
    blurred = np.asarray(Image.fromarray(local).resize(tone.shape, Image.Resampling.BICUBIC))
    tone = tone + exposure.sharpening * (tone - blurred)
    grain = rng.standard_normal(tone.shape, dtype=np.float32) * exposure.noise * min(1.0, frame.size / 512)
    grey: NDArray[np.float32] = (8 + 240 * tone + grain).astype(np.float32)
    return grey
