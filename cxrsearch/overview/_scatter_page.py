"""The embedding map as a page to explore: one HTML file that loads nothing from elsewhere and works offline.

The page draws packed data on a canvas: coordinates in 1/65535 of the embedding map's side, one byte for age and one for
view, one bit per finding, and one byte per image and colouring. Images come in a random order. So no class is
systematically drawn over another, and the first images, which have thumbnails, are a random sample.
"""

import base64
import html
import io
import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cxrsearch.images.catalogue import Catalogue
from cxrsearch.images.preprocess import Pixels, resize
from cxrsearch.overview._scatter_colours import QUIET, Colouring, readable
from cxrsearch.report import style
from cxrsearch.report.template import fill_template, read_asset

_HERE = "cxrsearch.overview"
THUMBNAILS = 2000
"""At most this many images have a thumbnail, of about 2 kB each."""
THUMBNAIL_SIDE = 96
_QUALITY = 80
_STEPS = 65535
_UNKNOWN_AGE = 255
_COLUMNS = 40

PixelsOf = Callable[[int], Pixels | None]


def scatter_page(
    coordinates: NDArray[np.float32],
    catalogue: Catalogue,
    colourings: Sequence[Colouring],
    *,
    title: str,
    lines: Sequence[str],
    highlight: str | None = None,
    pixels_of: PixelsOf = lambda row: None,
) -> bytes:
    """Make the page of an embedding map. The same arguments give the same bytes.

    Args:
        coordinates: float32 (n, 2).
        catalogue: the n images.
        colourings: the colourings to choose from, at least one; the first is shown first.
        title: the page's title.
        lines: lines on how the embedding map was made.
        highlight: a finding as the catalogue's vocabulary writes it, or `No Finding`, that is highlighted at first.
        pixels_of: maps a row to its pixels, uint8 (side, side), or None. It is called for at most 2,000 rows.
    """
    order = np.random.default_rng(0).permutation(len(catalogue))
    pictures = _pictures(order[:THUMBNAILS], pixels_of)
    shuffled = catalogue.take(order)
    data = {
        "images": shuffled.ids,
        **_places(coordinates[order]),
        "ages": _pack(shuffled.frame["age"].fillna(_UNKNOWN_AGE).to_numpy(dtype=np.uint8)),
        "views": _pack(shuffled.frame["view"].map({"PA": 0, "AP": 1}).fillna(2).to_numpy(dtype=np.uint8)),
        "findings": _findings(shuffled, highlight),
        "colourings": [_colouring(colouring, order) for colouring in colourings],
        "pictures": pictures,
        "pictures_note": _note(pictures, len(catalogue)),
        "accent": style.ACCENT,
        "ink": style.INK,
        "panel": style.PANEL,
        "quiet": QUIET,
    }
    text = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")  # "</script" in an id would end the script
    parts = {
        "title": html.escape(title),
        "lines": "".join(f"<p>{html.escape(line)}</p>" for line in [*lines, style.DISCLAIMER]),
        "style": _properties(),
        "data": text,
        "script": read_asset(_HERE, "scatter_page.js"),
    }
    return fill_template(read_asset(_HERE, "scatter_page.html"), parts).encode()


def _properties() -> str:
    """The visual language as CSS variables."""
    colours = {"background": style.BACKGROUND, "panel": style.PANEL, "line": style.LINE}
    colours |= {"ink": style.INK, "quiet": style.INK_QUIET}
    sizes = {"title": style.TITLE, "heading": style.HEADING, "body": style.BODY, "tight": style.TIGHT, "gap": style.GAP}
    values = colours | {name: f"{size}px" for name, size in sizes.items()}
    return " ".join(f"--{name}: {value};" for name, value in values.items())


def _pack(array: NDArray[Any]) -> str:
    return base64.b64encode(array.tobytes()).decode("ascii")


def _places(coordinates: NDArray[np.float32]) -> dict[str, str]:
    """Both coordinates in 1/65535 of the embedding map's longer side, little-endian uint16, as base64."""
    placed = coordinates.astype(np.float64) - coordinates.min(axis=0)
    steps = np.rint(placed / (placed.max() or 1.0) * _STEPS).astype("<u2")
    return {"across": _pack(steps[:, 0]), "up": _pack(steps[:, 1])}


def _findings(catalogue: Catalogue, highlight: str | None) -> dict[str, Any] | None:
    """The names, each image's flags (bit f % 8 of byte f // 8), and the number of the highlighted finding."""
    if catalogue.labels is None:
        return None
    names = list(catalogue.vocabulary.findings)
    flags = np.packbits(catalogue.labels, axis=1, bitorder="little")
    number = None if highlight is None else names.index(highlight) if highlight in names else len(names)
    return {"names": [readable(name) for name in names], "flags": _pack(flags), "highlight": number}


def _colouring(colouring: Colouring, order: NDArray[np.int64]) -> dict[str, Any]:
    return {
        "name": colouring.name,
        "title": colouring.title,
        "classes": colouring.classes,
        "colours": colouring.colours,
        "quiet": colouring.quiet,
        "counts": colouring.counts,
        "codes": _pack(colouring.codes[order]),
    }


def _pictures(rows: NDArray[np.int64], pixels_of: PixelsOf) -> dict[str, Any] | None:
    """Thumbnails of these rows in one JPEG of 40 columns; None if the first row has no pixels."""
    if pixels_of(int(rows[0])) is None:
        return None
    side, columns = THUMBNAIL_SIDE, min(_COLUMNS, len(rows))
    sheet = np.zeros((-(-len(rows) // columns) * side, columns * side), dtype=np.uint8)
    for place, row in enumerate(rows):
        top, left = place // columns * side, place % columns * side
        pixels = pixels_of(int(row))
        if pixels is not None:
            sheet[top : top + side, left : left + side] = resize(pixels, side)
    file = io.BytesIO()
    Image.fromarray(sheet).save(file, format="JPEG", quality=_QUALITY, optimize=True)
    source = f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"
    return {"side": side, "columns": columns, "count": len(rows), "source": source}


def _note(pictures: dict[str, Any] | None, n: int) -> str:
    if pictures is None:
        return "This index keeps no pixels, so there are no thumbnails."
    return (
        ""
        if pictures["count"] == n
        else f"{pictures['count']:,} of the {n:,} images, chosen at random, have a thumbnail."
    )
