"""Tables of boxes: NIH's quirks are understood, anything else is refused by its line."""

from pathlib import Path

import numpy as np
import pytest

from cxrsearch.errors import CatalogueError
from cxrsearch.images.boxes import read_boxes
from cxrsearch.images.formats.format_registry import read_table
from cxrsearch.phantom.write import make_phantom

HEADER = "Image Index,Finding Label,Bbox [x,y,w,h],,,\n"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return tmp_path / "boxes.csv"


def test_quirks_of_nihs_table(table: Path) -> None:
    table.write_text(
        HEADER + "a.png,Infiltrate,256,512,128,64\nb.png,Mass,0,0,1024,1024,,,\n\na.png,pneumonia,1,2,3,4\n"
    )
    boxes = read_boxes(table)
    assert len(boxes) == 3
    assert boxes.images == ("a.png", "b.png", "a.png")
    assert boxes.findings == ("Infiltration", "Mass", "Pneumonia")
    np.testing.assert_array_equal(boxes.pixels(512)[0], [128, 256, 64, 32])
    np.testing.assert_array_equal(boxes.pixels(1024)[1:], [[0, 0, 1024, 1024], [1, 2, 3, 4]])
    assert boxes.take([2, 0]).images == ("a.png", "a.png")
    assert boxes.sha256 == boxes.take([1, 2]).sha256 != boxes.take([1]).sha256


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("a.png,Mass,1,2,3", "line 2: 5 fields instead of 6"),
        ("a.png,Mass,1,2,3,4,5", "line 2: 7 fields instead of 6"),
        (",Mass,1,2,3,4", "line 2: no image"),
        ("a.png,Flu,1,2,3,4", "line 2: unknown finding 'Flu'"),
        ("a.png,No Finding,1,2,3,4", "line 2: unknown finding"),
        ("a.png,Mass,1,2,x,4", "line 2: a coordinate of .* is not a number"),
        ("a.png,Mass,1,2,nan,4", "line 2: .* is not a box"),
        ("a.png,Mass,1,2,0,4", "line 2: .* is not a box"),
        ("a.png,Mass,-1,2,3,4", "line 2: .* is not a box"),
        ("a.png,Mass,1000,2,30,4", "line 2: the box .* leaves the image of 1024 pixels"),
        ("", "has no boxes"),
    ],
)
def test_what_is_no_box_is_refused_by_its_line(table: Path, row: str, problem: str) -> None:
    table.write_text(HEADER + row + "\n")
    with pytest.raises(CatalogueError, match=problem):
        read_boxes(table)


def test_another_table_is_no_table_of_boxes(table: Path, tmp_path: Path) -> None:
    table.write_text("Image Index,Finding Labels,Follow-up #\na.png,Mass,0\n")
    with pytest.raises(CatalogueError, match="its header is Image Index,Finding Labels"):
        read_boxes(table)
    table.write_text("")
    with pytest.raises(CatalogueError, match="its header is empty"):
        read_boxes(table)
    table.write_bytes(b"\xff\xfe")
    with pytest.raises(CatalogueError, match="UTF-8"):
        read_boxes(table)
    with pytest.raises(CatalogueError, match="cannot read the table"):
        read_boxes(tmp_path / "absent.csv")


def test_a_phantoms_boxes_are_read_and_each_is_of_a_finding_of_its_image(tmp_path: Path) -> None:
    made = make_phantom(tmp_path / "phantom", 12, size=64)
    catalogue = read_table(made.folder / "Data_Entry_2017.csv")
    boxes = read_boxes(made.folder / "BBox_List_2017.csv")
    labels = {image: catalogue.findings(row) for row, image in enumerate(catalogue.ids)}
    assert all(finding in (labels[image] or ()) for image, finding in zip(boxes.images, boxes.findings, strict=True))
    boxed = set(boxes.images)
    assert boxed == {image for image, findings in labels.items() if findings}


def test_of_patients_takes_every_image_of_a_boxed_patient(table: Path, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("image,patient,findings\na.png,1,Mass\nb.png,1,\nc.png,2,Mass\nd.png,3,\n")
    table.write_text(HEADER + "a.png,Mass,1,1,1,1\nelsewhere.png,Mass,1,1,1,1\n")
    own = read_boxes(table).of_patients(read_table(tmp_path / "t.csv"))
    np.testing.assert_array_equal(own, [True, True, False, False])


@pytest.mark.real_data
def test_nihs_own_table(real_data: Path) -> None:
    boxes = read_boxes(real_data / "nih" / "BBox_List_2017.csv")
    assert len(boxes) == 984
    assert len(set(boxes.images)) == 880
    assert boxes.findings.count("Infiltration") == 123
    assert boxes.findings.count("Pneumonia") == 120
    np.testing.assert_allclose(boxes.pixels(1024)[0], [225.084745762712, 547.019216763771, 86.7796610169491, 79.18644])
