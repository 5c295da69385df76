"""How a finding looks in one patient, and the shapes that several findings share."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from cxrsearch.phantom._anatomy import MIDLINE_GAP, SIDES, Anatomy
from cxrsearch.phantom._film_frame import FilmFrame, Map

Box = tuple[float, float, float, float]
"""Left, top, width and height in pixels of the film."""


@dataclass(frozen=True)
class Trait:
    """How a finding looks in one patient on one film.

    Attributes:
        side: -1 (right) or +1 (left); the same on all films of a patient.
        place: two numbers from 0 to 1; the same on all films of a patient.
        strength: 0 to 1; it belongs to the patient, but changes a little between films.
        key: the seed of the finding's random numbers; the same on all films of a patient.
    """

    side: int
    place: tuple[float, float]
    strength: float
    key: int

    def rng(self) -> np.random.Generator:
        """A new generator of the finding's random numbers, from their start."""
        return np.random.default_rng(self.key)

    def between(self, weak: float, strong: float) -> float:
        """The value for this strength, from `weak` at 0 to `strong` at 1."""
        return weak + (strong - weak) * self.strength


def sample_trait(patient: np.random.Generator, film: np.random.Generator) -> Trait:
    """Draw a trait from the patient's and the film's random numbers."""
    side = SIDES[patient.integers(2)]
    place = (float(patient.random()), float(patient.random()))
    strength = float(np.clip(patient.random() + film.normal(0, 0.15), 0, 1))
    return Trait(side, place, strength, int(patient.integers(2**62)))


def box_of(extent: Map) -> Box:
    """The box around all pixels that reach a quarter of the extent's largest value."""
    there = extent >= 0.25 * extent.max()
    rows, columns = np.flatnonzero(there.any(axis=1)), np.flatnonzero(there.any(axis=0))
    left, top = int(columns[0]), int(rows[0])
    return left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top


def noise(frame: FilmFrame, rng: np.random.Generator, grain: float) -> Map:
    """Smooth normal noise with hills about `grain` cm apart, the same at every film size; float32 (size, size)."""
    coarse = rng.standard_normal((round(frame.height / grain), round(frame.width / grain)), dtype=np.float32)
    image = Image.fromarray(coarse).resize((frame.size, frame.size), Image.Resampling.BICUBIC)
    return np.asarray(image, dtype=np.float32)


def bell(frame: FilmFrame, x: float, y: float, rx: float, ry: float) -> Map:
    """A Gaussian hill of height 1 at (x, y), with radii in cm; float32 (size, size)."""
    gx, gy = frame.coarse_grid
    return frame.smooth(np.exp(-(((gx - x) / rx) ** 2) - ((gy - y) / ry) ** 2))


def spot(anatomy: Anatomy, trait: Trait, margin: float, low: float = 0.12, high: float = 1.0) -> tuple[float, float]:
    """A place (x, y) in the lung of a trait: `margin` cm from its borders, at shares `low` to `high` of its height."""
    across, down = trait.place
    top, bottom = low * anatomy.length + margin, high * anatomy.dome(trait.side)[1] - margin
    y = top + (bottom - top) * down
    heart = 0.2 * anatomy.half_width if trait.side > 0 and y > 0.5 * anatomy.length else 0.0
    inner, outer = MIDLINE_GAP + 0.8 + heart + margin, float(anatomy.wall(np.array(y))) - 0.4 - margin
    return trait.side * (inner + (outer - inner) * across), y


def ball(frame: FilmFrame, x: float, y: float, radius: float, rng: np.random.Generator, rough: float) -> Map:
    """The thickness of a lump of tissue: 1 in the middle, 0 outside; `rough` sets how uneven the outline is."""
    t = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    waves = sum(rng.normal(0, rough) * np.sin(k * t + rng.uniform(0, 6)) for k in (2, 3, 5))
    outline = np.stack([x + radius * (1 + waves) * np.cos(t), y + radius * (1 + waves) * np.sin(t)], axis=1)
    return frame.fill([outline], 0.1) * (0.55 + 0.45 * frame.fill([outline], 0.45 * radius))
