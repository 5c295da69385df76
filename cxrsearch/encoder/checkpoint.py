"""cxrsearch's checkpoints: one safetensors file with tensors and a JSON header. Nothing in it is ever executed.

The header lies in the file's metadata under one key, because safetensors does not keep the order of several keys:

    {"format", "version", "spec": see EncoderSpec, "extra": what the writer adds, "digest": of the header without it}

The tensors are checked against `weights_sha256` in the specification. So no damaged byte goes unnoticed: damage to the
container either breaks it or changes what is checked. Equal encoders make equal files.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch

from cxrsearch.encoder.densenet import Encoder, digest_weights
from cxrsearch.encoder.spec import EncoderSpec
from cxrsearch.errors import CheckpointError, UsageError
from cxrsearch.files import Json, canonical_json, digest_bytes, write_bytes

BEST = "best.safetensors"
"""The file name of the best checkpoint in a run's folder."""

_KEY, _FORMAT, _VERSION = "cxrsearch", "cxrsearch-encoder", 1
_DAMAGED = "copy it again from its source, or train again"


@dataclass(frozen=True)
class Header:
    """The header of a checkpoint.

    Attributes:
        spec: the encoder's specification.
        extra: what the writer added: configuration, metrics, versions.
    """

    spec: EncoderSpec
    extra: Json


def save_checkpoint(path: Path, encoder: Encoder, extra: Mapping[str, Any] | None = None) -> None:
    """Write an encoder with its present tensors, atomically.

    Args:
        path: the file; by convention it ends in .safetensors.
        encoder: on any device, in any mode.
        extra: an object for JSON, without NaN.

    Raises:
        WriteError: the file cannot be written.
    """
    tensors = encoder.tensors()
    spec = replace(encoder.spec, weights_sha256=digest_weights(tensors))
    header = {"format": _FORMAT, "version": _VERSION, "spec": spec.to_json(), "extra": dict(extra or {})}
    header["digest"] = digest_bytes(canonical_json(header))
    write_bytes(path, safetensors.torch.save(tensors, {_KEY: canonical_json(header).decode()}))


def is_checkpoint(path: Path) -> bool:
    """Whether a file is a safetensors file, by its first bytes: 8 with the header's length, then a JSON object.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        return file.read(9)[8:] == b"{"


def read_header(path: Path) -> Header:
    """Read the header of a checkpoint, but not its tensors.

    Raises:
        CheckpointError: the file is damaged, of another kind, or written by a newer version.
    """
    with _open(path) as file:
        return _parse(file.metadata() or {}, path.name)


def load_checkpoint(path: Path) -> Encoder:
    """Read an encoder that `save_checkpoint` wrote, and check every byte.

    Raises:
        CheckpointError: the file is damaged, of another kind, or written by a newer version.
    """
    with _open(path) as file:
        spec = _parse(file.metadata() or {}, path.name).spec
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (the file is not a mapping)
    try:
        encoder = Encoder(
            tensors,
            spec.preprocess,
            label=spec.label,
            findings=spec.findings,
            note=spec.note,
            provenance=spec.provenance,
        )
    except CheckpointError as error:
        raise CheckpointError(f"{path.name} is damaged: {error.problem}", _DAMAGED) from error
    if encoder.spec != spec:
        raise CheckpointError(f"{path.name} is damaged: its weights are not those it was written with", _DAMAGED)
    return encoder


def _open(path: Path) -> Any:
    try:
        return safetensors.safe_open(path, framework="pt")
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror or error}", "name other --weights") from error
    except safetensors.SafetensorError as error:
        raise CheckpointError(f"{path.name} is damaged or incomplete: {error}", _DAMAGED) from error


def _parse(metadata: Mapping[str, str], name: str) -> Header:
    try:
        text = metadata[_KEY]
        header = json.loads(text)
        version, digest = header["version"], header.pop("digest")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        fix = "safetensors files of other programs are not supported: save the state dict with torch.save"
        raise CheckpointError(f"{name} is not a checkpoint that cxrsearch wrote, or it is damaged", fix) from error
    if isinstance(version, int) and version > _VERSION:
        raise CheckpointError(f"{name} was written by a newer cxrsearch (format {version})", "upgrade cxrsearch")
    intact = digest_bytes(canonical_json(header)) == digest
    if not intact or canonical_json(header | {"digest": digest}).decode() != text:
        raise CheckpointError(f"{name} is damaged: its header is not as it was written", _DAMAGED)
    try:
        return Header(EncoderSpec.from_json(header["spec"]), header["extra"])
    except (KeyError, TypeError, UsageError) as error:
        raise CheckpointError(f"{name} describes an encoder unknown to this version: {error}", _DAMAGED) from error
