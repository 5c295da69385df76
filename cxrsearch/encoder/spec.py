"""What an encoder is, without its tensors: read and compared without loading torch."""

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
"""Layers in each of the four blocks."""

INITIAL, GROWTH = 64, 32
"""Channels after the first convolution, and how many each layer adds."""


def block_channels(architecture: Architecture) -> list[int]:
    """Channels at the end of each block; a transition halves them on the way to the next."""
    ends, width = [], INITIAL
    for layers in LAYERS[architecture]:
        ends.append(width + layers * GROWTH)
        width = ends[-1] // 2
    return ends


@dataclass(frozen=True)
class Provenance:
    """Which images an encoder was trained on; None where that is unknown, or nothing.

    Attributes:
        split: the definition of the split, as given to `--split`.
        train_ids_sha256: of the training part's image ids.
        n_train: how many there were.
        before: of the weights that the training started from; None where these had seen no X-ray.
        held_out: the finding whose images were left out of training and validation; None: of none.
        strict: all images of patients with that finding were.
        boxes_sha256: of the ids of the boxed images, all images of whose patients were left out of training (not of
            validation); None: none were.
        from_table: a table gave the patients of the split; otherwise it was applied without one.
        train_ids_sketch: then, a sample of the training part's image ids, see `ids_sketch`; otherwise empty.
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
        """The provenance that `dataclasses.asdict` gave. Raises TypeError where it is none."""
        before = value.get("before")
        return cls(**{**value, "before": None if before is None else cls.from_json(before)})

    def trainings(self) -> Iterator["Provenance"]:
        """This and all the trainings before it."""
        yield self
        if self.before is not None:
            yield from self.before.trainings()


UNKNOWN = Provenance()

UNTRAINED = "the encoder is untrained: its answers have no medical meaning"


def saw_no_xray(label: str, provenance: Provenance) -> bool:
    """Whether weights are torchvision's or untrained ones. A run may be called anything, but it has a provenance."""
    return provenance == UNKNOWN and re.fullmatch(r"imagenet|random:\d+ \(untrained\)", label) is not None


@dataclass(frozen=True)
class EncoderSpec:
    """Everything about an encoder but its tensors.

    Attributes:
        architecture: one of `LAYERS`.
        preprocess: how a radiograph becomes its input.
        findings: what the trained head's outputs stand for, in their order; None without such a head.
        weights_sha256: of the canonical tensors, so that the same weights in another file format are the same.
        label: what the weights are called, for people: `imagenet`, `random:0 (untrained)`, a file's name.
        note: what a person should know of them, such as which head was left out and why; often empty.
        provenance: which images it was trained on.
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
        """What a training that starts from these weights has in its past; None where they have seen no X-ray."""
        return None if saw_no_xray(self.label, self.provenance) else self.provenance

    def fingerprint(self, precision: str) -> str:
        """16 hex digits that change whenever anything that changes an embedding does; `precision` is fp32 or bf16."""
        parts = (self.architecture, self.weights_sha256, self.preprocess.fingerprint, precision)
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]

    def to_json(self) -> dict[str, Any]:
        """An object that JSON can hold and `from_json` reads back."""
        return cast(dict[str, Any], json.loads(json.dumps(asdict(self))))

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "EncoderSpec":
        """The specification that `to_json` wrote.

        Raises:
            TypeError, KeyError, UsageError: it is not one.
        """
        findings = value["findings"]
        nested = {
            "findings": None if findings is None else tuple(findings),
            "preprocess": Preprocess(**value["preprocess"]),
            "provenance": Provenance.from_json(value["provenance"]),
        }
        return cls(**{**value, **nested})
