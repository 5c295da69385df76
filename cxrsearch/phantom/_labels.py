"""Which findings an image has, with rates and co-occurrence like those of NIH ChestX-ray14.

This is a Gaussian copula. Each image has fourteen correlated standard normals. A finding is present if its normal
exceeds the threshold of the finding's rate. A share of the variance belongs to the patient, so findings persist over
follow-ups.

`RATES` and `_CORRELATION` were estimated from NIH's table of labels, `Data_Entry_2017.csv` (112,120 images). They are
the share of images with each finding and, for each pair of findings, the tetrachoric correlation that gives the share
of images with both.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from cxrsearch.images.findings import NIH_FINDINGS

Prevalence = Literal["balanced", "nih"]

RATES = (0.103, 0.025, 0.119, 0.177, 0.052, 0.056, 0.013, 0.047, 0.042, 0.021, 0.022, 0.015, 0.030, 0.002)
"""The share of images with each finding of `NIH_FINDINGS`; a share of 0.54 has none."""

BALANCED_RATE = 0.12
"""The lowest rate under `balanced`. As patients have several images, well over 8% of them then have each finding."""

PERSISTENCE = 0.6
"""The patient's share of the variance: the median tetrachoric correlation of a finding in consecutive films."""

_CORRELATION = (  # in hundredths, below the diagonal, in the order of NIH_FINDINGS
    (),
    (7,),
    (37, 39),
    (21, 5, 25),
    (6, -7, 20, 4),
    (-3, -7, 6, 12, 30),
    (14, 2, 12, 29, -1, -3),
    (10, -17, 15, 0, 12, 3, -9),
    (31, 8, 28, 14, 25, 12, 15, 0),
    (-2, 16, 23, 31, 2, 0, 56, -20, 11),
    (13, -6, 5, 0, 11, -4, -5, 51, 0, -9),
    (6, 4, -1, 4, 6, 12, -9, 0, 2, -19, -1),
    (10, 6, 23, 7, 24, 19, 2, 14, 13, -1, 14, 26),
    (11, 3, -5, -4, 13, -4, 0, -3, -11, -5, -3, 12, 2),
)


def rates(prevalence: Prevalence) -> NDArray[np.float64]:
    """The share of images with each finding, float64 (14,)."""
    real = np.array(RATES)
    return np.maximum(real, BALANCED_RATE) if prevalence == "balanced" else real


def correlation() -> NDArray[np.float64]:
    """The correlation matrix of the copula, float64 (14, 14)."""
    matrix = np.eye(len(RATES))
    for row, values in enumerate(_CORRELATION):
        matrix[row, : len(values)] = matrix[: len(values), row] = np.array(values) / 100
    return matrix


_MIX = np.linalg.cholesky(correlation())


def draw_findings(patient: np.random.Generator, film: np.random.Generator, prevalence: Prevalence) -> tuple[str, ...]:
    """Draw the findings of one image from the patient's and the film's random numbers; in `NIH_FINDINGS` order."""
    of_film = film.standard_normal(len(RATES)) * np.sqrt(1 - PERSISTENCE)
    latent = _MIX @ (patient.standard_normal(len(RATES)) * np.sqrt(PERSISTENCE) + of_film)
    present = latent > ndtri(1 - rates(prevalence))
    return tuple(name for name, here in zip(NIH_FINDINGS, present, strict=True) if here)
