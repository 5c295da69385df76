"""The cluster test of Wu and Yang, "DenseNet Feature Embeddings for Thoracic Disease Diagnosis", as published.

A sample of the images is standardised. A finding's mean squared L2 is compared with the squared distance of one pair of
independent standard normal points in D dimensions, which has mean 2 D and variance 8 D. A finding below the "95%" band,
mean -+ 1.60 standard deviations, is called clustered. Why this is not a valid test:

    - Standardising makes the global mean 2 D n / (n - 1) for any data, so agreement with the expectation says nothing.
    - A mean over thousands of pairs varies far less than a single pair. The dimensions of embeddings are neither normal
      nor independent, and the images of one patient are alike.
    - Findings above the band lie as far out as those below.

`cluster_test` is the test to use.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cxrsearch.analysis.clusters.pair_distances import l2_to_groups, mean_of_pairs, pair_counts, squared_l2_sums
from cxrsearch.analysis.clusters.spaces import check_embeddings, to_space
from cxrsearch.arrays import Flags, Floats, Integers
from cxrsearch.errors import UsageError

Verdict = Literal["below", "within", "above", "unknown"]

SIGMAS = 1.60
"""Half the width of the paper's band, in standard deviations of a single pair. The paper calls it 95%; that is 1.96."""

PUBLISHED_IMAGES = 3924
PUBLISHED = {
    "Global": (35.29, 1334.34),
    "Atelectasis": (33.31, 1209.62),
    "Cardiomegaly": (34.15, 1280.41),
    "Effusion": (35.22, 1349.60),
    "Infiltration": (34.89, 1300.12),
    "Mass": (38.65, 1631.34),
    "Nodule": (37.76, 1608.35),
    "Pneumonia": (35.99, 1370.38),
    "Pneumothorax": (37.30, 1522.33),
    "Consolidation": (33.35, 1172.05),
    "Edema": (32.35, 1096.89),
    "Emphysema": (38.67, 1661.70),
    "Fibrosis": (33.78, 1211.49),
    "Hernia": (29.28, 903.76),
    "No Finding": (33.19, 1172.74),
}
"""The paper's Table 1: mean L2 and mean squared L2 of CheXNet embeddings. Pleural Thickening is missing there."""


@dataclass(frozen=True)
class PaperTest:
    """The paper's test of K groups, on a sample.

    Attributes:
        images: the number of images in the sample, n.
        live_dims: D, the number of dimensions that vary in the sample.
        expected: 2 D, the mean squared distance of a pair of independent standard normal points.
        identity: 2 D n / (n - 1), the global mean squared distance of any standardised data.
        low, high: the band.
        group_images: int64 (K,), each group's images in the sample.
        mean_l2, mean_squared_l2: float64 (K,), over all pairs of a group's images, including pairs of one patient; nan
            without pairs.
        verdicts: K times `below` (the paper calls it clustered), `within`, `above` (unmarked in the paper) or
            `unknown`.
    """

    images: int
    live_dims: int
    expected: float
    identity: float
    low: float
    high: float
    group_images: Integers
    mean_l2: Floats
    mean_squared_l2: Floats
    verdicts: tuple[Verdict, ...]


def paper_test(
    embeddings: NDArray[np.floating[Any]], groups: Flags, *, sample: float = 0.05, seed: int = 0
) -> PaperTest:
    """Run the paper's test on a sample of the images.

    Args:
        embeddings: floating (n, dim), finite.
        groups: bool (n, K).
        sample: the share of images, above 0 and at most 1, rounded up; drawn regardless of patients, as in the paper.
        seed: of the draw.

    Raises:
        UsageError: arrays that do not fit together, a share outside (0, 1], or a sample of fewer than 2 images.
    """
    if not 0 < sample <= 1 or seed < 0 or groups.ndim != 2 or len(groups) != len(embeddings):
        got = f"sample {sample}, seed {seed}, {len(embeddings)} embeddings, groups {groups.shape}"
        raise UsageError(f"a sample is a share of images with groups, from a seed: got {got}", "use --sample 0.05")
    check_embeddings(embeddings)
    n = int(np.ceil(sample * len(embeddings)))
    if n < 2:
        raise UsageError(f"a sample of {n} of {len(embeddings)} images has no pairs", "use a larger --sample")
    rows = np.sort(np.random.default_rng(seed).choice(len(embeddings), n, replace=False))
    space = to_space(embeddings[rows], "standardised")
    chosen = groups[rows]
    pairs = pair_counts(chosen).diagonal()
    l2 = (chosen * l2_to_groups(space.points, chosen)).sum(axis=0)
    mean_l2, squared = (mean_of_pairs(sums, pairs) for sums in (l2, squared_l2_sums(space.points, chosen).diagonal()))
    expected = 2.0 * space.live_dims
    half = SIGMAS * np.sqrt(8.0 * space.live_dims)
    return PaperTest(
        images=n,
        live_dims=space.live_dims,
        expected=expected,
        identity=expected * n / (n - 1),
        low=expected - half,
        high=expected + half,
        group_images=chosen.sum(axis=0, dtype=np.int64),
        mean_l2=mean_l2,
        mean_squared_l2=squared,
        verdicts=tuple(_verdict(value, expected, half) for value in squared),
    )


def _verdict(value: float, expected: float, half: float) -> Verdict:
    if np.isnan(value):
        return "unknown"
    return "below" if value < expected - half else "above" if value > expected + half else "within"
