"""Fill an index with shards of embeddings and pixels. Finished shards of an earlier run are verified and kept.

A batch never crosses a shard. So a shard that is made again after an interruption has the same batches, and the same
bytes. Memory: one shard (142 MB at 256 px and 1024 dimensions), plus what the embedder needs.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from cxrsearch.encoder.embed import Embedder, load_batches
from cxrsearch.files import Json, digest_bytes
from cxrsearch.images.loading import LoadedImage, RefusedImage
from cxrsearch.images.matching import Matched
from cxrsearch.images.pixel_cache import SHARD_IMAGES, PixelCache
from cxrsearch.images.preprocess import Pixels
from cxrsearch.progress import Progress
from cxrsearch.store.writer import IndexWriter, ShardRecord

_Batch = list[LoadedImage | RefusedImage]


class ShardFiller:
    """Embeds images in catalogue order, shard by shard.

    Args:
        matched: the images; each row of its catalogue is a row of the plan.
        embedder: makes the embeddings.
        batch_size: images per batch.
        workers: number of decoding processes; 0 decodes in this process.
        keep_pixels: whether shards also hold the stored pixels.
        cache: pixels of images that were decoded before; the others are added. None: no cache.
    """

    def __init__(
        self,
        matched: Matched,
        embedder: Embedder,
        *,
        batch_size: int,
        workers: int,
        keep_pixels: bool,
        cache: PixelCache | None,
    ) -> None:
        self._source, self._names = matched.source, matched.catalogue.paths
        self._embedder, self._cache = embedder, cache
        n = len(self._names)
        self._batch_size, self._workers, self._keep_pixels = batch_size, workers, keep_pixels
        self._shards = [range(i, min(i + SHARD_IMAGES, n)) for i in range(0, n, SHARD_IMAGES)]

    def plan(self) -> Json:
        """Return all that decides the bytes of the shards, except the images' content, which `run` checks itself."""
        return {
            "encoder": self._embedder.fingerprint,
            "batch_size": self._batch_size,
            "shard_images": SHARD_IMAGES,
            "pixels": self._keep_pixels,
            "images": digest_bytes("\n".join(self._names).encode()),
        }

    def run(self, writer: IndexWriter, progress: Progress) -> list[ShardRecord]:
        """Make every missing shard, and return the records of all shards.

        Raises:
            CxrsearchError: the network, a decoding process or the disk failed. Finished shards are kept.
        """
        records = self._find_finished(writer, progress)
        todo = [number for number, record in records.items() if record is None]
        batches = {number: self._split_batches(self._shards[number]) for number in todo}
        # One loader for all shards: its worker processes start once, and load ahead across the end of a shard.
        loaded = load_batches(
            self._source,
            self._names,
            [batch for number in todo for batch in batches[number]],
            self._embedder.spec.preprocess,
            cache=self._cache,
            workers=self._workers,
        )
        done = sum(len(self._shards[number]) for number in records if number not in batches)
        for number in todo:
            shard_batches = _report_batches(islice(loaded, len(batches[number])), done, len(self._names), progress)
            records[number] = self._make(number, shard_batches, writer)
            done += len(self._shards[number])
        if self._cache is not None:
            self._cache.flush()
        return [record for record in records.values() if record is not None]

    def _split_batches(self, rows: range) -> list[range]:
        return [rows[i : i + self._batch_size] for i in range(0, len(rows), self._batch_size)]

    def _find_finished(self, writer: IndexWriter, progress: Progress) -> dict[int, ShardRecord | None]:
        records = {number: writer.read_finished_shard(number) for number in range(len(self._shards))}
        finished = [number for number, record in records.items() if record is not None]
        for done, number in enumerate(finished):
            progress("checking finished shards", done, len(finished))
            if not self._is_unchanged(records[number]):
                records[number] = None
        return records

    def _is_unchanged(self, record: ShardRecord | None) -> bool:
        """Whether the image files are still those of the record. Their sha256 decides: times and sizes may lie."""
        entries = [] if record is None else record.images + record.refused
        with ThreadPoolExecutor() as pool:
            same = pool.map(lambda e: self._source.is_unchanged(self._names[e["row"]], e["source_sha256"]), entries)
            return all(same)

    def _make(self, number: int, loaded: Iterator[_Batch], writer: IndexWriter) -> ShardRecord:
        shard = _OpenShard(iter(self._shards[number]), self._embedder, self._keep_pixels)
        for batch in loaded:
            for image in shard.add(batch):
                if self._cache is not None:
                    self._cache.add(image.stored)
        writer.write_shard(number, shard.record, shard.embeddings, shard.pixels)
        return shard.record


class _OpenShard:
    """A shard to which batches are added. `rows` yields the plan's row of each image."""

    def __init__(self, rows: Iterator[int], embedder: Embedder, keep_pixels: bool) -> None:
        self.record = ShardRecord([], [])
        self.embeddings: list[NDArray[np.float32]] = []
        self.pixels: list[Pixels] = []
        self._rows, self._embedder, self._keep_pixels = rows, embedder, keep_pixels

    def add(self, batch: _Batch) -> list[LoadedImage]:
        """Embed and record a batch, and return the images that were not refused."""
        usable = []
        for row, image in zip(islice(self._rows, len(batch)), batch, strict=True):
            if isinstance(image, RefusedImage):
                self.record.refused.append({"row": row, "source_sha256": image.source_sha256, "reason": image.reason})
            else:
                usable.append(image)
                self.record.images.append({"row": row} | image.stored.facts())
        if usable:
            self.embeddings.append(self._embedder(np.stack([image.network for image in usable]))[0])
        if self._keep_pixels:
            self.pixels += [image.stored.pixels for image in usable]
        return usable


def _report_batches(batches: Iterator[_Batch], done: int, total: int, progress: Progress) -> Iterator[_Batch]:
    progress("embedding", done, total)
    for batch in batches:
        yield batch
        done += len(batch)
        progress("embedding", done, total)
