"""What every film carries, and what makes two films the same or not."""

from collections.abc import Callable

import numpy as np
import pytest

from cxrsearch.phantom._draw import DrawnFilm

Draw = Callable[..., DrawnFilm]


@pytest.mark.parametrize("size", [64, 256, 512])
def test_the_mark_is_there_and_the_same_on_every_film(draw: Draw, size: int) -> None:
    """Legible dots of full white on black, and equal pixels whoever is below, so that it tells nothing."""
    films = np.stack([draw(patient, size=size).pixels for patient in (1, 2, 3, 4)])
    same = (films == films[0]).all(axis=0)
    corner = films[0][: max(7, size // 40), : max(24, size // 10)]
    assert same[: corner.shape[0], : corner.shape[1]].all()
    assert corner.max() > 200
    assert 0.05 < (corner > 100).mean() < 0.5


def test_films_of_a_patient_are_more_alike_than_those_of_others(draw: Draw) -> None:
    assert np.array_equal(draw(1).pixels, draw(1).pixels)
    assert np.abs(draw(1).pixels.astype(int) - draw(2).pixels).mean() > 5


@pytest.mark.parametrize("patient", range(1, 7))
def test_lungs_are_darker_than_heart_and_belly(draw: Draw, patient: int) -> None:
    """In thirds of the film's middle band: lung, mediastinum, lung; below them the belly."""
    pixels = draw(patient).pixels.astype(float)
    lungs = pixels[90:130, [*range(70, 95), *range(165, 190)]].mean()
    assert pixels[90:130, 120:136].mean() > lungs + 40
    assert pixels[225:250, 80:176].mean() > lungs + 40


def test_small_films_show_what_large_ones_do(draw: Draw) -> None:
    """A film of 512 pixels, averaged in blocks, is that of 128 but for noise."""
    large = draw(4, "Effusion", size=512).pixels.astype(float).reshape(128, 4, 128, 4).mean(axis=(1, 3))
    small = draw(4, "Effusion", size=128).pixels.astype(float)
    assert np.abs(large - small)[12:].mean() < 3
    assert np.corrcoef(large[12:].ravel(), small[12:].ravel())[0, 1] > 0.995
