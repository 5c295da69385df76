"""The options of a query."""

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
    """The options of a query, checked when the object is made.

    Attributes:
        k: number of neighbours, at least 1. There are fewer if fewer images match.
        vote: `uniform`, `distance`, `softmax` or `mlknn`.
        patient: the query's patient, if the caller knows it better than the file does.
        same_patient: also allow images of the query's patient, and the image itself, as neighbours.
        filters: which images may be neighbours.
        alarm: the share of ordinary images that may be flagged as atypical, in (0, 1); see `Typicality`.
        box: query by this region: left, top, width and height in pixels of the image's file.
        candidates: with a box, the number of images whose regions are compared, at least k.

    Raises:
        UsageError: k < 1, alarm outside (0, 1), or an unknown vote; with a box, `mlknn` or too few candidates.
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
        _require_valid(self.k, self.vote, self.alarm)
        if self.box is not None:
            _require_candidates(self.candidates, self.k, self.vote)


def _require_valid(k: int, vote: str, alarm: float) -> None:
    if not hasattr(k, "__index__") or k < 1:  # NumPy integers are accepted as well as int
        raise UsageError(f"k = {k!r}", "use a whole number of neighbours, at least 1")
    require_alarm(alarm)
    if vote not in VOTES:
        raise UsageError(f"unknown vote {vote!r}", f"use one of {', '.join(VOTES)}")


def _require_candidates(candidates: int, k: int, vote: str) -> None:
    if vote == "mlknn":
        raise UsageError("mlknn does not support --box", "use another vote")
    if not hasattr(candidates, "__index__") or candidates < k:
        raise UsageError(f"{candidates!r} candidates for {k} neighbours", f"use at least {k}")
