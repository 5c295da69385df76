"""Learning without labels, from a folder to an encoder that others start from."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from cxrsearch.building.build import build_index
from cxrsearch.encoder.checkpoint import read_header
from cxrsearch.encoder.weights import load_encoder
from cxrsearch.errors import UsageError
from cxrsearch.images.formats.format_registry import read_table
from cxrsearch.images.matching import match_images
from cxrsearch.images.sources.folder import FolderSource
from cxrsearch.images.splits import digest_ids
from cxrsearch.protocol.seen import find_seen
from cxrsearch.training._learning_curves import learning_curves
from cxrsearch.training.request import Training
from cxrsearch.training.train import train
from cxrsearch.training.tune import tune
from cxrsearch_cli.app import app
from tests.conftest import DataSet

CHANGES = {"arch": "densenet121", "weights": "random:0", "size": 32, "epochs": 1, "batch_size": 3}
TRAINING = Training(
    config="unlabelled", split="patient-hash:0.6/0.4/0", changes=CHANGES, device="cpu", precision="fp32", workers=0
)


@pytest.fixture(scope="module")
def run(data_set: DataSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on a folder without a table."""
    folder = tmp_path_factory.mktemp("runs") / "first"
    result = train(data_set.images, None, TRAINING, out=folder)
    assert (result.findings, result.n_train + result.n_val, len(result.epochs)) == ((), 10, 1)
    assert result.warnings == ("10 files count, each as its own patient: images of one patient may be in both parts",)
    return folder


def test_the_encoder_has_no_head_and_says_what_it_has_seen(run: Path) -> None:
    spec = read_header(run / "best.safetensors").spec
    assert spec.findings is None
    assert (spec.provenance.split, spec.provenance.from_table) == ("patient-hash:0.6/0.4/0", False)
    assert len(spec.provenance.train_ids_sketch) == 10 * (spec.provenance.n_train or 0)
    moved, start = load_encoder(str(run)).tensors(), load_encoder("random:0", size=32).tensors()
    assert moved.keys() == start.keys()
    assert not torch.equal(moved["features.conv0.weight"], start["features.conv0.weight"])


def test_the_curves_are_of_losses_alone(run: Path) -> None:
    """A panel less than where there is an AUROC."""
    panel = {"training": [1.0], "validation": [1.0]}
    with Image.open(run / "curves.png") as image:
        assert image.size == learning_curves({"Loss": panel}, title="Training of first").size


def test_labels_of_a_table_change_nothing_but_its_patients_are_kept_apart(
    data_set: DataSet, split_table: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.csv"
    other.write_text(split_table.read_text().replace("Mass", "Effusion"))
    asked = replace(TRAINING, split="column")
    one, two = (
        train(data_set.images, table, asked, out=tmp_path / name)
        for name, table in (("one", split_table), ("two", other))
    )
    assert (one.n_train, one.n_val, one.warnings) == (6, 2, ())
    tensors = load_encoder(str(one.path)).tensors(), load_encoder(str(two.path)).tensors()
    assert all(torch.equal(tensors[0][name], value) for name, value in tensors[1].items())


def test_a_held_out_finding_is_not_seen(data_set: DataSet, split_table: Path, tmp_path: Path) -> None:
    asked = replace(TRAINING, split="column", holdout="Effusion")
    result = train(data_set.images, split_table, asked, out=tmp_path / "run")
    catalogue = read_table(split_table)
    assert catalogue.labels is not None
    shown = catalogue.labels[:, catalogue.vocabulary.findings.index("Effusion")]
    kept = [image for image, has in zip(catalogue.ids[:6], shown[:6], strict=True) if not has]
    provenance = read_header(result.path / "best.safetensors").spec.provenance
    assert provenance.held_out == "Effusion"
    assert 0 < len(kept) < 6
    assert provenance.train_ids_sha256 == digest_ids(kept)


def test_a_training_starts_from_it_and_remembers_it(
    run: Path, data_set: DataSet, split_table: Path, tmp_path: Path
) -> None:
    changes = CHANGES | {"weights": str(run), "lr": 1e-12}
    asked = replace(TRAINING, config="paper", split="column", changes=changes)
    result = train(data_set.images, split_table, asked, out=tmp_path / "run")
    torch.testing.assert_close(
        load_encoder(str(result.path)).tensors()["features.conv0.weight"],
        load_encoder(str(run)).tensors()["features.conv0.weight"],
    )
    header = read_header(result.path / "best.safetensors")
    assert header.spec.provenance.before == read_header(run / "best.safetensors").spec.provenance
    catalogue = match_images(read_table(split_table), FolderSource(data_set.images)).catalogue
    seen = find_seen(header.spec.to_json(), catalogue)
    assert seen.learned[:6].all()


def test_an_index_is_built_with_it(run: Path, data_set: DataSet, tmp_path: Path) -> None:
    built = build_index(data_set.images, data_set.labels, index=tmp_path / "index", weights=str(run), device="cpu")
    assert built.images == 10
    assert not any("untrained" in warning for warning in built.warnings)


def test_what_needs_labels_is_refused_without_them(data_set: DataSet, split_table: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the findings of these images are not known"):
        train(data_set.images, None, replace(TRAINING, config="paper"), out=tmp_path / "a")
    with pytest.raises(UsageError, match="left out by findings or boxes without a table"):
        train(data_set.images, None, replace(TRAINING, holdout="Mass"), out=tmp_path / "b")
    with pytest.raises(UsageError, match="--freeze with a recipe that learns without labels"):
        replace(TRAINING, freeze=True)
    with pytest.raises(UsageError, match="--findings Mass without a table"):
        train(data_set.images, None, replace(TRAINING, findings=["Mass"]), out=tmp_path / "d")
    with pytest.raises(UsageError, match="a search by AUROC with recipe unlabelled"):
        tune(data_set.images, split_table, TRAINING, out=tmp_path / "c")
    with pytest.raises(UsageError, match="ten crops with objective contrastive"):
        replace(TRAINING, changes=CHANGES | {"crop": "random", "smallest_area": 1.0, "evaluation_crops": "ten"})


@pytest.mark.parametrize(
    "recipe", [["--config", "unlabelled"], ["--config", "paper", "--set", "objective=contrastive"]]
)
def test_the_command_needs_no_table(recipe: list[str], data_set: DataSet, tmp_path: Path) -> None:
    options = [*recipe, "--arch", "densenet121", "--weights", "random:0", "--size", "32"]
    options += ["--set", "batch_size=3", "--epochs", "1", "--device", "cpu", "--workers", "0", "--precision", "fp32"]
    options += ["--split", "patient-hash:0.6/0.4/0", "--out", str(tmp_path / "run")]
    result = CliRunner().invoke(app, ["train", str(data_set.images), *options])
    assert result.exit_code == 0, result.stderr
    assert "best epoch 1 of 1, validation loss " in result.stdout
    assert "AUROC" not in result.stdout + result.stderr
