"""The contact sheet of an index's most novel images: what each scores, where that lies, and what it shows."""

from collections.abc import Sequence

from PIL import Image

from cxrsearch.images.findings import NO_FINDING
from cxrsearch.query import Index
from cxrsearch.report.contact_sheet import Tile, contact_sheet


def novel_sheet(
    index: Index, title: str, rows: Sequence[int], scores: Sequence[float], notes: Sequence[str]
) -> Image.Image:
    """Draw images of `index`, an RGB image, five side by side, from the pixels the index keeps.

    Args:
        index: an open index; without pixels, a tile says that its image is not available.
        title: what the sheet shows.
        rows: n images of the index, the most novel first; ten make two rows.
        scores: n, higher is more novel.
        notes: n, what is to be read first of an image, such as its percentile and that it shows what was held out;
            may be empty.

    Raises:
        UsageError: more than 500 images.
        ValueError: not as many scores or notes as rows.
    """
    return contact_sheet(novel_tiles(index, rows, scores, notes), title=title)


def novel_tiles(index: Index, rows: Sequence[int], scores: Sequence[float], notes: Sequence[str]) -> list[Tile]:
    """The tiles of `novel_sheet`, which has the same arguments and errors."""
    named = zip(rows, scores, notes, strict=True)
    return [_tile(index, rank, *each) for rank, each in enumerate(named, 1)]


def _tile(index: Index, rank: int, row: int, score: float, note: str) -> Tile:
    catalogue = index.catalogue
    found = catalogue.findings(row)
    shown = "findings unknown" if found is None else ", ".join(found or (NO_FINDING,)).replace("_", " ")
    where = f"score {score:.4g} · {catalogue.frame['view'].fillna('view unknown').iloc[row]}"
    lines = [line for line in (note, where, shown) if line]
    return Tile(index.stored_pixels(row), f"{rank} · {catalogue.ids[row]}", lines)
