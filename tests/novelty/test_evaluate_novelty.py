"""A finding held out of an index: what is known, what is scored, what is said; from Python and the command line."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.spatial.distance import cdist
from scipy.special import expit
from sklearn.metrics import roc_auc_score
from typer.testing import CliRunner, Result

import cxrsearch
from cxrsearch.analysis.novelty.score_registry import REFERENCES, SCORES
from cxrsearch.building.build import build_index
from cxrsearch.building.imported import import_embeddings
from cxrsearch.encoder.checkpoint import read_header
from cxrsearch.errors import CatalogueError, UsageError
from cxrsearch.images.findings import NIH_FINDINGS
from cxrsearch.images.splits import digest_ids, parse_split
from cxrsearch.novelty._novelty_setup import FITTED_HEAD, OWN_HEAD
from cxrsearch.novelty.evaluate_novelty import (
    NoveltyQuestion,
    evaluate_every,
    evaluate_novelty,
    evaluate_novelty_of_images,
)
from cxrsearch.novelty.novelty_result import NoveltyResult
from cxrsearch.novelty.retrain import RESULT, retrain, retrain_every
from cxrsearch.query.index import open_index
from cxrsearch.training.request import Training
from cxrsearch.training.train import train
from cxrsearch_cli.app import app
from tests.conftest import FINDINGS, DataSet

CHANGES = {"arch": "densenet121", "weights": "random:0", "size": 32, "epochs": 1, "batch_size": 3}
SMALL: dict[str, Any] = {"device": "cpu", "precision": "fp32", "workers": 0}
QUICK = NoveltyQuestion(replicates=20)
DIM = 8


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """480 images of 240 patients: Hernia, Mass and Effusion each push a dimension of their own; there is no Edema."""
    rng = np.random.default_rng(0)
    own = {"Mass": rng.random(480) < 0.3, "Effusion": rng.random(480) < 0.3, "Hernia": rng.random(480) < 0.25}
    findings = ["|".join(name for name, has in own.items() if has[i]) for i in range(480)]
    split = np.repeat(np.array(["train", "val", "test"])[[0, 0, 0, 1, 2, 2] * 40], 2)
    frame = pd.DataFrame({"image": [f"{i}.png" for i in range(480)], "patient": [f"p{i // 2}" for i in range(480)]})
    return frame.assign(findings=findings, view=np.where(rng.random(480) < 0.5, "AP", "PA"), split=split)


@pytest.fixture(scope="module")
def embeddings(table: pd.DataFrame) -> np.ndarray:
    points = np.random.default_rng(1).standard_normal((480, DIM)) + 2
    for dimension, name in enumerate(("Mass", "Effusion", "Hernia")):
        points[:, dimension] += 7 * table["findings"].str.contains(name)
    return points.astype(np.float32)


@pytest.fixture(scope="module")
def imported(table: pd.DataFrame, embeddings: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("imported")
    table.to_csv(folder / "table.csv", index=False)
    np.save(folder / "x.npy", embeddings)
    import_embeddings(folder / "x.npy", folder / "table.csv", index=folder / "index")
    return folder / "index"


@pytest.fixture(scope="module")
def result(imported: Path) -> NoveltyResult:
    return evaluate_novelty(imported, "hernia", QUICK, shots=(0, 1, 5))


def test_every_score_in_every_comparison(result: NoveltyResult) -> None:
    assert (result.holdout, result.mode, result.split) == ("Hernia", "frozen", "column")
    assert [row.score for row in result.rows[::1]] == [*SCORES, *REFERENCES] * 6
    assert len({(row.positives, row.negatives) for row in result.rows}) == 6


def test_the_knn_row_by_hand(result: NoveltyResult, table: pd.DataFrame, embeddings: np.ndarray) -> None:
    """The bank is the training part without Hernia; the scored are the test part."""
    hernia = table["findings"].str.contains("Hernia").to_numpy()
    other = table["findings"].str.contains("Mass|Effusion").to_numpy()
    known, test = (table["split"] == "train").to_numpy() & ~hernia, (table["split"] == "test").to_numpy()
    exact = embeddings.astype(np.float64)
    unit = exact / np.linalg.norm(exact, axis=1, keepdims=True)
    k = result.chosen.k["knn"]
    score = np.sort(cdist(unit[test], unit[known]), axis=1)[:, k - 1]
    row = result.row("knn", "any", "all")
    assert row.auroc == pytest.approx(roc_auc_score(hernia[test], score), abs=1e-6)
    assert result.known == known.sum()
    assert (row.n_positive, row.n_negative) == ((hernia & test).sum(), (~hernia & test).sum())
    assert row.n_patients == table["patient"][hernia & test].nunique()
    only, none = hernia & test & ~other, test & ~hernia & ~other
    truth, used = only[only | none], (only | none)[test]
    assert result.row("knn", "only", "no-finding").auroc == pytest.approx(roc_auc_score(truth, score[used]), abs=1e-6)
    assert row.auroc is not None
    assert row.auroc > 0.85  # the planted finding stands out


def test_other_findings_choose_and_the_held_out_one_does_not(imported: Path, result: NoveltyResult) -> None:
    assert set(result.chosen.findings) == {"Mass", "Effusion"}
    assert result.chosen.score in SCORES
    mass = evaluate_novelty(imported, "Mass", QUICK, scores=("knn",))
    assert set(mass.chosen.findings) == {"Effusion", "Hernia"}


def test_strict_mode_removes_the_patients_too(imported: Path, table: pd.DataFrame) -> None:
    found = evaluate_novelty(imported, "Hernia", QUICK, strict=True, scores=("centroid",))
    ill = set(table["patient"][table["findings"].str.contains("Hernia")])
    assert found.known == ((table["split"] == "train") & ~table["patient"].isin(ill)).sum()


def test_without_a_head_a_regression_of_the_known_images_speaks(result: NoveltyResult) -> None:
    assert result.head == FITTED_HEAD
    assert "imported embeddings" in result.seen
    assert any("it is not known which images" in warning for warning in result.warnings)
    abnormal = result.row("no-finding", "any", "no-finding")
    assert abnormal.auroc is not None


def test_the_most_novel_are_those_of_the_highest_score(result: NoveltyResult) -> None:
    assert result.scored is not None
    values = result.scored.scores[result.shown_score]
    assert values is not None
    assert [image["score"] for image in result.most_novel] == sorted(values, reverse=True)[:10]
    first = result.most_novel[0]
    assert first["image"] == f"{result.scored.rows[int(np.argmax(values))]}.png"


def test_shots(result: NoveltyResult) -> None:
    found = {(row.score, row.shots): row.auroc or 0 for row in result.shots}
    assert found["knn", 0] == pytest.approx(result.row("knn", "any", "all").auroc)
    assert found["prototype", 0] == pytest.approx(result.row("centroid", "any", "all").auroc)
    assert found["prototype", 5] > 0.95


def test_more_shots_than_patients_are_said(imported: Path) -> None:
    found = evaluate_novelty(imported, "Hernia", QUICK, scores=("knn",), shots=(999,))
    assert [row.auroc for row in found.shots] == [None, None]
    assert any("patients with Hernia for few shots" in warning for warning in found.warnings)


def test_the_same_seed_gives_the_same_result(imported: Path, result: NoveltyResult) -> None:
    again = evaluate_novelty(imported, "hernia", QUICK, shots=(0, 1, 5))
    assert json.dumps(again.to_json()) == json.dumps(result.to_json())


def test_every_finding_in_turn(imported: Path) -> None:
    found = evaluate_every(imported, QUICK, scores=("knn", "ceiling"))
    assert [one.holdout for one in found.results] == ["Effusion", "Mass", "Hernia"]
    assert set(found.skipped) == set(NIH_FINDINGS) - {"Effusion", "Mass", "Hernia"}
    assert any("skipped" in warning for warning in found.warnings)
    frame = found.to_frame()
    assert len(frame) == 3 * 2 * 6
    assert list(frame.columns[:2]) == ["holdout", "mode"]


def test_a_finding_without_images_is_null_with_a_warning(imported: Path) -> None:
    found = evaluate_novelty(imported, "Edema", QUICK, scores=("knn", "ceiling"))
    assert {row.auroc for row in found.rows} == {None}
    assert any("no scored image shows Edema" in warning for warning in found.warnings)
    assert any("no ceiling" in warning for warning in found.warnings)


def test_what_cannot_be_asked(imported: Path, embeddings: np.ndarray, table: pd.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"unknown finding 'Herna'; the vocabulary is .* did you mean Hernia\?"):
        evaluate_novelty(imported, "Herna")
    with pytest.raises(UsageError, match="unknown score 'deep'"):
        evaluate_novelty(imported, "Hernia", scores=("deep",))
    with pytest.raises(UsageError, match="shots"):
        evaluate_novelty(imported, "Hernia", shots=(-1,))
    np.save(tmp_path / "x.npy", embeddings)
    table.assign(findings="Hernia").to_csv(tmp_path / "all.csv", index=False)
    import_embeddings(tmp_path / "x.npy", tmp_path / "all.csv", index=tmp_path / "all")
    with pytest.raises(CatalogueError, match="no other image is left"):
        evaluate_novelty(tmp_path / "all", "Hernia")


def test_an_index_without_findings(data_set: DataSet, tmp_path: Path) -> None:
    build_index(data_set.images, index=tmp_path / "index", weights="random:0", size=32, **SMALL)
    with pytest.raises(CatalogueError, match=r"findings .* are not known: nothing can be held out"):
        evaluate_novelty(tmp_path / "index", "Hernia")


def test_an_index_of_no_finding(embeddings: np.ndarray, table: pd.DataFrame, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", embeddings)
    table.assign(findings="No Finding").to_csv(tmp_path / "none.csv", index=False)
    import_embeddings(tmp_path / "x.npy", tmp_path / "none.csv", index=tmp_path / "none")
    with pytest.raises(CatalogueError, match="no image shows any finding"):
        evaluate_every(tmp_path / "none", QUICK)


def test_references_alone_need_no_choice(imported: Path) -> None:
    found = evaluate_novelty(imported, "Hernia", QUICK, scores=("view", "random"))
    assert found.chosen.score is None
    assert not any("best score" in warning for warning in found.warnings)


@pytest.fixture(scope="module")
def retrained(
    data_set: DataSet, split_table: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[NoveltyResult, Path]:
    out = tmp_path_factory.mktemp("retrained")
    result = retrain(data_set.images, split_table, "mass", QUICK, Training(changes=CHANGES, **SMALL), out=out)
    return result, out / "Mass"


def test_a_retrained_encoder_never_saw_the_finding(retrained: tuple[NoveltyResult, Path]) -> None:
    result, folder = retrained
    assert (result.mode, result.split, result.head) == ("retrain", "column", OWN_HEAD)
    header = read_header(folder / "run" / "best.safetensors")
    assert header.spec.findings is not None
    assert header.spec.findings == tuple(name for name in NIH_FINDINGS if name != "Mass")
    kept = [f"{i:02d}.png" for i in range(6) if "Mass" not in FINDINGS[i]]
    assert header.spec.provenance.train_ids_sha256 == digest_ids(kept)
    assert (header.spec.provenance.held_out, header.spec.provenance.n_train) == ("Mass", len(kept))
    assert result.known == len(kept)
    assert json.loads((folder / RESULT).read_text()) == json.loads(json.dumps(result.to_json()))


def test_the_networks_own_head_speaks(retrained: tuple[NoveltyResult, Path]) -> None:
    result, folder = retrained
    index = open_index(folder / "index")
    assert result.scored is not None
    head = index.stored.load_encoder().classifier
    assert head is not None
    outputs = (
        index.stored.vectors.take(result.scored.rows) @ head.weight.detach().numpy().T + head.bias.detach().numpy()
    )
    values = result.scored.scores["max-probability"]
    assert values is not None
    np.testing.assert_allclose(values, -expit(outputs.astype(np.float64)).max(1), rtol=1e-5)


def test_a_second_call_takes_over_what_is_done(
    retrained: tuple[NoveltyResult, Path], data_set: DataSet, split_table: Path
) -> None:
    result, folder = retrained
    before = (folder / "run" / "best.safetensors").stat().st_mtime_ns
    again = retrain(data_set.images, split_table, "Mass", QUICK, Training(changes=CHANGES, **SMALL), out=folder.parent)
    assert again.to_json() == result.to_json()
    assert (folder / "run" / "best.safetensors").stat().st_mtime_ns == before


def test_a_queue_of_all_findings_takes_over_what_is_done(
    retrained: tuple[NoveltyResult, Path], data_set: DataSet, split_table: Path
) -> None:
    """Mass is done already, and is neither trained nor embedded again."""
    result, folder = retrained
    before = (folder / "run" / "best.safetensors").stat().st_mtime_ns
    found = retrain_every(data_set.images, split_table, QUICK, Training(changes=CHANGES, **SMALL), out=folder.parent)
    assert (folder / "run" / "best.safetensors").stat().st_mtime_ns == before
    assert [one.holdout for one in found.results] == ["Effusion", "Mass", "Edema", "Hernia"]
    assert found.results[1].rows == result.rows
    assert found.mode == "retrain"
    assert all((folder.parent / one.holdout / RESULT).is_file() for one in found.results)


def test_a_run_that_was_trained_without_the_finding_is_used_as_it_is(
    retrained: tuple[NoveltyResult, Path], data_set: DataSet, split_table: Path
) -> None:
    result, folder = retrained
    found = evaluate_novelty_of_images(
        data_set.images, split_table, "Mass", QUICK, weights=str(folder / "run"), **SMALL
    )
    assert isinstance(found, NoveltyResult)
    assert (found.mode, found.rows) == ("retrain", result.rows)


def test_training_without_a_finding_in_strict_mode(data_set: DataSet, split_table: Path, tmp_path: Path) -> None:
    """Patient 3, who validates, has Mass in one image: strictly nobody is left."""
    with pytest.raises(CatalogueError, match="val"):
        train(
            data_set.images,
            split_table,
            Training(split="column", holdout="Mass", strict=True, changes=CHANGES),
            out=tmp_path / "r",
        )


def called(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["novelty", *arguments])


def test_json_as_promised(imported: Path) -> None:
    answer = called("--index", str(imported), "--holdout", "Hernia", "--replicates", "20", "--json")
    assert answer.exit_code == 0, answer.output
    got = json.loads(answer.stdout)
    assert (got["holdout"], got["mode"]) == ("Hernia", "frozen")
    row = got["rows"][0]
    keys = ["score", "positives", "negatives", "auroc", "auroc_low", "auroc_high", "aupr", "prevalence", "fpr95"]
    assert set(keys) | {"n_positive", "n_patients"} <= row.keys()
    assert row["auroc_low"] < row["auroc"] <= row["auroc_high"]
    everything = called("--index", str(imported), "--holdout", "ALL", "--scores", "knn", "--replicates", "5", "--json")
    assert {row["holdout"] for row in json.loads(everything.stdout)["rows"]} == {"Effusion", "Mass", "Hernia"}


@pytest.mark.parametrize("width", [80, 200])
@pytest.mark.parametrize("holdout", ["Hernia", "all"])
def test_the_tables_are_whole(imported: Path, holdout: str, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    arguments = ("--scores", "knn,relative-mahalanobis,ceiling", "--shots", "0,1", "--replicates", "20")
    answer = called("--index", str(imported), "--holdout", holdout, *arguments)
    assert answer.exit_code == 0, answer.output
    assert max(map(len, answer.stdout.splitlines())) <= max(width, 90)
    words = {"Hernia": ("relative-mahalanobis", "negatives", "FPR at 95% TPR", "prototype", "Chosen"), "all": ("Mass",)}
    for word in words[holdout]:
        assert word in answer.stdout


def test_csv_and_latex(imported: Path) -> None:
    options = ("--index", str(imported), "--holdout", "Hernia", "--scores", "knn,view", "--replicates", "20")
    assert len(called(*options, "--csv").stdout.splitlines()) == 1 + 2 * 6
    assert called(*options, "--latex").stdout.count(r"\\") == 3


def test_figures_from_the_command_line(imported: Path, tmp_path: Path) -> None:
    """An index without pixels has a sheet all the same; its tiles say that there is no image."""
    quick = ("--index", str(imported), "--scores", "knn,ceiling", "--replicates", "20")
    one, every, sheet = tmp_path / "one.svg", tmp_path / "all.png", tmp_path / "sheet.png"
    answer = called(*quick, "--holdout", "Hernia", "--plot", str(one), "--sheet", str(sheet))
    assert answer.exit_code == 0, answer.output
    drawing = one.read_text()
    assert "Hernia held out: novelty of 160 images" in drawing
    assert "ceiling" in drawing
    with Image.open(sheet) as image:
        assert image.width > 5 * 256
    assert called(*quick, "--holdout", "all", "--plot", str(every)).exit_code == 0
    with Image.open(every) as image:
        assert image.format == "PNG"


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (("--holdout", "Herna"), 2, "did you mean Hernia?"),
        (("--holdout", "Hernia", "--scores", "deep"), 2, "unknown score"),
        (("--holdout", "Hernia", "--shots", "few"), 2, "not whole numbers"),
        (("--holdout", "Hernia", "--retrain"), 2, "--retrain with an index"),
        (("--holdout", "Hernia", "--labels", "x.csv"), 2, "beside an index"),
        (("--holdout", "Hernia", "--config", "modern"), 2, "--config has no effect without training"),
        (("--holdout", "Hernia", "--out", "x"), 2, "leave --out out, or add --retrain"),
        (("--holdout", "Hernia", "--cache", "x"), 2, "--cache has no effect on an index"),
        (("--holdout", "Hernia", "--precision", "bf16"), 2, "--precision has no effect on an index"),
        (("--holdout", "Hernia", "--json", "--csv"), 2, "several forms"),
        (("--holdout", "all", "--sheet", "x.png"), 2, "one contact sheet"),
        (("--holdout", "Hernia", "--plot", "nowhere/x.png"), 1, "no folder"),
        (("--holdout", "Hernia", "--plot", "x.pdf"), 2, "PNG or SVG"),
        (("--holdout", "Hernia", "--sheet", "x.svg"), 2, "PNG"),
        (("--holdout", "Hernia", "--split", "patient-hash:1/0/0"), 1, "empty"),
        ((), 2, "--holdout"),
    ],
)
def test_bad_calls(imported: Path, arguments: tuple[str, ...], code: int, reason: str) -> None:
    answer = called("--index", str(imported), *arguments)
    assert answer.exit_code == code, answer.output
    assert reason in answer.stderr


def test_the_module_is_part_of_the_package() -> None:
    assert cxrsearch.evaluate_novelty is evaluate_novelty


@pytest.fixture(scope="module")
def real_index(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 real images under an untrained network, which has seen no finding."""
    folder = tmp_path_factory.mktemp("real")
    images = folder / "images"
    images.mkdir()
    for path in sorted((real_data / "nih" / "images").glob("*.png"))[::6][:120]:
        (images / path.name).symlink_to(path)
    table = real_data / "nih" / "Data_Entry_2017.csv"
    return build_index(images, table, index=folder / "index", weights="random:0", size=64, **SMALL).path


@pytest.mark.real_data
def test_a_finding_held_out_of_real_images(real_index: Path, real_data: Path) -> None:
    """Counts against the official table, read by pandas alone."""
    split = "patient-hash:0.5/0.2/0.3"
    found = evaluate_novelty(real_index, "Pneumonia", QUICK, split=split)
    catalogue = open_index(real_index).catalogue
    parts = parse_split(split).assign(catalogue)
    official = pd.read_csv(real_data / "nih" / "Data_Entry_2017.csv").set_index("Image Index")
    labels = official.loc[catalogue.ids, "Finding Labels"].str.split("|")
    shown = np.array(["Pneumonia" in own for own in labels])
    alone = np.array([own == ["Pneumonia"] for own in labels])
    assert found.known == int(((parts == "train") & ~shown).sum())
    assert found.row("knn", "any", "all").n_positive == int(((parts == "test") & shown).sum())
    assert found.row("knn", "only", "all").n_positive == int(((parts == "test") & alone).sum())
    assert found.mode == "frozen"
    assert "trained on no X-ray" in found.seen


@pytest.mark.real_data
def test_a_hand_is_unlike_an_index_of_chests(real_index: Path, real_data: Path) -> None:
    index = open_index(real_index)
    hands = sorted((real_data / "ood" / "mednist64_Hand").glob("*.jpeg"))[:5]
    flagged = [index.query(hand, alarm=0.05).typicality.flagged for hand in hands]
    assert sum(map(bool, flagged)) >= 4
