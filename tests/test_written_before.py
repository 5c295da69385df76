"""What an earlier version wrote still opens, answers as it did, and can be continued."""

import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cxrsearch.building.build import build_index
from cxrsearch.encoder.embed import Embedder
from cxrsearch.encoder.weights import load_encoder
from cxrsearch.query.index import open_index
from cxrsearch.query.options import QueryOptions
from cxrsearch.store.reader import open_stored
from cxrsearch.training.request import Training
from cxrsearch.training.train import train
from cxrsearch.training.tune import tune

ARCHIVES = Path(__file__).parent / "written_by_0_1_0"
FINDINGS = ("Mass", "Effusion", "Hernia")
COMMON: dict[str, Any] = {"device": "cpu", "precision": "fp32", "workers": 0}
CHANGES = {"weights": "start.safetensors", "size": 32, "batch_size": 3}


@pytest.fixture(autouse=True)
def _in_a_folder_with_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    unpack("data")


def unpack(name: str) -> None:
    """Unpack one of the archives into the current folder."""
    with tarfile.open(ARCHIVES / f"{name}.tar.xz") as file:
        file.extractall(filter="data")


def test_an_index_answers_as_it_did() -> None:
    unpack("index")
    expected = json.loads((ARCHIVES / "answer.json").read_text())
    answer = open_index("index", device="cpu").query("images/03.png", k=5).to_json()
    answer["index"]["path"] = "index"  # it is absolute
    assert [n["image"] for n in answer["neighbours"]] == [n["image"] for n in expected["neighbours"]]
    distances = [n["distance"] for n in expected["neighbours"]]
    np.testing.assert_allclose([n["distance"] for n in answer["neighbours"]], distances, rtol=1e-4)
    for key in ("index", "query_patient", "query_image", "query_findings", "votes", "predictions"):
        assert answer[key] == expected[key], key
    assert expected["typicality"]["percentile"] == answer["typicality"]["percentile"]
    assert set(expected) <= set(answer)


def test_an_index_is_built_again_without_a_second_embedding(monkeypatch: pytest.MonkeyPatch) -> None:
    unpack("index")
    before = np.concatenate(open_stored(Path("index")).blocks)
    monkeypatch.setattr(Embedder, "__call__", None)  # as if there were none
    result = build_index(
        "images",
        "labels.csv",
        index="index",
        weights="start.safetensors",
        findings=FINDINGS,
        workers=0,
        device="cpu",
        replace_other=True,
    )
    assert (result.images, result.patients) == (10, 5)
    np.testing.assert_array_equal(np.concatenate(open_stored(Path("index")).blocks), before)


def test_an_index_of_imported_embeddings_answers() -> None:
    unpack("imported")
    index = open_index("imported")
    answer = index.answer_row(0, QueryOptions(k=3)).to_json()
    vectors = np.concatenate(index.stored.blocks).astype(np.float64)
    others = [row for row in range(10) if row // 2 != 0]
    nearest = sorted(others, key=lambda row: float(np.linalg.norm(vectors[row] - vectors[0])))[:3]
    assert [n["image"] for n in answer["neighbours"]] == [f"{row:02d}.png" for row in nearest]


def test_a_killed_training_goes_on() -> None:
    """The step that was saved is taken over: the run ends as one that was never killed."""
    unpack("run")
    training = Training(split="column", findings=FINDINGS, changes={**CHANGES, "epochs": 2, "lr": 1e-3}, **COMMON)
    steps: list[int] = []
    resumed = train("images", "labels.csv", training, out="run", report=lambda e: steps.append(e.step))
    whole = train("images", "labels.csv", training, out="undisturbed")
    assert steps[0] == 2
    ours, theirs = load_encoder(str(resumed.path)).tensors(), load_encoder(str(whole.path)).tensors()
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value, rtol=1e-3, atol=1e-4, msg=name)


def test_a_training_without_labels_goes_on_under_its_old_settings() -> None:
    unpack("unlabelled")
    before = json.loads(Path("unlabelled/config.json").read_text())["settings"]
    assert before["recipe"]["objective"] == "views"
    assert load_encoder("unlabelled").spec.provenance.n_train == 7
    changes = {**CHANGES, "epochs": 1, "lr": 1e-12, "arch": "densenet121", "warmup": 20}
    training = Training(config="unlabelled", split="patient-hash:0.5/0.3/0.2", changes=changes, **COMMON)
    result = train("images", None, training, out="unlabelled")
    assert len(result.epochs) == 1
    assert json.loads(Path("unlabelled/config.json").read_text())["settings"] == before


def test_a_search_goes_on() -> None:
    unpack("search")
    training = Training(split="column", findings=FINDINGS, changes={**CHANGES, "epochs": 1, "lr": 1e-12}, **COMMON)
    first = json.loads(Path("search/trials/000/trial.json").read_text())
    result = tune("images", "labels.csv", training, space="space.toml", trials=2, out="search")
    assert [trial.number for trial in sorted(result.trials, key=lambda trial: trial.number)] == [0, 1]
    (kept,) = (trial for trial in result.trials if trial.number == 0)
    assert kept.to_json() == first
