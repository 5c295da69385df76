"""Is a query like the images of the index? Compares its k-th neighbour distance with theirs.

The distance to the k-th neighbour is a simple and strong measure of novelty (Ramaswamy et al. 2000, SIGMOD; Sun et al.
2022, ICML, arXiv:2204.06507). The reference is the same distance for images of the index, each to images of other
patients only. A hand or a photograph lies farther from its neighbours than nearly all of these images. How far is too
far is counted, not assumed: this is a conformal test (Bates et al. 2023, Annals of Statistics 51(1), 149-178,
arXiv:2104.08279).
"""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from cxrsearch.errors import UsageError
from cxrsearch.json_values import number
from cxrsearch_indexes.base import Neighbours

REFERENCE_LIMIT = 5000
ALARM = 0.01
"""By default, the share of ordinary images (of the index's own kind) that are flagged too."""
_NEARLY_ALL = 99.0
"""From this percentile on, tenths are shown."""


@dataclass(frozen=True)
class Reference:
    """The distances of m indexed images to their k-th neighbour of another patient.

    Attributes:
        k: which neighbour, from 1.
        distances: float64 (m,), ascending.

    Raises:
        UsageError: no distance, one that is not finite, or k < 1.
    """

    k: int
    distances: NDArray[np.float64]

    def __post_init__(self) -> None:
        if self.k < 1 or self.distances.ndim != 1 or not self.distances.size or not np.isfinite(self.distances).all():
            got = f"k = {self.k}, distances of shape {self.distances.shape}"
            raise UsageError(f"a reference needs k >= 1 and finite distances: got {got}", "build it from an index")
        object.__setattr__(self, "distances", np.sort(self.distances))

    @classmethod
    def of(cls, neighbours: Neighbours, k: int) -> "Reference | None":
        """Build the reference from the other-patient neighbours of some images.

        If an image has fewer than k neighbours, k becomes the largest number that every image has; `Reference.k` says
        which. None if an image has no neighbour at all: then the index holds a single patient.
        """
        k = int(neighbours.counts.min(initial=k))
        return cls(k, neighbours.last(k)) if k > 0 and len(neighbours) else None


@dataclass(frozen=True)
class Typicality:
    """How usual a query is for the index.

    Attributes:
        kth_distance: the query's distance to its k-th neighbour; None if it has fewer.
        percentile: 0 to 100, the share of reference distances that are smaller; equal ones count half (the mid-rank:
            `scipy.stats.percentileofscore(kind="mean")`). High is unusual. None without a comparison.
        alarm: the share of ordinary images that may be flagged.
        flagged: whether the query is unlike the index; None without a comparison.
        description: the percentile in words, or why there is none.
        warning: one sentence if the query is unlike the index or cannot be compared with it; None otherwise.
    """

    kth_distance: float | None
    percentile: float | None
    alarm: float
    flagged: bool | None
    description: str
    warning: str | None


def reference_rows(n: int, seed: int, limit: int = REFERENCE_LIMIT) -> NDArray[np.int64]:
    """Choose the reference images: all n rows, or `limit` drawn without replacement; int64, ascending."""
    rows = np.random.default_rng(seed).choice(n, size=min(n, limit), replace=False)
    return np.sort(rows).astype(np.int64)


def typicality(reference: Reference | None, kth_distance: float, alarm: float = ALARM) -> Typicality:
    """Compare a query with the reference.

    The rank of one more ordinary image among m references is uniform on m + 1 places. A query is flagged if it falls in
    the `flagged_ranks` farthest places, so at most a share `alarm` of ordinary images is flagged. References at the
    same distance as the query count as farther: otherwise ties would flag more.

    Args:
        reference: of the index; None if it has none.
        kth_distance: the query's distance to its `reference.k`-th neighbour of another patient in the whole index, in
            the index's metric (`Neighbours.last`); inf if it has fewer neighbours.
        alarm: the share of ordinary images that may be flagged.

    Raises:
        UsageError: an alarm outside (0, 1).
    """
    require_alarm(alarm)
    finite = number(kth_distance)
    if reference is None:
        return _incomparable(finite, alarm, "the index holds the images of one patient only")
    if finite is None:
        return _incomparable(None, alarm, f"this image has fewer than {reference.k} neighbours of other patients")
    below, not_above = (int(np.searchsorted(reference.distances, finite, side=side)) for side in ("left", "right"))
    m = len(reference.distances)
    percentile = 50 * (below + not_above) / m
    description = _describe(reference.k, m, percentile, farthest=below == m, nearest=not_above == 0)
    flagged = m - below < flagged_ranks(m, alarm)
    return Typicality(
        finite, percentile, alarm, flagged, description, _warning(m, alarm, description) if flagged else None
    )


def flagged_ranks(m: int, alarm: float) -> int:
    """How many of the m + 1 places of an ordinary image among m references are flagged: floor(alarm (m + 1)).

    It is at least 1, the place beyond all references. If m < 1 / alarm - 1 that is more than `alarm`, and the warning
    says so. A test that never flags anything would be worse.
    """
    return max(1, int(_exactly(alarm) * (m + 1)))


def _exactly(alarm: float) -> Fraction:
    """The decimal number as it was written: 0.29 x 100 is 29, not the 28.999... of floats."""
    return Fraction(str(float(alarm)))


def require_alarm(alarm: float) -> None:
    """Raise UsageError unless an alarm is in (0, 1)."""
    if not 0 < alarm < 1:
        raise UsageError(
            f"an alarm for {alarm} of the ordinary images", "use a share above 0 and below 1, such as 0.01"
        )


def _incomparable(kth_distance: float | None, alarm: float, reason: str) -> Typicality:
    sentence = f"cannot tell whether this image is usual for the index: {reason}"
    return Typicality(kth_distance, None, alarm, None, sentence, sentence)


def _warning(m: int, alarm: float, description: str) -> str:
    few = f": {m} reference images cannot show {alarm:g}" if _exactly(alarm) * (m + 1) < 1 else ""
    return f"this image is unlike the index: it is {description} ({_rate(m, alarm)} flagged too{few})"


def _rate(m: int, alarm: float) -> str:
    """How many ordinary images are flagged, rounded if that changes the rate by less than a tenth."""
    ranks, places = flagged_ranks(m, alarm), m + 1
    if ranks == 1 or places >= 10 * ranks:
        return f"about 1 in {places // ranks} ordinary images is"
    return f"{ranks} in {places} ordinary images are"


def _describe(k: int, m: int, percentile: float, *, farthest: bool, nearest: bool) -> str:
    """Put the percentile in words, never claiming more than m images can show."""
    far = percentile >= 50
    than, theirs = ("farther from", "from theirs") if far else ("nearer to", "to theirs")
    share = _round_down(percentile if far else 100 - percentile)
    images = f"all {m}" if farthest or nearest else f"{share}% of the {m}"
    return f"{than} its {_ordinal(k)} neighbour than {images} reference images are {theirs}"


def _round_down(percentile: float) -> str:
    """Whole per cent, or tenths from 99 on; never rounded up to a 100 that was not reached."""
    return f"{np.floor(percentile):.0f}" if percentile < _NEARLY_ALL else f"{np.floor(percentile * 10) / 10:.1f}"


def _ordinal(k: int) -> str:
    suffix = "th" if k % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(k % 10, "th")
    return f"{k}{suffix}"
