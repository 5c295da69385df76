"""Match images to the rows of a table.

With a table, each image is one of its rows and has the row's id. If any id of the table contains a `/`, ids are
compared to the image's path, else to the last part of the path. An id may lack the file's suffix, as in
`00000001_000`; the suffix is added. Without a table, the id is the path. Images are in the order of their paths, so a
re-sorted or corrected table moves no image.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import pandas as pd

from cxrsearch.errors import CatalogueError, ImageError, UsageError
from cxrsearch.images.catalogue import Catalogue
from cxrsearch.images.dicom_tags import DicomTags
from cxrsearch.images.findings import Vocabulary
from cxrsearch.images.formats.format_registry import read_table
from cxrsearch.images.patients import find_patients, hash_patient, make_salt
from cxrsearch.images.radiograph import read_tags
from cxrsearch.images.sources.folder import SUFFIXES
from cxrsearch.images.sources.source import ImageSource
from cxrsearch.progress import Progress, silent

PatientSource = Literal["table", "dicom", "pattern", "file"]


@dataclass(frozen=True, eq=False)
class Matched:
    """The images of a source, matched to a table if there is one.

    Attributes:
        catalogue: the images that may be used, in the order of their paths.
        source: the source; the catalogue's paths are image names in it.
        unlisted: names of images that no row of the table names, in ascending order.
        rows_without_image: number of table rows that have no file.
        patient_source: where patients come from: the `table`, `dicom` tags, a `pattern`, or each `file` is a patient.
        patient_salt: the salt of hashed DICOM PatientIDs; None if patients come from elsewhere.
        own_patients: number of files whose patient is unknown, so each counts as a separate patient.
    """

    catalogue: Catalogue
    source: ImageSource
    unlisted: tuple[str, ...] = ()
    rows_without_image: int = 0
    patient_source: PatientSource = "table"
    patient_salt: str | None = None
    own_patients: int = 0


def read_images(
    source: ImageSource,
    table: Path | None,
    vocabulary: Vocabulary | None = None,
    *,
    patient_pattern: str | None = None,
    progress: Progress = silent,
) -> Matched:
    """Read the images of a source, with or without a table; see `match_images` and `make_catalogue`.

    Raises:
        UsageError: both a table and a pattern, or a pattern that is not a regular expression or has no group.
        CatalogueError: the table cannot be used; or as `match_images` and `make_catalogue`.
    """
    if table is None:
        return make_catalogue(source, vocabulary, patient_pattern=patient_pattern, progress=progress)
    if patient_pattern is not None:
        raise UsageError("a patient pattern beside a table: the table names the patients", "leave out one of the two")
    return match_images(read_table(table, vocabulary), source)


def match_images(table: Catalogue, source: ImageSource) -> Matched:
    """Find the file of every row, and the row of every file.

    Raises:
        CatalogueError: the source has no images, or none that the table names; two files match one row, or two rows
            match one file.
    """
    names = _list_names(source)
    by_path = any("/" in image for image in table.ids)
    rows = {image: row for row, image in enumerate(table.ids)}
    name_of_row: dict[int, str] = {}
    unlisted = []
    for name in names:
        row = _row_of(_id_of(name, by_path), rows)
        if row is None:
            unlisted.append(name)
        elif row in name_of_row:
            raise CatalogueError(
                f"two files for the image {table.ids[row]!r}: {name_of_row[row]} and {name}",
                "remove one of them, or write relative paths with suffixes in the table",
            )
        else:
            name_of_row[row] = name
    if not name_of_row:
        raise CatalogueError(
            f"none of the {len(names)} images in {source} is in the table: {names[0]!r} is one, the table's first "
            f"is {table.ids[0]!r}",
            "give the folder and the table that belong together",
        )
    _require_one_spelling(table, name_of_row, rows, by_path)
    catalogue = table.take(list(name_of_row))
    ids = [_id_of(name, by_path) for name in name_of_row.values()]
    catalogue = replace(catalogue, frame=catalogue.frame.assign(id=ids, path=list(name_of_row.values())))
    return Matched(catalogue, source, tuple(unlisted), len(table) - len(name_of_row))


def _require_one_spelling(
    table: Catalogue, name_of_row: Mapping[int, str], rows: Mapping[str, int], by_path: bool
) -> None:
    """Refuse two rows that name one file, one with its suffix and one without. Raises CatalogueError."""
    for row, name in name_of_row.items():
        other = rows.get(_stem(_id_of(name, by_path)), row)
        if other not in name_of_row:
            raise CatalogueError(
                f"two rows for the file {name}: {table.ids[row]!r} and {table.ids[other]!r}",
                "leave one row for each image",
            )


def _id_of(name: str, by_path: bool) -> str:
    """Return a file's id: its relative path, or its name alone."""
    return name if by_path else name.rpartition("/")[2]


def _row_of(image: str, rows: Mapping[str, int]) -> int | None:
    """Return the row of a file's id, which the table may write without the suffix; None if there is none."""
    return rows.get(image, rows.get(_stem(image)))


def _stem(image: str) -> str:
    """Remove an image's suffix from an id; an id without such a suffix is unchanged."""
    stem, _, suffix = image.rpartition(".")
    return stem if f".{suffix.lower()}" in SUFFIXES else image


def make_catalogue(
    source: ImageSource,
    vocabulary: Vocabulary | None = None,
    *,
    patient_pattern: str | None = None,
    progress: Progress = silent,
) -> Matched:
    """Make the catalogue of a source that has no table. Its findings are unknown.

    The patient of a DICOM file is its PatientID, hashed with a salt of this set of files. View, sex and age come from
    its tags. Every other file counts as a separate patient, and so does a DICOM file without PatientID. A pattern
    replaces these rules for all files. A file that cannot be read stays in the catalogue: decoding will refuse it with
    the reason.

    Args:
        source: the images.
        vocabulary: the findings an encoder may predict; None means NIH's 14.
        patient_pattern: regular expression whose group is the patient, searched in the relative path.
        progress: called while DICOM headers are read.

    Raises:
        UsageError: the pattern is not a regular expression or has no group.
        CatalogueError: the source has no images, or the pattern finds no patient in some.
    """
    names = _list_names(source)
    tags = list(_read_all_tags(source, names, progress))
    patient_ids = {name: tag.patient_id for name, tag in zip(names, tags, strict=True) if tag.patient_id}
    patient_source: PatientSource = "pattern" if patient_pattern is not None else "dicom" if patient_ids else "file"
    salt = make_salt(patient_ids.items()) if patient_source == "dicom" else None
    if patient_pattern is not None:
        patients = find_patients(patient_pattern, names)
    else:
        patients = [hash_patient(patient_ids[name], salt) if salt and name in patient_ids else name for name in names]
    columns = {
        "id": names,
        "patient": patients,
        "view": [tag.view for tag in tags],
        "sex": [tag.sex for tag in tags],
        "age": [tag.age for tag in tags],
        "path": names,
    }
    catalogue = Catalogue(pd.DataFrame(columns, dtype=object), vocabulary or Vocabulary())
    unknown = 0 if patient_pattern is not None else len(names) - len(patient_ids)
    return Matched(catalogue, source, patient_source=patient_source, patient_salt=salt, own_patients=unknown)


def _list_names(source: ImageSource) -> list[str]:
    names = source.names()
    if not names:
        raise CatalogueError(f"no images in {source}", "name a folder of PNG, JPEG or DICOM files")
    return names


def _read_all_tags(source: ImageSource, names: Sequence[str], progress: Progress) -> Iterator[DicomTags]:
    for done, name in enumerate(names):
        progress("reading headers", done, len(names))
        yield _read_tags(source, name)
    progress("reading headers", len(names), len(names))


def _read_tags(source: ImageSource, name: str) -> DicomTags:
    """Read the tags of a DICOM file. All are None for other files and for files that cannot be read."""
    try:
        with source.open(name) as file:
            return read_tags(file, name)
    except ImageError:
        return DicomTags(None, None, None, None)
