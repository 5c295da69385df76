"""The answer to one query: neighbours, votes, predictions and typicality, for Python and as JSON."""

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
    """The m neighbours of a query, nearest first.

    Attributes:
        row: int64 (m,), rows of the catalogue.
        image: str (m,), image ids.
        patient: str (m,), patient ids.
        distance: float64 (m,), in the index's metric; lower is nearer.
        findings: m tuples; None if the findings are not known, empty for No Finding.
        view: m views, `PA`, `AP` or None.
        region: float64 (m, 4), the region of each image that is most like the query's: left, top, width and height as
            shares of its sides. None if the query is a whole image.
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
        """One JSON object per neighbour, nearest first."""
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
    """The answer to a query.

    Attributes:
        query: the image's path, as the caller wrote it.
        embedded: the image after one pass through the network.
        index: path, generation and encoder of the index.
        neighbours: the nearest images of other patients.
        query_patient: the query's patient; None if not known.
        query_image: id of the indexed image that is the query, by file or pixels; None if there is none.
        query_findings: findings of that indexed image, empty for No Finding. None if there is no such image, or if its
            findings are not known.
        left_out: number of indexed images that were left out: the query itself and other images of its patient. None
            if `same_patient` allowed all images.
        findings: the index's vocabulary, F findings.
        votes: the neighbours' votes; None if their findings are not known.
        typicality: how far the query lies from the index.
        warnings: what a reader must know.
        box: the query's region: left, top, width and height in pixels of its file. None: the whole image.
        size: width and height of the query's file in pixels; None if the file was not read.
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
        """The query's stored pixels, uint8 (side, side)."""
        return self.embedded.pixels

    @property
    def head(self) -> Head | None:
        """Findings of the trained head and their probabilities, float64; None without a trained head."""
        return self.embedded.head

    def heading(self) -> str:
        """One line: the number of neighbours, and which images were left out."""
        count = counted(len(self.neighbours), "nearest image")
        if self.left_out is None:
            return f"{count}, the query's own patient included"
        if self.query_patient is None:
            return f"{count}, the query's patient is not known"
        if self.left_out == 0:
            return f"{count}, patient {self.query_patient} has none in the index"
        return f"{count} of other patients ({self.left_out} of patient {self.query_patient} left out)"

    def known(self) -> str | None:
        """The findings of the query in the index, in one line; None if the index does not hold the image."""
        if self.query_image is None:
            return None
        findings = _findings(self.query_findings)
        return f"the query is in the index as {self.query_image}: {', '.join(findings or ['findings unknown'])}"

    def to_frame(self) -> pd.DataFrame:
        """The neighbours as a table: rank, image, patient, distance, findings, view; with a box also region."""
        region = [] if self.neighbours.region is None else ["region"]
        columns = ["rank", "image", "patient", "distance", "findings", "view", *region]
        return pd.DataFrame(self.neighbours.records(), columns=columns)

    def votes_frame(self) -> pd.DataFrame:
        """The votes as a table: finding, probability, prevalence, lift."""
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
        """One JSON object per finding; empty without votes."""
        if self.votes is None:
            return []
        columns = (self.votes.probability[0], self.votes.prevalence, self.votes.lift[0])
        return [
            {"finding": finding, "probability": number(p), "prevalence": number(q), "lift": number(lift)}
            for finding, p, q, lift in zip(self.findings, *columns, strict=True)
        ]

    def predictions_records(self) -> list[Json]:
        """One JSON object per finding of the trained head; empty without one."""
        if self.head is None:
            return []
        return [{"finding": f, "probability": float(p)} for f, p in zip(*self.head, strict=True)]


def _findings(findings: tuple[str, ...] | None) -> list[str] | None:
    return None if findings is None else list(findings) or [NO_FINDING]
