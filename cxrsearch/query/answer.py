"""What an index answers to one query: neighbours, votes, predictions and typicality, for Python and as JSON."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrsearch.analysis.neighbours.typicality import Typicality
from cxrsearch.analysis.neighbours.vote import Votes
from cxrsearch.files import Json
from cxrsearch.images.findings import NO_FINDING
from cxrsearch.images.preprocess import Pixels
from cxrsearch.json_values import number
from cxrsearch.query.embedded import Embedded, Head
from cxrsearch.shown import Shown
from cxrsearch.words import counted


@dataclass(frozen=True)
class Retrieved:
    """The neighbours of a query, nearest first; m of them.

    Attributes:
        row: int64 (m,), rows of the catalogue.
        image, patient: str (m,).
        distance: float64 (m,), in the index's metric; lower is nearer.
        findings: m tuples, None where the findings are not known, empty for No Finding.
        view: `PA`, `AP` or None.
        region: float64 (m, 4), where the image is most like the region that was asked for: left, top, width and height
            as shares of its sides; None where the whole image was asked for.
    """

    row: NDArray[np.int64]
    image: NDArray[np.object_]
    patient: NDArray[np.object_]
    distance: NDArray[np.float64]
    findings: tuple[tuple[str, ...] | None, ...]
    view: tuple[str | None, ...]
    region: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.row)

    def records(self) -> list[Json]:
        """One JSON object a neighbour."""
        columns = zip(self.image, self.patient, self.distance, self.findings, self.view, strict=True)
        regions = [{}] * len(self) if self.region is None else [{"region": box} for box in self.region.tolist()]
        return [
            {
                "rank": rank,
                "image": image,
                "patient": patient,
                "distance": float(distance),
                "findings": _findings(findings),
                "view": view,
            }
            | regions[rank - 1]
            for rank, (image, patient, distance, findings, view) in enumerate(columns, 1)
        ]


@dataclass(frozen=True, repr=False)
class QueryResult(Shown):
    """What an index answers.

    Attributes:
        query: the image's path as it was given.
        embedded: the image as the index sees it.
        index: path, generation and encoder of the index.
        neighbours: the nearest images of other patients.
        query_patient: the query's patient; None when not known.
        query_image: the id of the indexed image that is the query, by file or pixels; None where none is.
        query_findings: that image's findings, empty for No Finding; None where there is none, or they are not known.
        left_out: how many indexed images were left out, the query's patient's and the query itself; None where
            `same_patient` let all answer.
        findings: the index's vocabulary, F findings.
        votes: the neighbours' votes, None where their findings are not known.
        typicality: how far the query lies from the index.
        warnings: what a reader must know.
        box: the region that was asked for, left, top, width and height in pixels of the query's file; None: all of it.
        size: width and height of the query's file.
    """

    query: str
    embedded: Embedded
    index: Json
    neighbours: Retrieved
    query_patient: str | None
    query_image: str | None
    query_findings: tuple[str, ...] | None
    left_out: int | None
    findings: tuple[str, ...]
    votes: Votes | None
    typicality: Typicality
    warnings: tuple[str, ...]
    box: tuple[float, float, float, float] | None = None
    size: tuple[int, int] | None = None

    @property
    def pixels(self) -> Pixels:
        """The image as the index would keep it, uint8 (side, side)."""
        return self.embedded.pixels

    @property
    def head(self) -> Head | None:
        """The trained head's findings, and its probabilities, float64; None without a trained head."""
        return self.embedded.head

    def heading(self) -> str:
        """What was found, and who was left out."""
        found = counted(len(self.neighbours), "nearest image")
        if self.left_out is None:
            return f"{found}, the query's own patient included"
        if self.query_patient is None:
            return f"{found}, the query's patient is not known"
        if self.left_out == 0:
            return f"{found}, patient {self.query_patient} has none in the index"
        return f"{found} of other patients ({self.left_out} of patient {self.query_patient} left out)"

    def known(self) -> str | None:
        """What the index says of the query itself, where it holds it."""
        if self.query_image is None:
            return None
        findings = _findings(self.query_findings)
        return f"the query is in the index as {self.query_image}: {', '.join(findings or ['findings unknown'])}"

    def to_frame(self) -> pd.DataFrame:
        """The neighbours: columns rank, image, patient, distance, findings, view; with a box also region."""
        region = [] if self.neighbours.region is None else ["region"]
        columns = ["rank", "image", "patient", "distance", "findings", "view", *region]
        return pd.DataFrame(self.neighbours.records(), columns=columns)

    def votes_frame(self) -> pd.DataFrame:
        """The votes: columns finding, probability, prevalence, lift."""
        return pd.DataFrame(self.votes_records(), columns=["finding", "probability", "prevalence", "lift"])

    def to_json(self) -> Json:
        """The object that `cxrsearch query --json` prints."""
        return {
            "query": self.query,
            **({} if self.box is None else {"box": list(self.box)}),
            "index": self.index,
            "neighbours": self.neighbours.records(),
            "query_patient": self.query_patient,
            "query_image": self.query_image,
            "query_findings": _findings(self.query_findings),
            "votes": None if self.votes is None else self.votes_records(),
            "predictions": None if self.head is None else self.predictions_records(),
            "typicality": {
                "kth_distance": self.typicality.kth_distance,
                "percentile": self.typicality.percentile,
                "alarm": self.typicality.alarm,
                "flagged": self.typicality.flagged,
                "warning": self.typicality.warning,
            },
            "warnings": list(self.warnings),
        }

    def votes_records(self) -> list[Json]:
        """One JSON object a finding, none without votes."""
        if self.votes is None:
            return []
        columns = (self.votes.probability[0], self.votes.prevalence, self.votes.lift[0])
        return [
            {"finding": finding, "probability": number(p), "prevalence": number(q), "lift": number(lift)}
            for finding, p, q, lift in zip(self.findings, *columns, strict=True)
        ]

    def predictions_records(self) -> list[Json]:
        """One JSON object a finding of the trained head, none without one."""
        if self.head is None:
            return []
        return [{"finding": f, "probability": float(p)} for f, p in zip(*self.head, strict=True)]


def _findings(known: tuple[str, ...] | None) -> list[str] | None:
    return None if known is None else list(known) or [NO_FINDING]
