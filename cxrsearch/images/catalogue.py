"""The catalogue: the table of images, from a CSV or from the files themselves, and which file belongs to which row.

With a table, an image is one of its rows, and its id is the table's. An id is found by its path relative to the folder
where any id of the table has a `/`, else by the file's name in whatever sub-folder; one without the file's suffix, as
`00000001_000`, is completed. Without a table the id is the relative path. The order is that of the relative paths, so
a re-sorted or corrected table moves no image.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrsearch.errors import CatalogueError, ImageError
from cxrsearch.images.findings import Vocabulary
from cxrsearch.images.patients import hash_patient, patient_salt, patients_by_pattern
from cxrsearch.images.radiograph import SUFFIXES, DicomTags, find_images, read_tags
from cxrsearch.images.tables import parse_age, parse_part, parse_sex, parse_view, read_cells
from cxrsearch.progress import Progress, silent

PatientSource = Literal["table", "dicom", "pattern", "file"]

COLUMNS = {
    "id": "string",
    "patient": "string",
    "view": "string",
    "sex": "string",
    "age": "Int16",
    "split": "string",
    "path": "string",
}


@dataclass(frozen=True, eq=False)
class Catalogue:
    """A table of images, one row an image; treat its frame as read-only.

    Attributes:
        frame: the columns `COLUMNS`, in this order and with these dtypes, and a row number as index. `id` and
            `patient` are never null; `view` is PA, AP or null, `sex` M, F or null, `age` years up to 120 or null,
            `split` train, val, test or null, `path` relative to the folder of images, with `/`, or null. The
            constructor brings any frame with `id` and `patient` into this form.
        vocabulary: the findings.
        labels: bool (n, len(vocabulary)); None where the findings are unknown.
        warnings: what a user should know of the table that it was read from.
    """

    frame: pd.DataFrame
    vocabulary: Vocabulary
    labels: NDArray[np.bool_] | None = None
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        frame = self.frame.reindex(columns=list(COLUMNS)).astype(COLUMNS).reset_index(drop=True)
        object.__setattr__(self, "frame", frame)
        if self.labels is not None:
            if self.labels.shape != (len(frame), len(self.vocabulary)):
                raise ValueError(f"labels {self.labels.shape} for {len(frame)} images, {len(self.vocabulary)} findings")
            read_only = self.labels.view()
            read_only.setflags(write=False)
            object.__setattr__(self, "labels", read_only)

    def __len__(self) -> int:
        return len(self.frame)

    @cached_property
    def ids(self) -> list[str]:
        """The image ids."""
        return list(self.frame["id"])

    @cached_property
    def patients(self) -> list[str]:
        """Each image's patient."""
        return list(self.frame["patient"])

    def patient_groups(self) -> NDArray[np.int64]:
        """Each image's patient as a number, int64 (n,), counted from 0 in order of appearance."""
        return pd.factorize(self.frame["patient"])[0].astype(np.int64)

    def findings(self, row: int) -> tuple[str, ...] | None:
        """The findings of an image in vocabulary order; None where findings are unknown."""
        return None if self.labels is None else self.vocabulary.decode(self.labels[row])

    def paths(self, folder: Path) -> list[Path]:
        """The images' files, in `folder`."""
        return [folder / path for path in self.frame["path"]]

    def take(self, rows: Sequence[int] | NDArray[np.int64]) -> "Catalogue":
        """The catalogue of these rows, in this order."""
        at = np.asarray(rows, dtype=np.int64)
        return replace(self, frame=self.frame.iloc[at], labels=None if self.labels is None else self.labels[at])


@dataclass(frozen=True, eq=False)
class Matched:
    """The images of a folder.

    Attributes:
        catalogue: the images that may be used, by relative path.
        folder: what their paths are relative to.
        unlisted: files that no row of the table names, in the order of their paths.
        rows_without_image: rows of the table for which there is no file.
        patient_source: where patients come from: the `table`, `dicom` tags, a `pattern`, or every `file` its own.
        patient_salt: what DICOM PatientIDs were hashed with; None where patients come from elsewhere.
        own_patients: files that are their own patient for want of a better.
    """

    catalogue: Catalogue
    folder: Path
    unlisted: tuple[Path, ...] = ()
    rows_without_image: int = 0
    patient_source: PatientSource = "table"
    patient_salt: str | None = None
    own_patients: int = 0


def read_table(path: Path, vocabulary: Vocabulary | None = None) -> Catalogue:
    """The catalogue of NIH's Data_Entry table or of a plain CSV, plain or gzipped; see `tables` for its columns.

    Args:
        path: the table.
        vocabulary: its findings; None means NIH's 14.

    Raises:
        CatalogueError: the table cannot be used; the message names the line.
        VocabularyError: a label outside the vocabulary.
    """
    vocabulary = vocabulary or Vocabulary()
    table = read_cells(path)
    columns = {
        "id": table.columns["id"],
        "patient": table.columns["patient"],
        "view": table.parsed("view", parse_view, ""),
        "sex": table.parsed("sex", parse_sex, "write M or F, or nothing where it is unknown"),
        "age": table.parsed("age", parse_age, "write years as 58, or 058Y or 018M, or nothing where it is unknown"),
        "split": table.parsed("split", parse_part, "write train, val or test, or nothing for an image in no part"),
    }
    frame = pd.DataFrame(columns, dtype=object)
    return Catalogue(frame, vocabulary, table.labels(vocabulary), tuple(table.warnings()))


def match_images(table: Catalogue, folder: Path) -> Matched:
    """Find the file of every row, and the row of every file.

    Raises:
        CatalogueError: no images there, or none that the table names; two files for one row, or two rows for one file.
    """
    names = _relative_names(folder)
    by_path = any("/" in image for image in table.ids)
    rows = {image: row for row, image in enumerate(table.ids)}
    found: dict[int, str] = {}
    unlisted = []
    for name in names:
        row = _row_of(_id_of(name, by_path), rows)
        if row is None:
            unlisted.append(folder / name)
        elif row in found:
            raise CatalogueError(
                f"two files for the image {table.ids[row]!r}: {found[row]} and {name}",
                "remove one of them, or write relative paths with suffixes in the table",
            )
        else:
            found[row] = name
    if not found:
        raise CatalogueError(
            f"none of the {len(names)} images in {folder} is in the table: {names[0]!r} is one, the table's first "
            f"is {table.ids[0]!r}",
            "give the folder and the table that belong together",
        )
    _require_one_spelling(table, found, rows, by_path)
    catalogue = table.take(list(found))
    ids = [_id_of(name, by_path) for name in found.values()]
    catalogue = replace(catalogue, frame=catalogue.frame.assign(id=ids, path=list(found.values())))
    return Matched(catalogue, folder, tuple(unlisted), len(table) - len(found))


def _require_one_spelling(table: Catalogue, found: Mapping[int, str], rows: Mapping[str, int], by_path: bool) -> None:
    """Refuse two rows of one file, with its suffix and without."""
    for row, name in found.items():
        other = rows.get(_stem(_id_of(name, by_path)), row)
        if other not in found:
            raise CatalogueError(
                f"two rows for the file {name}: {table.ids[row]!r} and {table.ids[other]!r}",
                "leave one row for each image",
            )


def _id_of(name: str, by_path: bool) -> str:
    """A file's id: its relative path, or its name alone."""
    return name if by_path else name.rpartition("/")[2]


def _row_of(image: str, rows: Mapping[str, int]) -> int | None:
    """The row of a file's id, which the table may write without the suffix."""
    return rows.get(image, rows.get(_stem(image)))


def _stem(image: str) -> str:
    """An id without the suffix of an image; one without such a suffix as it is."""
    stem, _, suffix = image.rpartition(".")
    return stem if f".{suffix.lower()}" in SUFFIXES else image


def catalogue_of_folder(
    folder: Path,
    vocabulary: Vocabulary | None = None,
    *,
    patient_pattern: str | None = None,
    progress: Progress = silent,
) -> Matched:
    """The catalogue of a folder without a table; the findings are unknown.

    A DICOM file's patient is its PatientID, hashed with a salt of this set of files; view, sex and age are its tags.
    Any other file, and a DICOM without PatientID, is its own patient. A pattern, where given, decides for all files.
    A file that cannot be read stays in the catalogue: decoding will refuse it with the reason.

    Args:
        folder: the images.
        vocabulary: the findings an encoder may predict; None means NIH's 14.
        patient_pattern: regular expression whose group is the patient, searched in the relative path.
        progress: called while DICOM headers are read.

    Raises:
        UsageError: the pattern is no regular expression or has no group.
        CatalogueError: no images there, or the pattern finds no patient in some.
    """
    names = _relative_names(folder)
    tags = list(_all_tags([folder / name for name in names], progress))
    known = {name: tag.patient_id for name, tag in zip(names, tags, strict=True) if tag.patient_id}
    source: PatientSource = "pattern" if patient_pattern is not None else "dicom" if known else "file"
    salt = patient_salt(known.items()) if source == "dicom" else None
    if patient_pattern is not None:
        patients = patients_by_pattern(patient_pattern, names)
    else:
        patients = [hash_patient(known[name], salt) if salt and name in known else name for name in names]
    columns = {
        "id": names,
        "patient": patients,
        "view": [tag.view for tag in tags],
        "sex": [tag.sex for tag in tags],
        "age": [tag.age for tag in tags],
        "path": names,
    }
    catalogue = Catalogue(pd.DataFrame(columns, dtype=object), vocabulary or Vocabulary())
    own = 0 if patient_pattern is not None else len(names) - len(known)
    return Matched(catalogue, folder, patient_source=source, patient_salt=salt, own_patients=own)


def _relative_names(folder: Path) -> list[str]:
    """The images' paths relative to the folder, with `/`, in order."""
    names = [path.relative_to(folder).as_posix() for path in find_images(folder)]
    if not names:
        raise CatalogueError(f"no images in {folder}", "name a folder of PNG, JPEG or DICOM files")
    strange = [name for name in names if name.encode(errors="ignore").decode() != name]
    if strange:
        raise CatalogueError(f"the file name {strange[0]!a} is not UTF-8", "rename the file")
    return names


def _all_tags(paths: Sequence[Path], progress: Progress) -> Iterator[DicomTags]:
    for done, path in enumerate(paths):
        progress("reading headers", done, len(paths))
        yield _tags(path)
    progress("reading headers", len(paths), len(paths))


def _tags(path: Path) -> DicomTags:
    """A DICOM file's tags; none for other files and for those that cannot be read."""
    try:
        return read_tags(path)
    except ImageError:
        return DicomTags(None, None, None, None)
