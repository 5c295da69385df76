"""What is asked of an index beside the image."""

from dataclasses import dataclass
from typing import Literal

from cxrsearch.analysis.maps.windows import Box
from cxrsearch.analysis.neighbours.typicality import ALARM, require_alarm
from cxrsearch.analysis.neighbours.vote import VOTES, Weighting
from cxrsearch.errors import UsageError
from cxrsearch.query._regions import CANDIDATES
from cxrsearch.store.filtered_search import Filters

Vote = Weighting | Literal["mlknn"]

_NO_FILTERS = Filters()


@dataclass(frozen=True)
class QueryOptions:
    """What is asked of an index beside the image; checked as it is made.

    Attributes:
        k: neighbours wanted; fewer come where fewer may answer.
        vote: `uniform`, `distance`, `softmax` or `mlknn`.
        patient: the query's patient, where it is known better than from the file.
        same_patient: let images of the query's own patient, and the image itself, answer too.
        filters: which images may answer.
        alarm: the share of ordinary images that may be called unlike the index, in (0, 1); see `Typicality`.
        box: ask by this region, left, top, width and height in pixels of the image's file.
        candidates: with a box, how many images are judged by their regions: as many as k at least.

    Raises:
        UsageError: k < 1, an alarm outside (0, 1), an unknown vote, or with a box ML-kNN or too few candidates.
    """

    k: int = 20
    vote: Vote = "uniform"
    patient: str | None = None
    same_patient: bool = False
    filters: Filters = _NO_FILTERS
    alarm: float = ALARM
    box: Box | None = None
    candidates: int = CANDIDATES

    def __post_init__(self) -> None:
        _require_meant(self.k, self.vote, self.alarm)
        if self.box is not None:
            _require_candidates(self.candidates, self.k, self.vote)


def _require_meant(k: int, vote: str, alarm: float) -> None:
    if not hasattr(k, "__index__") or k < 1:
        raise UsageError(f"k = {k!r}", "ask for a whole number of neighbours, at least one")
    require_alarm(alarm)
    if vote not in VOTES:
        raise UsageError(f"unknown vote {vote!r}", f"use one of {', '.join(VOTES)}")


def _require_candidates(candidates: int, k: int, vote: str) -> None:
    if vote == "mlknn":
        raise UsageError("ML-kNN of regions, whose neighbours are those of whole images", "use another vote")
    if not hasattr(candidates, "__index__") or candidates < k:
        raise UsageError(f"{candidates!r} candidates for {k} neighbours", "ask for as many candidates as neighbours")
