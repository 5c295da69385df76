"""Boxes that readers drew around findings: NIH's `BBox_List_2017.csv`, or any table with the same columns.

NIH's file has quirks:

- Its header, `Image Index,Finding Label,Bbox [x,y,w,h],,,`, is split at the commas inside the brackets.
- Its rows have six fields, so the header alone has three empty columns at the end.
- It writes `Infiltrate` for Infiltration.
- All coordinates are pixels of a 1024 x 1024 image, whatever the size of the image file.
"""

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cxrsearch.arrays import Floats
from cxrsearch.errors import CatalogueError, VocabularyError
from cxrsearch.images.catalogue import Catalogue
from cxrsearch.images.findings import NIH_FINDINGS, Vocabulary
from cxrsearch.images.splits import digest_ids
from cxrsearch.images.tables import read_text

BOX_SIDE = 1024
"""The side, in pixels, of the images to which the coordinates of NIH's boxes refer."""

_FIELDS = 6
_ROUNDING = 1e-6  # pixels by which a sum of two coordinates may exceed the side
_FIX = "give NIH's BBox_List_2017.csv, or rows of image, finding, x, y, w, h in 1024-pixel coordinates"


@dataclass(frozen=True, eq=False)
class Boxes:
    """n boxes, in the order of the table.

    Attributes:
        images: the id of each box's image. An image may have several boxes, even of one finding.
        findings: the canonical name of the finding in each box.
        shares: float64 (n, 4), left, top, width and height as shares of the image's sides, 0 to 1.
    """

    images: tuple[str, ...]
    findings: tuple[str, ...]
    shares: Floats

    def __len__(self) -> int:
        return len(self.images)

    @property
    def sha256(self) -> str:
        """The sha256 of the ids of the boxed images; see `digest_ids`."""
        return digest_ids(set(self.images))

    def of_patients(self, catalogue: Catalogue) -> NDArray[np.bool_]:
        """Mark all images of the patients who have a boxed image, bool (number of images in the catalogue,)."""
        groups = catalogue.patient_groups()
        boxed = np.isin(np.array(catalogue.ids, dtype=object), np.array(sorted(set(self.images)), dtype=object))
        return np.isin(groups, groups[boxed])

    def pixels(self, side: int) -> Floats:
        """Return the boxes in pixels of a square image with this side: float64 (n, 4)."""
        return self.shares * side

    def take(self, rows: Sequence[int] | NDArray[np.int64]) -> "Boxes":
        """Return the boxes at these rows, in this order."""
        images, findings = ([names[row] for row in rows] for names in (self.images, self.findings))
        return Boxes(tuple(images), tuple(findings), self.shares[np.asarray(rows, dtype=np.int64)])


def read_boxes(path: Path) -> Boxes:
    """Read a table of boxes.

    Raises:
        CatalogueError: the file cannot be read, is not UTF-8, or is not such a table. Or a row has the wrong number of
            fields, no image, an unknown finding, a coordinate that is not a number, or a box that is empty or leaves
            the image.
    """
    rows = csv.reader(io.StringIO(read_text(path), newline=""))
    header = next(rows, [])
    names = [name.strip().lower() for name in header]
    if names[:3] != ["image index", "finding label", "bbox [x"]:
        got = ",".join(header)[:80] or "empty"
        raise CatalogueError(f"{path.name} is not a table of boxes: its header is {got}", _FIX)
    vocabulary = Vocabulary(NIH_FINDINGS)
    parsed = [_parse_row(fields, vocabulary, f"{path.name}, line {rows.line_num}") for fields in rows if fields]
    if not parsed:
        raise CatalogueError(f"{path.name} has no boxes", _FIX)
    images, findings, boxes = zip(*parsed, strict=True)
    return Boxes(images, findings, np.array(boxes, dtype=np.float64) / BOX_SIDE)


def _parse_row(fields: list[str], vocabulary: Vocabulary, place: str) -> tuple[str, str, list[float]]:
    """Parse image, finding and box of a row. Only empty fields may follow these. Raises CatalogueError."""
    if len(fields) < _FIELDS or any(field.strip() for field in fields[_FIELDS:]):
        raise CatalogueError(f"{place}: {len(fields)} fields instead of {_FIELDS}", _FIX)
    image, label = fields[0].strip(), fields[1].strip()
    if not image:
        raise CatalogueError(f"{place}: no image", _FIX)
    try:
        finding = vocabulary.canonical(label)
        box = [float(field) for field in fields[2:_FIELDS]]
    except VocabularyError as error:
        raise CatalogueError(f"{place}: {error.problem}", "correct the label") from None
    except ValueError:
        raise CatalogueError(f"{place}: a coordinate of {fields[2:_FIELDS]} is not a number", _FIX) from None
    left, top, width, height = box
    if not all(map(math.isfinite, box)) or min(box) < 0 or min(width, height) <= 0:
        raise CatalogueError(f"{place}: {box} is not a box", _FIX)
    if max(left + width, top + height) > BOX_SIDE + _ROUNDING:
        raise CatalogueError(f"{place}: the box {box} leaves the image of {BOX_SIDE} pixels", _FIX)
    return image, finding, box
