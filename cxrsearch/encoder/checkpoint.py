"""The project's own checkpoints: one safetensors file, tensors and a JSON header, nothing in it ever executed.

The header lies in the file's metadata under one key (several would come in any order):

    {"format", "version", "spec": see EncoderSpec, "extra": what the writer adds, "digest": of the header without it}

The tensors are checked by `weights_sha256` in the specification, so that no damaged byte goes unnoticed: those of the
container itself either break it or change what is checked. Equal encoders make equal files.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch

from cxrsearch.encoder.densenet import Encoder, weights_digest
from cxrsearch.encoder.spec import EncoderSpec
from cxrsearch.errors import CheckpointError, UsageError
from cxrsearch.files import Json, canonical_json, digest_bytes, write_bytes

BEST = "best.safetensors"
"""The name of a run's best checkpoint inside the run's folder."""

_KEY, _FORMAT, _VERSION = "cxrsearch", "cxrsearch-encoder", 1
_DAMAGED = "copy it again from where it came from, or train again"


@dataclass(frozen=True)
class Header:
    """What a checkpoint says of itself.

    Attributes:
        spec: of the encoder.
        extra: what the writer added: configuration, metrics, versions.
    """

    spec: EncoderSpec
    extra: Json


def save_checkpoint(path: Path, encoder: Encoder, extra: Mapping[str, Any] | None = None) -> None:
    """Write an encoder, as its tensors are now, atomically.

    Args:
        path: the file; by custom it ends in .safetensors.
        encoder: on any device, in any mode.
        extra: an object for JSON, without NaN.

    Raises:
        WriteError: the file cannot be written.
    """
    tensors = encoder.tensors()
    spec = replace(encoder.spec, weights_sha256=weights_digest(tensors))
    header = {"format": _FORMAT, "version": _VERSION, "spec": spec.to_json(), "extra": dict(extra or {})}
    header["digest"] = digest_bytes(canonical_json(header))
    write_bytes(path, safetensors.torch.save(tensors, {_KEY: canonical_json(header).decode()}))


def is_checkpoint(path: Path) -> bool:
    """Whether a file is a safetensors file, by its first bytes: 8 for the header's length, then a JSON object.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return file.read(9)[8:] == b"{"


def read_header(path: Path) -> Header:
    """Read a checkpoint's header, and none of its tensors.

    Raises:
        CheckpointError: the file is damaged, of another kind, or written by a newer version.
    """
    with _opened(path) as file:
        return _parse(file.metadata() or {}, path.name)


def load_checkpoint(path: Path) -> Encoder:
    """Read an encoder that `save_checkpoint` wrote, checking every byte.

    Raises:
        CheckpointError: the file is damaged, of another kind, or written by a newer version.
    """
    with _opened(path) as file:
        spec = _parse(file.metadata() or {}, path.name).spec
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (it is no mapping)
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


def _opened(path: Path) -> Any:
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
        fix = "safetensors files of others are not read: save the state dict with torch.save"
        raise CheckpointError(f"{name} is not a checkpoint that cxrsearch wrote, or it is damaged", fix) from error
    if isinstance(version, int) and version > _VERSION:
        raise CheckpointError(f"{name} was written by a newer cxrsearch (format {version})", "upgrade cxrsearch")
    sealed = digest_bytes(canonical_json(header)) == digest
    if not sealed or canonical_json(header | {"digest": digest}).decode() != text:
        raise CheckpointError(f"{name} is damaged: its header is not as it was written", _DAMAGED)
    try:
        return Header(EncoderSpec.from_json(header["spec"]), header["extra"])
    except (KeyError, TypeError, UsageError) as error:
        raise CheckpointError(f"{name} describes no encoder that this version knows: {error}", _DAMAGED) from error
