"""From images and a table to a run, and from a run to an index."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock
from PIL import Image
from sklearn.linear_model import LogisticRegression
from typer.testing import CliRunner, Result

from cxrsearch.building.build import build_index
from cxrsearch.encoder.checkpoint import read_header
from cxrsearch.encoder.weights import load_encoder
from cxrsearch.errors import CheckpointError, LockedError, MissingDependencyError, SplitError, UsageError
from cxrsearch.images.splits import digest_ids
from cxrsearch.report.style import CATEGORIES
from cxrsearch.training._head import fit_head
from cxrsearch.training._learning_curves import learning_curves
from cxrsearch.training.losses import FindingLoss
from cxrsearch.training.request import Training
from cxrsearch.training.train import train
from cxrsearch.training.trainer import STATE
from cxrsearch_cli.app import app
from tests.conftest import FINDINGS, DataSet

CHANGES = {"arch": "densenet121", "weights": "random:0", "size": 32, "epochs": 2, "batch_size": 3}
TRAINING = Training(split="column", changes=CHANGES, device="cpu", precision="fp32", workers=0)


@pytest.fixture(scope="module")
def run(data_set: DataSet, split_table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    folder = tmp_path_factory.mktemp("runs") / "first"
    result = train(data_set.images, split_table, TRAINING, out=folder)
    assert (result.path, result.n_train, result.n_val, len(result.epochs)) == (folder, 6, 2, 2)
    return folder


def test_the_checkpoint_says_what_it_was_trained_on(run: Path) -> None:
    header = read_header(run / "best.safetensors")
    provenance = header.spec.provenance
    assert provenance.train_ids_sha256 == digest_ids(f"{i:02d}.png" for i in range(6))
    assert (provenance.split, provenance.n_train, header.spec.label) == ("column", 6, "first")
    assert header.extra["settings"]["recipe"]["size"] == 32
    assert header.extra["versions"]["torch"] == version("torch")
    config = json.loads((run / "config.json").read_text())
    assert config["settings"] == header.extra["settings"]
    assert config["settings"]["recipe"] | CHANGES == config["settings"]["recipe"]


def test_a_training_remembers_those_before_it(run: Path, data_set: DataSet, split_table: Path, tmp_path: Path) -> None:
    first = read_header(run / "best.safetensors").spec.provenance
    assert first.before is None  # it started from random weights
    again = train(
        data_set.images,
        split_table,
        replace(TRAINING, changes={"weights": str(run), "epochs": 1, "batch_size": 3}),
        out=tmp_path / "run",
    )
    assert read_header(again.path / "best.safetensors").spec.provenance.before == first
    assert list(load_encoder(str(again.path)).spec.provenance.trainings())[1] == first


def test_the_curves_are_drawn(run: Path) -> None:
    """Two losses and a mean AUROC, in the colours of the first two series."""
    with Image.open(run / "curves.png") as image:
        colours = {bytes(pixel) for row in np.asarray(image.convert("RGB")) for pixel in row}
        size = image.size
    assert all(bytes.fromhex(colour[1:]) in colours for colour in CATEGORIES[:2])
    panel = {"training": [1.0], "validation": [1.0]}
    assert size == learning_curves({"Loss": panel, "Mean AUROC": panel}, title="Training of first").size


def test_the_log_for_tensorboard_is_that_of_the_run(data_set: DataSet, split_table: Path, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(data_set.images, split_table, replace(TRAINING, tensorboard=True), out=tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    epochs = [line for line in lines if line["kind"] == "epoch"]
    written = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    written.Reload()
    losses = written.Scalars("loss/validation")
    assert [event.step for event in losses] == [line["step"] for line in epochs] == [2, 4]
    np.testing.assert_allclose([event.value for event in losses], [line["val_loss"] for line in epochs], rtol=1e-6)


def test_tensorboard_that_is_not_installed(
    data_set: DataSet, split_table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard.writer", None)
    with pytest.raises(MissingDependencyError, match=r"cxrsearch\[tensorboard\]"):
        train(data_set.images, split_table, replace(TRAINING, tensorboard=True), out=tmp_path / "run")


def test_a_run_is_what_an_index_is_built_with(run: Path, data_set: DataSet, tmp_path: Path) -> None:
    built = build_index(data_set.images, data_set.labels, index=tmp_path / "index", weights=str(run), device="cpu")
    assert built.images == 10
    assert not any("untrained" in warning for warning in built.warnings)


def test_a_finished_run_is_not_trained_again_and_other_settings_are_refused(
    run: Path, data_set: DataSet, split_table: Path
) -> None:
    before = (run / STATE).stat().st_mtime_ns
    assert len(train(data_set.images, split_table, TRAINING, out=run).epochs) == 2
    assert (run / STATE).stat().st_mtime_ns == before
    said = r"other settings: recipe\.epochs is 2, asked for 3, seed is 0, asked for 1 — continue with"
    with pytest.raises(UsageError, match=said):
        train(data_set.images, split_table, replace(TRAINING, seed=1, changes=CHANGES | {"epochs": 3}), out=run)


def test_a_run_of_a_version_whose_recipe_had_fewer_entries_goes_on(
    run: Path, data_set: DataSet, split_table: Path, tmp_path: Path
) -> None:
    """What an entry is by default is what was done before there was one."""
    older = tmp_path / "first"
    shutil.copytree(run, older)
    config = json.loads((older / "config.json").read_text())
    for name in ("objective", "temperature", "exposure"):
        del config["settings"]["recipe"][name]
    (older / "config.json").write_text(json.dumps(config))
    assert len(train(data_set.images, split_table, TRAINING, out=older).epochs) == 2
    said = r"other settings: recipe\.exposure is 0\.0, asked for 0\.5 — continue with"
    with pytest.raises(UsageError, match=said):
        train(data_set.images, split_table, replace(TRAINING, changes=CHANGES | {"exposure": 0.5}), out=older)


def test_another_vocabulary_gets_a_new_head_and_the_same_keeps_it(
    run: Path, data_set: DataSet, split_table: Path, tmp_path: Path
) -> None:
    changes = {"weights": str(run), "size": 32, "batch_size": 3, "epochs": 1, "lr": 1e-12}
    kept = train(data_set.images, split_table, replace(TRAINING, changes=changes), out=tmp_path / "kept")
    started = load_encoder(str(run)).tensors()["classifier.weight"]
    torch.testing.assert_close(load_encoder(str(kept.path)).tensors()["classifier.weight"], started)
    (tmp_path / "labels.csv").write_text(split_table.read_text().replace("Mass", "Lump"))
    findings = ["Lump", "Effusion", "Hernia", "Edema"]
    other = train(
        data_set.images,
        tmp_path / "labels.csv",
        replace(TRAINING, findings=findings, changes=changes),
        out=tmp_path / "o",
    )
    assert load_encoder(str(other.path)).spec.findings == tuple(findings)
    assert load_encoder(str(other.path)).tensors()["classifier.weight"].shape == (4, 1024)


def test_a_frozen_network_keeps_its_embeddings_and_fits_its_head(
    data_set: DataSet, split_table: Path, tmp_path: Path
) -> None:
    changes = {name: value for name, value in CHANGES.items() if name != "epochs"}
    result = train(data_set.images, split_table, replace(TRAINING, freeze=True, changes=changes), out=tmp_path / "run")
    start, end = load_encoder("random:0", size=32).tensors(), load_encoder(str(result.path)).tensors()
    assert all(torch.equal(end[name], value) for name, value in start.items())
    assert [record.lr for record in result.epochs] == [1e-4, 1e-3, 1e-2, 1e-1, 1.0]
    assert result.epochs[0].train_loss < result.epochs[-1].train_loss


def test_a_head_is_a_logistic_regression() -> None:
    """Against sklearn, on standardised columns; the penalty is a half of C's inverse, and the findings share a mean."""
    rng = np.random.default_rng(0)
    x = rng.normal(3, [1, 5, 0.2], (60, 3)).astype(np.float32)
    x = np.column_stack([x, np.full(60, 7, np.float32)])
    labels = np.column_stack([x[:, 1] + rng.normal(0, 3, 60) > 3, rng.random(60) < 0.4])
    ones = torch.ones(2, dtype=torch.float64)
    weight, bias = fit_head(x, labels, FindingLoss(ones, ones), 0.1)
    mean, std = x[:, :3].mean(axis=0), x[:, :3].std(axis=0)
    for i in range(2):
        model = LogisticRegression(C=1 / (60 * 0.1 / 2), tol=1e-10, max_iter=1000)
        model.fit((x[:, :3] - mean) / std, labels[:, i])
        assert weight[i, :3] == pytest.approx(model.coef_[0] / std, abs=1e-4)
        assert bias[i] == pytest.approx(model.intercept_[0] - (model.coef_[0] / std) @ mean, abs=1e-3)
    assert weight[:, 3].tolist() == [0, 0]


def test_unreadable_images_are_left_out_and_listed(data_set: DataSet, split_table: Path, tmp_path: Path) -> None:
    images = tmp_path / "images"
    shutil.copytree(data_set.images, images)
    (images / "03.png").write_bytes(b"text")
    table = tmp_path / "t.csv"
    table.write_text(split_table.read_text().replace(",PA,", ",LL,"))
    result = train(images, table, replace(TRAINING, changes=CHANGES | {"epochs": 1}), out=tmp_path / "run")
    assert result.warnings[0].startswith("5 rows of t.csv have another view than PA and AP, such as 'LL': ")
    assert [image for image, _ in result.refused] == ["03.png"]
    assert result.n_train == 5
    expected = digest_ids(f"{i:02d}.png" for i in (0, 1, 2, 4, 5))
    assert read_header(result.path / "best.safetensors").spec.provenance.train_ids_sha256 == expected
    assert any("no training image shows Atelectasis" in warning for warning in result.warnings)
    for i in (6, 7):
        (images / f"{i:02d}.png").write_bytes(b"text")
    with pytest.raises(SplitError, match=r"no image of part val can be used: 06\.png"):
        train(images, split_table, TRAINING, out=tmp_path / "other")


def test_without_a_score_the_validation_loss_chooses(data_set: DataSet, split_table: Path, tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(split_table.read_text().replace("06.png,p3,Mass", "06.png,p3,No Finding"))
    assert FINDINGS[6] == "Mass"
    result = train(data_set.images, path, TRAINING, out=tmp_path / "run")
    assert result.best.val_loss == min(record.val_loss for record in result.epochs)
    assert result.best.mean_auroc is None
    assert any("chosen by the validation loss" in warning for warning in result.warnings)


def test_an_empty_part_a_locked_run_and_wrong_weights_are_refused(
    run: Path, data_set: DataSet, split_table: Path, tmp_path: Path
) -> None:
    with pytest.raises(SplitError, match="part val of split patient-hash:1/0/0 is empty"):
        train(data_set.images, split_table, replace(TRAINING, split="patient-hash:1/0/0"), out=tmp_path / "run")
    with pytest.raises(CheckpointError, match="no weights at"):
        train(
            data_set.images,
            split_table,
            replace(TRAINING, changes=CHANGES | {"weights": "nowhere"}),
            out=tmp_path / "run",
        )
    changes = CHANGES | {"weights": str(run), "arch": "densenet169"}
    with pytest.raises(CheckpointError, match="is a densenet121, not the densenet169"):
        train(data_set.images, split_table, replace(TRAINING, changes=changes), out=tmp_path / "run")
    with FileLock(run / "train.lock"), pytest.raises(LockedError, match="another process"):
        train(data_set.images, split_table, TRAINING, out=run)


# The command


def command(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["train", *map(str, arguments)])


SMALL = [
    "--size",
    32,
    "--set",
    "epochs=1",
    "--set",
    "batch_size=3",
    "--device",
    "cpu",
    "--workers",
    0,
    "--precision",
    "fp32",
]


def test_the_command_trains_and_says_what_came_of_it(data_set: DataSet, split_table: Path, tmp_path: Path) -> None:
    arguments = [data_set.images, "--labels", split_table, "--split", "column", "--out", tmp_path / "run", *SMALL]
    result = command(*arguments, "--weights", "random:0", "--arch", "densenet121")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith(f"{tmp_path / 'run'}: 6 training and 2 validation images, best epoch 1 of 1, mean")
    assert "epoch 1: loss " in result.stderr
    assert "Mass " in result.stderr
    again = command(*arguments, "--weights", "random:0", "--arch", "densenet121", "--json")
    assert json.loads(again.stdout)["n_val"] == 2


def test_a_default_run_is_named_by_what_decides_it(
    data_set: DataSet, split_table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    options = ["--weights", "random:0", "--arch", "densenet121", "--config", "modern", "--seed", 7, *SMALL]
    result = command(data_set.images, "--labels", split_table, "--split", "column", *options)
    assert result.exit_code == 0, result.stderr
    assert (tmp_path / "runs/densenet121-modern-7/best.safetensors").is_file()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "name the table with --labels"),
        (["--labels", "T", "--set", "lr"], 2, "--set 'lr'"),
        (["--labels", "T", "--set", "speed=3"], 2, "unknown recipe entry 'speed'"),
        (["--labels", "T", "--config", "best"], 2, "unknown recipe 'best'"),
        (["--labels", "T", "--device", "tpu"], 2, "unknown device"),
        (["--labels", "T", "--max-minutes", -1], 2, "a limit of -1.0 minutes"),
        (["--labels", "T", "--devices", 2, "--freeze"], 2, "--freeze with several devices"),
        (["--labels", "T", "--epochs", 2, "--freeze"], 2, "epochs 2 has no effect with --freeze"),
        (["--labels", "T", "--strict"], 2, "strict without a held-out finding"),
        (["--config", "unlabelled", "--findings", "Mass"], 2, "--findings Mass without a table"),
        (["--config", "unlabelled", "--set", "objective=findings"], 2, "name the table with --labels"),
    ],
)
def test_a_wrong_call_is_one_line(
    data_set: DataSet, split_table: Path, arguments: list[str], code: int, message: str
) -> None:
    result = command(data_set.images, *[split_table if argument == "T" else argument for argument in arguments])
    assert result.exit_code == code
    assert message in result.stderr


@pytest.mark.slow
def test_two_processes_answer_with_one_voice(data_set: DataSet, split_table: Path, tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    paths = os.pathsep.join(str(root / part) for part in ("", "indexes", "cli"))
    script = tmp_path / "start.py"
    script.write_text("from cxrsearch_cli.app import main\nmain()\n")
    arguments = [
        "train",
        data_set.images,
        "--labels",
        split_table,
        "--split",
        "column",
        "--out",
        tmp_path / "run",
        *SMALL,
    ]
    options = ["--weights", "random:0", "--arch", "densenet121", "--devices", 2]

    def started(*more: object) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, script, *arguments, *options, *more]
        return subprocess.run(
            [str(a) for a in line], capture_output=True, text=True, env=os.environ | {"PYTHONPATH": paths}
        )

    done = started()
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("6 training and 2 validation images") == 1
    assert read_header(tmp_path / "run/best.safetensors").extra["settings"]["ranks"] == 2
    refused = started("--seed", 1)
    assert refused.returncode == 2
    assert refused.stderr.count("error: ") == 1
    assert "Traceback" not in refused.stderr


def test_boxed_patients_are_left_out_of_training_alone(data_set: DataSet, split_table: Path, tmp_path: Path) -> None:
    """Image 3 is of patient 1, who trains, image 6 of patient 3, who validates."""
    boxes = tmp_path / "boxes.csv"
    boxes.write_text("Image Index,Finding Label,Bbox [x,y,w,h],,,\n03.png,Effusion,1,1,9,9\n06.png,Mass,1,1,9,9\n")
    changes = CHANGES | {"epochs": 1, "batch_size": 2}
    result = train(data_set.images, split_table, replace(TRAINING, boxes=boxes, changes=changes), out=tmp_path / "run")
    assert (result.n_train, result.n_val) == (4, 2)
    assert any("2 images of boxed patients were left out" in warning for warning in result.warnings)
    provenance = read_header(tmp_path / "run" / "best.safetensors").spec.provenance
    assert provenance.train_ids_sha256 == digest_ids(["00.png", "01.png", "04.png", "05.png"])
    assert provenance.boxes_sha256 == digest_ids(["03.png", "06.png"])
    with pytest.raises(UsageError, match="other settings"):
        train(data_set.images, split_table, replace(TRAINING, changes=changes), out=tmp_path / "run")
    boxes.write_text(boxes.read_text() + "".join(f"0{i}.png,Mass,1,1,9,9\n" for i in (0, 5)))
    with pytest.raises(SplitError, match="every image of part train is of a boxed patient"):
        train(data_set.images, split_table, replace(TRAINING, boxes=boxes, changes=changes), out=tmp_path / "none")
