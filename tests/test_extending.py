"""A toy of each kind of addition works by the registration that the product's own use; CONTRIBUTING shows the same.

Nothing else is touched: each toy is one class (in a file of its own, if it were real) and one entry in a registry.
"""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

import cxrsearch_indexes
from cxrsearch.analysis.models.model import Fitted, Sample
from cxrsearch.analysis.models.model_registry import MODELS
from cxrsearch.arrays import Flags, Floats
from cxrsearch.building.build import build_index
from cxrsearch.encoder.densenet import Encoder
from cxrsearch.errors import ImageError
from cxrsearch.evaluation.evaluate import Question, evaluate_index
from cxrsearch.files import Json
from cxrsearch.images.catalogue import Catalogue
from cxrsearch.images.findings import Vocabulary
from cxrsearch.images.formats.format_registry import FORMATS
from cxrsearch.images.formats.table_format import TableFormat
from cxrsearch.images.sources.source import ImageSource
from cxrsearch.images.sources.source_registry import SOURCES
from cxrsearch.images.tables import TableFile
from cxrsearch.query.index import open_index
from cxrsearch.training.recipe import OBJECTIVES, ObjectiveKind
from cxrsearch.training.request import Training
from cxrsearch.training.train import train
from cxrsearch_indexes.exact import ExactIndex
from tests.conftest import SMALL, DataSet

# An analysis: a second-stage model


class Prevalence:
    """Says of every image what share of the training images has each finding."""

    def fit(self, train: Sample, val: Sample) -> Fitted:
        share = train.labels.mean(axis=0)
        return Fitted(train, {}, lambda sample: np.tile(share, (len(sample), 1)))


def test_an_analysis(data_set: DataSet, split_table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODELS, "prevalence", lambda options: Prevalence())
    build_index(data_set.images, split_table, index=tmp_path / "index", **SMALL)
    asked = Question(split="column", models=("prevalence",), baselines=(), replicates=2)
    result = evaluate_index(open_index(tmp_path / "index"), asked)
    mass = result.findings.index("Mass")
    np.testing.assert_allclose(result.scored.scores["prevalence"][:, mass], 2 / 6)


# A table format


class Lines(TableFormat):
    """`file;who;what`, several findings with a plus between them."""

    def recognises(self, header: Sequence[str]) -> bool:
        return list(header) == ["file;who;what"]

    def read(self, file: TableFile, vocabulary: Vocabulary) -> Catalogue:
        rows = [line.split(";") for line in file.text.splitlines()[1:]]
        frame = pd.DataFrame({"id": [row[0] for row in rows], "patient": [row[1] for row in rows]}, dtype=object)
        labels = vocabulary.encode([vocabulary.parse(row[2].replace("+", "|")) for row in rows])
        return Catalogue(frame, vocabulary, labels)


def test_a_table_format(data_set: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FORMATS, "lines", Lines())
    table = tmp_path / "table.txt"
    rows = (f"{i:02d}.png;p{i // 2};{'Mass+Edema' if i == 3 else ''}\n" for i in range(10))
    table.write_text("file;who;what\n" + "".join(rows))
    build_index(data_set.images, table, index=tmp_path / "index", **SMALL)
    catalogue = open_index(tmp_path / "index").catalogue
    assert catalogue.patients == [f"p{i // 2}" for i in range(10)]
    assert [catalogue.findings(row) for row in (2, 3)] == [(), ("Mass", "Edema")]


# A source of images

STORE: dict[str, bytes] = {}


@dataclass(frozen=True)
class Memory(ImageSource):
    """Images in this process, at `memory:`."""

    @classmethod
    def at(cls, location: object) -> "Memory | None":
        return cls() if str(location) == "memory:" else None

    @property
    def location(self) -> str:
        return "memory:"

    def names(self) -> list[str]:
        return sorted(STORE)

    def has(self, name: str) -> bool:
        return name in STORE

    @contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        if name not in STORE:
            raise ImageError(f"no image {name} in memory", "store it first")
        yield io.BytesIO(STORE[name])


def test_a_source_of_images(
    data_set: DataSet, small_index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SOURCES, "memory", Memory)
    for path in data_set.images.iterdir():
        monkeypatch.setitem(STORE, path.name, path.read_bytes())
    build_index("memory:", data_set.labels, index=tmp_path / "index", **SMALL)
    index, same = open_index(tmp_path / "index"), open_index(small_index)
    assert index.manifest.images_root == "memory:"
    assert index.catalogue.frame.equals(same.catalogue.frame)
    np.testing.assert_array_equal(np.concatenate(index.stored.blocks), np.concatenate(same.stored.blocks))


# A kind of index


class Reversed(ExactIndex):
    """As `exact`, under another name."""

    kind: ClassVar[str] = "reversed"
    approximate: ClassVar[bool] = True


def test_a_kind_of_index(data_set: DataSet, small_index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cxrsearch_indexes.KINDS, "reversed", Reversed)
    build_index(data_set.images, data_set.labels, index=tmp_path / "index", kind="reversed", **SMALL)
    index = open_index(tmp_path / "index")
    assert index.manifest.kind == "reversed"
    query = data_set.images / "03.png"
    nearest = [open_index(folder).query(query, k=5).neighbours.image for folder in (tmp_path / "index", small_index)]
    assert list(nearest[0]) == list(nearest[1])


# A training objective


@dataclass(frozen=True, eq=False)
class Brighter:
    """Pushes the first output up."""

    width: int = 1

    def network(self, encoder: Encoder, seed: int) -> nn.Module:
        return encoder

    def encoder_in(self, network: nn.Module) -> Encoder:
        assert isinstance(network, Encoder)
        return network

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return -outputs[:, 0].mean()

    def answers(self, outputs: Tensor) -> Tensor:
        return outputs.mean(dim=1)[:, :1]

    def validate(self, labels: Flags, answers: Floats) -> Json:
        return {"val_loss": -float(answers.mean()), "auroc": (), "mean_auroc": None}


def make(recipe: object, labels: Flags, score: object, device: torch.device) -> Brighter:
    return Brighter()


def test_a_training_objective(
    data_set: DataSet, split_table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(OBJECTIVES, "brighter", ObjectiveKind(__name__))
    changes: dict[str, Any] = {"arch": "densenet121", "weights": "random:0", "size": 32, "batch_size": 3, "lr": 1e-3}
    changes |= {"objective": "brighter", "epochs": 2}
    training = Training(split="column", changes=changes, device="cpu", precision="fp32", workers=0)
    first, last = train(data_set.images, split_table, training, out=tmp_path / "run").epochs
    assert last.val_loss < first.val_loss
