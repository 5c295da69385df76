import json
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from cxrsearch.encoder.checkpoint import is_checkpoint, load_checkpoint, read_header, save_checkpoint
from cxrsearch.encoder.densenet import Encoder, digest_weights, draw_tensors
from cxrsearch.encoder.spec import Provenance
from cxrsearch.errors import CheckpointError, WriteError
from cxrsearch.files import canonical_json, digest_bytes
from cxrsearch.images.preprocess import Preprocess

EXTRA = {"metrics": [{"epoch": 1, "auroc": 0.75, "hernia": None}], "config": {"lr": 1e-4}}


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    head = {"classifier.weight": torch.linspace(-1, 1, 2048).reshape(2, 1024), "classifier.bias": torch.ones(2)}
    provenance = Provenance("patient-hash:0.8/0.1/0.1", "cd" * 32, 99)
    tensors = draw_tensors("densenet121", 0) | head
    names = ("Mass", "Ünusual")
    return Encoder(tensors, Preprocess(96), label="run", findings=names, note="n", provenance=provenance)


@pytest.fixture(scope="module")
def saved(encoder: Encoder, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("own") / "best.safetensors"
    save_checkpoint(path, encoder, EXTRA)
    data = path.read_bytes()
    path.unlink()
    return data


def test_round_trip(encoder: Encoder, saved: bytes, file: Path, answers: Any) -> None:
    file.write_bytes(saved)
    loaded = load_checkpoint(file)
    assert loaded.spec == encoder.spec
    for mine, theirs in zip(answers(loaded), answers(encoder), strict=True):
        assert torch.equal(mine, theirs)
    header = read_header(file)
    assert header.spec == encoder.spec
    assert header.extra == EXTRA


def test_equal_encoders_make_equal_files_and_leave_nothing_else(encoder: Encoder, saved: bytes, file: Path) -> None:
    file.write_bytes(saved)
    again = load_checkpoint(file).to(memory_format=torch.channels_last)  # type: ignore[call-overload, unused-ignore]
    save_checkpoint(file, again, EXTRA)
    assert file.read_bytes() == saved
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_trained_weights_are_written_with_their_own_digest(saved: bytes, file: Path) -> None:
    file.write_bytes(saved)
    encoder = load_checkpoint(file)
    with torch.no_grad():
        encoder.features.norm5.bias += 1  # type: ignore[operator, union-attr]
    save_checkpoint(file, encoder)
    loaded = load_checkpoint(file)
    assert loaded.spec.weights_sha256 == digest_weights(encoder.tensors()) != encoder.spec.weights_sha256
    assert loaded.spec == replace(encoder.spec, weights_sha256=loaded.spec.weights_sha256)


def header_length(data: bytes) -> int:
    return int(struct.unpack("<Q", data[:8])[0])


def test_one_flipped_bit_is_found_anywhere(saved: bytes, file: Path) -> None:
    rng = np.random.default_rng(1)
    start = saved.index(b"__metadata__")
    end = 8 + header_length(saved)
    text = saved.index(b"cxrsearch-encoder")
    positions = [0, 7, 8, start, start + 2, saved.index(b"cxrsearch", start), end - 1, end, len(saved) - 1]
    positions += [
        *rng.integers(8, end, 60),
        *rng.integers(text - 200, text + 1500, 60),
        *rng.integers(end, len(saved), 8),
    ]
    file.write_bytes(saved)
    for position in positions:
        with file.open("r+b") as opened:
            opened.seek(position)
            opened.write(bytes([saved[position] ^ (1 << int(rng.integers(8)))]))
        with pytest.raises(CheckpointError):
            load_checkpoint(file)
        with file.open("r+b") as opened:
            opened.seek(position)
            opened.write(saved[position : position + 1])
    load_checkpoint(file)


@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, 500, 100_000, 1_000_000, -4, -1])
def test_truncated(saved: bytes, file: Path, length: int) -> None:
    file.write_bytes(saved[:length])
    with pytest.raises(CheckpointError, match=r"weights\.pth is damaged or incomplete"):
        load_checkpoint(file)


def rewritten(saved: bytes, change: Any) -> bytes:
    """The same file with a header that was changed and sealed again."""
    (length,) = struct.unpack("<Q", saved[:8])
    outer = json.loads(saved[8 : 8 + length])
    header = json.loads(outer["__metadata__"]["cxrsearch"])
    header.pop("digest")
    change(header)
    header["digest"] = digest_bytes(canonical_json(header))
    outer["__metadata__"]["cxrsearch"] = canonical_json(header).decode()
    text = json.dumps(outer).encode()
    return struct.pack("<Q", len(text)) + text + saved[8 + length :]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h: h.update(version=2), "written by a newer cxrsearch .format 2. — upgrade"),
        (lambda h: h["spec"].pop("preprocess"), "describes an encoder unknown"),
        (lambda h: h["spec"].update(surprise=1), "describes an encoder unknown"),
        (lambda h: h["spec"]["preprocess"].update(size=5), "describes an encoder unknown"),
        (lambda h: h["spec"].update(weights_sha256="0" * 64), "are not those it was written with"),
        (lambda h: h["spec"].update(architecture="densenet169"), "are not those it was written with"),
        (lambda h: h["spec"].update(findings=["Mass"]), r"weights\.pth is damaged: .*shape \(2,\), not \(1,\)"),
        (lambda h: h["spec"].update(findings=None), "has unexpected classifier.bias, classifier.weight"),
    ],
)
def test_header_that_does_not_describe_the_tensors(saved: bytes, file: Path, change: Any, message: str) -> None:
    file.write_bytes(rewritten(saved, change))
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(file)


def test_rewritten_without_a_change_still_loads(saved: bytes, file: Path, encoder: Encoder) -> None:
    file.write_bytes(rewritten(saved, lambda header: None))
    assert load_checkpoint(file).spec == encoder.spec


@pytest.mark.parametrize(
    "metadata", [None, {"format": "pt"}, {"cxrsearch": "[1]"}, {"cxrsearch": "{}"}, {"cxrsearch": "x"}]
)
def test_safetensors_of_others_are_not_read(file: Path, metadata: dict[str, str] | None) -> None:
    file.write_bytes(safetensors.torch.save({"a": torch.ones(2)}, metadata))
    with pytest.raises(CheckpointError, match="not a checkpoint that cxrsearch wrote"):
        load_checkpoint(file)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"cannot read .*absent\.safetensors"):
        load_checkpoint(tmp_path / "absent.safetensors")


def test_unwritable_folder_is_a_write_error(encoder: Encoder, tmp_path: Path) -> None:
    with pytest.raises(WriteError, match="cannot write"):
        save_checkpoint(tmp_path / "absent" / "best.safetensors", encoder)


def test_is_checkpoint_looks_at_the_first_bytes(saved: bytes, file: Path) -> None:
    for data, expected in ((saved[:20], True), (b"PK\x03\x04" + bytes(20), False), (b"", False)):
        file.write_bytes(data)
        assert is_checkpoint(file) is expected
