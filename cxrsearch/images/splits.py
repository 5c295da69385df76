"""Splits of a catalogue into train, val and test, no patient in two of them.

A split is always given by its definition, one of

    paper[:DIR]          train_list.txt, val_list.txt and test_list.txt: the lists of the paper, Yao et al.'s split
    official[:DIR]       train_val_list.txt and test_list.txt: NIH's own lists. NIH gives no val; it is a tenth of the
                         train_val patients, those that `patient-hash:0.9/0.1/0` puts there
    patient-hash:a/b/c   fractions of the patients, by the sha256 of the patient id. (A DICOM patient's id is a hash
                         with the salt of one set of files, so there its part lasts as long as that set.)
    patient-fold:i/K     fold i of K of a cross-validation, i from 1: test is the i-th of K equal parts of the same
                         hash, val an eighth of the other patients (by another hash), train the rest
    column               the table's own column `split`, with train, val, test, or nothing

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
"""Where neither the user, the encoder nor the table says otherwise."""

FORMS = "paper[:DIR], official[:DIR], patient-hash:a/b/c, patient-fold:i/K or column"

_OFFICIAL_VAL = "0.9/0.1/0"
_VAL_OF_FOLD = 2**64 // 8

_Parts = Sequence[Part | None]


@dataclass(frozen=True)
class Split:
    """A definition of parts, which `assign` applies to a catalogue; made by `parse_split`."""

    definition: str
    _parts_of: Callable[[Catalogue], _Parts] = field(repr=False, compare=False)

    def assign(self, catalogue: Catalogue) -> NDArray[np.object_]:
        """Each image's part, object (n,) of `train`, `val`, `test`, or None where it is in no part.

        Raises:
            SplitError: the lists or the column cannot be used, or a patient is in two parts.
        """
        parts = np.array(self._parts_of(catalogue), dtype=object)
        _require_disjoint(catalogue, parts, self.definition)
        return parts

    def rows(self, catalogue: Catalogue, part: str) -> NDArray[np.int64]:
        """The rows of a part, int64, ascending.

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
    """The split of a definition; its lists are read when it is applied.

    Raises:
        UsageError: not one of these forms, or fractions that do not sum to 1.
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
    """`$CXRSEARCH_DATA/splits`, or `data/splits` where the variable is not set."""
    return Path(os.environ.get("CXRSEARCH_DATA") or "data") / "splits"


def ids_digest(ids: Iterable[str]) -> str:
    """The sha256 of a set of image ids, sorted and one a line: what a part is, whatever its definition says."""
    return hashlib.sha256("\n".join(sorted(ids)).encode()).hexdigest()


_SKETCHED, _DIGITS = 512, 10


def ids_sketch(ids: Iterable[str]) -> str:
    """A sample by which any few of many image ids are known again: the lowest 512 of the ids' hashes, 10 digits each.

    An id's hash decides whether it is in the sample, so two sets share of it what they have in common: the bottom-k
    sketch of Broder, On the resemblance and containment of documents, 1997.
    """
    return "".join(sorted(map(_sketched, set(ids)))[:_SKETCHED])


def in_sketch(sketch: str, ids: Iterable[str]) -> NDArray[np.bool_]:
    """Which ids are in the sample of `ids_sketch`, bool (n,)."""
    known = {sketch[i : i + _DIGITS] for i in range(0, len(sketch), _DIGITS)}
    return np.array([_sketched(image) in known for image in ids], dtype=np.bool_)


def _sketched(image: str) -> str:
    return hashlib.sha256(image.encode()).hexdigest()[:_DIGITS]


def _by_column(catalogue: Catalogue) -> _Parts:
    named: dict[str, Part] = {part: part for part in PARTS}
    cells = catalogue.frame["split"].dropna()
    unknown = [cell for cell in cells.unique() if cell not in named]
    if unknown or cells.empty:
        found = f"holds {listed([repr(cell) for cell in unknown])}" if unknown else "is missing or empty"
        raise SplitError(
            f"the table's column split {found}", "write train, val or test, or nothing for an image in no part"
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
    """The part of every image that the lists name; a list holds one image id a line."""
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
    """Where val and test begin, in steps of 2^-64 of the patients; exact, so that a part of 0 gets nobody."""
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
    """Where the patient lies; it depends on nothing but the id and the fractions."""
    here = place(patient)
    return "train" if here < bounds[0] else "val" if here < bounds[1] else "test"


def place(patient: str) -> int:
    """Where a patient lies among all: the first 64 bits of the id's sha256."""
    return int.from_bytes(hashlib.sha256(patient.encode()).digest()[:8], "big")


def _parse_fold(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([0-9]{1,3})/([0-9]{1,3})", text)
    fold, folds = (int(match[1]), int(match[2])) if match else (0, 0)
    if folds < 2 or not 1 <= fold <= folds:
        raise UsageError(f"the fold {text!r} is not i/K with 1 <= i <= K and K >= 2", "use patient-fold:1/5")
    return fold, folds


def _by_fold(catalogue: Catalogue, fold: int, folds: int) -> _Parts:
    def part(patient: str) -> Part:
        if place(patient) * folds >> 64 == fold - 1:
            return "test"
        return "val" if place(f"val {patient}") < _VAL_OF_FOLD else "train"

    parts = {patient: part(patient) for patient in set(catalogue.patients)}
    return [parts[patient] for patient in catalogue.patients]


def _require_disjoint(catalogue: Catalogue, parts: NDArray[np.object_], definition: str) -> None:
    """Refuse parts that share patients; the message gives images, as patient ids are never logged."""
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
