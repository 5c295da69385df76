"""Whose image a file is, where no table says so.

A DICOM's PatientID is kept as a salted hash only. That is a pseudonym and no anonymity: whoever holds the index, with
its salt, and a list of the hospital's patient ids can hash them all and compare.
"""

import hashlib
import hmac
import json
import re
from collections.abc import Iterable, Sequence

from cxrsearch.errors import CatalogueError, UsageError

HASH_DIGITS = 16
"""Hex digits of a hashed patient: 64 bits, so two of a million patients share one with a chance below 1e-7."""


def patient_salt(patients: Iterable[tuple[str, str]]) -> str:
    """A salt for one set of DICOM files, 64 hex digits: the same for the same files, another for others.

    Args:
        patients: image id and PatientID of every file that has one, in any order.
    """
    listing = json.dumps(["cxrsearch patient salt, version 1", sorted(patients)])
    return hashlib.sha256(listing.encode()).hexdigest()


def hash_patient(patient_id: str, salt: str) -> str:
    """A patient's pseudonym: the first 16 hex digits of HMAC-SHA256 (RFC 2104) of the id, keyed with the salt."""
    return hmac.new(salt.encode(), patient_id.encode(errors="surrogatepass"), hashlib.sha256).hexdigest()[:HASH_DIGITS]


def patient_of_nih_name(name: str) -> str | None:
    """The patient of a file named by NIH, `00000013_005.png` -> `13` as in NIH's table; None for other names."""
    match = re.fullmatch(r"([0-9]{8})_[0-9]{3}\.png", name)
    return str(int(match[1])) if match else None


def patients_by_pattern(pattern: str, ids: Sequence[str]) -> list[str]:
    """The patient of each image id, which a regular expression finds: its group `patient`, or else its first group.

    Raises:
        UsageError: no regular expression, or one without a group.
        CatalogueError: ids in which the pattern finds no patient.
    """
    fix = r"mark the patient with a group, for example '^(\d+)_'"
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise UsageError(f"the patient pattern {pattern!r} is no regular expression: {error}", fix) from error
    if not compiled.groups:
        raise UsageError(f"the patient pattern {pattern!r} has no group", fix)
    group = "patient" if "patient" in compiled.groupindex else 1
    matches = [compiled.search(image) for image in ids]
    patients: list[str] = [match[group] or "" if match else "" for match in matches]
    missing = [image for image, patient in zip(ids, patients, strict=True) if not patient]
    if missing:
        raise CatalogueError(
            f"the patient pattern {pattern!r} finds no patient in {len(missing)} of {len(ids)} images, "
            f"for example {missing[0]!r}",
            "correct the pattern: it is searched in the path relative to the folder of images",
        )
    return patients
