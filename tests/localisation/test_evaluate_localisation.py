"""Evaluating maps: the right images are scored, by the threshold validation chose, and never seen ones in silence."""

import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from cxrsearch.analysis.maps.box_scores import case_scores
from cxrsearch.building.build import build_index
from cxrsearch.building.imported import import_embeddings
from cxrsearch.encoder.spec import UNKNOWN, Provenance
from cxrsearch.errors import CatalogueError, CxrsearchError, UsageError
from cxrsearch.images.boxes import read_boxes
from cxrsearch.images.splits import digest_ids
from cxrsearch.localisation.evaluate_localisation import (
    LocalisationQuestion,
    evaluate_localisation,
    evaluate_localisation_of_images,
)
from cxrsearch.query.index import Index, open_index
from cxrsearch.query.maps import on_stored
from cxrsearch_cli.app import app
from tests.conftest import SMALL, DataSet
from tests.trained import trained_file

HEADER = "Image Index,Finding Label,Bbox [x,y,w,h],,,\n"
BOXES = HEADER + (
    "01.png,Mass,100,100,300,300\n"
    "06.png,Mass,512,512,256,256\n07.png,Infiltrate,0,0,512,512\n"
    "09.png,Mass,100,600,400,300\n09.png,Mass,600,600,100,100\n08.png,Edema,0,0,1024,512\nelsewhere.png,Mass,1,1,1,1\n"
)
QUICK: dict[str, Any] = {"replicates": 20, "split": "column"}


@pytest.fixture(scope="module")
def boxes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("boxes") / "BBox_List_2017.csv"
    path.write_text(BOXES)
    return path


def built(data_set: DataSet, split_table: Path, folder: Path, provenance: Provenance = UNKNOWN) -> Index:
    weights = trained_file(folder / "made.safetensors", provenance=provenance)
    build_index(data_set.images, split_table, index=folder / "index", weights=weights, workers=0, device="cpu")
    return open_index(folder / "index", device="cpu")


@pytest.fixture(scope="module")
def index(data_set: DataSet, split_table: Path, tmp_path_factory: pytest.TempPathFactory) -> Index:
    return built(data_set, split_table, tmp_path_factory.mktemp("boxed"))


def test_the_test_part_is_scored_by_the_validation_parts_threshold(index: Index, boxes: Path) -> None:
    result = evaluate_localisation(index, boxes, LocalisationQuestion(**QUICK))
    assert (result.images, result.patients, result.validation_images) == (2, 1, 2)
    assert result.cells == (2, 2)
    assert {row.finding for row in result.rows} == {"Mass", "Edema", "all"}
    pixels = index.stored_pixels(9)
    assert pixels is not None
    found = index.finding_maps(pixels)
    assert found is not None
    whole = on_stored(index.embedder.spec.preprocess, found.maps[found.findings.index("Mass")])
    real = np.array([[25, 150, 100, 75], [150, 150, 25, 25]])
    shares, false = case_scores(whole, real, result.thresholds["map"])
    assert shares[0] > 0
    for number, (measure, level) in enumerate([("iobb", 0.1), ("iobb", 0.25)]):
        row = result.row("Mass", "map", measure, level)
        assert (row.accuracy, row.false_positives) == (shares[number], false[number])
        assert (row.images, row.patients, row.boxes) == (1, 1, 2)
        assert row.low is None
        assert row.high is None
    every = result.row("all", "map", "iou", 0.1)
    assert (every.images, every.patients, every.boxes) == (2, 1, 3)
    single = [result.row(finding, "map", "iou", 0.1).accuracy for finding in ("Mass", "Edema")]
    assert every.accuracy == pytest.approx(np.mean(single))
    difference = result.row("Mass", "map - random", "iobb", 0.1)
    random = result.row("Mass", "random", "iobb", 0.1)
    assert difference.accuracy == pytest.approx(shares[0] - random.accuracy)
    assert any("not known which images the encoder was trained on" in warning for warning in result.warnings)


def test_the_same_question_has_the_same_answer_and_another_seed_other_random_maps(index: Index, boxes: Path) -> None:
    first, again = (evaluate_localisation(index, boxes, LocalisationQuestion(**QUICK)) for _ in range(2))
    assert first.to_json() == again.to_json()
    other = evaluate_localisation(index, boxes, LocalisationQuestion(seed=1, **QUICK))
    assert [row for row in first.rows if row.model == "map"] == [row for row in other.rows if row.model == "map"]
    assert [row for row in first.rows if row.model == "random"] != [row for row in other.rows if row.model == "random"]


def test_a_folder_is_evaluated_as_its_index_is(
    index: Index, boxes: Path, data_set: DataSet, split_table: Path, tmp_path: Path
) -> None:
    weights = trained_file(tmp_path / "made.safetensors")
    question = LocalisationQuestion(**QUICK)
    folder = evaluate_localisation_of_images(data_set.images, split_table, weights, boxes, question, device="cpu")
    assert folder.to_json() == evaluate_localisation(index, boxes, question).to_json()


def test_boxed_files_that_cannot_be_read_are_listed(
    boxes: Path, data_set: DataSet, split_table: Path, tmp_path: Path
) -> None:
    shutil.copytree(data_set.images, tmp_path / "images")
    (tmp_path / "images" / "08.png").write_bytes(b"")
    weights = trained_file(tmp_path / "made.safetensors")
    question = LocalisationQuestion(**QUICK)
    result = evaluate_localisation_of_images(tmp_path / "images", split_table, weights, boxes, question, device="cpu")
    assert [image for image, _ in result.refused] == ["08.png"]
    assert result.images == 1


def trained_on(ids: list[str], boxes_sha256: str | None = None) -> Provenance:
    return Provenance("column", digest_ids(ids), len(ids), boxes_sha256=boxes_sha256)


def test_images_that_the_encoder_has_seen_are_refused(
    boxes: Path, data_set: DataSet, split_table: Path, tmp_path: Path
) -> None:
    seen = built(data_set, split_table, tmp_path, trained_on([f"{i:02d}.png" for i in range(6)]))
    with pytest.raises(CxrsearchError, match=r"trained on 1 of the 1 boxed images .* --exclude-boxes"):
        evaluate_localisation(seen, boxes, LocalisationQuestion(part="train", **QUICK))
    allowed = evaluate_localisation(seen, boxes, LocalisationQuestion(part="train", allow_seen=True, **QUICK))
    assert allowed.warnings == ("the encoder was trained on 1 of the 1 scored images: the result is too good",)
    assert evaluate_localisation(seen, boxes, LocalisationQuestion(**QUICK)).warnings == ()


def test_scored_images_that_chose_the_encoders_best_epoch_are_said(
    boxes: Path, data_set: DataSet, split_table: Path, tmp_path: Path
) -> None:
    index = built(data_set, split_table, tmp_path, trained_on([f"{i:02d}.png" for i in range(6)]))
    said = evaluate_localisation(index, boxes, LocalisationQuestion(part="val", **QUICK)).warnings
    assert "2 of the 2 scored images chose the encoder's best epoch" in said


def test_boxed_images_that_were_kept_out_of_training_are_scored_too(
    boxes: Path, data_set: DataSet, split_table: Path, tmp_path: Path
) -> None:
    spared = [f"{i:02d}.png" for i in range(2, 6)]  # patient 0 has a boxed image
    index = built(data_set, split_table, tmp_path, trained_on(spared, read_boxes(boxes).sha256))
    result = evaluate_localisation(index, boxes, LocalisationQuestion(**QUICK))
    assert result.images == 3
    assert result.warnings == ()
    other = tmp_path / "other.csv"
    other.write_text(BOXES + "00.png,Mass,0,0,1,1\n")  # another table proves nothing
    assert evaluate_localisation(index, other, LocalisationQuestion(**QUICK)).images == 2


def test_without_boxed_validation_images_the_default_threshold_is_said(index: Index, tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_text(HEADER + "09.png,Mass,100,600,400,300\n")
    result = evaluate_localisation(index, tmp_path / "b.csv", LocalisationQuestion(**QUICK))
    assert result.thresholds == {"map": 0.5, "random": 0.5}
    assert any("the threshold is the default one" in warning for warning in result.warnings)


def test_what_cannot_be_evaluated_is_refused(
    index: Index, boxes: Path, small_index: Path, data_set: DataSet, tmp_path: Path
) -> None:
    (tmp_path / "b.csv").write_text(HEADER + "x.png,Mass,1,1,1,1\n")
    with pytest.raises(CatalogueError, match="none of the 1 boxed images"):
        evaluate_localisation(index, tmp_path / "b.csv")
    (tmp_path / "b.csv").write_text(HEADER + "06.png,Mass,1,1,1,1\n")
    with pytest.raises(CatalogueError, match="no boxed image is in part test"):
        evaluate_localisation(index, tmp_path / "b.csv", LocalisationQuestion(**QUICK))
    with pytest.raises(UsageError, match="no trained head"):
        evaluate_localisation(open_index(small_index, device="cpu"), boxes)
    build_index(data_set.images, data_set.labels, index=tmp_path / "bare", pixels=False, **SMALL)
    with pytest.raises(UsageError, match="keeps no pixels"):
        evaluate_localisation(open_index(tmp_path / "bare"), boxes)
    np.save(tmp_path / "x.npy", np.zeros((10, 4), dtype=np.float32))
    import_embeddings(tmp_path / "x.npy", data_set.labels, index=tmp_path / "imported")
    with pytest.raises(UsageError, match="import"):
        evaluate_localisation(open_index(tmp_path / "imported"), boxes)


@pytest.mark.parametrize("wrong", [{"part": "all"}, {"method": "lime"}, {"replicates": 0}, {"seed": -1}])
def test_questions_that_cannot_be_meant_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        LocalisationQuestion(**wrong)


def asked(*words: str | Path) -> Result:
    return CliRunner().invoke(app, ["evaluate-localisation", *map(str, words)])


def test_the_command_prints_tables_json_or_csv(index: Index, boxes: Path) -> None:
    common = ("--index", index.stored.folder, "--boxes", boxes, "--replicates", "20", "--device", "cpu")
    table, value, rows = (asked(*common, "--split", "column", *form) for form in ((), ("--json",), ("--csv",)))
    assert (table.exit_code, value.exit_code, rows.exit_code) == (0, 0, 0)
    assert "2 boxed images of 1 patient (part test of column)" in table.stdout
    assert "IoBB > 0.25" in table.stdout
    found = json.loads(value.stdout)
    assert set(found["thresholds"]) == {"map", "random"}
    assert {"finding", "model", "measure", "level", "accuracy", "low", "high"} <= set(found["rows"][0])
    assert len(rows.stdout.splitlines()) == 1 + len(found["rows"]) == 1 + 3 * 3 * 12
    assert "not known" in table.stderr


def test_calls_that_do_not_fit_are_refused(index: Index, boxes: Path, data_set: DataSet) -> None:
    for words, problem in (
        ((data_set.images, "--boxes", boxes), "without its table or weights"),
        ((data_set.images, "--boxes", boxes, "--index", index.stored.folder), "at once — name one of the two"),
        (("--boxes", boxes, "--weights", "x"), "beside an index"),
        (("--boxes", boxes, "--json", "--csv"), "several forms"),
    ):
        result = asked(*words)
        assert result.exit_code == 2
        assert problem in result.stderr
    wrong = asked("--index", index.stored.folder, "--boxes", data_set.labels)
    assert wrong.exit_code == 1
    assert "is not a table of boxes" in wrong.stderr


@pytest.mark.real_data
def test_real_boxes_meet_real_images(real_data: Path, tmp_path: Path) -> None:
    nih = real_data / "nih"
    weights = trained_file(tmp_path / "made.safetensors")
    (tmp_path / "images").mkdir()
    boxed = {image for image in read_boxes(nih / "BBox_List_2017.csv").images if (nih / "images" / image).exists()}
    for image in boxed:
        shutil.copy(nih / "images" / image, tmp_path / "images" / image)
    result = evaluate_localisation_of_images(
        tmp_path / "images", nih / "Data_Entry_2017.csv", weights, nih / "BBox_List_2017.csv",
        LocalisationQuestion(split="patient-hash:0/0.3/0.7", replicates=50), device="cpu",
    )  # fmt: skip
    assert result.images + result.validation_images == len(boxed) == 29
    assert result.row("Pneumonia", "map", "iobb", 0.1).images >= 15


def test_another_patients_map_is_of_one_who_has_the_finding(index: Index, boxes: Path) -> None:
    """Mass is boxed in images 1, 6 and 9, of three patients: each is judged by the map of one of the other two."""
    result = evaluate_localisation(index, boxes, LocalisationQuestion(split="patient-hash:0/0/1", replicates=20))
    table = read_boxes(boxes)
    column, wholes, real = index.manifest.findings.index("Mass"), {}, {}
    for row in (1, 6, 9):
        pixels = index.stored_pixels(row)
        assert pixels is not None
        found = index.finding_maps(pixels)
        assert found is not None
        wholes[row] = on_stored(index.embedder.spec.preprocess, found.maps[column])
        own = [i for i, image in enumerate(table.images) if image == f"{row:02d}.png"]
        real[row] = table.pixels(256)[own]
    possible = [
        [case_scores(wholes[other], real[row], 0.5)[0][0] for other in wholes if other != row] for row in wholes
    ]
    means = [np.mean(choice) for choice in itertools.product(*possible)]
    accuracy = result.row("Mass", "other image", "iobb", 0.1).accuracy
    assert min(abs(accuracy - mean) for mean in means) < 1e-9
    assert result.row("Mass", "map", "iobb", 0.1).images == 3
