from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

from cxrsearch.errors import CatalogueError, UsageError
from cxrsearch.images.catalogue import COLUMNS, Catalogue
from cxrsearch.images.findings import Vocabulary
from cxrsearch.images.formats.format_registry import read_table
from cxrsearch.images.matching import make_catalogue, match_images
from cxrsearch.images.patients import hash_patient, make_salt
from cxrsearch.images.sources.folder import FolderSource

COMPUTED_RADIOGRAPHY = UID("1.2.840.10008.5.1.4.1.1.1")


def add_images(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.arange(1024, dtype=np.uint32).astype(np.uint8).reshape(32, 32)).save(folder / name)
    return folder


def add_dicom(folder: Path, name: str, **tags: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = COMPUTED_RADIOGRAPHY
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = generate_uid(entropy_srcs=[name])
    for keyword, value in tags.items():
        setattr(dataset, keyword, value)
    dataset.save_as(path, enforce_file_format=True)
    return path


def csv(folder: Path, *rows: str) -> Catalogue:
    path = folder / "table.csv"
    path.write_text("\n".join(["image,patient,findings", *rows]))
    return read_table(path)


def nulls_as_none(catalogue: Catalogue, column: str) -> list[object]:
    return [None if pd.isna(value) else value for value in catalogue.frame[column]]


def test_a_catalogue_brings_its_frame_into_form() -> None:
    frame = pd.DataFrame({"age": [61, None], "patient": ["p", "q"], "id": ["a", "b"], "note": [1, 2]}, index=[5, 5])
    catalogue = Catalogue(frame, Vocabulary())
    assert {name: str(dtype) for name, dtype in catalogue.frame.dtypes.items()} == COLUMNS
    assert catalogue.frame.index.tolist() == [0, 1]
    assert nulls_as_none(catalogue, "age") == [61, None]
    assert nulls_as_none(catalogue, "view") == [None, None]
    assert (len(catalogue), catalogue.ids, catalogue.patients) == (2, ["a", "b"], ["p", "q"])
    assert catalogue.findings(0) is None


def test_rows_are_taken_with_their_labels() -> None:
    frame = pd.DataFrame({"id": list("abcd"), "patient": ["9", "7", "9", "8"]})
    labels = np.array([[1, 0], [0, 1], [1, 1], [0, 0]], dtype=bool)
    catalogue = Catalogue(frame, Vocabulary(("x", "y")), labels)
    np.testing.assert_array_equal(catalogue.patient_groups(), [0, 1, 0, 2])
    taken = catalogue.take([3, 2, 0])
    assert taken.ids == ["d", "c", "a"]
    assert [taken.findings(row) for row in range(3)] == [(), ("x", "y"), ("x",)]
    np.testing.assert_array_equal(taken.patient_groups(), [0, 1, 1])
    assert len(catalogue.take([])) == 0


def test_labels_cannot_be_changed_and_must_fit() -> None:
    frame = pd.DataFrame({"id": ["a"], "patient": ["p"]})
    labels = np.zeros((1, 14), dtype=bool)
    catalogue = Catalogue(frame, Vocabulary(), labels)
    assert catalogue.labels is not None
    with pytest.raises(ValueError, match="read-only"):
        catalogue.labels[0, 0] = True
    labels[0, 0] = True  # the caller's own array stays the caller's
    with pytest.raises(ValueError, match=r"labels \(1, 14\) for 1 images, 2 findings"):
        Catalogue(frame, Vocabulary(("x", "y")), labels)


def test_files_are_found_by_name_in_any_subfolder_and_ordered_by_path(tmp_path: Path) -> None:
    table = csv(tmp_path, "c.png,1,Mass", "a.png,2,Edema", "b.png,1,", "absent.png,3,", "gone.png,3,")
    folder = add_images(tmp_path / "images", "z/images/a.png", "c.png", "images_001/b.png", "new.png", "z/extra.png")
    matched = match_images(table, FolderSource(folder))
    assert matched.catalogue.ids == ["c.png", "b.png", "a.png"]
    assert [matched.catalogue.findings(row) for row in range(3)] == [("Mass",), (), ("Edema",)]
    assert matched.catalogue.paths == ["c.png", "images_001/b.png", "z/images/a.png"]
    assert matched.unlisted == ("new.png", "z/extra.png")
    assert matched.rows_without_image == 2
    assert (matched.source, matched.patient_source, matched.patient_salt) == (FolderSource(folder), "table", None)


def test_the_order_of_the_table_does_not_matter(tmp_path: Path) -> None:
    rows = ["c.png,1,", "a.png,2,", "b.png,1,"]
    folder = add_images(tmp_path / "images", "a.png", "b.png", "c.png")
    assert match_images(csv(tmp_path, *rows), FolderSource(folder)).catalogue.ids == ["a.png", "b.png", "c.png"]
    assert match_images(csv(tmp_path, *rows[::-1]), FolderSource(folder)).catalogue.ids == ["a.png", "b.png", "c.png"]


def test_ids_with_a_slash_are_relative_paths(tmp_path: Path) -> None:
    table = csv(tmp_path, "p1/view.png,1,Mass", "p2/view.png,2,", "top.png,3,")
    folder = add_images(tmp_path / "images", "p1/view.png", "p2/view.png", "p3/view.png", "top.png", "p1/top.png")
    matched = match_images(table, FolderSource(folder))
    assert matched.catalogue.ids == ["p1/view.png", "p2/view.png", "top.png"]
    assert matched.unlisted == ("p1/top.png", "p3/view.png")


def test_two_files_of_one_name_are_refused_only_where_the_table_has_it(tmp_path: Path) -> None:
    folder = add_images(tmp_path / "images", "x/a.png", "y/a.png", "b.png")
    with pytest.raises(CatalogueError, match=r"two files for the image 'a\.png': x/a\.png and y/a\.png"):
        match_images(csv(tmp_path, "a.png,1,"), FolderSource(folder))
    assert len(match_images(csv(tmp_path, "b.png,1,"), FolderSource(folder)).unlisted) == 2


@pytest.mark.parametrize("image", ["A.png", "a.PNG", "A", "a.png.png", "./a.png"])
def test_no_id_is_guessed(tmp_path: Path, image: str) -> None:
    folder = add_images(tmp_path / "images", "a.png", "b.png")
    matched = match_images(csv(tmp_path, f"{image},1,", "b.png,1,"), FolderSource(folder))
    assert matched.catalogue.ids == ["b.png"]
    assert (matched.unlisted, matched.rows_without_image) == (("a.png",), 1)


def test_an_id_without_its_suffix_is_completed(tmp_path: Path) -> None:
    folder = add_images(tmp_path / "images", "sub/00000001_000.png", "b.JPG", "c.png")
    add_dicom(folder, "1.2.840")
    matched = match_images(csv(tmp_path, "c,1,", "00000001_000,2,Mass", "b,3,", "1.2,4,"), FolderSource(folder))
    assert matched.catalogue.ids == ["b.JPG", "c.png", "00000001_000.png"]
    assert matched.catalogue.frame["path"].tolist() == ["b.JPG", "c.png", "sub/00000001_000.png"]
    assert matched.catalogue.findings(2) == ("Mass",)
    assert (matched.unlisted, matched.rows_without_image) == (("1.2.840",), 1)  # .840 is no suffix of images


def test_two_rows_of_one_file_are_refused(tmp_path: Path) -> None:
    folder = add_images(tmp_path / "images", "a.png", "b.png")
    with pytest.raises(CatalogueError, match=r"two rows for the file a\.png: 'a\.png' and 'a' — leave one row"):
        match_images(csv(tmp_path, "a,1,Mass", "a.png,2,Edema", "b.png,3,"), FolderSource(folder))
    add_dicom(folder, "1.2.840")
    matched = match_images(
        csv(tmp_path, "1.2.840,1,", "1.2,2,", "b.png,3,"), FolderSource(folder)
    )  # .840 is no suffix of images
    assert matched.catalogue.ids == ["1.2.840", "b.png"]


def test_a_whole_id_goes_before_one_without_suffix_and_two_files_for_it_are_refused(tmp_path: Path) -> None:
    folder = add_images(tmp_path / "images", "a.png", "a.jpg")
    assert match_images(csv(tmp_path, "a,1,Mass", "a.png,2,Edema"), FolderSource(folder)).catalogue.patients == [
        "1",
        "2",
    ]
    with pytest.raises(CatalogueError, match=r"two files for the image 'a': a\.jpg and a\.png — .* with suffixes"):
        match_images(csv(tmp_path, "a,1,"), FolderSource(folder))
    paths = add_images(tmp_path / "more", "p1/a.png", "p2/a.png")
    assert match_images(csv(tmp_path, "p1/a,1,", "p2/a,2,"), FolderSource(paths)).catalogue.ids == [
        "p1/a.png",
        "p2/a.png",
    ]


def test_a_table_of_other_images_is_refused_with_an_example_of_each(tmp_path: Path) -> None:
    folder = add_images(tmp_path / "images", "p1/a.png")
    with pytest.raises(
        CatalogueError, match=r"none of the 1 images .*: 'p1/a\.png' is one, .* first is 'data/p1/a\.png'"
    ):
        match_images(csv(tmp_path, "data/p1/a.png,1,"), FolderSource(folder))


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for call in (partial(match_images, csv(tmp_path, "a.png,1,")), make_catalogue):
        with pytest.raises(CatalogueError, match=f"no images in {tmp_path / 'images'}"):
            call(FolderSource(tmp_path / "images"))


def test_a_file_name_that_is_no_text_is_refused(tmp_path: Path) -> None:
    add_images(tmp_path, "ä.png", "b.png")
    assert make_catalogue(FolderSource(tmp_path)).catalogue.ids == ["b.png", "ä.png"]
    (tmp_path / "b.png").rename(tmp_path / "b\udcff.png")
    with pytest.raises(CatalogueError, match=r"file name 'b\\udcff\.png' is not UTF-8"):
        make_catalogue(FolderSource(tmp_path))


def test_without_a_table_every_picture_is_its_own_patient(tmp_path: Path) -> None:
    folder = add_images(tmp_path, "b/x.png", "b-2/x.png", "a.jpg", "c.png")
    matched = make_catalogue(FolderSource(folder))
    assert matched.catalogue.ids == matched.catalogue.patients == ["a.jpg", "b-2/x.png", "b/x.png", "c.png"]
    assert matched.catalogue.frame["path"].tolist() == matched.catalogue.ids
    assert matched.catalogue.labels is None
    assert (matched.patient_source, matched.patient_salt, matched.own_patients) == ("file", None, 4)
    assert (matched.unlisted, matched.rows_without_image) == ((), 0)


def test_a_pattern_finds_the_patient_of_every_file(tmp_path: Path) -> None:
    folder = add_images(tmp_path, "12_a.png", "12_b.png", "7_a.png")
    matched = make_catalogue(FolderSource(folder), patient_pattern=r"^(\d+)_")
    assert matched.catalogue.patients == ["12", "12", "7"]
    assert (matched.patient_source, matched.patient_salt, matched.own_patients) == ("pattern", None, 0)
    with pytest.raises(UsageError, match="has no group"):
        make_catalogue(FolderSource(folder), patient_pattern="")


def test_a_folder_of_dicom_takes_what_its_tags_say(tmp_path: Path) -> None:
    add_dicom(tmp_path, "1.dcm", PatientID="H-7", PatientSex="F", PatientAge="058Y", ViewPosition="PA")
    add_dicom(tmp_path, "2.dcm", PatientID="H-7", PatientSex="O", PatientAge="414Y", ViewPosition="LL")
    add_dicom(tmp_path, "3.dcm", PatientID="H-8", PatientSex="M", ViewPosition="AP")
    add_dicom(tmp_path, "4.dcm")
    add_images(tmp_path, "5.png")
    (tmp_path / "6.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * 9)
    matched = make_catalogue(FolderSource(tmp_path))
    salt = make_salt([("1.dcm", "H-7"), ("2.dcm", "H-7"), ("3.dcm", "H-8")])
    seven, eight = hash_patient("H-7", salt), hash_patient("H-8", salt)
    assert matched.catalogue.patients == [seven, seven, eight, "4.dcm", "5.png", "6.dcm"]
    assert nulls_as_none(matched.catalogue, "sex") == ["F", None, "M", None, None, None]
    assert nulls_as_none(matched.catalogue, "view") == ["PA", None, "AP", None, None, None]
    assert nulls_as_none(matched.catalogue, "age") == [58, None, None, None, None, None]
    assert (matched.patient_source, matched.patient_salt, matched.own_patients) == ("dicom", salt, 3)


def test_another_set_of_dicom_files_gives_the_same_patient_another_hash(tmp_path: Path) -> None:
    add_dicom(tmp_path / "one", "1.dcm", PatientID="H-7")
    add_dicom(tmp_path / "other", "1.dcm", PatientID="H-7")
    add_dicom(tmp_path / "other", "2.dcm", PatientID="H-8")
    one, again, other = (
        make_catalogue(FolderSource(tmp_path / name)).catalogue.patients for name in ("one", "one", "other")
    )
    assert one == again
    assert one[0] != other[0]
    assert "H-7" not in one[0]


def test_a_pattern_goes_before_the_tags_for_patients_only(tmp_path: Path) -> None:
    add_dicom(tmp_path, "p3_1.dcm", PatientID="H-7", ViewPosition="AP")
    matched = make_catalogue(FolderSource(tmp_path), patient_pattern="(?P<patient>p3)")
    assert matched.catalogue.patients == ["p3"]
    assert nulls_as_none(matched.catalogue, "view") == ["AP"]
    assert matched.patient_salt is None


@pytest.mark.real_data
def test_nihs_table_is_larger_than_the_folder(real_data: Path) -> None:
    folder = real_data / "nih" / "images"
    matched = match_images(read_table(real_data / "nih" / "Data_Entry_2017_full.csv.gz"), FolderSource(folder))
    own_rows = match_images(read_table(real_data / "nih" / "Data_Entry_2017.csv"), FolderSource(folder))
    assert (len(matched.catalogue), matched.unlisted, matched.rows_without_image) == (797, (), 112_120 - 797)
    assert len(set(matched.catalogue.patients)) == 528
    assert (own_rows.unlisted, own_rows.rows_without_image) == ((), 0)
    pd.testing.assert_frame_equal(matched.catalogue.frame, own_rows.catalogue.frame)
    np.testing.assert_array_equal(matched.catalogue.labels, own_rows.catalogue.labels)
