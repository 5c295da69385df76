"""Films to draw, small ones for speed."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from cxrsearch.phantom._draw import DrawnFilm, draw_film
from cxrsearch.phantom._patient import Film, sample_film, sample_patient

Draw = Callable[..., DrawnFilm]

SEED = 3


@pytest.fixture(scope="session")
def film() -> Callable[..., Film]:
    """A film of a patient, with the findings one asks for."""

    def make(patient: int, *findings: str, size: int = 256) -> Film:
        return replace(sample_film(SEED, sample_patient(SEED, patient), 0, "balanced", size), findings=findings)

    return make


@pytest.fixture(scope="session")
def draw(film: Callable[..., Film]) -> Draw:
    """Its drawing."""

    def make(patient: int, *findings: str, size: int = 256) -> DrawnFilm:
        return draw_film(SEED, film(patient, *findings, size=size))

    return make
