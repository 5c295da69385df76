"""Which image belongs to which row of a table.

With a table, an image is one of its rows, and its id is the table's. An id is found by the image's path where any id of
the table has a `/`, else by the last part of its path. An id without the file's suffix, as `00000001_000`, is
completed. Without a table the id is the path. The order is that of the paths, so a re-sorted or corrected table moves
no image.
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
from cxrsearch.images.patients import hash_patient, patient_salt, patients_by_pattern
from cxrsearch.images.radiograph import read_tags
from cxrsearch.images.sources.folder import SUFFIXES
from cxrsearch.images.sources.source import ImageSource
from cxrsearch.progress import Progress, silent

PatientSource = Literal["table", "dicom", "pattern", "file"]


@dataclass(frozen=True, eq=False)
class Matched:
    """The images of a source.

    Attributes:
        catalogue: the images that may be used, by relative path.
        source: where they are; the catalogue's paths are their names there.
        unlisted: names of images that no row of the table names, in ascending order.
        rows_without_image: rows of the table for which there is no file.
        patient_source: where patients come from: the `table`, `dicom` tags, a `pattern`, or every `file` its own.
        patient_salt: what DICOM PatientIDs were hashed with; None where patients come from elsewhere.
        own_patients: files that are their own patient for want of a better.
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
    """The images of a source, by its table where there is one; see `match_images` and `catalogue_of_source`.

    Raises:
        UsageError: a pattern beside a table, or one that is no regular expression or has no group.
        CatalogueError: the table cannot be used, or as those.
    """
    if table is None:
        return catalogue_of_source(source, vocabulary, patient_pattern=patient_pattern, progress=progress)
    if patient_pattern is not None:
        raise UsageError("a patient pattern beside a table: the table names the patients", "leave one of the two out")
    return match_images(read_table(table, vocabulary), source)


def match_images(table: Catalogue, source: ImageSource) -> Matched:
    """Find the file of every row, and the row of every file.

    Raises:
        CatalogueError: no images there, or none that the table names; two files for one row, or two rows for one file.
    """
    names = _names(source)
    by_path = any("/" in image for image in table.ids)
    rows = {image: row for row, image in enumerate(table.ids)}
    found: dict[int, str] = {}
    unlisted = []
    for name in names:
        row = _row_of(_id_of(name, by_path), rows)
        if row is None:
            unlisted.append(name)
        elif row in found:
            raise CatalogueError(
                f"two files for the image {table.ids[row]!r}: {found[row]} and {name}",
                "remove one of them, or write relative paths with suffixes in the table",
            )
        else:
            found[row] = name
    if not found:
        raise CatalogueError(
            f"none of the {len(names)} images in {source} is in the table: {names[0]!r} is one, the table's first "
            f"is {table.ids[0]!r}",
            "give the folder and the table that belong together",
        )
    _require_one_spelling(table, found, rows, by_path)
    catalogue = table.take(list(found))
    ids = [_id_of(name, by_path) for name in found.values()]
    catalogue = replace(catalogue, frame=catalogue.frame.assign(id=ids, path=list(found.values())))
    return Matched(catalogue, source, tuple(unlisted), len(table) - len(found))


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


def catalogue_of_source(
    source: ImageSource,
    vocabulary: Vocabulary | None = None,
    *,
    patient_pattern: str | None = None,
    progress: Progress = silent,
) -> Matched:
    """The catalogue of a source without a table; the findings are unknown.

    A DICOM file's patient is its PatientID, hashed with a salt of this set of files; view, sex and age are its tags.
    Any other file, and a DICOM without PatientID, is its own patient. A pattern, where given, decides for all files.
    A file that cannot be read stays in the catalogue: decoding will refuse it with the reason.

    Args:
        source: the images.
        vocabulary: the findings an encoder may predict; None means NIH's 14.
        patient_pattern: regular expression whose group is the patient, searched in the relative path.
        progress: called while DICOM headers are read.

    Raises:
        UsageError: the pattern is no regular expression or has no group.
        CatalogueError: no images there, or the pattern finds no patient in some.
    """
    names = _names(source)
    tags = list(_all_tags(source, names, progress))
    known = {name: tag.patient_id for name, tag in zip(names, tags, strict=True) if tag.patient_id}
    patient_source: PatientSource = "pattern" if patient_pattern is not None else "dicom" if known else "file"
    salt = patient_salt(known.items()) if patient_source == "dicom" else None
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
    return Matched(catalogue, source, patient_source=patient_source, patient_salt=salt, own_patients=own)


def _names(source: ImageSource) -> list[str]:
    names = source.names()
    if not names:
        raise CatalogueError(f"no images in {source}", "name a folder of PNG, JPEG or DICOM files")
    return names


def _all_tags(source: ImageSource, names: Sequence[str], progress: Progress) -> Iterator[DicomTags]:
    for done, name in enumerate(names):
        progress("reading headers", done, len(names))
        yield _tags(source, name)
    progress("reading headers", len(names), len(names))


def _tags(source: ImageSource, name: str) -> DicomTags:
    """A DICOM file's tags; none for other files and for those that cannot be read."""
    try:
        with source.open(name) as file:
            return read_tags(file, name)
    except ImageError:
        return DicomTags(None, None, None, None)
