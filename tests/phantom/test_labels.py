"""Rates and co-occurrence against the constants, and the constants against NIH's own table."""

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy.stats import multivariate_normal, norm

from cxrsearch.images.findings import NIH_FINDINGS, Vocabulary
from cxrsearch.phantom._labels import PERSISTENCE, RATES, Prevalence, correlation, draw_findings, rates
from cxrsearch.phantom._patient import sample_film, sample_patient

IMAGES = 20_000


def sample(prevalence: Prevalence) -> NDArray[np.bool_]:
    """The findings of images of different patients."""
    patient, film = np.random.default_rng(1), np.random.default_rng(2)
    return Vocabulary().encode([draw_findings(patient, film, prevalence) for _ in range(IMAGES)])


def both(correlation: float, first: float, second: float) -> float:
    """The chance of two findings in one image, by the bivariate normal integral."""
    cov = [[1, correlation], [correlation, 1]]
    return float(multivariate_normal.cdf(norm.ppf([first, second]), cov=cov))


@pytest.mark.parametrize("prevalence", ["balanced", "nih"])
def test_every_finding_has_its_rate(prevalence: Prevalence) -> None:
    wanted = rates(prevalence)
    deviation = np.sqrt(wanted * (1 - wanted) / IMAGES)
    assert np.all(np.abs(sample(prevalence).mean(axis=0) - wanted) < 4 * deviation)


def test_as_many_images_without_findings_as_in_nih() -> None:
    assert (~sample("nih").any(axis=1)).mean() == pytest.approx(0.538, abs=0.02)


@pytest.mark.parametrize("pair", [("Cardiomegaly", "Effusion"), ("Pneumothorax", "Emphysema"), ("Edema", "Pneumonia")])
def test_findings_that_go_together_do(pair: tuple[str, str]) -> None:
    first, second = (NIH_FINDINGS.index(name) for name in pair)
    labels = sample("balanced")
    wanted = both(correlation()[first, second], *rates("balanced")[[first, second]])
    deviation = np.sqrt(wanted * (1 - wanted) / IMAGES)
    assert abs((labels[:, first] & labels[:, second]).mean() - wanted) < 4 * deviation


def test_findings_last() -> None:
    """The chance that a finding is there again, against the integral with the patient's share as correlation."""
    index = NIH_FINDINGS.index("Infiltration")
    film = np.random.default_rng(5)
    pairs = [
        ["Infiltration" in draw_findings(np.random.default_rng(who), film, "nih") for _ in range(2)]
        for who in range(6_000)
    ]
    first, second = np.array(pairs).T
    wanted = both(PERSISTENCE, RATES[index], RATES[index])
    assert abs((first & second).mean() - wanted) < 4 * np.sqrt(wanted / 6_000)


@pytest.mark.parametrize("seed", [0, 1])
def test_balanced_puts_every_finding_in_eight_percent_of_the_patients(seed: int) -> None:
    seen: list[NDArray[np.bool_] | np.bool_] = []
    left = 2_000
    for number in itertools.count(1):
        patient = sample_patient(seed, number)
        films = [sample_film(seed, patient, i, "balanced", 64) for i in range(min(patient.images, left))]
        seen.append(Vocabulary().encode([film.findings for film in films]).any(axis=0))
        left -= len(films)
        if not left:
            break
    assert np.mean(seen, axis=0).min() >= 0.08


@pytest.mark.real_data
def test_the_constants_are_those_of_nihs_table(real_data: Path) -> None:
    table = pd.read_csv(real_data / "nih" / "Data_Entry_2017_full.csv.gz", usecols=["Finding Labels"], dtype=str)
    vocabulary = Vocabulary()
    cells, counts = np.unique(table["Finding Labels"].to_numpy(str), return_counts=True)
    labels = vocabulary.encode([vocabulary.parse(cell) for cell in cells])
    share = counts / counts.sum()
    np.testing.assert_allclose(share @ labels, RATES, atol=0.0006)
    together = (labels * share[:, None]).T.astype(np.float64) @ labels
    for first, second in itertools.combinations(range(14), 2):
        wanted = both(correlation()[first, second], *(share @ labels)[[first, second]])
        assert together[first, second] == pytest.approx(wanted, rel=0.1, abs=5e-5)
