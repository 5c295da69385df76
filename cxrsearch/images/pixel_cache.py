"""A cache of stored pixels. The second pass over a data set skips decoding, which takes nine tenths of the time.

The key of an image is the sha256 of its file, so a renamed file is found and a changed one is not. Shards of at most
`SHARD_IMAGES` images, uint8 (m, side, side), are memory-mapped. Beside each shard lies a list of its images:

    <folder>/<fingerprint of the stored pixels>/<digest of the shard>.npy
                                                <digest of the shard>-<digest of the list>.json

Both names contain digests, so a damaged or half-written pair is recognised, and its images are decoded again. Several
processes may fill one cache: their file names never collide. Memory: one unfinished shard (134 MB at 256 px), and
about 0.5 kB per image for the entry.
"""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cxrsearch.files import canonical_json, digest_bytes, digest_file, translated, write_array, write_bytes
from cxrsearch.images.preprocess import Pixels, Preprocess

SHARD_IMAGES = 2048


@dataclass(frozen=True)
class StoredImage:
    """An image as caches and indexes keep it.

    Attributes:
        pixels: uint8 (pixel_side, pixel_side).
        source_sha256: sha256 of the file's bytes, 64 hex digits.
        pixel_sha256: sha256 of the decoded radiograph at full size; see `Radiograph`.
        description: what was read, in words.
    """

    pixels: Pixels
    source_sha256: str
    pixel_sha256: str
    description: str

    def facts(self) -> dict[str, str]:
        """Return every field except the pixels, for records."""
        return {name: value for name, value in vars(self).items() if name != "pixels"}


class PixelCache:
    """The stored pixels of images that were decoded before.

    Args:
        folder: the folder of all caches; made if it is missing.
        preprocess: decides the size of the stored pixels. Each size has its own sub-folder.

    Raises:
        WriteError: the folder cannot be made.
    """

    def __init__(self, folder: Path, preprocess: Preprocess) -> None:
        key = f"{preprocess.interpolation}-{preprocess.pixel_side}"
        self.folder = folder / hashlib.sha256(key.encode()).hexdigest()[:16]
        with translated("make the pixel cache", self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        self._known: dict[str, tuple[Pixels, int, str, str]] = {}
        self._fresh: dict[str, StoredImage] = {}
        for listing in sorted(self.folder.glob("*.json")):
            self._open_shard(listing)

    def __len__(self) -> int:
        return len(self._known) + len(self._fresh)

    def _open_shard(self, listing: Path) -> None:
        """Add one shard to the cache, or ignore it if either file does not match the digest in its name."""
        shard_digest, _, listing_digest = listing.stem.partition("-")
        shard, text = listing.with_name(f"{shard_digest}.npy"), listing.read_bytes()
        if digest_bytes(text) != listing_digest or not shard.exists() or digest_file(shard) != shard_digest:
            return
        pixels = np.load(shard, mmap_mode="r", allow_pickle=False)
        for row, entry in enumerate(json.loads(text)["images"]):
            self._known[entry["source_sha256"]] = (pixels, row, entry["pixel_sha256"], entry["description"])

    def get(self, source_sha256: str) -> StoredImage | None:
        """Return the stored image of the file with this sha256; None if it is not in the cache."""
        if source_sha256 not in self._known:
            return self._fresh.get(source_sha256)
        pixels, row, pixel_sha256, description = self._known[source_sha256]
        return StoredImage(np.asarray(pixels[row]), source_sha256, pixel_sha256, description)

    def add(self, image: StoredImage) -> None:
        """Add an image. It reaches the disk at the next `flush`, which happens by itself when a shard is full.

        Raises:
            WriteError: the shard cannot be written.
        """
        if image.source_sha256 not in self._known:
            self._fresh[image.source_sha256] = image
        if len(self._fresh) >= SHARD_IMAGES:
            self.flush()

    def flush(self) -> None:
        """Write the images that were added since the last shard. Raises WriteError if the disk is full or read-only."""
        if not self._fresh:
            return
        images = list(self._fresh.values())
        listing = canonical_json({"images": [image.facts() for image in images]})
        unnamed = self.folder / f".{os.getpid()}.npy"  # the final name needs the digest of the finished file
        write_array(unnamed, np.stack([image.pixels for image in images]))
        digest = digest_file(unnamed)
        with translated("write", unnamed):
            unnamed.replace(self.folder / f"{digest}.npy")
        path = self.folder / f"{digest}-{digest_bytes(listing)}.json"
        # The list comes last: a shard without a list is never opened, so an interruption here only costs its decoding.
        write_bytes(path, listing)
        self._fresh.clear()
        self._open_shard(path)
