"""The cluster test of Wu and Yang, "DenseNet Feature Embeddings for Thoracic Disease Diagnosis", as it was.

A sample of the images is standardised; a finding's mean squared L2 is held against the squared distance of one pair of
independent standard normal points in D dimensions, which has mean 2 D and variance 8 D, and a finding below the band
"95%" = mean -+ 1.60 standard deviations is called clustered. Why that is no test:

    - The global mean is 2 D n / (n - 1) whatever the data are: standardising makes it so. That it comes out as expected
      says nothing.
    - A mean over thousands of pairs does not vary as a single pair does, embeddings are neither normal nor independent
      in their dimensions, and the images of one patient are alike.
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
"""Half the width of the paper's band, in standard deviations of a single pair; it says 95%, which would be 1.96."""

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
"""The paper's Table 1: mean L2 and mean squared L2 of CheXNet embeddings; Pleural Thickening is missing there."""


@dataclass(frozen=True)
class PaperTest:
    """The paper's test of K groups, on a sample.

    Attributes:
        images: of the sample.
        live_dims: D, the dimensions that vary in it.
        expected: 2 D, the mean squared distance of a pair of independent standard normal points.
        identity: 2 D n / (n - 1), the global mean squared distance of any standardised data.
        low, high: the band.
        group_images: int64 (K,), each group's images in the sample.
        mean_l2, mean_squared_l2: float64 (K,), over all pairs of a group's images, same patients included; nan without.
        verdicts: K times `below` (clustered, says the paper), `within`, `above` (left unmarked there) or `unknown`.
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
    """Do what the paper did.

    Args:
        embeddings: floating (n, dim), finite.
        groups: bool (n, K).
        sample: the share of the images, above 0 and up to 1, rounded up; drawn regardless of patients, as there.
        seed: of the draw.

    Raises:
        UsageError: arrays that do not fit together, a share that is none, or a sample of fewer than 2 images.
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
