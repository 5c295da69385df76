"""Tables by value: what each spelling becomes, and what each mistake is told."""

import csv
import gzip
import io
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from cxrsearch.errors import CatalogueError, VocabularyError
from cxrsearch.images.findings import NIH_FINDINGS, Vocabulary
from cxrsearch.images.formats.format_registry import read_table
from cxrsearch.images.tables import parse_age, parse_part, parse_sex, parse_view

NIH_2017 = """Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,\
OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],
00000001_000.png,Cardiomegaly|Infiltrate,0,1,058Y,M,PA,2682,2749,0.143,0.143,
00000002_000.png,No Finding,0,2,414,F,AP,2500,2048,0.168,0.168,
"""
NIH_2020 = NIH_2017.replace("Gender", "Sex").replace(",\n", "\n").replace("058Y", "58")
PLAIN = "image,patient,findings,view,sex,age,split\na.png,00012,Mass|hernia,pa,female,018M,train\nb.png,12,,LL,,,\n"


def table(folder: Path, content: str | bytes, name: str = "table.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def values(path: Path) -> list[list[object]]:
    """Every cell of the catalogue, nulls as None."""
    frame = read_table(path).frame
    cells: list[list[object]] = frame.astype(object).where(frame.notna(), None).to_numpy().tolist()
    return cells


@pytest.mark.parametrize(
    "content",
    [
        NIH_2017,
        NIH_2020,
        NIH_2020.replace("\n", "\r\n"),
        NIH_2017.replace("\n", "\r"),
        "\ufeff" + NIH_2017,
        NIH_2017.upper().replace("PNG", "png"),
        NIH_2017.rstrip("\n"),
        NIH_2017 + "\n\n",
        gzip.compress(NIH_2017.encode(), mtime=0),
        gzip.compress(("\ufeff" + NIH_2020.replace("\n", "\r\n")).encode()),
    ],
    ids=["2017", "2020", "crlf", "cr", "bom", "upper", "no-end", "blank-lines", "gz", "gz-bom-crlf"],
)
def test_every_form_of_nih_table_gives_the_same(tmp_path: Path, content: str | bytes) -> None:
    path = table(tmp_path, content)
    assert values(path) == [
        ["00000001_000.png", "1", "PA", "M", 58, None, None],
        ["00000002_000.png", "2", "AP", "F", None, None, None],
    ]
    catalogue = read_table(path)
    assert [catalogue.findings(row) for row in range(2)] == [("Cardiomegaly", "Infiltration"), ()]


def test_plain_table(tmp_path: Path) -> None:
    path = table(tmp_path, PLAIN)
    assert values(path) == [
        ["a.png", "00012", "PA", "F", 1, "train", None],
        ["b.png", "12", None, None, None, None, None],
    ]
    catalogue = read_table(path)
    assert [catalogue.findings(row) for row in range(2)] == [("Mass", "Hernia"), ()]


def test_only_three_columns_are_needed_in_any_order_and_others_are_ignored(tmp_path: Path) -> None:
    path = table(tmp_path, 'Findings, IMAGE ,note,Patient\nEdema,a.png,"x, y",p\n')
    assert values(path) == [["a.png", "p", None, None, None, None, None]]


def test_ids_are_text_exactly_as_written(tmp_path: Path) -> None:
    path = table(tmp_path, 'image,patient,findings\n1.0,NA,\n1.00,null,\n"a,b",1e3,\nÜ.png,007,\n')
    catalogue = read_table(path)
    assert catalogue.ids == ["1.0", "1.00", "a,b", "Ü.png"]
    assert catalogue.patients == ["NA", "null", "1e3", "007"]


def test_a_hospitals_own_labels(tmp_path: Path) -> None:
    path = table(tmp_path, "image,patient,findings\na,1,Pacemaker|old fracture\nb,2,No Finding\n")
    catalogue = read_table(path, Vocabulary(("Old_fracture", "Pacemaker", "Tube")))
    assert catalogue.labels is not None
    np.testing.assert_array_equal(catalogue.labels, [[True, True, False], [False, False, False]])


@pytest.mark.parametrize(
    ("cell", "age"),
    [
        ("58", 58),
        ("058Y", 58),
        ("58.0", 58),
        ("7.9", 7),
        ("018M", 1),
        ("011M", 0),
        ("104W", 1),
        ("105W", 2),
        ("012d", 0),
        ("0", 0),
        ("120", 120),
        ("121", None),
        ("414", None),
        ("", None),
        (" ", None),
    ],
)
def test_ages(cell: str, age: int | None) -> None:
    assert parse_age(cell) == age


@pytest.mark.parametrize("cell", ["-3", "old", "58 years", "Y", "1e2", "nan", "٣"])
def test_what_is_no_age(cell: str) -> None:
    with pytest.raises(ValueError):
        parse_age(cell)


def test_sexes_and_views() -> None:
    assert [parse_sex(cell) for cell in ("M", "f", "Male", "FEMALE", "O", "")] == ["M", "F", "M", "F", None, None]
    assert [parse_view(cell) for cell in ("PA", "ap", " Ap ", "LATERAL", "LL", "")] == ["PA", "AP", "AP", *[None] * 3]


def test_parts_of_a_split() -> None:
    assert [parse_part(cell) for cell in ("train", "Val", " TEST ", "", " ")] == ["train", "val", "test", None, None]
    for cell in ("training", "0", "nan"):
        with pytest.raises(ValueError):
            parse_part(cell)


def test_views_that_are_not_known_are_counted_with_an_example(tmp_path: Path) -> None:
    """Silently a lateral film would count as a frontal one of unknown view."""
    header = "image,patient,findings,view\n"
    path = table(tmp_path, header + "a,1,,PA\nb,1,,LATERAL\nc,1,,ap\nd,1,,LL\ne,1,, \n", "t.csv")
    assert read_table(path).warnings == (
        "2 rows of t.csv have another view than PA and AP, such as 'LATERAL': it counts as unknown; leave out "
        "lateral images",
    )
    path = table(tmp_path, header + "a,1,,PA\nb,1,,LL\n", "t.csv")
    assert read_table(path).warnings[0].startswith("1 row of t.csv has another view than PA and AP, such as 'LL': ")
    for silent in (header + "a,1,,PA\nb,1,,\n", "image,patient,findings\na,1,\n"):
        assert read_table(table(tmp_path, silent)).warnings == ()


HEADER = "image,patient,findings,sex,age\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"^t\.csv lacks image, patient, findings: its header is empty"),
        ("\n\n", "lacks image, patient, findings"),
        ("image,patient,findings\n", r"^t\.csv has no rows"),
        ("image;patient;findings\na;1;Mass, left\n", "lacks image, patient, findings: .* image;patient;findings"),
        ("image,subject,labels\na,1,\n", "lacks patient, findings: its header is image, subject, labels"),
        ("Image Index,Finding Label,Bbox [x,y,w,h]\na,Mass,1,2,3,4\n", "lacks patient id, finding labels"),
        ("image,patient,findings,Patient\na,1,,1\n", "column twice: its header is image, patient, findings, Patient"),
        ("Image Index,Patient ID,Finding Labels,Patient Sex,Patient Gender\na,1,,M,M\n", "a column twice"),
        (HEADER + "a,1,,M,5\nb,1\n", r"^t\.csv, line 3: 2 fields where the header has 5"),
        (HEADER + "a,1,Mass,Edema,M,5\n", "line 2: 6 fields where the header has 5"),
        (HEADER + 'a,1,"",M,5\n\n"b\nc",,"",M,5\n', r"^t\.csv, line 5: no patient"),
        (HEADER + ",1,,M,5\n", "line 2: no image"),
        (HEADER + "a, 1,,M,5\n", "line 2: the patient begins or ends with a space"),
        (HEADER + "a ,1,,M,5\n", "line 2: the image begins or ends with a space"),
        (HEADER + "a,1,,M,5\nb,1,,X,5\n", "line 3: 'X' is not a valid sex — write M or F"),
        (HEADER + "a,1,,M,5\nb,1,,M,5 yrs\n", "line 3: '5 yrs' is not a valid age — write years"),
        (
            HEADER.replace(",age", ",split") + "a,1,,M,val\nb,1,,M,tset\n",
            "line 3: 'tset' is not a valid split — write train, val",
        ),
        (
            "Path,Sex,No Finding,Cardiomegaly,pleural thickening\np/view1.jpg,F,,1.0,-1.0\n",
            r"lacks image, patient, findings: its findings have a column each \(No Finding, Cardiomegaly, pleural "
            r"thickening\) — write those of an image into one column findings, as Effusion\|Mass \(docs/GUIDE\.md",
        ),
        ("Image Index,Patient ID,Mass\na.png,1,0\n", r"lacks finding labels: its findings have a column each \(Mass\)"),
        (HEADER + 'a,1,,M,"5\n', "line 2: unexpected end of data"),
        (HEADER.encode() + b"a,1,,M,5\n\xe4,1,,M,5\n", r"^t\.csv, line 3: not UTF-8"),
        (HEADER.encode("utf-16"), "not UTF-8"),
        (gzip.compress(HEADER.encode() * 50, mtime=0)[:-9], "damaged gzip file"),
        (b"\x1f\x8b\x08\x00garbage that is no gzip", "damaged gzip file"),
        (
            HEADER + "a,1,,M,5\nb,1,,M,5\na,1,,M,5\nb,1,,M,5\nc,1,,M,5\na,2,,M,5\n",
            r"image 'a' has 3 rows \(lines 2, 4, 7\), one of 2 images with several",
        ),
    ],
)
def test_a_table_that_cannot_be_used_says_why(tmp_path: Path, content: str | bytes, message: str) -> None:
    with pytest.raises(CatalogueError, match=message) as caught:
        read_table(table(tmp_path, content, "t.csv"))
    assert caught.value.fix
    assert "\n" not in str(caught.value)


def test_a_table_that_is_not_there(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.csv", tmp_path):
        with pytest.raises(CatalogueError, match=f"cannot read the table {path}: "):
            read_table(path)


def test_an_unknown_label_names_its_line_the_vocabulary_and_the_others(tmp_path: Path) -> None:
    path = table(tmp_path, "image,patient,findings\na,1,Mass\nb,1,Mass|Opacity\nc,1,Scar\nd,1,Opacity\n", "t.csv")
    with pytest.raises(VocabularyError) as caught:
        read_table(path)
    message = str(caught.value)
    assert message.startswith("t.csv, line 3: unknown finding 'Opacity'; the vocabulary is Atelectasis, ")
    assert "the table has 2 unknown labels: Opacity, Scar" in message
    assert "--findings a,b,c" in message


def test_a_contradiction_names_its_line(tmp_path: Path) -> None:
    path = table(tmp_path, "image,patient,findings\na,1,Mass\nb,1,No Finding|Mass\n", "t.csv")
    with pytest.raises(VocabularyError, match=r"^t\.csv, line 3: 'No Finding' beside a finding"):
        read_table(path)


@pytest.mark.real_data
def test_the_whole_of_nihs_table(real_data: Path) -> None:
    path = real_data / "nih" / "Data_Entry_2017_full.csv.gz"
    rows = list(csv.DictReader(io.StringIO(gzip.decompress(path.read_bytes()).decode())))
    counts = Counter(label for row in rows for label in row["Finding Labels"].split("|"))
    catalogue = read_table(path)
    assert len(catalogue) == len(rows) == 112_120
    assert catalogue.labels is not None
    assert dict(zip(NIH_FINDINGS, catalogue.labels.sum(axis=0).tolist(), strict=True)) == {
        finding: counts[finding] for finding in NIH_FINDINGS
    }
    assert int((~catalogue.labels.any(axis=1)).sum()) == counts["No Finding"] == 60_361
    assert catalogue.patient_groups().max() + 1 == len({row["Patient ID"] for row in rows}) == 30_805
    assert catalogue.ids == [row["Image Index"] for row in rows]
    assert catalogue.patients == [row["Patient ID"] for row in rows]
    assert catalogue.frame["age"].tolist() == [int(row["Patient Age"]) for row in rows]
    assert catalogue.frame["sex"].tolist() == [row["Patient Gender"] for row in rows]
    assert catalogue.frame["view"].tolist() == [row["View Position"] for row in rows]
