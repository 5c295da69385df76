"""The manifest: what an index is, a digest of every file in it, and a digest of the manifest itself.

The manifest names one generation. A new generation becomes the index when an atomic rename replaces the manifest, as
in Lance's format. The generation's name is a digest of the content, so the same input gives the same generation.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from cxrsearch.encoder.spec import UNTRAINED
from cxrsearch.errors import FormatVersionError, IntegrityError, StoreError, UsageError
from cxrsearch.files import Json, canonical_json, digest_bytes, write_bytes
from cxrsearch.store.layout import MANIFEST

FORMAT = "cxrsearch-index"
VERSION = 1
_ZERO = "0" * 32


@dataclass(frozen=True)
class FileEntry:
    """One file as the manifest records it.

    Attributes:
        size: in bytes.
        digest: its xxh3-128, 32 hex digits.
    """

    size: int
    digest: str


@dataclass(frozen=True)
class Manifest:
    """What an index is: everything a reader needs to know before it opens the other files.

    Attributes:
        n: number of indexed images.
        dim: dimensions of an embedding (float32).
        kind: search structure, one of `cxrsearch_indexes.KINDS`.
        metric: `l2`, `ip` or `cosine`.
        findings: the vocabulary, in the order of label matrices.
        labelled: whether the findings of the images are known.
        encoder: the encoder's specification as JSON, with `precision` and `fingerprint`; None for imported embeddings.
        images_root: the location that the catalogue's paths are relative to; empty for imported embeddings.
        patient_source: where patients come from: the `table`, `dicom` tags, a `pattern`, or each `file` is a patient.
        patient_salt: the salt of hashed DICOM patient ids; None if patients come from elsewhere.
        split: the split's `definition` and the indexed `part`; either may be None.
        summary: counts for people: patients, refused images, images per finding, ...
        software: versions of the packages that decide the embeddings' bytes.
        plan: digest of everything that decides the shards' bytes. A builder with the same plan reuses the shards.
        files: every file of the generation, by its path relative to the index directory.
        generation: digest of all of the above, 16 hex digits.
    """

    n: int
    dim: int
    kind: str
    metric: Literal["l2", "ip", "cosine"]
    findings: tuple[str, ...]
    labelled: bool
    encoder: Json | None
    images_root: str
    patient_source: str
    patient_salt: str | None
    split: dict[str, str | None]
    summary: Json
    software: dict[str, str]
    plan: str
    files: dict[str, FileEntry] = field(default_factory=dict)
    generation: str = ""

    def with_files(self, files: Mapping[str, FileEntry]) -> "Manifest":
        """Add the files of a generation, named relative to its folder, and the generation's name."""
        bare = asdict(replace(self, generation="", files=dict(files)))
        generation = digest_bytes(canonical_json(bare))[:16]
        return replace(
            self, generation=generation, files={f"{generation}/{name}": entry for name, entry in files.items()}
        )

    def to_json(self) -> Json:
        """Return the manifest as one JSON object."""
        return asdict(self)

    @property
    def untrained(self) -> bool:
        """Whether the encoder's weights are random."""
        return self.encoder_label.startswith("random:")

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader of any answer must know about the encoder; empty if it is trained."""
        return (UNTRAINED,) if self.untrained else ()

    @property
    def split_definition(self) -> str | None:
        """The definition of the split that the index was built with; None if there was none."""
        return self.split.get("definition")

    @property
    def encoder_label(self) -> str:
        """The name of the encoder, for people."""
        return "imported embeddings" if self.encoder is None else str(self.encoder["label"])

    def require_encoder(self) -> Json:
        """Return the encoder's specification as JSON, for callers that cannot work without an encoder.

        Raises:
            UsageError: the index holds imported embeddings.
        """
        if self.encoder is None:
            raise UsageError(
                "this index holds imported embeddings and no encoder, so no image can be embedded for it",
                "ask an index that `cxrsearch build-index` made from images",
            )
        return self.encoder

    def path(self, folder: Path, name: str) -> Path:
        """Return the path of one of this generation's files, named relative to the generation's folder."""
        return folder / self.generation / name

    def names(self, prefix: str) -> list[str]:
        """List the generation's files whose names begin with `prefix`, sorted, relative to the generation's folder."""
        start = f"{self.generation}/{prefix}"
        return sorted(name.partition("/")[2] for name in self.files if name.startswith(start))


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write `manifest` into the folder, atomically. Raises WriteError."""
    body = {"format": FORMAT, "version": VERSION, "digest": _ZERO} | asdict(manifest)
    body["digest"] = digest_bytes(canonical_json(body))
    write_bytes(folder / MANIFEST, canonical_json(body))


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of an index directory, and check its digest and version.

    Raises:
        StoreError: there is no index, or it cannot be read.
        FormatVersionError: the index was written by a newer cxrsearch.
        IntegrityError: the manifest is damaged.
    """
    path = folder / MANIFEST
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        raise StoreError(f"no index at {folder}", "make one with `cxrsearch build-index IMAGES --index DIR`") from None
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}", "check the path and its permissions") from error
    body = _parse(path, text)
    try:
        del body["format"], body["version"], body["digest"]
        body["files"] = {name: FileEntry(**entry) for name, entry in body["files"].items()}
        return Manifest(**body | {"findings": tuple(body["findings"])})
    except (KeyError, TypeError, AttributeError) as error:
        raise _make_error(path) from error


def _make_error(path: Path) -> IntegrityError:
    fix = "restore it from a copy, or build the index again"
    return IntegrityError(f"{path} is damaged: its bytes are not those that were written", fix)


def _parse(path: Path, text: bytes) -> dict[str, Any]:
    """Parse the manifest's JSON. The version is checked before the digest, because a newer version has other rules."""
    try:
        body = json.loads(text)
        version, digest = body["version"], body["digest"]
        known = body["format"] == FORMAT and isinstance(version, int)
    except (ValueError, TypeError, KeyError, RecursionError):
        raise _make_error(path) from None
    if known and version > VERSION:
        raise FormatVersionError(
            f"{path} has format version {version}, this cxrsearch reads up to {VERSION}", "upgrade cxrsearch"
        )
    if not known or canonical_json(body) != text or digest_bytes(canonical_json(body | {"digest": _ZERO})) != digest:
        raise _make_error(path)
    return dict(body)


def describe_split(split: Mapping[str, str | None]) -> str:
    """Describe a split and part for people: `paper, part train`, or `none`."""
    if not split.get("definition"):
        return "none"
    return f"{split['definition']}, part {split['part']}" if split.get("part") else f"{split['definition']}, all parts"
