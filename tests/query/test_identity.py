"""Whose image a query is: every way there is, in the promised order, and no silent miss."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cxrsearch.errors import UsageError
from cxrsearch.images.dicom_tags import DicomTags
from cxrsearch.images.patients import hash_patient
from cxrsearch.images.radiograph import Radiograph
from cxrsearch.query.identity import Identity, identify, identity_of_row
from cxrsearch.store.reader import StoredIndex, open_stored


@pytest.fixture(scope="module")
def stored(small_index: Path) -> StoredIndex:
    """Ten images, 00.png to 09.png, of patients p0 to p4."""
    return open_stored(small_index)


def scan(source: str = "s", pixels: str = "p", patient_id: str | None = None) -> Radiograph:
    tags = DicomTags(patient_id, None, None, None) if patient_id else None
    return Radiograph(np.zeros((40, 40), dtype=np.uint8), source, pixels, "", tags)


def renamed(stored: StoredIndex, source: str = "table", **columns: list[str]) -> StoredIndex:
    catalogue = replace(stored.catalogue, frame=stored.catalogue.frame.assign(**columns))
    return replace(stored, catalogue=catalogue, manifest=replace(stored.manifest, patient_source=source))


def left_out(identity: Identity) -> list[int]:
    return [int(row) for row in np.flatnonzero(identity.patient_rows)]


def test_the_order_is_caller_copy_id_dicom_name(stored: StoredIndex) -> None:
    files = stored.files
    nih = Path("00000013_005.png")
    copy = scan(files["source_sha256"][4], "p", "MRN")
    assert identify(stored, Path("02.png"), copy, "p4").patient == "p4"
    assert identify(stored, Path("02.png"), copy).patient == "p2"
    assert identify(stored, Path("02.png"), scan("s", files["pixel_sha256"][6], "MRN")).patient == "p3"
    assert identify(stored, Path("02.png"), scan(patient_id="MRN")).patient == "p1"
    assert identify(stored, nih, scan(patient_id="MRN")).patient == "MRN"
    assert identify(stored, nih, scan()).patient == "13"
    unknown = identify(stored, Path("x.png"), scan())
    assert (unknown.patient, left_out(unknown)) == (None, [])
    assert "patient is not known" in unknown.warnings[0]


def test_a_copy_never_answers_even_under_another_patient(stored: StoredIndex) -> None:
    copy = scan(stored.files["source_sha256"][4])
    alone = renamed(stored, patient=["p0"] * 4 + ["alone"] + ["p3"] * 5)
    found = identify(alone, Path("x.png"), copy, "p0")
    assert (left_out(found), found.warnings) == ([0, 1, 2, 3, 4], ())


def test_where_the_index_knows_another_patient_than_the_caller_both_are_left_out_and_it_is_said(
    stored: StoredIndex,
) -> None:
    copy = scan(stored.files["source_sha256"][4])
    note = "the index holds this image under patient p2: that patient's images were left out as well"
    for found in (identify(stored, Path("x.png"), copy, "p0"), identity_of_row(stored, 4, "p0")):
        assert (found.patient, left_out(found), found.warnings) == ("p0", [0, 1, 4, 5], (note,))
    assert identify(stored, Path("x.png"), copy, "p2").warnings == ()


def test_what_a_patient_without_images_leaves_out_is_said_as_it_is(stored: StoredIndex) -> None:
    written = "ids must match exactly"
    nobody = identify(stored, Path("x.png"), scan(), "nobody")
    assert (left_out(nobody), nobody.warnings) == (
        [],
        (f"the named patient has no image in the index, so none was left out: {written}",),
    )
    alone = renamed(stored, patient=["p0"] * 4 + ["alone"] + ["p3"] * 5)
    copy = identify(alone, Path("x.png"), scan(stored.files["source_sha256"][4]), "nobody")
    assert left_out(copy) == [4]
    assert "so only this image itself was left out" in copy.warnings[0]


@pytest.mark.parametrize("written", ["13", "00000013", "013"])
def test_nihs_number_finds_the_patient_however_it_is_written(stored: StoredIndex, written: str) -> None:
    table = renamed(stored, patient=["p0"] * 6 + [written] * 4)
    found = identify(table, Path("00000013_005.png"), scan())
    assert (found.patient, left_out(found)) == (written, [6, 7, 8, 9])


def test_nihs_number_finds_the_images_where_every_file_is_its_own_patient(stored: StoredIndex) -> None:
    ids = [f"images_001/000000{12 + i // 5}_{i:03d}.png" for i in range(10)]
    found = identify(renamed(stored, "file", id=ids, patient=ids), Path("00000013_042.png"), scan())
    assert left_out(found) == [5, 6, 7, 8, 9]
    assert any("patients of this index are not known" in warning for warning in found.warnings)


def test_a_number_is_not_a_part_of_another(stored: StoredIndex) -> None:
    table = renamed(stored, patient=["113", "130", "13a", "1 3"] + ["p"] * 6)
    assert left_out(identify(table, Path("00000013_005.png"), scan())) == []


def test_dicom_patients_are_found_by_their_hash_from_the_tag_and_from_the_caller(stored: StoredIndex) -> None:
    hashed = hash_patient("MRN 7", "salt")
    index = renamed(stored, "dicom", patient=["x"] * 8 + [hashed] * 2)
    index = replace(index, manifest=replace(index.manifest, patient_salt="salt"))
    for found in (
        identify(index, Path("x.dcm"), scan(patient_id="MRN 7")),
        identify(index, Path("x.dcm"), scan(), "MRN 7"),
        identify(index, Path("x.dcm"), scan(), hashed),
    ):
        assert (found.patient, left_out(found), found.warnings) == (hashed, [8, 9], ())


def test_a_patient_without_images_is_reported(stored: StoredIndex) -> None:
    found = identify(stored, Path("x.png"), scan(), "P0")
    assert (found.patient, left_out(found)) == ("P0", [])
    assert "has no image in the index" in found.warnings[0]
    with pytest.raises(UsageError, match="an empty patient"):
        identify(stored, Path("x.png"), scan(), " ")


def test_an_image_of_two_patients_leaves_both_out(stored: StoredIndex) -> None:
    sources = list(stored.files["source_sha256"])
    sources[9] = sources[0]
    files: Any = stored.files.assign(source_sha256=pd.Series(sources))
    found = identify(replace(stored, files=files), Path("x.png"), scan(sources[0]))
    assert left_out(found) == [0, 1, 8, 9]
    assert "under 2 patients (00.png, 09.png)" in found.warnings[0]


def test_an_image_is_known_by_its_path_in_the_indexed_folder(stored: StoredIndex) -> None:
    root = Path(stored.manifest.images_root)
    index = renamed(stored, id=["a/1.png", "b/1.png", *"cdefghij"])
    assert identify(index, root / "b" / "1.png", scan()).patient == "p0"
    assert identify(index, Path("1.png"), scan()).patient is None
