"""Find the patient of a query, and so the indexed images that must not be its neighbours.

A neighbour of the query's own patient makes every number too good. So the patient is looked up in every possible way.
If none succeeds, a warning says so.
"""

from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Protocol

import numpy as np

from cxrsearch.arrays import Flags
from cxrsearch.errors import UsageError
from cxrsearch.images.dicom_tags import DicomTags
from cxrsearch.images.patients import hash_patient, parse_nih_name
from cxrsearch.store.reader import StoredIndex


class Source(Protocol):
    """The file that a query was decoded from. `Radiograph` follows this protocol."""

    @property
    def source_sha256(self) -> str:
        """Hash of the file's bytes."""
        ...

    @property
    def pixel_sha256(self) -> str:
        """Hash of the decoded pixels."""
        ...

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        ...

    @property
    def tags(self) -> DicomTags | None:
        """The tags of a DICOM header; None for other files."""
        ...


@dataclass(frozen=True)
class Identity:
    """The patient of an image.

    Attributes:
        patient: as the catalogue writes it; None if it is not known.
        patient_rows: bool (n,), the rows of this image and of other images of its patient.
        warnings: what makes the answer less certain.
        row: the first row that is this image, by file or pixels; None if there is none.
    """

    patient: str | None
    patient_rows: Flags
    warnings: tuple[str, ...] = ()
    row: int | None = None


def identify(stored: StoredIndex, path: PurePath, radiograph: Source, patient: str | None = None) -> Identity:
    """Find a query's patient by the first of: the caller, the same file or pixels, the same id, DICOM, NIH's file name.

    Args:
        stored: the index.
        path: the query's file. A `PurePath` is a name only: no file is looked for.
        radiograph: the decoded file.
        patient: the query's patient, if the caller knows it. For an index with hashed DICOM patients: the PatientID
            or its hash. If the index holds the image under another patient, that patient is left out as well.

    Raises:
        UsageError: the patient is empty.
    """
    copies = copies_of(stored, radiograph)
    identity = _identify(stored, path, radiograph, copies, patient)
    row = int(copies.argmax()) if copies.any() else None
    return _add_warning(stored, replace(identity, patient_rows=identity.patient_rows | copies, row=row))


def identity_of_row(stored: StoredIndex, row: int, patient: str | None = None) -> Identity:
    """Find the patient of an indexed image: the caller's, else the catalogue's.

    Copies of the image count as the patient's images, too.

    Args:
        stored: the index.
        row: the image's row.
        patient: as in `identify`.

    Raises:
        UsageError: the patient is empty.
    """
    copies = np.zeros(stored.manifest.n, dtype=np.bool_)
    copies[row] = True
    for column in ("source_sha256", "pixel_sha256"):
        digest = stored.files[column].iloc[row]
        if isinstance(digest, str) and digest:  # imported images have none
            copies |= stored.files[column].eq(digest).to_numpy(dtype=np.bool_)
    owners = replace(_owners(stored, copies), patient=stored.catalogue.patients[row])
    identity = owners if patient is None else _named(stored, patient, copies)
    return _add_warning(stored, replace(identity, patient_rows=identity.patient_rows | copies, row=row))


def _add_warning(stored: StoredIndex, identity: Identity) -> Identity:
    """Add a warning if every file of the index counts as its own patient."""
    if stored.manifest.patient_source != "file":
        return identity
    note = "patients of this index are not known: images of the query's own patient may be among the answers"
    return replace(identity, warnings=(*identity.warnings, note))


def _identify(stored: StoredIndex, path: PurePath, radiograph: Source, copies: Flags, patient: str | None) -> Identity:
    if patient is not None:
        return _named(stored, patient, copies)
    for rows in (copies, stored.catalogue.frame["id"].isin(_ids(stored, path)).to_numpy(dtype=np.bool_)):
        if rows.any():
            return _owners(stored, rows)
    if radiograph.tags is not None and radiograph.tags.patient_id:
        dicom_patient = _hash(stored, radiograph.tags.patient_id)
        return Identity(dicom_patient, _images_of(stored, [dicom_patient]))
    if (number := parse_nih_name(path.name)) is not None:
        return _nih_patient(stored, number)
    nobody = np.zeros(stored.manifest.n, dtype=np.bool_)
    note = "the query's patient is not known, so no image was left out as the same patient's (--patient ID)"
    return Identity(None, nobody, (note,))


def copies_of(stored: StoredIndex, radiograph: Source) -> Flags:
    """The rows of this image, bool (n,): the same file, or the same pixels in another file."""
    same_file = stored.files["source_sha256"].eq(radiograph.source_sha256)
    return (same_file | stored.files["pixel_sha256"].eq(radiograph.pixel_sha256)).to_numpy(dtype=np.bool_)


def _images_of(stored: StoredIndex, patients: list[str]) -> Flags:
    return stored.catalogue.frame["patient"].isin(patients).to_numpy(dtype=np.bool_)


def _hash(stored: StoredIndex, patient_id: str) -> str:
    """A patient id as the catalogue writes it: hashed if the index hashes its DICOM patients."""
    salt = stored.manifest.patient_salt
    return patient_id if salt is None else hash_patient(patient_id, salt)


def _named(stored: StoredIndex, patient: str, copies: Flags) -> Identity:
    """The patient that the caller named, by id or by PatientID."""
    if not patient.strip():
        raise UsageError("an empty patient", "name the patient, or leave --patient out")
    for written in (patient, _hash(stored, patient)):
        if (rows := _images_of(stored, [written])).any():
            return _with_owners(stored, Identity(written, rows), copies)
    left_out = "only this image itself was" if copies.any() else "none was"
    note = f"the named patient has no image in the index, so {left_out} left out: ids must match exactly"
    return _with_owners(stored, Identity(patient, rows, (note,)), copies)


def _with_owners(stored: StoredIndex, identity: Identity, copies: Flags) -> Identity:
    """Also leave out the patient under whom the index holds the image: one of the two ids may be mistyped."""
    owners = _owners(stored, copies) if copies.any() else identity
    if owners.patient == identity.patient or not (owners.patient_rows & ~identity.patient_rows & ~copies).any():
        return identity
    note = f"the index holds this image under patient {owners.patient}: that patient's images were left out as well"
    rows = identity.patient_rows | owners.patient_rows
    return replace(identity, patient_rows=rows, warnings=(*identity.warnings, note))


def _owners(stored: StoredIndex, rows: Flags) -> Identity:
    """The patient of the rows of one image, with a warning if the table gives that image to several patients."""
    places = np.flatnonzero(rows)
    patients = list(dict.fromkeys(stored.catalogue.patients[row] for row in places))
    warnings = []
    if len(patients) > 1:
        several = ", ".join(stored.catalogue.ids[row] for row in places[:3])
        warnings.append(f"this image is in the index under {len(patients)} patients ({several}): check them")
    return Identity(patients[0], _images_of(stored, patients), tuple(warnings))


def _nih_patient(stored: StoredIndex, number: str) -> Identity:
    """An NIH patient, in every form that an index may have: `13`, `00000013`, or only in the images' names."""
    frame = stored.catalogue.frame
    written = frame["patient"].str.lstrip("0").eq(number)
    named = frame["id"].str.contains(rf"(?:^|/){int(number):08d}_[0-9]{{3}}\.png$")
    rows = (written | named).to_numpy(dtype=np.bool_)
    return replace(_owners(stored, rows), warnings=()) if rows.any() else Identity(number, rows)


def _ids(stored: StoredIndex, path: PurePath) -> set[str]:
    """The ids that the catalogue may give a file: its name, or its path in the indexed folder."""
    if not isinstance(path, Path):  # an upload: its name must not lead to files of this machine
        return {path.name}
    root, resolved = Path(stored.manifest.images_root), path.resolve()
    inside = {resolved.relative_to(root).as_posix()} if resolved.is_relative_to(root) else set()
    return {path.name} | inside
