"""The folder that `make_phantom` leaves."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cxrsearch.errors import UsageError, WriteError
from cxrsearch.images.findings import NIH_FINDINGS, Vocabulary
from cxrsearch.phantom.write import PhantomSet, make_phantom


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> PhantomSet:
    return make_phantom(tmp_path_factory.mktemp("phantom") / "set", 40, seed=1, size=64)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def rows(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


def test_it_writes_as_many_images_as_asked_and_counts_them(phantom: PhantomSet) -> None:
    table = rows(phantom.folder / "Data_Entry_2017.csv")[1:]
    names = [row[0] for row in table]
    assert sorted(path.name for path in (phantom.folder / "images").iterdir()) == names
    assert len(names) == phantom.images == 40
    assert len({row[3] for row in table}) == phantom.patients
    for finding in (*NIH_FINDINGS, "No Finding"):
        assert phantom.findings[finding] == sum(finding in row[1].split("|") for row in table)


def test_the_table_is_nihs(phantom: PhantomSet) -> None:
    text = (phantom.folder / "Data_Entry_2017.csv").read_text()
    assert text.startswith(
        "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
        "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]\n"
    )
    for image, labels, follow_up, patient, age, sex, view, width, height, x, y in rows(
        phantom.folder / "Data_Entry_2017.csv"
    )[1:]:
        assert image == f"{int(patient):08d}_{int(follow_up):03d}.png"
        assert "|".join(sorted(Vocabulary().parse(labels))) == ("" if labels == "No Finding" else labels)
        assert 18 <= int(age) <= 95
        assert (sex in "MF", view in ("PA", "AP"), x == y) == (True, True, True)
        assert 30 < int(width) * float(x) / 10 < 45
        assert 30 < int(height) * float(y) / 10 < 45


@pytest.mark.real_data
def test_the_headers_are_nihs_to_the_letter(phantom: PhantomSet, real_data: Path) -> None:
    for name in ("Data_Entry_2017.csv", "BBox_List_2017.csv"):
        with (real_data / "nih" / name).open() as real, (phantom.folder / name).open() as ours:
            assert ours.readline().strip() == real.readline().strip()


def test_every_finding_has_boxes_in_nihs_units(phantom: PhantomSet) -> None:
    header, *boxes = (phantom.folder / "BBox_List_2017.csv").read_text().splitlines()
    assert header == "Image Index,Finding Label,Bbox [x,y,w,h],,,"
    boxed = set()
    for image, label, *values in (line.split(",") for line in boxes):
        x, y, w, h = map(float, values)
        assert (min(x, y) >= 0, min(w, h) > 0, max(x + w, y + h) <= 1024) == (True, True, True)
        assert label != "Infiltration"  # NIH's list calls it Infiltrate
        boxed.add((image, Vocabulary().canonical(label)))
    table = rows(phantom.folder / "Data_Entry_2017.csv")[1:]
    assert boxed == {(row[0], finding) for row in table for finding in Vocabulary().parse(row[1])}
    assert max(float(line.split(",")[-1]) for line in boxes) > 64  # in pixels of 1024, not of the film's 64


def test_the_images_are_grey_and_say_that_they_are_synthetic(phantom: PhantomSet) -> None:
    for path in (phantom.folder / "images").iterdir():
        with Image.open(path) as image:
            assert (image.mode, image.size, image.format) == ("L", (64, 64), "PNG")
            assert str(image.info["Comment"]).startswith("SYNTHETIC")
            assert np.asarray(image).std() > 20
    assert (phantom.folder / "README.txt").read_text().startswith("SYNTHETIC")


def test_the_same_seed_gives_the_same_bytes_with_any_number_of_workers(phantom: PhantomSet, tmp_path: Path) -> None:
    make_phantom(tmp_path / "again", 40, seed=1, size=64, workers=2)
    assert contents(tmp_path / "again") == contents(phantom.folder)
    make_phantom(tmp_path / "other", 3, seed=2, size=64)
    assert not contents(tmp_path / "other").items() & contents(phantom.folder).items() - {
        ("README.txt", contents(phantom.folder)["README.txt"])
    }


def test_a_larger_set_extends_a_smaller_one(phantom: PhantomSet, tmp_path: Path) -> None:
    small, large = make_phantom(tmp_path / "small", 7, seed=1, size=64), phantom
    for name, data in contents(small.folder / "images").items():
        assert contents(large.folder / "images")[name] == data
    for name in ("Data_Entry_2017.csv", "BBox_List_2017.csv"):
        assert (large.folder / name).read_text().startswith((small.folder / name).read_text())
    assert len(contents(small.folder / "images")) == 7


def test_progress_counts_every_image(tmp_path: Path) -> None:
    calls: list[tuple[str, int, int]] = []
    make_phantom(tmp_path / "set", 3, size=64, progress=lambda *call: calls.append(call))
    assert calls == [("draw", done, 3) for done in range(4)]


@pytest.mark.parametrize(
    ("n", "options", "message"),
    [
        (0, {}, "the number of images is 0"),
        (-3, {}, "the number of images is -3"),
        (1, {"seed": -1}, "the seed is -1"),
        (1, {"size": 63}, "image size 63"),
        (1, {"size": 2049}, "image size 2049"),
        (1, {"workers": 0}, "the number of workers is 0"),
        (1, {"prevalence": "real"}, "unknown prevalence 'real'"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, n: int, options: dict[str, int], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make_phantom(tmp_path / "set", n, **options)  # type: ignore[arg-type]
    assert not (tmp_path / "set").exists()


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="holds something already"):
        make_phantom(tmp_path, 1, size=64)
    with pytest.raises(UsageError, match="is a file"):
        make_phantom(tmp_path / "mine.txt", 1, size=64)
    assert contents(tmp_path) == {"mine.txt": b"mine"}


def test_an_empty_folder_will_do(tmp_path: Path) -> None:
    assert make_phantom(tmp_path, 1, size=64).images == 1


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match="file"):
        make_phantom(tmp_path / "file" / "set", 1, size=64)
