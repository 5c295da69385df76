"""Whose image a query is, and so which indexed images may not answer it.

An image of the query's own patient among the answers makes every number too good. So the patient is looked for in every
way there is, and where none helps, a warning says so.
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
    """What is known of the file that a query was decoded from, as `Radiograph` has it."""

    @property
    def source_sha256(self) -> str:
        """Of the file's bytes."""
        ...

    @property
    def pixel_sha256(self) -> str:
        """Of its decoded pixels."""
        ...

    @property
    def size(self) -> tuple[int, int]:
        """Its width and height."""
        ...

    @property
    def tags(self) -> DicomTags | None:
        """What a DICOM header says."""
        ...


@dataclass(frozen=True)
class Identity:
    """Whose image it is.

    Attributes:
        patient: as the catalogue writes it; None where it is not known.
        own: bool (n,), the rows that are this image or another one of its patient.
        warnings: what makes the answer less certain.
        row: the first row that is this image, by file or pixels; None where none is.
    """

    patient: str | None
    own: Flags
    warnings: tuple[str, ...] = ()
    row: int | None = None


def identify(stored: StoredIndex, path: PurePath, radiograph: Source, given: str | None = None) -> Identity:
    """Find a query's patient by the first of: the caller, the same file or pixels, the same id, DICOM, NIH's file name.

    Args:
        stored: the index.
        path: the query's file. A `PurePath` is a name only: no file is looked for.
        radiograph: what was read from it.
        given: its patient, where the caller knows; for an index of hashed DICOM patients the PatientID or its hash.
            Whom an index that holds the image has it from is left out as well.

    Raises:
        UsageError: an empty patient is given.
    """
    copies = copies_of(stored, radiograph)
    identity = _identify(stored, path, radiograph, copies, given)
    row = int(copies.argmax()) if copies.any() else None
    return _cautioned(stored, replace(identity, own=identity.own | copies, row=row))


def identity_of_row(stored: StoredIndex, row: int, given: str | None = None) -> Identity:
    """Whose image an indexed one is: the caller's patient, else the catalogue's; copies of the image are `own`, too.

    Raises:
        UsageError: an empty patient is given.
    """
    copies = np.zeros(stored.manifest.n, dtype=np.bool_)
    copies[row] = True
    for column in ("source_sha256", "pixel_sha256"):
        digest = stored.files[column].iloc[row]
        if isinstance(digest, str) and digest:  # imported images have none
            copies |= stored.files[column].eq(digest).to_numpy(dtype=np.bool_)
    owners = replace(_owners(stored, copies), patient=stored.catalogue.patients[row])
    identity = owners if given is None else _as_given(stored, given, copies)
    return _cautioned(stored, replace(identity, own=identity.own | copies, row=row))


def _cautioned(stored: StoredIndex, identity: Identity) -> Identity:
    """With a warning where the index's patients are the files themselves."""
    if stored.manifest.patient_source != "file":
        return identity
    note = "patients of this index are not known: images of the query's own patient may be among the answers"
    return replace(identity, warnings=(*identity.warnings, note))


def _identify(stored: StoredIndex, path: PurePath, radiograph: Source, copies: Flags, given: str | None) -> Identity:
    if given is not None:
        return _as_given(stored, given, copies)
    for rows in (copies, stored.catalogue.frame["id"].isin(_ids(stored, path)).to_numpy(dtype=np.bool_)):
        if rows.any():
            return _owners(stored, rows)
    if radiograph.tags is not None and radiograph.tags.patient_id:
        patient = _hashed(stored, radiograph.tags.patient_id)
        return Identity(patient, _images_of(stored, [patient]))
    if (number := parse_nih_name(path.name)) is not None:
        return _numbered(stored, number)
    nobody = np.zeros(stored.manifest.n, dtype=np.bool_)
    note = "the query's patient is not known, so no image was left out as the same patient's (--patient ID)"
    return Identity(None, nobody, (note,))


def copies_of(stored: StoredIndex, radiograph: Source) -> Flags:
    """The rows that are this image, bool (n,): the same file, or the same pixels in another file."""
    same_file = stored.files["source_sha256"].eq(radiograph.source_sha256)
    return (same_file | stored.files["pixel_sha256"].eq(radiograph.pixel_sha256)).to_numpy(dtype=np.bool_)


def _images_of(stored: StoredIndex, patients: list[str]) -> Flags:
    return stored.catalogue.frame["patient"].isin(patients).to_numpy(dtype=np.bool_)


def _hashed(stored: StoredIndex, patient_id: str) -> str:
    """A patient id as the catalogue writes it: hashed, where the index's DICOM patients are."""
    salt = stored.manifest.patient_salt
    return patient_id if salt is None else hash_patient(patient_id, salt)


def _as_given(stored: StoredIndex, given: str, copies: Flags) -> Identity:
    if not given.strip():
        raise UsageError("an empty patient", "name the patient, or leave --patient out")
    for patient in (given, _hashed(stored, given)):
        if (own := _images_of(stored, [patient])).any():
            return _with_owners(stored, Identity(patient, own), copies)
    left_out = "only this image itself was" if copies.any() else "none was"
    note = (
        f"the patient that was given has no image in the index, so {left_out} left out: ids count as they are written"
    )
    return _with_owners(stored, Identity(given, own, (note,)), copies)


def _with_owners(stored: StoredIndex, identity: Identity, copies: Flags) -> Identity:
    """Leave out, too, whom the index has the image from: one of the two may be mistyped."""
    owners = _owners(stored, copies) if copies.any() else identity
    if owners.patient == identity.patient or not (owners.own & ~identity.own & ~copies).any():
        return identity
    note = f"the index has this image of patient {owners.patient}: that patient's images were left out as well"
    return replace(identity, own=identity.own | owners.own, warnings=(*identity.warnings, note))


def _owners(stored: StoredIndex, rows: Flags) -> Identity:
    """The patient of rows that are one image, and a warning where the table gives that image to several."""
    places = np.flatnonzero(rows)
    patients = list(dict.fromkeys(stored.catalogue.patients[row] for row in places))
    warnings = []
    if len(patients) > 1:
        several = ", ".join(stored.catalogue.ids[row] for row in places[:3])
        warnings.append(f"this image is in the index under {len(patients)} patients ({several}): check them")
    return Identity(patients[0], _images_of(stored, patients), tuple(warnings))


def _numbered(stored: StoredIndex, number: str) -> Identity:
    """NIH's patient, however the index writes it: `13`, `00000013`, or only in the images' names."""
    frame = stored.catalogue.frame
    written = frame["patient"].str.lstrip("0").eq(number)
    named = frame["id"].str.contains(rf"(?:^|/){int(number):08d}_[0-9]{{3}}\.png$")
    rows = (written | named).to_numpy(dtype=np.bool_)
    return replace(_owners(stored, rows), warnings=()) if rows.any() else Identity(number, rows)


def _ids(stored: StoredIndex, path: PurePath) -> set[str]:
    """What the catalogue may call a file: its name, or its path in the folder that was indexed."""
    if not isinstance(path, Path):  # somebody's upload: its name must not lead to this machine's files
        return {path.name}
    root, resolved = Path(stored.manifest.images_root), path.resolve()
    inside = {resolved.relative_to(root).as_posix()} if resolved.is_relative_to(root) else set()
    return {path.name} | inside
