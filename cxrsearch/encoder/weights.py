"""Load the weights that `--weights` names: a file, a run's folder, `imagenet`, or `random:SEED`."""

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import get_args

import torch

from cxrsearch.encoder._foreign import DEFAULT_SIZE, load_foreign
from cxrsearch.encoder.checkpoint import BEST, is_checkpoint, load_checkpoint
from cxrsearch.encoder.densenet import Encoder, draw_tensors
from cxrsearch.encoder.spec import UNTRAINED, Architecture
from cxrsearch.errors import CheckpointError, UsageError
from cxrsearch.images.preprocess import Preprocess

_CHOICES = "name a checkpoint file, a run's folder, 'imagenet' or 'random:SEED'"

_IMAGENET_URL = "https://download.pytorch.org/models/"
_IMAGENET_FILES: dict[Architecture, str] = {
    "densenet121": "densenet121-a639ec97.pth",
    "densenet169": "densenet169-b2777c0a.pth",
    "densenet201": "densenet201-c1103571.pth",
}
"""torchvision's files. The hex digits in a name are the start of the file's sha256."""


def load_encoder(weights: str, *, arch: str | None = None, size: int | None = None) -> Encoder:
    """Load an encoder.

    Args:
        weights: one of
            a checkpoint, of cxrsearch or of any layout that `_foreign` reads;
            the folder of a run, which means its best checkpoint;
            `imagenet`, torchvision's file from torch's cache, downloaded if it is missing;
            `random:SEED`, untrained.
            Write `./imagenet` for a file with such a name.
        arch: `densenet121` (the default for `imagenet` and `random`), `densenet169` or `densenet201`. A checkpoint has
            a fixed architecture, and is refused if another one is requested.
        size: side of the network's input in pixels, 224 by default. cxrsearch's checkpoints record it, and are refused
            if another one is requested. For other checkpoints you may choose, because their files do not record it.

    Raises:
        UsageError: an unknown architecture, or an invalid size or seed.
        CheckpointError: there are no such weights, or they are damaged, unsafe, or not what was requested.
    """
    requested = _parse_architecture(arch)
    kind, _, seed = weights.partition(":")
    if kind == "random":
        return _make_random(seed, requested or "densenet121", DEFAULT_SIZE if size is None else size)
    if weights == "imagenet":
        return load_foreign(_fetch_imagenet(requested or "densenet121"), size=size, label="imagenet")
    encoder = _load_path(weights, size)
    architecture = encoder.spec.architecture
    if requested not in (None, architecture):
        raise CheckpointError(f"{weights} is a {architecture}, not the {requested} asked for", "leave --arch out")
    return encoder


def choose_weights(environ: Mapping[str, str], folder: Path) -> str:
    """Choose weights if there is no `--weights`: `$CXRSEARCH_WEIGHTS`, else the newest run in `runs/`, else imagenet.

    Args:
        environ: the environment variables.
        folder: the working directory, which may contain `runs/`.
    """
    if chosen := environ.get("CXRSEARCH_WEIGHTS"):
        return chosen
    runs = sorted((folder / "runs").glob(f"*/{BEST}"), key=lambda best: (best.stat().st_mtime_ns, best))
    return str(runs[-1].parent) if runs else "imagenet"


def _parse_architecture(name: str | None) -> Architecture | None:
    choices: tuple[Architecture, ...] = get_args(Architecture)
    for choice in choices:
        if choice == name:
            return choice
    if name is None:
        return None
    raise UsageError(f"unknown architecture {name!r}", f"choose one of {', '.join(choices)}")


def _make_random(seed: str, architecture: Architecture, size: int) -> Encoder:
    if not (seed.isdecimal() and int(seed) < 2**63):
        raise UsageError(f"'random:' needs a seed, a whole number from 0: got {seed!r}", "write random:0")
    label = f"random:{int(seed)} (untrained)"
    return Encoder(draw_tensors(architecture, int(seed)), Preprocess.for_size(size), label=label, note=UNTRAINED)


def _load_path(weights: str, size: int | None) -> Encoder:
    path = Path(os.path.expanduser(weights))  # noqa: PTH111  (Path's own raises for an unknown user)
    try:
        file = path / BEST if path.is_dir() else path
        if not file.is_file():
            raise CheckpointError(f"no weights at {file}", _CHOICES)
        is_ours = is_checkpoint(file)
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror}", _CHOICES) from error
    if not is_ours:
        return load_foreign(file, size=size)
    encoder = load_checkpoint(file)
    trained_size = encoder.spec.preprocess.size
    if size not in (None, trained_size):
        raise CheckpointError(f"{weights} was made for images of {trained_size} pixels, not {size}", "leave --size out")
    return encoder


def _fetch_imagenet(architecture: Architecture) -> Path:
    """Return the path of torchvision's file in torch's cache. It is downloaded if missing; its sha256 is checked."""
    name = _IMAGENET_FILES[architecture]
    path = Path(torch.hub.get_dir()) / "checkpoints" / name
    try:
        if not path.exists():
            _download(_IMAGENET_URL + name, path)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror}", "name other weights by their path") from error
    if not digest.startswith(_digest_prefix(name)):
        raise CheckpointError(f"{path} is damaged or another file: its sha256 starts {digest[:8]}", "delete it")
    return path


def _download(url: str, path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), _digest_prefix(path.name), progress=False)
    except (OSError, RuntimeError) as error:
        raise CheckpointError(
            f"cannot download {url}: {error}", f"put that file at {path}, or name other weights by their path"
        ) from error


def _digest_prefix(name: str) -> str:
    """Return the hex digits in a name such as `densenet121-a639ec97.pth`: here `a639ec97`."""
    return re.sub(r".*-(.*)\.pth$", r"\1", name)
