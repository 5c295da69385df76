"""The data of the page, as JSON: about the index, its images, and an answer."""

import base64
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from cxrsearch.analysis.neighbours.typicality import Typicality
from cxrsearch.analysis.plane.plane import Plane
from cxrsearch.files import Json
from cxrsearch.images.findings import NO_FINDING
from cxrsearch.images.preprocess import Pixels
from cxrsearch.images.sources.source import ImageSource
from cxrsearch.query.answer import QueryResult
from cxrsearch.query.index import Index
from cxrsearch.query.maps import FindingMaps
from cxrsearch.report import style
from cxrsearch.web._decoding import Picture, png

EDGE = 95
"""From this percentile of typicality, an image that is not flagged is not called ordinary either."""
DOTS = 2000
"""The embedding map shows at most this many images."""
_BAND = 10
_DIGITS = 4


class PageData:
    """Makes the page's data from one open index.

    Args:
        index: the open index.
        source: the folder of the indexed images.
        plane: the plane of the embedding map; None if all embeddings are equal.
        upload_bytes: limit of an upload in bytes.
    """

    def __init__(self, index: Index, source: ImageSource, plane: Plane | None, upload_bytes: int) -> None:
        self._index, self._source, self._plane, self._upload_bytes = index, source, plane, upload_bytes

    def of_index(self) -> Json:
        """The index: its size, findings and encoder, and what the page can offer."""
        index, manifest = self._index, self._index.manifest
        frame = index.catalogue.frame
        return {
            "images": len(index),
            "patients": int(frame["patient"].nunique()),
            "generation": manifest.generation,
            "encoder": manifest.encoder_label,
            "untrained": manifest.untrained,
            "findings": list(manifest.findings) if index.catalogue.labels is not None else None,
            "views": sorted(frame["view"].dropna().unique()),
            "sexes": sorted(frame["sex"].dropna().unique()),
            "ages": [int(frame["age"].min()), int(frame["age"].max())] if frame["age"].notna().any() else None,
            "pixels": bool(index.stored.pixel_blocks),
            "uploads": manifest.encoder is not None,
            "upload_bytes": self._upload_bytes,
            "map": None if self._plane is None else f"Embedding map by {self._plane.description}.",
            "disclaimer": style.DISCLAIMER,
        }

    def of_image(self, row: int) -> Json:
        """One indexed image: its id, patient, findings, view, sex, and age in decades."""
        catalogue, at = self._index.catalogue, self._index.catalogue.frame.iloc[row]
        findings = catalogue.findings(row)
        return {
            "row": row,
            "image": str(at["id"]),
            "patient": str(at["patient"]),
            "findings": None if findings is None else list(findings) or [NO_FINDING],
            "view": _text(at["view"]),
            "sex": _text(at["sex"]),
            "age": None if pd.isna(at["age"]) else band(int(at["age"])),
            "original": self.original_name(row) is not None,
        }

    def original_name(self, row: int) -> str | None:
        """The name of an indexed image's file, or None if its source no longer has it.

        The name comes from the catalogue only, never from a request.
        """
        name = self._index.catalogue.frame["path"].iloc[row]
        return None if pd.isna(name) or not self._source.has(str(name)) else str(name)

    def of_answer(self, answer: QueryResult, place: list[float] | None, maps: FindingMaps | None) -> Json:
        """An answer as the page shows it. Its entry `answer` is what `cxrsearch query --json` prints."""
        rows = [int(row) for row in answer.neighbours.row]
        places = self.places(rows)
        near = zip(rows, answer.neighbours.distance, places, strict=True)
        return {
            "answer": answer.to_json(),
            "heading": answer.heading(),
            "typical": _typical(answer.typicality),
            "stored": None if not answer.pixels.size else encode(png(Image.fromarray(answer.pixels))),
            "neighbours": [
                {**self.of_image(row), "distance": float(distance), "place": at} for row, distance, at in near
            ],
            "place": place,
            "maps": None if maps is None else _maps(maps),
        }

    def of_picture(self, picture: Picture, description: str) -> Json:
        """The picture of an upload, as base64 PNG, with its size and description."""
        return {
            "png": encode(picture.png),
            "width": picture.width,
            "height": picture.height,
            "description": description,
        }

    def places(self, rows: Sequence[int]) -> list[list[float] | None]:
        """The places of indexed images on the embedding map; None without one."""
        if self._plane is None or not rows:
            return [None] * len(rows)
        return self.place(self._index.stored.vectors.take(np.asarray(rows, dtype=np.int64)))

    def place(self, embeddings: NDArray[np.float32]) -> list[list[float] | None]:
        """The places of embeddings, float32 (q, dim), on the embedding map; None without one."""
        if self._plane is None:
            return [None] * len(embeddings)
        return [[round(float(v), _DIGITS) for v in place] for place in self._plane.place(embeddings)]

    def of_map(self) -> Json:
        """The dots of the embedding map: at most 2,000 rows, drawn without replacement (seed 0)."""
        n = len(self._index)
        rows = np.sort(np.random.default_rng(0).choice(n, size=min(n, DOTS), replace=False))
        labels = self._index.catalogue.labels
        names = self._index.manifest.findings
        having = {} if labels is None else {f: np.flatnonzero(labels[rows, i]).tolist() for i, f in enumerate(names)}
        which = f"{len(rows):,} of {n:,} images, chosen at random" if len(rows) < n else f"all {n:,} images"
        images = [str(name) for name in self._index.catalogue.frame["id"].iloc[rows]]
        places = self.places(rows.tolist())
        return {"rows": rows.tolist(), "images": images, "places": places, "with": having, "shown": which}


def band(age: int) -> str:
    """An age as a decade, which identifies a person less."""
    low = age // _BAND * _BAND
    return f"{low}–{low + _BAND - 1}"


def of_similarity(query: NDArray[np.float64], neighbour: NDArray[np.float64]) -> Json:
    """The heat maps of what makes two images alike, float64 (h, w) each, as JSON."""
    return {"query": _round(query), "neighbour": _round(neighbour)}


def encode(data: bytes) -> str:
    """Bytes as base64 text, for JSON."""
    return base64.b64encode(data).decode("ascii")


def picture_of(pixels: Pixels) -> bytes:
    """Stored pixels as PNG."""
    return png(Image.fromarray(pixels))


def _typical(typical: Typicality) -> Json:
    edge = typical.percentile is not None and typical.percentile >= EDGE
    return {"flagged": typical.flagged, "edge": edge, "sentence": _sentence(typical.description)}


def _maps(maps: FindingMaps) -> Json:
    return {"findings": list(maps.findings), "values": [_round(values) for values in maps.maps]}


def _round(values: NDArray[np.float64]) -> list[list[float]]:
    return [[float(f"{value:.{_DIGITS}g}") for value in row] for row in values]


def _text(value: object) -> str | None:
    return None if pd.isna(value) else str(value)  # type: ignore[call-overload]


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
