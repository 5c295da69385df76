"""The patient on a film, and how the film was taken; all drawn from (seed, patient, follow-up) alone.

Build, bones, heart and the place of a finding belong to the patient, and come from the patient's random numbers. View,
position, exposure, breath and the findings present belong to a visit, and come from the follow-up's random numbers. So
a patient is recognisable on the next film, and image 3 of a patient is the same in a small set and in a large one.

View and sex are at most weakly related to findings. The probability of an AP film is 0.34 plus 0.04 per finding, since
ill patients are imaged in bed. Sex has no influence. Tubes and leads depend on the view, never on a finding.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from cxrsearch.phantom._anatomy import Anatomy
from cxrsearch.phantom._film import Exposure
from cxrsearch.phantom._film_frame import FilmFrame
from cxrsearch.phantom._labels import Prevalence, draw_findings

View = Literal["PA", "AP"]

_DETECTORS: dict[View, tuple[tuple[int, int, float], ...]] = {
    "PA": ((2992, 2991, 0.143), (2992, 2991, 0.143), (2500, 2048, 0.168), (2048, 2500, 0.171), (2021, 2021, 0.194311)),
    "AP": ((2500, 2048, 0.168), (2500, 2048, 0.168), (3056, 2544, 0.139)),
}
"""Width, height and pixel spacing (mm) of NIH's usual originals; the most common ones are repeated."""

_MOST_IMAGES = 184


def stream(seed: int, purpose: str, patient: int, follow_up: int = 0) -> np.random.Generator:
    """A random generator for each purpose, so that drawing more numbers for one purpose does not change the others."""
    return np.random.default_rng([seed, patient, follow_up, *purpose.encode()])


@dataclass(frozen=True)
class Patient:
    """An invented patient.

    Attributes:
        number: the patient's number, from 1.
        sex: `M` or `F`.
        age: at the first film, in years.
        images: the number of films.
        anatomy: the chest when standing and breathing in.
    """

    number: int
    sex: str
    age: int
    images: int
    anatomy: Anatomy


@dataclass(frozen=True)
class Film:
    """One image of a patient.

    Attributes:
        patient: the patient of the film.
        follow_up: the follow-up number, from 0.
        age: in years.
        view: `PA` (standing) or `AP` (lying or sitting, in bed).
        original: width and height in pixels, and pixel spacing in mm, of the pretended original.
        frame: the position of the patient on the film.
        anatomy: the patient's anatomy, changed by view and breath.
        exposure: how attenuation becomes grey.
        findings: the findings that the film shows.
    """

    patient: Patient
    follow_up: int
    age: int
    view: View
    original: tuple[int, int, float]
    frame: FilmFrame
    anatomy: Anatomy
    exposure: Exposure
    findings: tuple[str, ...]

    @property
    def image(self) -> str:
        """The file name, in NIH's format."""
        return f"{self.patient.number:08d}_{self.follow_up:03d}.png"


def sample_patient(seed: int, number: int) -> Patient:
    """Draw the patient of a number; images per patient are as in NIH's table (mean 3.6, more than half have one)."""
    rng = stream(seed, "patient", number)
    sex = "F" if rng.random() < 0.435 else "M"
    images = int(np.clip(np.exp(rng.normal(0.453, 1.366)), 1, _MOST_IMAGES))
    age = int(np.clip(rng.normal(47, 16), 18, 92))
    return Patient(number, sex, age, images, _build(rng, sex, age))


def _build(rng: np.random.Generator, sex: str, age: int) -> Anatomy:
    female = sex == "F"
    half_width = rng.normal(13.3 if female else 14.4, 0.65)
    return Anatomy(
        half_width=half_width,
        length=rng.normal(22.0 if female else 24.0, 1.2),
        dome_depth=rng.uniform(3.6, 5.2),
        raised=(0.0, rng.uniform(-0.4, 0.5)),
        depth=float(np.clip(rng.normal(20.0, 1.5), 17, 24)),
        flank=rng.uniform(0.8, 4.2),
        heart_width=2 * half_width * np.clip(rng.normal(0.435, 0.025), 0.38, 0.48),
        heart_turn=rng.uniform(0.3, 0.38),
        knob=1.2 + 0.009 * age + rng.uniform(0, 0.35),
        mediastinum=rng.uniform(2.5, 3.1),
        pull=rng.normal(0, 0.15),
        bend=rng.normal(0, 0.25),
        rib_slope=rng.uniform(0.44, 0.62),
        rib_pitch=rng.uniform(2.05, 2.35),
        rib_level=rng.uniform(-1.1, -0.4),
        clavicle_rise=rng.uniform(0.0, 2.0),
        scapula=rng.uniform(0.8, 2.6),
        arm=rng.uniform(0, 1),
        breast=rng.uniform(5.0, 7.5) if female and rng.random() < 0.75 else 0.0,
        bubble=rng.uniform(1.0, 2.5) if rng.random() < 0.65 else 0.0,
    )


def sample_film(seed: int, patient: Patient, follow_up: int, prevalence: Prevalence, size: int) -> Film:
    """Draw a patient's film of a follow-up number, as a square of `size` pixels."""
    findings = draw_findings(
        stream(seed, "lasting", patient.number), stream(seed, "findings", patient.number, follow_up), prevalence
    )
    rng = stream(seed, "visit", patient.number, follow_up)
    view: View = "AP" if rng.random() < 0.34 + 0.04 * len(findings) else "PA"
    original = _DETECTORS[view][rng.integers(len(_DETECTORS[view]))]
    return Film(
        patient=patient,
        follow_up=follow_up,
        age=min(patient.age + follow_up // 3, 95),
        view=view,
        original=original,
        frame=_position(rng, view, original, size),
        anatomy=_visit(rng, view, patient.anatomy),
        exposure=_exposure(rng, view),
        findings=findings,
    )


def _position(rng: np.random.Generator, view: View, original: tuple[int, int, float], size: int) -> FilmFrame:
    width, height = (pixels * original[2] / 10 for pixels in original[:2])
    spread = 1.0 if view == "AP" else 0.6
    top = height * (rng.uniform(0.1, 0.17) if view == "PA" else rng.uniform(0.1, 0.2))
    return FilmFrame(size, width, height, (width / 2 + rng.normal(0, spread), top), rng.normal(0, 0.025 * spread))


def _visit(rng: np.random.Generator, view: View, anatomy: Anatomy) -> Anatomy:
    bed = view == "AP"
    return replace(
        anatomy,
        length=anatomy.length + rng.normal(-2.6 if bed else 0.0, 0.6),
        heart_width=anatomy.heart_width * rng.normal(1.08 if bed else 1.0, 0.012),
        mediastinum=anatomy.mediastinum + 0.35 * bed,
        pull=anatomy.pull + rng.normal(0, 0.4 if bed else 0.15),
        clavicle_rise=anatomy.clavicle_rise + rng.normal(-0.6 * bed, 0.3),
        scapula=anatomy.scapula - rng.uniform(1.2, 2.6) * bed,
        arm=anatomy.arm * (0.4 if bed else 1.0),
        bubble=anatomy.bubble * rng.uniform(0.6, 1.1),
    )


def _exposure(rng: np.random.Generator, view: View) -> Exposure:
    bed = view == "AP"
    return Exposure(
        middle=rng.normal(12.8, 1.1),
        softness=rng.uniform(1.9, 2.9) + 0.5 * bed,
        sharpening=rng.uniform(0.2, 0.8),
        noise=rng.uniform(1.5, 3.5) + 1.5 * bed,
    )
