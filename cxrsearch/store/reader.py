"""Opening an index: every file is checked against the manifest before anything of it is used."""

import io
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrsearch.encoder.checkpoint import load_checkpoint
from cxrsearch.encoder.densenet import Encoder
from cxrsearch.errors import EncoderMismatchError, IntegrityError
from cxrsearch.files import Json
from cxrsearch.images.catalogue import Catalogue
from cxrsearch.images.findings import Vocabulary
from cxrsearch.images.preprocess import Pixels
from cxrsearch.store.integrity import check_files
from cxrsearch.store.layout import CATALOGUE, EMBEDDINGS, ENCODER, PIXELS, SEARCH, TYPICALITY
from cxrsearch.store.manifest import Manifest, read_manifest
from cxrsearch_indexes.vectors import Vectors

_ATTEMPTS = 3


@dataclass(frozen=True)
class StoredIndex:
    """One generation of an index, verified and open.

    Attributes:
        folder: the index directory.
        manifest: what the index is.
        catalogue: one row an image, in index order.
        files: of each image `source_sha256`, `pixel_sha256`, `read_as`, and its `shard` and `offset` there.
        blocks: the embeddings, memory-mapped float32 (m, dim) shards in catalogue order.
        pixel_blocks: the stored pixels, uint8 (m, side, side) shards, or empty.
    """

    folder: Path
    manifest: Manifest
    catalogue: Catalogue
    files: pd.DataFrame
    blocks: list[NDArray[np.float32]]
    pixel_blocks: list[NDArray[np.uint8]]

    @property
    def search_folder(self) -> Path:
        """Where the search structure's files lie."""
        return self.manifest.path(self.folder, SEARCH)

    @cached_property
    def vectors(self) -> Vectors:
        """The embeddings as one."""
        return Vectors(self.blocks)

    @cached_property
    def reference(self) -> Json:
        """The reference of typicality, as it was written."""
        return dict(json.loads(self.manifest.path(self.folder, TYPICALITY).read_bytes()))

    def stored_pixels(self, row: int) -> Pixels | None:
        """The stored pixels of an image, uint8 (side, side), or None in an index without pixels."""
        if not self.pixel_blocks:
            return None
        place = self.files.iloc[row]
        pixels: Pixels = np.asarray(self.pixel_blocks[place["shard"]][place["offset"]])
        return pixels

    def load_encoder(self) -> Encoder:
        """The encoder the index was built with, from the index itself.

        Raises:
            EncoderMismatchError: the index's encoder is not the one its manifest names.
            UsageError: the index has none, as its embeddings were imported.
        """
        precision = self.manifest.own_encoder()["precision"]
        encoder = load_checkpoint(self.manifest.path(self.folder, ENCODER))
        require_encoder(self.manifest, encoder.spec.fingerprint(precision), encoder.spec.label)
        return encoder


def require_encoder(manifest: Manifest, fingerprint: str, label: str) -> None:
    """Refuse an encoder other than the index's: distances between embeddings of two encoders mean nothing.

    Raises:
        EncoderMismatchError: they differ.
        UsageError: the index has none, as its embeddings were imported.
    """
    own = manifest.own_encoder()
    if fingerprint != own["fingerprint"]:
        raise EncoderMismatchError(
            f"the index was built with encoder {own['label']} ({own['fingerprint']}), not with {label} ({fingerprint})",
            "leave --weights out to use the index's own encoder, or build an index with the other one",
        )


def open_stored(folder: Path) -> StoredIndex:
    """Open an index directory; a builder that commits meanwhile makes this read the new generation.

    Raises:
        StoreError: no index there, or one that is damaged or of a newer format.
    """
    folder = folder.resolve()
    for attempt in range(_ATTEMPTS):
        manifest = read_manifest(folder)
        try:
            check_files(folder, manifest)
            return _opened(folder, manifest)
        except (IntegrityError, FileNotFoundError):
            if attempt == _ATTEMPTS - 1 or read_manifest(folder).generation == manifest.generation:
                raise
    raise AssertionError("unreachable")


def _opened(folder: Path, manifest: Manifest) -> StoredIndex:
    frame = pd.read_parquet(io.BytesIO(manifest.path(folder, CATALOGUE).read_bytes()))
    vocabulary = Vocabulary(manifest.findings)
    labels = None
    if manifest.labelled:
        codes, cells = pd.factorize(frame["findings"])
        labels = vocabulary.encode(vocabulary.parse(cell) for cell in cells)[codes]
    return StoredIndex(
        folder,
        manifest,
        Catalogue(frame, vocabulary, labels),
        frame[["source_sha256", "pixel_sha256", "read_as", "shard", "offset"]],
        _mapped(folder, manifest, EMBEDDINGS),
        _mapped(folder, manifest, PIXELS),
    )


def _mapped(folder: Path, manifest: Manifest, kind: str) -> list[NDArray[Any]]:
    paths = [manifest.path(folder, name) for name in manifest.names(f"{kind}/")]
    return [np.load(path, mmap_mode="r", allow_pickle=False) for path in paths]
