"""Split a catalogue into train, val and test. No patient is in two of them.

A split is given by its definition, one of

    paper[:DIR]          train_list.txt, val_list.txt and test_list.txt: the lists of the paper, Yao et al.'s split
    official[:DIR]       train_val_list.txt and test_list.txt: NIH's lists. NIH has no val part. Here it is a tenth of
                         the train_val patients: those that `patient-hash:0.9/0.1/0` puts into val
    patient-hash:a/b/c   fractions of the patients, by the sha256 of the patient id. (The id of a DICOM patient is a
                         hash with the salt of one set of files. If the set changes, its patients change parts.)
    patient-fold:i/K     fold i of K of a cross-validation, i from 1. Test is the i-th of K equal parts of the same
                         hash. Val is an eighth of the other patients, by another hash. Train is the rest
    column               the table's column `split`, with train, val, test, or nothing

DIR defaults to `$CXRSEARCH_DATA/splits`. Images that a split does not name are in no part.
"""

import hashlib
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrsearch.errors import SplitError, UsageError
from cxrsearch.images.catalogue import Catalogue
from cxrsearch.images.tables import PARTS, Part, listed
from cxrsearch.words import counted

DEFAULT_SPLIT = "patient-hash:0.7/0.1/0.2"
"""The split if neither the user, the encoder nor the table names one."""

FORMS = "paper[:DIR], official[:DIR], patient-hash:a/b/c, patient-fold:i/K or column"

_OFFICIAL_VAL = "0.9/0.1/0"
_VAL_OF_FOLD = 2**64 // 8  # in the steps of `place`

_Parts = Sequence[Part | None]


@dataclass(frozen=True)
class Split:
    """A definition of parts, made by `parse_split`; `assign` applies it to a catalogue.

    Attributes:
        definition: as the user wrote it.
    """

    definition: str
    _parts_of: Callable[[Catalogue], _Parts] = field(repr=False, compare=False)

    def assign(self, catalogue: Catalogue) -> NDArray[np.object_]:
        """Return the part of each image, object (n,): `train`, `val`, `test`, or None for an image in no part.

        Raises:
            SplitError: the lists or the column cannot be used, or a patient is in two parts.
        """
        parts = np.array(self._parts_of(catalogue), dtype=object)
        _require_disjoint(catalogue, parts, self.definition)
        return parts

    def rows(self, catalogue: Catalogue, part: str) -> NDArray[np.int64]:
        """Return the rows of a part, int64, ascending.

        Raises:
            UsageError: no such part.
            SplitError: as `assign`; or the part is empty.
        """
        if part not in PARTS:
            raise UsageError(f"unknown part {part!r}", f"use one of {', '.join(PARTS)}")
        parts = self.assign(catalogue)
        rows = np.flatnonzero(parts == part).astype(np.int64)
        if not len(rows):
            sizes = ", ".join(f"{name} {np.count_nonzero(parts == name)}" for name in PARTS)
            raise SplitError(
                f"part {part} of split {self.definition} is empty: of {len(catalogue)} images, {sizes}",
                "use another --part or --split",
            )
        return rows


def parse_split(definition: str) -> Split:
    """Parse the definition of a split. Its lists are read only when it is applied.

    Raises:
        UsageError: the definition has none of the forms above, or its fractions do not sum to 1.
    """
    form, colon, argument = definition.partition(":")
    if definition == "column":
        return Split(definition, _by_column)
    if form == "patient-hash" and argument:
        bounds = _parse_fractions(argument)
        return Split(definition, lambda catalogue: _by_hash(catalogue, bounds))
    if form == "patient-fold" and argument:
        fold, folds = _parse_fold(argument)
        return Split(definition, lambda catalogue: _by_fold(catalogue, fold, folds))
    if form in ("paper", "official") and (argument or not colon):
        folder = Path(argument).expanduser() if argument else default_lists_folder()
        by_lists = _by_paper_lists if form == "paper" else _by_official_lists
        return Split(definition, lambda catalogue: by_lists(catalogue, folder))
    raise UsageError(f"unknown split {definition!r}", f"use {FORMS}")


def default_lists_folder() -> Path:
    """Return `$CXRSEARCH_DATA/splits`, or `data/splits` if the variable is not set."""
    return Path(os.environ.get("CXRSEARCH_DATA") or "data") / "splits"


def digest_ids(ids: Iterable[str]) -> str:
    """Compute the sha256 of a set of image ids, sorted, one per line. It identifies a part by its images."""
    return hashlib.sha256("\n".join(sorted(ids)).encode()).hexdigest()


_SKETCH_IDS, _DIGITS = 512, 10


def sketch_ids(ids: Iterable[str]) -> str:
    """Make a sample of many image ids: the lowest 512 of the ids' hashes, 10 hex digits each.

    An id's hash alone decides whether it may be in the sample. So the samples of two sets overlap where the sets do,
    and images seen before can be recognised. This is the bottom-k sketch of Broder, On the resemblance and containment
    of documents, 1997.
    """
    return "".join(sorted(map(_hash_id, set(ids)))[:_SKETCH_IDS])


def in_sketch(sketch: str, ids: Iterable[str]) -> NDArray[np.bool_]:
    """Mark the ids that are in the sample of `sketch_ids`, bool (n,)."""
    hashes = {sketch[i : i + _DIGITS] for i in range(0, len(sketch), _DIGITS)}
    return np.array([_hash_id(image) in hashes for image in ids], dtype=np.bool_)


def _hash_id(image: str) -> str:
    return hashlib.sha256(image.encode()).hexdigest()[:_DIGITS]


def _by_column(catalogue: Catalogue) -> _Parts:
    named: dict[str, Part] = {part: part for part in PARTS}
    cells = catalogue.frame["split"].dropna()
    unknown = [cell for cell in cells.unique() if cell not in named]
    if unknown or cells.empty:
        problem = f"holds {listed([repr(cell) for cell in unknown])}" if unknown else "is missing or empty"
        raise SplitError(
            f"the table's column split {problem}", "write train, val or test, or nothing for an image in no part"
        )
    return [None if pd.isna(cell) else named[cell] for cell in catalogue.frame["split"]]


def _by_paper_lists(catalogue: Catalogue, folder: Path) -> _Parts:
    parts = _read_lists(folder, {"train": "train_list.txt", "val": "val_list.txt", "test": "test_list.txt"})
    return [parts.get(image) for image in catalogue.ids]


def _by_official_lists(catalogue: Catalogue, folder: Path) -> _Parts:
    parts = _read_lists(folder, {"train": "train_val_list.txt", "test": "test_list.txt"})
    carved = _by_hash(catalogue, _parse_fractions(_OFFICIAL_VAL))
    return [
        hashed if parts.get(image) == "train" else parts.get(image)
        for image, hashed in zip(catalogue.ids, carved, strict=True)
    ]


def _read_lists(folder: Path, names: Mapping[Part, str]) -> dict[str, Part]:
    """Read the part of every image that the lists name. A list holds one image id per line."""
    parts: dict[str, Part] = {}
    for part, name in names.items():
        for image in dict.fromkeys(_read_list(folder / name, list(names.values()))):
            if image in parts:
                raise SplitError(
                    f"{image!r} is in {names[parts[image]]} and in {name} of {folder}", "correct the lists"
                )
            parts[image] = part
    return parts


def _read_list(path: Path, needed: Sequence[str]) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise SplitError(
            f"cannot read the list {path}: {reason}",
            f"put {', '.join(needed)} into {path.parent}, or name their folder: paper:DIR, official:DIR",
        ) from error
    return [line.strip() for line in lines if line.strip()]


def _parse_fractions(text: str) -> tuple[int, int]:
    """Parse fractions to where val and test begin, in steps of 2^-64 of the patients.

    Exact fractions, not floats: a part of 0 must get no patient.
    """
    numbers = text.split("/")
    if len(numbers) != 3 or not all(re.fullmatch(r"[0-9]+\.?[0-9]*|\.[0-9]+", number) for number in numbers):
        raise UsageError(f"the fractions {text!r} are not a/b/c", "use patient-hash:0.7/0.1/0.2 or the like")
    train, val, test = (Fraction(number) for number in numbers)
    total = train + val + test
    if abs(total - 1) > Fraction(1, 10**9):
        raise UsageError(f"the fractions {text!r} sum to {float(total):.12g}", "give fractions that sum to 1")
    return math.floor(train / total * 2**64), math.floor((train + val) / total * 2**64)


def _by_hash(catalogue: Catalogue, bounds: tuple[int, int]) -> _Parts:
    parts = {patient: _part_of_patient(patient, bounds) for patient in set(catalogue.patients)}
    return [parts[patient] for patient in catalogue.patients]


def _part_of_patient(patient: str, bounds: tuple[int, int]) -> Part:
    """Return the part of a patient. It depends only on the id and the fractions, not on the other patients."""
    here = place(patient)
    return "train" if here < bounds[0] else "val" if here < bounds[1] else "test"


def place(patient: str) -> int:
    """Place a patient evenly in 0 to 2^64 - 1: the first 64 bits of the id's sha256."""
    # Not `hash()`: Python salts it anew in every process.
    return int.from_bytes(hashlib.sha256(patient.encode()).digest()[:8], "big")


def _parse_fold(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([0-9]{1,3})/([0-9]{1,3})", text)
    fold, folds = (int(match[1]), int(match[2])) if match else (0, 0)
    if folds < 2 or not 1 <= fold <= folds:
        raise UsageError(f"the fold {text!r} is not i/K with 1 <= i <= K and K >= 2", "use patient-fold:1/5")
    return fold, folds


def _by_fold(catalogue: Catalogue, fold: int, folds: int) -> _Parts:
    def part(patient: str) -> Part:
        if place(patient) * folds >> 64 == fold - 1:  # maps 2^64 places onto K folds of equal size
            return "test"
        # With the same hash, val would be a range of places, and could be the test part of another fold.
        return "val" if place(f"val {patient}") < _VAL_OF_FOLD else "train"

    parts = {patient: part(patient) for patient in set(catalogue.patients)}
    return [parts[patient] for patient in catalogue.patients]


def _require_disjoint(catalogue: Catalogue, parts: NDArray[np.object_], definition: str) -> None:
    """Refuse parts that share patients. The message names images, because patient ids are never logged."""
    patients = np.array(catalogue.patients, dtype=object)
    for one, other in combinations(PARTS, 2):
        shared = set(patients[parts == one]) & set(patients[parts == other])
        if shared:
            rows = [row for row in np.flatnonzero(parts == one) if patients[row] in shared]
            images = [catalogue.ids[row] for row in rows]
            patients_are = counted(len(shared), "patient is", "patients are")
            raise SplitError(
                f"split {definition}: {patients_are} in both {one} and {other}, for example those of "
                f"{listed(images, 3)}",
                "keep all images of a patient in one part",
            )
