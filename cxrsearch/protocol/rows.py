"""Which images are learned from, which choose settings, and which are scored."""

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
    """Rows of a catalogue: what models are fitted on, what their settings are chosen by, and what is scored."""

    fit: NDArray[np.int64]
    choose: NDArray[np.int64]
    scored: NDArray[np.int64]


def default_split(catalogue: Catalogue, encoder: Json | None = None, indexed: str | None = None) -> str:
    """The split of the encoder's training, else the index's, else the table's column, else a patient hash.

    Args:
        catalogue: the images.
        encoder: the encoder's specification, as in a manifest; None: no encoder decides.
        indexed: the split that the index was built with; None: there is none.
    """
    provenance = Provenance.from_json((encoder or {}).get("provenance") or {})
    column = "column" if catalogue.frame["split"].notna().any() else None
    return provenance.split or indexed or column or DEFAULT_SPLIT


def divide(
    catalogue: Catalogue, definition: str, part: str = "test", fit_on: FitOn = "train"
) -> tuple[Rows, list[str]]:
    """The rows, and what a reader must know of them.

    Without a validation part an eighth of the training patients stands in for it.

    Args:
        catalogue: the images that are divided.
        definition: of a split.
        part: the part to score; what is scored is neither learned from nor chosen by.
        fit_on: `train`; or `val`, whose patients are halved: one half to fit, one to choose settings by.

    Raises:
        CatalogueError: the split cannot be applied, or the part is empty.
        SplitError: nobody is left to choose settings by.
    """
    split = parse_split(definition)
    scored = split.rows(catalogue, part)
    parts = split.assign(catalogue)
    parts[scored] = None
    fit, choose = np.flatnonzero(parts == "train"), np.flatnonzero(parts == "val")
    warnings = []
    if fit_on == "val":
        fit, choose = _halves(catalogue, choose, 2)
    elif len(fit) and not len(choose):
        fit, choose = _halves(catalogue, fit, 8)
        images = counted(len(choose), "image")
        warnings = [f"no validation part: settings are chosen by {images}, of an eighth of the training patients"]
    if len(fit) and not len(choose):
        images = counted(len(fit), "image")
        raise SplitError(
            f"split {definition} leaves nobody to choose settings by: {images} to fit, of too few patients",
            "use a split with a validation part of more patients",
        )
    return Rows(fit, choose, scored), warnings


def _halves(catalogue: Catalogue, rows: NDArray[np.int64], share: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The rows of all patients but one in `share`, and the rows of that share; by a hash of the patient's id."""
    patients = catalogue.patients
    kept = np.array([place(f"choose {patients[row]}") * share >> 64 > 0 for row in rows], dtype=np.bool_)
    return rows[kept], rows[~kept]
