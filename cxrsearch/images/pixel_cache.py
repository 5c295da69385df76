"""A cache of stored pixels, so that the second pass over a data set skips decoding, nine tenths of its time.

An image is known by the sha256 of its file, so a renamed file is found and a changed one is not. Shards of at most
`SHARD_IMAGES` images, uint8 (m, side, side), are memory-mapped; each lies beside a list of what it holds:

    <folder>/<fingerprint of the stored pixels>/<digest of the shard>.npy
                                                <digest of the shard>-<digest of the list>.json

Both names carry digests, so a damaged or half-written pair is recognised and its images are decoded again. Several
processes may fill one cache: names never collide. Memory: one unfinished shard (134 MB at 256 px) and
about 0.5 kB an image for what is known of it.
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
        source_sha256: of the file's bytes.
        pixel_sha256: of the decoded radiograph at its full size.
        description: what was read, for people.
    """

    pixels: Pixels
    source_sha256: str
    pixel_sha256: str
    description: str

    def facts(self) -> dict[str, str]:
        """Everything but the pixels, for records."""
        return {name: value for name, value in vars(self).items() if name != "pixels"}


class PixelCache:
    """Stored pixels of images that were decoded before.

    Args:
        folder: where caches lie; made when missing.
        preprocess: whose stored pixels these are; caches of different sides lie in different sub-folders.

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
        """Take in one shard, or leave it out when either file is not what its name promises."""
        shard_digest, _, listing_digest = listing.stem.partition("-")
        shard, text = listing.with_name(f"{shard_digest}.npy"), listing.read_bytes()
        if digest_bytes(text) != listing_digest or not shard.exists() or digest_file(shard) != shard_digest:
            return
        pixels = np.load(shard, mmap_mode="r", allow_pickle=False)
        for row, entry in enumerate(json.loads(text)["images"]):
            self._known[entry["source_sha256"]] = (pixels, row, entry["pixel_sha256"], entry["description"])

    def get(self, source_sha256: str) -> StoredImage | None:
        """The stored image of the file with that sha256, or None."""
        if source_sha256 not in self._known:
            return self._fresh.get(source_sha256)
        pixels, row, pixel_sha256, description = self._known[source_sha256]
        return StoredImage(np.asarray(pixels[row]), source_sha256, pixel_sha256, description)

    def add(self, image: StoredImage) -> None:
        """Remember an image; it is on disk after the next `flush`, which comes by itself when a shard is full.

        Raises:
            WriteError: the shard cannot be written.
        """
        if image.source_sha256 not in self._known:
            self._fresh[image.source_sha256] = image
        if len(self._fresh) >= SHARD_IMAGES:
            self.flush()

    def flush(self) -> None:
        """Write what was added since the last shard. Raises WriteError."""
        if not self._fresh:
            return
        images = list(self._fresh.values())
        listing = canonical_json({"images": [image.facts() for image in images]})
        unnamed = self.folder / f".{os.getpid()}.npy"
        write_array(unnamed, np.stack([image.pixels for image in images]))
        digest = digest_file(unnamed)
        with translated("write", unnamed):
            unnamed.replace(self.folder / f"{digest}.npy")
        path = self.folder / f"{digest}-{digest_bytes(listing)}.json"
        write_bytes(path, listing)
        self._fresh.clear()
        self._open_shard(path)
