"""Find the patient of an image when no table names it.

A DICOM PatientID is kept only as a salted hash. This is pseudonymous, not anonymous. The index contains the salt, so
anyone with the index and a list of the hospital's patient ids can hash the ids and compare.
"""

import hashlib
import hmac
import json
import re
from collections.abc import Iterable, Sequence

from cxrsearch.errors import CatalogueError, UsageError

HASH_DIGITS = 16
"""Hex digits of a hashed patient: 64 bits. Any two of a million patients share one with a chance below 1e-7."""


def make_salt(patients: Iterable[tuple[str, str]]) -> str:
    """Compute the salt of one set of DICOM files, 64 hex digits. It depends on the set only, not on its order.

    Args:
        patients: image id and PatientID of every file that has one.
    """
    # A function of the files, not a random number, so that building the same index again gives the same bytes.
    listing = json.dumps(["cxrsearch patient salt, version 1", sorted(patients)])
    return hashlib.sha256(listing.encode()).hexdigest()


def hash_patient(patient_id: str, salt: str) -> str:
    """Hash a PatientID to a pseudonym: the first 16 hex digits of its HMAC-SHA256 (RFC 2104), keyed with the salt."""
    return hmac.new(salt.encode(), patient_id.encode(errors="surrogatepass"), hashlib.sha256).hexdigest()[:HASH_DIGITS]


def parse_nih_name(name: str) -> str | None:
    """Parse the patient from an NIH file name: `00000013_005.png` -> `13`, as in NIH's table. None for other names."""
    match = re.fullmatch(r"([0-9]{8})_[0-9]{3}\.png", name)
    return str(int(match[1])) if match else None


def find_patients(pattern: str, ids: Sequence[str]) -> list[str]:
    """Find the patient in each image id by a regular expression: its group `patient`, or else its first group.

    Raises:
        UsageError: the pattern is not a regular expression, or has no group.
        CatalogueError: the pattern finds no patient in some of the ids.
    """
    fix = r"mark the patient with a group, for example '^(\d+)_'"
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise UsageError(f"the patient pattern {pattern!r} is not a regular expression: {error}", fix) from error
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
