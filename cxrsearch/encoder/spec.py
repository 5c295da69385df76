"""The specification of an encoder without its tensors. It can be read and compared without torch."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, cast

from cxrsearch.images.preprocess import Preprocess

Architecture = Literal["densenet121", "densenet169", "densenet201"]

LAYERS: dict[Architecture, tuple[int, ...]] = {
    "densenet121": (6, 12, 24, 16),
    "densenet169": (6, 12, 32, 32),
    "densenet201": (6, 12, 48, 32),
}
"""Number of layers in each of the four blocks."""

INITIAL, GROWTH = 64, 32
"""Channels after the first convolution, and channels that each layer adds."""


def block_channels(architecture: Architecture) -> list[int]:
    """Compute the channels at the end of each block. A transition halves them before the next block."""
    ends, width = [], INITIAL
    for layers in LAYERS[architecture]:
        ends.append(width + layers * GROWTH)
        width = ends[-1] // 2
    return ends


@dataclass(frozen=True)
class Provenance:
    """Which images an encoder was trained on. A value is None if it is unknown or does not apply.

    Attributes:
        split: the definition of the split, as given to `--split`.
        train_ids_sha256: digest of the training part's image ids; see `digest_ids`.
        n_train: number of training images.
        before: provenance of the weights that the training started from; None if these had seen no X-ray.
        held_out: the finding whose images were left out of training and validation; None if no finding was.
        strict: whether all images of patients with that finding were left out too.
        boxes_sha256: digest of the ids of boxed images whose patients were left out of training. All images of these
            patients were left out, but not of validation. None if no patient was left out for boxes.
        from_table: whether a table gave the patients of the split; otherwise the split was applied without a table.
        train_ids_sketch: a sample of the training part's image ids if there was no table, see `sketch_ids`; else empty.
    """

    split: str | None = None
    train_ids_sha256: str | None = None
    n_train: int | None = None
    before: "Provenance | None" = None
    held_out: str | None = None
    strict: bool = False
    boxes_sha256: str | None = None
    from_table: bool = True
    train_ids_sketch: str = ""

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Provenance":
        """Make the provenance from what `dataclasses.asdict` returned. Raises TypeError if the fields do not match."""
        before = value.get("before")
        return cls(**{**value, "before": None if before is None else cls.from_json(before)})

    def trainings(self) -> Iterator["Provenance"]:
        """Yield this training and all the trainings before it, the latest first."""
        yield self
        if self.before is not None:
            yield from self.before.trainings()


UNKNOWN = Provenance()

UNTRAINED = "the encoder is untrained: its answers have no medical meaning"


def saw_no_xray(label: str, provenance: Provenance) -> bool:
    """Whether weights are torchvision's or untrained.

    The label alone does not decide: a run may have any label, but it always has a provenance.
    """
    return provenance == UNKNOWN and re.fullmatch(r"imagenet|random:\d+ \(untrained\)", label) is not None


@dataclass(frozen=True)
class EncoderSpec:
    """Everything about an encoder except its tensors.

    Attributes:
        architecture: one of `LAYERS`.
        preprocess: how a radiograph becomes the network's input.
        findings: the findings that the trained head's outputs stand for, in order; None without a trained head.
        weights_sha256: sha256 of the canonical tensors. The same weights in another file format have the same one.
        label: the name of the weights, for people: `imagenet`, `random:0 (untrained)`, a file's name.
        note: what a user should know about the weights, such as which head was left out and why; often empty.
        provenance: which images the encoder was trained on.
    """

    architecture: Architecture
    preprocess: Preprocess
    findings: tuple[str, ...] | None
    weights_sha256: str
    label: str
    note: str = ""
    provenance: Provenance = UNKNOWN

    @property
    def dim(self) -> int:
        """Length of an embedding: 1024, 1664 or 1920."""
        return block_channels(self.architecture)[-1]

    @property
    def seen_before(self) -> Provenance | None:
        """What a training from these weights records as its `before`; None if the weights have seen no X-ray."""
        return None if saw_no_xray(self.label, self.provenance) else self.provenance

    def fingerprint(self, precision: str) -> str:
        """Compute a digest of everything that decides an embedding, 16 hex digits; `precision` is fp32 or bf16."""
        parts = (self.architecture, self.weights_sha256, self.preprocess.fingerprint, precision)
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]

    def to_json(self) -> dict[str, Any]:
        """Return an object for JSON, which `from_json` reads back."""
        return cast(dict[str, Any], json.loads(json.dumps(asdict(self))))

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "EncoderSpec":
        """Read the specification that `to_json` wrote.

        Raises:
            TypeError, KeyError, UsageError: the fields or their values do not match.
        """
        findings = value["findings"]
        nested = {
            "findings": None if findings is None else tuple(findings),
            "preprocess": Preprocess(**value["preprocess"]),
            "provenance": Provenance.from_json(value["provenance"]),
        }
        return cls(**{**value, **nested})
