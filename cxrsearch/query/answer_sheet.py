"""The contact sheet of an answer: the query and its neighbours, with findings and patients."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from cxrsearch.files import Json
from cxrsearch.images.preprocess import Pixels
from cxrsearch.query.answer import QueryResult
from cxrsearch.query.index import Index
from cxrsearch.report import style
from cxrsearch.report.contact_sheet import Tile, contact_sheet


def query_sheet(index: Index, result: QueryResult) -> Image.Image:
    """Draw the contact sheet of one answer of `index`, from the pixels that the index keeps, as an RGB image."""
    patient = f"patient {result.query_patient}" if result.query_patient else "patient unknown"
    query = Tile(
        _frame(result.pixels, _query_region(result)),
        result.query.rpartition("/")[2],
        [patient, *_votes(result)],
        emphasised=True,
    )
    records = zip(result.neighbours.row, result.neighbours.records(), strict=True)
    tiles = [query, *(_tile(index, int(row), record) for row, record in records)]
    title = f"{result.heading()}, encoder {result.index['encoder']}"
    return contact_sheet(
        tiles, title=title, footer=" ".join(_sentence(note) for note in [*result.warnings, style.DISCLAIMER])
    )


def _tile(index: Index, row: int, record: Json) -> Tile:
    findings = "findings unknown" if record["findings"] is None else ", ".join(record["findings"])
    where = f"patient {record['patient']} · {record['view'] or 'view unknown'} · {record['distance']:.4g}"
    pixels, region = index.stored_pixels(row), record.get("region")
    if pixels is not None and region is not None:
        pixels = _frame(pixels, region)
    return Tile(pixels, f"{record['rank']} · {record['image']}", [where, findings.replace("_", " ")])


def _query_region(result: QueryResult) -> Sequence[float] | None:
    """The query's region as shares of the sides; None if the query is a whole image."""
    if result.box is None or result.size is None:
        return None
    return [side / whole for side, whole in zip(result.box, 2 * result.size, strict=True)]


def _frame(pixels: Pixels, region: Sequence[float] | None) -> Pixels:
    """Draw a frame around a region, uint8 (side, side, 3). Without a region, the image is unchanged."""
    if region is None:
        return pixels
    image = Image.fromarray(pixels).convert("RGB")
    left, top, width, height = (side * len(pixels) for side in region)
    corners = (round(left), round(top), round(left + width) - 1, round(top + height) - 1)
    ImageDraw.Draw(image).rectangle(corners, outline=style.CATEGORIES[0], width=2)
    return np.asarray(image)


def _votes(result: QueryResult) -> list[str]:
    """Lines of text: the findings that any neighbour has, by falling vote."""
    votes = sorted(result.votes_records(), key=lambda vote: -(vote["probability"] or 0))
    lines = [f"{vote['finding'].replace('_', ' ')} {vote['probability']:.0%}" for vote in votes if vote["probability"]]
    return ["", "votes of the neighbours:", *lines] if lines else []


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
