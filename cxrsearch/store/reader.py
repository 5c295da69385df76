"""Open an index. Every file is checked against the manifest before any of them is used."""

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

_ATTEMPTS = 3  # each failure needs another commit in the time of one check


@dataclass(frozen=True)
class StoredIndex:
    """One generation of an index, verified and open.

    Attributes:
        folder: the index directory.
        manifest: what the index is.
        catalogue: one row per image, in index order.
        files: one row per image: `source_sha256`, `pixel_sha256`, `read_as`, its `shard`, and its `offset` there.
        blocks: the embeddings, memory-mapped float32 (m, dim) shards in catalogue order.
        pixel_blocks: the stored pixels, memory-mapped uint8 (m, side, side) shards; empty if built without pixels.
    """

    folder: Path
    manifest: Manifest
    catalogue: Catalogue
    files: pd.DataFrame
    blocks: list[NDArray[np.float32]]
    pixel_blocks: list[NDArray[np.uint8]]

    @property
    def search_folder(self) -> Path:
        """The folder of the search structure's files."""
        return self.manifest.path(self.folder, SEARCH)

    @cached_property
    def vectors(self) -> Vectors:
        """The embeddings of all shards as one sequence of n rows, float32 (n, dim)."""
        return Vectors(self.blocks)

    @cached_property
    def reference(self) -> Json:
        """The reference of typicality as JSON: `k`, and the `distances` of a sample of indexed images."""
        return dict(json.loads(self.manifest.path(self.folder, TYPICALITY).read_bytes()))

    def stored_pixels(self, row: int) -> Pixels | None:
        """Return the stored pixels of an image, uint8 (side, side); None in an index without pixels."""
        if not self.pixel_blocks:
            return None
        place = self.files.iloc[row]
        pixels: Pixels = np.asarray(self.pixel_blocks[place["shard"]][place["offset"]])
        return pixels

    def load_encoder(self) -> Encoder:
        """Load the encoder that the index was built with, from the index itself.

        Raises:
            EncoderMismatchError: the encoder in the index is not the one that its manifest names.
            UsageError: the index has no encoder, because its embeddings were imported.
        """
        precision = self.manifest.require_encoder()["precision"]
        encoder = load_checkpoint(self.manifest.path(self.folder, ENCODER))
        require_same_encoder(self.manifest, encoder.spec.fingerprint(precision), encoder.spec.label)
        return encoder


def require_same_encoder(manifest: Manifest, fingerprint: str, label: str) -> None:
    """Refuse an encoder other than the index's: distances between embeddings of two encoders are meaningless.

    Raises:
        EncoderMismatchError: the fingerprints differ.
        UsageError: the index has no encoder, because its embeddings were imported.
    """
    spec = manifest.require_encoder()
    if fingerprint != spec["fingerprint"]:
        raise EncoderMismatchError(
            f"the index was built with encoder {spec['label']} ({spec['fingerprint']}), "
            f"not with {label} ({fingerprint})",
            "leave --weights out to use the index's own encoder, or build an index with the other one",
        )


def open_stored(folder: Path) -> StoredIndex:
    """Open an index directory. If a builder commits meanwhile, the new generation is opened.

    Raises:
        StoreError: there is no index, or it is damaged or of a newer format.
    """
    folder = folder.resolve()
    for attempt in range(_ATTEMPTS):
        manifest = read_manifest(folder)
        try:
            check_files(folder, manifest)
            return _open(folder, manifest)
        except (IntegrityError, FileNotFoundError):
            if attempt == _ATTEMPTS - 1 or read_manifest(folder).generation == manifest.generation:
                raise
    raise AssertionError("unreachable")


def _open(folder: Path, manifest: Manifest) -> StoredIndex:
    frame = pd.read_parquet(io.BytesIO(manifest.path(folder, CATALOGUE).read_bytes()))
    vocabulary = Vocabulary(manifest.findings)
    labels = None
    if manifest.labelled:
        codes, cells = pd.factorize(frame["findings"])  # few cells are distinct, so each is parsed only once
        labels = vocabulary.encode(vocabulary.parse(cell) for cell in cells)[codes]
    return StoredIndex(
        folder,
        manifest,
        Catalogue(frame, vocabulary, labels),
        frame[["source_sha256", "pixel_sha256", "read_as", "shard", "offset"]],
        _map_arrays(folder, manifest, EMBEDDINGS),
        _map_arrays(folder, manifest, PIXELS),
    )


def _map_arrays(folder: Path, manifest: Manifest, kind: str) -> list[NDArray[Any]]:
    paths = [manifest.path(folder, name) for name in manifest.names(f"{kind}/")]
    return [np.load(path, mmap_mode="r", allow_pickle=False) for path in paths]
