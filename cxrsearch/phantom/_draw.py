"""Draws a film: its pixels, and the boxes of its findings."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from cxrsearch.phantom._film import draw_chest, expose
from cxrsearch.phantom._film_frame import Map, Stroke, curve, move
from cxrsearch.phantom._patient import Film, stream
from cxrsearch.phantom._traits import Box, box_of, sample_trait
from cxrsearch.phantom.signs import SIGNS

MARK = "SYNTHETIC"
"""The text that is burnt into the top left corner of every film."""

_INWARDS = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]])
_CORNERS = np.array([[0, 0], [1, 0], [1, 1], [0, 1]])


@dataclass(frozen=True)
class DrawnFilm:
    """The pixels and boxes of a film.

    Attributes:
        pixels: uint8 (size, size).
        boxes: pairs of a finding and a box (left, top, width, height in pixels) around one of its signs.
    """

    pixels: NDArray[np.uint8]
    boxes: tuple[tuple[str, Box], ...]


def draw_film(seed: int, film: Film) -> DrawnFilm:
    """Draw a film; the same seed and film give the same pixels."""
    who, when = film.patient.number, film.follow_up
    signs = [name for name in SIGNS if name in film.findings]
    traits = {name: sample_trait(stream(seed, name, who), stream(seed, name, who, when + 1)) for name in signs}
    anatomy = film.anatomy
    for name in signs:
        anatomy = SIGNS[name].reshape(anatomy, traits[name])
    chest = draw_chest(film.frame, anatomy, stream(seed, "lungs", who))
    boxes = [(name, box_of(extent)) for name in signs for extent in SIGNS[name].draw(chest, traits[name])]
    # A stream per purpose: the room's random numbers do not depend on the findings.
    rng = stream(seed, "room", who, when)
    beam = chest.attenuation() + _devices(film, rng)
    grey = expose(beam, film.frame, film.exposure, stream(seed, "noise", who, when))
    return DrawnFilm(_add_mark(_add_letter(grey, film, rng)), tuple(boxes))


def _devices(film: Film, rng: np.random.Generator) -> Map:
    """Leads and lines, in cm of soft tissue; they depend on the view, never on a finding."""
    strokes: list[Stroke] = []
    if rng.random() < (0.45 if film.view == "AP" else 0.06):
        for _ in range(rng.integers(1, 4)):
            x, y = rng.uniform(-10, 10), rng.uniform(2, 16)
            end = (np.sign(x) * rng.uniform(12, 22), rng.uniform(18, 30))
            strokes.append((curve([(x, y), (x * 1.3 + rng.normal(0, 1.5), y + 5), end]), 0.14, 0.8))
            strokes.append((np.array([[x - 0.35, y], [x + 0.35, y]]), 0.7, 1.0))
    if rng.random() < (0.3 if film.view == "AP" else 0.03):
        line = curve([(-13, -1), (-8, 1.2), (-3.4, 2.6), (-2.4, 6), (-2.3, rng.uniform(8, 11))])
        strokes.append((line, 0.2, 0.9))
    if not strokes:
        return np.zeros((1, 1), np.float32)
    return film.frame.stroke(strokes, 0.04) * np.float32(2.2)


def _add_letter(grey: NDArray[np.float32], film: Film, rng: np.random.Generator) -> Image.Image:
    """Add the technician's letter for the left side and, on some films, the dark edges of a narrowed beam."""
    size = film.frame.size
    image = Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8))
    pen = ImageDraw.Draw(image)
    if rng.random() < 0.25:
        inset = rng.uniform(0, 0.045, 8) * size
        near, far = _CORNERS * size + inset.reshape(4, 2) * _INWARDS, (_CORNERS - 0.2 * _INWARDS) * size
        for corner in range(4):
            pen.polygon([*far[corner], *far[corner - 1], *near[corner - 1], *near[corner]], fill=5)
    place, height, width = rng.uniform((0.86, 0.03), (0.93, 0.2)), 0.035, 0.018
    strokes = move(np.array([(0, 0), (0, height), (width, height)]), *place) * size
    pen.line(strokes.ravel().tolist(), fill=245, width=max(1, round(0.007 * size)))
    return image


def _add_mark(image: Image.Image) -> NDArray[np.uint8]:
    """Add the mark that distinguishes the film from a real one; its pixels are the same on every film of a size."""
    size = image.width
    font = ImageFont.load_default(max(7, size / 40))
    _, top, right, bottom = font.getbbox(MARK)
    pen = ImageDraw.Draw(image)
    pen.rectangle((0, 0, right + 4, bottom - top + 4), fill=0)
    pen.text((2, 2 - top), MARK, fill=255, font=font)
    return np.asarray(image)
