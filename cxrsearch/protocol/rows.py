"""Divide a catalogue: which images models are fitted on, which choose settings, and which are scored."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cxrsearch.encoder.spec import Provenance
from cxrsearch.errors import SplitError
from cxrsearch.files import Json
from cxrsearch.images.catalogue import Catalogue
from cxrsearch.images.splits import DEFAULT_SPLIT, parse_split, place
from cxrsearch.words import counted

FitOn = Literal["train", "val"]


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of a catalogue, each int64 and ascending.

    Attributes:
        fit: the images that models are fitted on.
        choose: the images by which their settings are chosen.
        scored: the images that are scored.
    """

    fit: NDArray[np.int64]
    choose: NDArray[np.int64]
    scored: NDArray[np.int64]


def choose_split(catalogue: Catalogue, encoder: Json | None = None, indexed: str | None = None) -> str:
    """Choose a split: that of the encoder's training, else the index's, else the table's column, else a patient hash.

    Args:
        catalogue: the images.
        encoder: the encoder's specification, as in a manifest; None if there is no encoder.
        indexed: the split that the index was built with; None if there is none.
    """
    # The encoder's split comes first: with another one, images that it was trained on could be scored.
    provenance = Provenance.from_json((encoder or {}).get("provenance") or {})
    column = "column" if catalogue.frame["split"].notna().any() else None
    return provenance.split or indexed or column or DEFAULT_SPLIT


def divide(
    catalogue: Catalogue, definition: str, part: str = "test", fit_on: FitOn = "train"
) -> tuple[Rows, list[str]]:
    """Divide a catalogue into rows to fit on, to choose by and to score.

    If there is no validation part, an eighth of the training patients replaces it.

    Args:
        catalogue: the images to divide.
        definition: the definition of a split.
        part: the part to score. Its images are used neither to fit nor to choose.
        fit_on: `train`, or `val`. The patients of `val` are halved: one half to fit, one to choose settings.

    Returns:
        The rows, and warnings for a reader of the result.

    Raises:
        CatalogueError: the split cannot be applied, or the part is empty.
        SplitError: no patient is left to choose settings by.
    """
    split = parse_split(definition)
    scored = split.rows(catalogue, part)
    parts = split.assign(catalogue)
    parts[scored] = None
    fit, choose = np.flatnonzero(parts == "train"), np.flatnonzero(parts == "val")
    warnings = []
    if fit_on == "val":
        fit, choose = _set_aside(catalogue, choose, 2)
    elif len(fit) and not len(choose):
        fit, choose = _set_aside(catalogue, fit, 8)
        images = counted(len(choose), "image")
        warnings = [f"no validation part: settings are chosen by {images}, of an eighth of the training patients"]
    if len(fit) and not len(choose):
        images = counted(len(fit), "image")
        raise SplitError(
            f"split {definition} leaves nobody to choose settings by: {images} to fit, of too few patients",
            "use a split with a validation part of more patients",
        )
    return Rows(fit, choose, scored), warnings


def _set_aside(
    catalogue: Catalogue, rows: NDArray[np.int64], share: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Set one patient in `share` aside, by a hash of the patient's id: the other rows, and the rows set aside."""
    # The word "choose" makes this hash independent of the one that a patient-hash split uses.
    patients = catalogue.patients
    kept = np.array([place(f"choose {patients[row]}") * share >> 64 > 0 for row in rows], dtype=np.bool_)
    return rows[kept], rows[~kept]
