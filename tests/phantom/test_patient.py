"""Who is on a film: what is the patient's stays, what is the visit's does not depend on the others."""

from dataclasses import replace

import numpy as np
import pytest

from cxrsearch.phantom._patient import sample_film, sample_patient


def test_images_a_patient_are_spread_as_in_nih() -> None:
    images = np.array([sample_patient(0, number).images for number in range(1, 5_001)])
    assert (images == 1).mean() == pytest.approx(0.568, abs=0.03)
    assert images.mean() == pytest.approx(3.64, abs=0.4)
    assert np.quantile(images, 0.95) == pytest.approx(14, abs=2)
    assert images.max() <= 184


def test_sex_and_view_are_spread_as_in_nih_and_hardly_tell_the_findings() -> None:
    patients = [sample_patient(0, number) for number in range(1, 2_001)]
    films = [sample_film(0, patient, 0, "nih", 64) for patient in patients]
    ill = np.array([bool(film.findings) for film in films])
    bed = np.array([film.view == "AP" for film in films])
    female = np.array([patient.sex == "F" for patient in patients])
    assert female.mean() == pytest.approx(0.435, abs=0.045)
    assert bed.mean() == pytest.approx(0.37, abs=0.045)
    assert 0 < bed[ill].mean() - bed[~ill].mean() < 0.15
    assert abs(female[ill].mean() - female[~ill].mean()) < 0.07


def test_a_patients_films_differ_less_than_patients_do() -> None:
    anatomies = np.array(
        [
            [sample_film(0, sample_patient(0, number), visit, "nih", 64).anatomy.half_width for visit in range(3)]
            for number in range(1, 100)
        ]
    )
    assert np.all(np.ptp(anatomies, axis=1) == 0)
    assert np.std(anatomies[:, 0]) > 0.5


def test_a_film_depends_on_nothing_but_seed_patient_and_follow_up() -> None:
    patient = sample_patient(4, 9)
    alone = sample_film(4, patient, 5, "balanced", 128)
    assert sample_film(4, replace(patient, images=99), 5, "balanced", 128) == replace(
        alone, patient=replace(patient, images=99)
    )
    assert sample_film(4, patient, 6, "balanced", 128).frame != alone.frame
    assert sample_film(5, patient, 5, "balanced", 128).frame != alone.frame
    assert alone.image == "00000009_005.png"
