"""How often a patient bootstrap's 95% interval holds the true AUROC, by the number of patients with the finding.

    python benchmarks/coverage.py [--simulations 1000] [--replicates 2000] [--positive-patients 10,15,20,50,100]

Each simulated data set has 300 patients of 1 to 4 images, all of a patient's of one label; half of the variance of the
scores is the patient's. Positive images score 1 standard deviation higher: the AUROC is Phi(1 / sqrt 2) = 0.760. With
50 and more positive patients the share must lie in 92 to 98%; below, it is what it is, and the reason for asking for 10
positive patients at least. Beside it stands what resampling images instead of patients would have held.
"""

import argparse
import sys
import time

import numpy as np
from _headline import headline
from numpy.typing import NDArray
from scipy.stats import norm

from cxrsearch.analysis.measures.bootstrap import PatientBootstrap

PATIENTS = 300
TRUTH = float(norm.cdf(1 / np.sqrt(2)))


def held(bootstrap: PatientBootstrap, labels: NDArray[np.bool_], scores: NDArray[np.float64]) -> tuple[float, float]:
    """The share of data sets, one a column, whose interval holds the truth; and the mean width of the intervals."""
    result = bootstrap.auroc(labels, scores)
    inside = (result.low <= TRUTH) & (result.high >= TRUTH)
    return float(inside.mean()), float((result.high - result.low).mean())


def simulate(positive_patients: int, simulations: int, replicates: int) -> tuple[float, float, float]:
    """Coverage and width of patient intervals, and coverage of image intervals."""
    rng = np.random.default_rng(positive_patients)
    patient = np.repeat(np.arange(PATIENTS), rng.integers(1, 5, PATIENTS))
    kind = rng.permuted(np.tile(np.arange(PATIENTS) < positive_patients, (simulations, 1)), axis=1).T
    own = rng.normal(size=(PATIENTS, simulations)) + np.sqrt(2) * kind
    scores = own[patient] + rng.normal(size=(len(patient), simulations))
    coverage, width = held(PatientBootstrap(patient, replicates), kind[patient], scores)
    by_image, _ = held(PatientBootstrap(np.arange(len(patient)), replicates), kind[patient], scores)
    return coverage, width, by_image


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulations", type=int, default=1000)
    parser.add_argument("--replicates", type=int, default=2000)
    parser.add_argument("--positive-patients", default="10,15,20,50,100")
    options = parser.parse_args()
    print(f"{options.simulations} simulations, {options.replicates} replicates, true AUROC {TRUTH:.3f}")
    print(f"{'positive patients':>18}{'held':>9}{'std. error':>12}{'mean width':>12}{'held, by image':>16}{'s':>7}")
    outside = False
    for number in map(int, options.positive_patients.split(",")):
        start = time.perf_counter()
        coverage, width, by_image = simulate(number, options.simulations, options.replicates)
        error = np.sqrt(coverage * (1 - coverage) / options.simulations)
        seconds = time.perf_counter() - start
        print(f"{number:18}{coverage:9.1%}{error:12.1%}{width:12.3f}{by_image:16.1%}{seconds:7.0f}", flush=True)
        if number >= 50:
            headline(f"95% intervals that hold the truth, {number} positive patients", 100 * coverage, "92 to 98", "%")
        outside |= number >= 50 and not 0.92 <= coverage <= 0.98
    if outside:
        sys.exit("an interval with 50 or more positive patients holds the truth in less than 92% or more than 98%")


if __name__ == "__main__":
    main()
