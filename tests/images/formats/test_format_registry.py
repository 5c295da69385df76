"""Which format reads a table."""

from pathlib import Path

import pytest

from cxrsearch.errors import CatalogueError
from cxrsearch.images.formats.format_registry import FORMATS, read_table
from cxrsearch.images.formats.nih import NIH
from cxrsearch.images.formats.plain import PLAIN


def written(folder: Path, text: str) -> Path:
    path = folder / "table.csv"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("Image Index,Finding Labels,Patient ID,View Position", ["nih"]),
        ("image,patient,findings", ["plain"]),
        ("image,Image Index,patient,findings", ["plain", "nih"]),
        ("file,label", []),
    ],
)
def test_a_format_is_recognised_by_a_column(header: str, found: list[str]) -> None:
    names = [name.lower() for name in header.split(",")]
    assert [name for name, known in FORMATS.items() if known.recognises(names)] == found
    assert [FORMATS["nih"], FORMATS["plain"]] == [NIH, PLAIN]


def test_both_formats_read_the_same_images(tmp_path: Path) -> None:
    plain = read_table(written(tmp_path, "image,patient,findings,view,sex,age\na.png,1,Mass,PA,F,58\n"))
    nih = "Image Index,Finding Labels,Patient ID,Patient Age,Patient Gender,View Position\na.png,Mass,1,058Y,F,PA\n"
    official = read_table(written(tmp_path, nih))
    assert official.frame.equals(plain.frame)
    assert official.labels is not None
    assert plain.labels is not None
    assert (official.labels == plain.labels).all()


def test_the_special_format_goes_before_the_plain_one(tmp_path: Path) -> None:
    """A table with the columns of both is NIH's: its patient is that of `Patient ID`."""
    both = "image,Image Index,patient,Patient ID,findings,Finding Labels\nx,a.png,9,1,Edema,Mass\n"
    catalogue = read_table(written(tmp_path, both))
    assert (catalogue.ids, catalogue.patients, catalogue.findings(0)) == (["a.png"], ["1"], ("Mass",))


def test_a_table_of_no_format_is_told_what_a_plain_one_needs(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match="lacks image, patient, findings: its header is file, label"):
        read_table(written(tmp_path, "file,label\na.png,Mass\n"))
