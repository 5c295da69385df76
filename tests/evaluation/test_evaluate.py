"""From an index, or from images, to what each model is worth."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from sklearn.metrics import roc_auc_score
from typer.testing import CliRunner, Result

from cxrsearch.building.build import build_index
from cxrsearch.building.imported import import_embeddings
from cxrsearch.encoder.weights import load_encoder
from cxrsearch.errors import CatalogueError, CxrsearchError, SplitError, UsageError
from cxrsearch.evaluation.evaluate import Question, cross_validate, evaluate_images, evaluate_index
from cxrsearch.images.findings import NIH_FINDINGS
from cxrsearch.images.splits import place
from cxrsearch.protocol.rows import choose_split
from cxrsearch.query.index import open_index
from cxrsearch.training.request import Training
from cxrsearch.training.train import train
from cxrsearch_cli.app import app
from tests.conftest import DataSet

CHANGES = {"arch": "densenet121", "weights": "random:0", "size": 32, "epochs": 1, "batch_size": 3}
SMALL: dict[str, Any] = {"device": "cpu", "precision": "fp32", "workers": 0}
QUICK = Question(replicates=50, models=("knn", "logistic"))


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """600 images of 300 patients: dimension 0 tells Mass, dimension 1 Effusion a little; there is no Hernia."""
    folder, rng = tmp_path_factory.mktemp("imported"), np.random.default_rng(0)
    mass, effusion = rng.random(600) < 0.3, rng.random(600) < 0.3
    embeddings = rng.standard_normal((600, 8)).astype(np.float32)
    embeddings[:, 0] += 3 * mass
    embeddings[:, 1] += 0.5 * effusion
    findings = [
        "|".join(n for n, y in (("Mass", m), ("Effusion", e)) if y) for m, e in zip(mass, effusion, strict=True)
    ]
    split = np.repeat(np.array(["train", "val", "test"])[[0, 0, 0, 1, 2, 2] * 50], 2)
    table = pd.DataFrame({"image": [f"{i}.png" for i in range(600)], "patient": [f"p{i // 2}" for i in range(600)]})
    table = table.assign(findings=findings, view=np.where(mass, "AP", "PA"), split=split)
    table.to_csv(folder / "table.csv", index=False)
    np.save(folder / "x.npy", embeddings)
    import_embeddings(folder / "x.npy", folder / "table.csv", index=folder / "index")
    return folder / "index"


@pytest.fixture(scope="module")
def run(data_set: DataSet, split_table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    train(data_set.images, split_table, Training(split="column", changes=CHANGES, **SMALL), out=folder)
    return folder


@pytest.fixture(scope="module")
def trained(data_set: DataSet, split_table: Path, run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index by an encoder that was trained on part of it."""
    folder = tmp_path_factory.mktemp("index") / "index"
    build_index(data_set.images, split_table, index=folder, weights=str(run), **SMALL)
    return folder


def test_models_on_imported_embeddings_by_value(imported: Path) -> None:
    index = open_index(imported)
    result = evaluate_index(index, QUICK)
    assert (result.split, result.part, result.encoder) == ("column", "test", "imported embeddings")
    assert (result.images, result.patients, result.reference) == (200, 100, None)
    assert list(result.metrics) == ["knn", "logistic", "baseline-view"]
    at = [NIH_FINDINGS.index(name) for name in ("Mass", "Effusion", "Hernia")]
    mass, effusion, hernia = result.metrics["logistic"].auroc.point[at]
    assert mass > 0.95
    assert 0.5 < effusion < 0.8
    assert np.isnan(hernia)
    assert result.metrics["baseline-view"].auroc.point[at[0]] == 1  # the view gives it away
    labels, scores = result.scored.labels, result.scored.scores["knn"]
    assert result.metrics["knn"].auroc.point[at[0]] == roc_auc_score(labels[:, at[0]], scores[:, at[0]])
    assert any("not known which images the encoder" in warning for warning in result.warnings)
    assert any("no baseline-random" in warning for warning in result.warnings)


def test_the_vote_is_of_other_patients_of_the_training_part(imported: Path) -> None:
    """The paper's vote by brute force."""
    index = open_index(imported)
    result = evaluate_index(index, replace(QUICK, models=("knn",), baselines=()))
    x, frame = np.concatenate(index.stored.blocks).astype(np.float64), index.catalogue.frame
    bank, asked = (np.flatnonzero(frame["split"] == part) for part in ("train", "test"))
    distances = ((x[asked][:, None] - x[bank][None]) ** 2).sum(axis=2)
    nearest = bank[np.argsort(distances, axis=1, kind="stable")[:, :20]]
    labels = index.catalogue.labels
    assert labels is not None
    np.testing.assert_allclose(result.scored.scores["knn"], labels[nearest].mean(axis=1), atol=1e-12)


def test_the_head_is_that_of_the_network(trained: Path, run: Path) -> None:
    index = open_index(trained)
    result = evaluate_index(index, Question(replicates=5, models=("forest",), baselines=()))
    head = load_encoder(str(run)).classifier
    assert head is not None
    x = np.concatenate(index.stored.blocks)[8:]
    logits = x.astype(np.float64) @ head.weight.detach().numpy().T + head.bias.detach().numpy()
    np.testing.assert_allclose(result.scored.scores["densenet"], expit(logits), rtol=1e-5)
    forest, both = (result.scored.scores[name] for name in ("forest", "ensemble"))
    np.testing.assert_allclose(both, (expit(logits) + forest) / 2, rtol=1e-5)
    assert result.reference == "densenet"
    assert result.split == choose_split(index.catalogue, index.manifest.encoder) == "column"
    assert any(
        "trained on 6 of the 6 images that second-stage models learn from" in warning for warning in result.warnings
    )


def test_baselines_need_pixels_and_have_their_own_embeddings(trained: Path) -> None:
    question = Question(replicates=5, models=(), baselines=("histogram", "random"))
    result = evaluate_index(open_index(trained), question)
    assert list(result.metrics) == [
        "densenet",
        "baseline-histogram",
        "baseline-histogram-knn",
        "baseline-random",
        "baseline-random-knn",
    ]


def test_images_that_the_encoder_has_seen_are_refused(trained: Path) -> None:
    index = open_index(trained)
    with pytest.raises(CxrsearchError, match=r"trained on 6 of the 6 images.*--allow-seen"):
        evaluate_index(index, Question(part="train"))
    result = evaluate_index(index, Question(part="train", models=(), baselines=(), allow_seen=True, replicates=5))
    assert "the encoder was trained on 6 of the 6 scored images: the result is too good" in result.warnings
    chosen = evaluate_index(index, Question(part="val", models=(), baselines=(), replicates=5))
    assert "2 of the 2 scored images chose the encoder's best epoch" in chosen.warnings


def test_second_stage_models_may_learn_from_what_the_network_has_not(imported: Path) -> None:
    """Half of the validation patients to fit, the others to choose; no patient in both."""
    result = evaluate_index(open_index(imported), replace(QUICK, fit_on="val"))
    assert 25 < result.settings["logistic"][0]["train"] < 75
    assert not any("second-stage" in warning for warning in result.warnings)


def test_without_a_validation_part_an_eighth_of_the_training_patients_chooses(imported: Path) -> None:
    result = evaluate_index(open_index(imported), replace(QUICK, split="patient-hash:0.8/0/0.2"))
    assert any("settings are chosen by" in warning for warning in result.warnings)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"part": "tset"}, "unknown part"),
        ({"models": ("knnn",)}, "unknown model"),
        ({"baselines": ("age",)}, "unknown baseline"),
        ({"replicates": 0}, "0 replicates"),
        ({"seed": -1}, "seed -1"),
        ({"fit_on": "test"}, "fitted on 'test'"),
    ],
)
def test_questions_that_cannot_be_meant(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        Question(**fields)


def test_an_index_without_findings(data_set: DataSet, tmp_path: Path) -> None:
    build_index(data_set.images, index=tmp_path / "index", weights="random:0", size=32, **SMALL)
    with pytest.raises(CatalogueError, match="--labels"):
        evaluate_index(open_index(tmp_path / "index"))


def test_nobody_left_to_choose_settings_by(small_index: Path) -> None:
    """Of so few training patients, an eighth is none."""
    with pytest.raises(SplitError, match="nobody to choose settings by"):
        evaluate_index(open_index(small_index), replace(QUICK, split="patient-hash:0.6/0/0.4"))


def test_nothing_to_evaluate(imported: Path) -> None:
    with pytest.raises(UsageError, match="nothing to evaluate"):
        evaluate_index(open_index(imported), Question(models=(), baselines=()))


def test_images_are_embedded_into_an_index_that_is_thrown_away(
    data_set: DataSet, split_table: Path, run: Path, tmp_path: Path
) -> None:
    question, table = Question(replicates=5, models=(), baselines=()), tmp_path / "t.csv"
    table.write_text(split_table.read_text().replace(",PA,", ",LL,"))
    result = evaluate_images(data_set.images, table, question, weights=str(run), **SMALL)
    assert result.images == 2
    assert result.refused == ()
    assert result.warnings[0].startswith("5 rows of t.csv have another view than PA and AP, such as 'LL': ")


@pytest.fixture(scope="module")
def halves(data_set: DataSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The table with patients of whom each half of a two-fold split has one to validate and one to learn from."""
    names, wanted = (f"q{i}" for i in range(10_000)), [(0, True), (0, False), (1, True), (1, False), (1, False)]
    chosen: dict[int, str] = {}
    for name in names:
        kind = (place(name) >> 63, place(f"val {name}") < 2**61)
        if slot := next((i + 1 for i, want in enumerate(wanted) if want == kind and i not in chosen), 0):
            chosen[slot - 1] = name
    text = data_set.labels.read_text()
    for i in range(5):
        text = text.replace(f",p{i},", f",{chosen[i]},")
    path = tmp_path_factory.mktemp("halves") / "labels.csv"
    path.write_text(text)
    return path


def test_a_cross_validation_scores_every_image_once(data_set: DataSet, halves: Path, tmp_path: Path) -> None:
    question = Question(replicates=20, models=("knn",), baselines=("histogram",))
    training = Training(changes=CHANGES | {"batch_size": 2}, **SMALL)
    result = cross_validate(data_set.images, halves, 2, question, training, out=tmp_path)
    assert sorted(result.image_ids) == [f"{i:02d}.png" for i in range(10)]
    assert result.folds == 2
    assert result.heading() == "10 images of 5 patients, 2-fold cross-validation, encoder fold-1, fold-2"
    assert not any("scored images" in warning for warning in result.warnings)
    runs = sorted(path.name for path in tmp_path.iterdir())
    assert runs == ["fold-1", "fold-2", "index-1", "index-2", "pixels"]
    again = cross_validate(data_set.images, halves, 2, question, training, out=tmp_path)
    assert again.to_json() == result.to_json()


def called(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["evaluate", *arguments])


def test_json_as_promised(imported: Path) -> None:
    answer = called("--index", str(imported), "--models", "knn", "--replicates", "50", "--json")
    assert answer.exit_code == 0, answer.output
    got = json.loads(answer.stdout)
    assert {"split", "encoder", "rows", "means", "warnings"} <= got.keys()
    row = next(row for row in got["rows"] if (row["finding"], row["model"]) == ("Mass", "knn"))
    assert row["auroc_low"] < row["auroc"] < row["auroc_high"]
    assert row["positives"] >= row["patients"] >= 10
    hernia = next(row for row in got["rows"] if row["finding"] == "Hernia")
    assert (hernia["auroc"], hernia["auroc_low"], hernia["positives"]) == (None, None, 0)
    assert got["means"][0]["findings"] == 2


QUIET = ("--models", "knn", "--baselines", "none", "--replicates", "5", "--json")
HERE = ("--device", "cpu", "--precision", "fp32", "--workers", "0")


def test_a_cross_validation_from_the_command_line(data_set: DataSet, halves: Path, tmp_path: Path) -> None:
    recipe = (
        "--arch",
        "densenet121",
        "--weights",
        "random:0",
        "--size",
        "32",
        "--epochs",
        "1",
        "--set",
        "batch_size=2",
    )
    inputs = (str(data_set.images), "--labels", str(halves), "--cv", "2", "--out", str(tmp_path))
    answer = called(*inputs, *recipe, *QUIET, *HERE)
    assert answer.exit_code == 0, answer.output
    got = json.loads(answer.stdout)
    assert (got["folds"], got["images"], got["patients"]) == (2, 10, 5)
    assert [mean["model"] for mean in got["means"]] == ["densenet", "knn"]


def test_a_folder_of_images_from_the_command_line(
    data_set: DataSet, split_table: Path, run: Path, tmp_path: Path
) -> None:
    """One image is damaged: it is named, and the exit code is 3."""
    images = tmp_path / "images"
    shutil.copytree(data_set.images, images)
    (images / "00.png").write_bytes(b"no image")
    answer = called(str(images), "--labels", str(split_table), "--weights", str(run), *QUIET, *HERE)
    assert answer.exit_code == 3, answer.output
    got = json.loads(answer.stdout)
    assert (got["split"], got["part"], got["images"]) == ("column", "test", 2)
    assert [refused["image"] for refused in got["refused"]] == ["00.png"]


@pytest.mark.parametrize("width", [80, 200])
def test_the_tables_are_whole_at_either_width(imported: Path, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    answer = called("--index", str(imported), "--replicates", "20")
    assert answer.exit_code == 0
    assert max(map(len, answer.stdout.splitlines())) <= max(width, 90)
    for word in ("Pleural_Thickening", "baseline-view", "knn-tuned", "100 patients"):
        assert word in answer.stdout


def test_where_there_is_no_mean_the_tables_say_so(trained_index: Path) -> None:
    split = ("--split", "patient-hash:0.3/0.5/0.2")
    said = "No mean and no intervals: no finding has 10 positive patients among the scored images\n"
    answer = called("--index", str(trained_index), *split, "--models", "none", "--baselines", "none", *HERE[:2])
    assert answer.exit_code == 0, answer.output
    assert said in answer.stdout
    assert "Mean AUROC" not in answer.stdout
    assert not [line for line in answer.stdout.splitlines() if line.strip() == "Mean"]


def test_csv_and_latex(imported: Path) -> None:
    options = ("--index", str(imported), "--models", "knn", "--baselines", "view", "--replicates", "20")
    lines = called(*options, "--csv").stdout.splitlines()
    assert lines[0].startswith("finding,model,auroc,auroc_low,auroc_high,auprc")
    assert len(lines) == 1 + 14 * 2
    latex = called(*options, "--latex").stdout
    assert latex.count(r"\\") == 16
    assert "Pleural Thickening" in latex


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (("--json", "--csv"), 2, "several forms"),
        (("--models", "deep"), 2, "unknown model"),
        (("--part", "all"), 2, "unknown part"),
        (("--split", "halves"), 2, "unknown split"),
        (("--split", "patient-hash:1/0/0"), 1, "empty"),
        (("--labels", "x.csv"), 2, "beside an index"),
        (("--epochs", "3"), 2, "--epochs has no effect without training"),
        (("--set", "lr=1"), 2, "--set has no effect without training"),
        (("--max-minutes", "3"), 2, "leave --max-minutes out, or add --cv"),
        (("--out", "x"), 2, "--out has no effect without training — leave --out out, or add --cv"),
        (("--cache", "x"), 2, "--cache has no effect on an index, whose images are already embedded"),
        (("--cv", "3"), 2, "--cv with an index, which holds no original images"),
        (("--size", "64"), 2, "--size has no effect on an index"),
        (("--cv", "1"), 2, "--cv"),
    ],
)
def test_bad_calls(imported: Path, arguments: tuple[str, ...], code: int, reason: str) -> None:
    answer = called("--index", str(imported), *arguments)
    assert answer.exit_code == code, answer.output
    assert reason in answer.output


def test_a_cache_that_the_environment_names_is_not_asked_for(imported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXRSEARCH_CACHE", "pixels")
    quick = ("--index", str(imported), "--models", "none", "--baselines", "view", "--replicates", "20")
    assert called(*quick).exit_code == 0
    assert called(*quick, "--cache", "other").exit_code == 2
