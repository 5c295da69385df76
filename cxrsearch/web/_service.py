"""An open index behind a server: images are decoded in processes, answers are computed in one thread."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from cxrsearch.analysis.neighbours.typicality import reference_rows
from cxrsearch.analysis.plane.plane import Plane
from cxrsearch.errors import ImageError, RequestError, UsageError
from cxrsearch.files import Json
from cxrsearch.images.preprocess import Pixels
from cxrsearch.images.sources.source_registry import open_source
from cxrsearch.query.answer import QueryResult
from cxrsearch.query.answer_sheet import query_sheet
from cxrsearch.query.embedded import Embedded
from cxrsearch.query.identity import copies_of
from cxrsearch.query.index import Index
from cxrsearch.query.maps import FindingMaps
from cxrsearch.query.options import QueryOptions
from cxrsearch.store.filtered_search import Filters
from cxrsearch.web._batching import Batcher
from cxrsearch.web._decoding import Decoder, Picture, Prepared, original, png, prepare
from cxrsearch.web._page_data import PageData, of_similarity, picture_of
from cxrsearch.web._upload import Upload
from cxrsearch.web.settings import Settings

PLANE_ROWS = 20_000
"""The embedding map is fitted on at most this many images, drawn without replacement (seed 0)."""
_DECODERS = 2


class Service:
    """Answers the requests of the routes. Call `start` first, and `close` at the end.

    Args:
        index: an open index.
        settings: the server's settings.
    """

    def __init__(self, index: Index, settings: Settings) -> None:
        self.index, self.settings = index, settings
        self._source = open_source(settings.images_root or index.manifest.images_root or ".")
        self.views = PageData(index, self._source, _plane(index), settings.upload_bytes)
        self.map = self.views.of_map()
        self._order = np.random.default_rng(0).permutation(len(index))
        self._inside = 0

    async def start(self) -> None:
        """Load the encoder, open the search structure and start the processes, so that no query waits for them."""
        self._decoder = Decoder(_DECODERS, self.settings.decode_seconds)
        self.batcher: Batcher[Pixels, Embedded] = Batcher(self.index.embed, wait=0.008)
        await asyncio.gather(self._decoder.warm(), self.look_row(0, QueryOptions()))

    async def close(self) -> None:
        """Stop the thread and the processes that `start` started."""
        await self.batcher.close()
        self._decoder.close()

    @asynccontextmanager
    async def admitted(self) -> AsyncIterator[None]:
        """Admit a request until it is answered. Raises RequestError, 503, if too many are being answered."""
        if self._inside >= self.settings.waiting:
            raise RequestError(503, f"{self._inside} requests are being answered", "try again in a few seconds")
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1

    async def answer(self, upload: Upload, options: QueryOptions) -> QueryResult:
        """The answer to an upload, the same as `Index.query` gives for the file."""
        return (await self._query(upload, options, show=False))[1]

    async def look(self, upload: Upload, options: QueryOptions) -> Json:
        """Everything that the page shows about an upload, including its copies in the index."""
        prepared, answer, embedded = await self._query(upload, options, show=True)
        maps = await self.batcher.run(self._maps, embedded)
        assert prepared.picture is not None
        more = {
            "picture": self.views.of_picture(prepared.picture, prepared.description),
            "indexed": self._images(np.flatnonzero(copies_of(self.index.stored, prepared))),
        }
        return self.views.of_answer(answer, self.views.place(embedded.embedding)[0], maps) | more

    async def look_row(self, row: int, options: QueryOptions) -> Json:
        """Everything that the page shows about an indexed image."""
        answer = await self.batcher.run(self.index.answer_row, self.require_row(row), options)
        maps = await self.batcher.run(self._maps, answer.embedded)
        return self.views.of_answer(answer, self.views.places([row])[0], maps) | {"own": self.views.of_image(row)}

    async def similarity(self, upload: Upload, row: int) -> Json:
        """The heat maps of what makes an upload and an indexed image alike."""
        prepared = await self._prepare(upload, show=False)
        maps = await self.batcher.run(self.index.similarity_maps, prepared.stored, self.require_row(row))
        return of_similarity(*maps)

    async def similarity_row(self, row: int, other: int) -> Json:
        """The heat maps of what makes two indexed images alike."""
        pixels = self.stored_pixels(row)
        return of_similarity(*await self.batcher.run(self.index.similarity_maps, pixels, self.require_row(other)))

    async def sheet(self, answer: QueryResult) -> bytes:
        """The contact sheet of an answer, as PNG."""
        return await self.batcher.run(lambda: png(query_sheet(self.index, answer)))

    async def answer_row(self, row: int, options: QueryOptions) -> QueryResult:
        """The answer to a query with an indexed image."""
        return await self.batcher.run(self.index.answer_row, self.require_row(row), options)

    async def original(self, row: int) -> Picture:
        """The original file of an indexed image. Raises RequestError, 404, with the reason if it is not available."""
        name = self.views.original_name(self.require_row(row))
        if name is None:
            raise RequestError(404, "the original file is not where the index looks for it", "start with --images DIR")
        digest = self.index.stored.files["source_sha256"].iloc[row]
        try:
            return await self._decoder.run(original, self._source, name, digest if isinstance(digest, str) else None)
        except ImageError as error:
            raise RequestError(404, error.problem, error.fix) from None

    def picture(self, row: int) -> bytes:
        """The stored pixels of an indexed image, as PNG."""
        return picture_of(self.stored_pixels(row))

    def stored_pixels(self, row: int) -> Pixels:
        """The stored pixels of an indexed image. Raises RequestError, 404, if the index keeps none."""
        pixels = self.index.stored_pixels(self.require_row(row))
        if pixels is None:
            raise RequestError(404, "this index keeps no pixels", "build it without --no-pixels")
        return pixels

    def browse(self, filters: Filters, offset: int, limit: int) -> Json:
        """Indexed images in a random but fixed order, so that the first ones are a random sample."""
        allowed = filters.rows(self.index.catalogue)
        rows = self._order if allowed is None else self._order[allowed[self._order]]
        return {"total": len(rows), "images": self._images(rows[offset : offset + limit])}

    def named(self, image: str) -> Json:
        """The indexed images with this id: none, one, or several if the table has the id more than once."""
        rows = np.flatnonzero(self.index.catalogue.frame["id"].eq(image).to_numpy(dtype=bool))
        return {"total": len(rows), "images": self._images(rows)}

    def require_row(self, row: int) -> int:
        """Return the row; raise RequestError, 404, if there is no such row."""
        if not 0 <= row < len(self.index):
            raise RequestError(404, f"no image {row} in an index of {len(self.index)}", "take a row of /api/images")
        return row

    def _images(self, rows: NDArray[np.int64] | Sequence[int]) -> list[Json]:
        return [self.views.of_image(int(row)) for row in rows]

    async def _query(
        self, upload: Upload, options: QueryOptions, *, show: bool
    ) -> tuple[Prepared, QueryResult, Embedded]:
        options.filters.rows(self.index.catalogue)  # refuses an unknown filter before the work
        prepared = await self._prepare(upload, show=show)
        embedded = await self.batcher.submit(prepared.stored)
        name = PurePosixPath(upload.name)  # pure: `identify` must not look for a file of this name
        answer = await self.batcher.run(self.index.answer, upload.name, name, prepared, embedded, options)
        return prepared, answer, embedded

    async def _prepare(self, upload: Upload, *, show: bool) -> Prepared:
        return await self._decoder.run(prepare, upload.data, self.index.preprocess.pixel_side, show)

    def _maps(self, embedded: Embedded) -> FindingMaps | None:
        return None if embedded.activations is None else self.index.finding_maps(embedded)


def _plane(index: Index) -> Plane | None:
    from cxrsearch_indexes.vectors import Vectors

    vectors = index.stored.vectors
    if vectors.n > PLANE_ROWS:
        vectors = Vectors([vectors.take(reference_rows(vectors.n, 0, PLANE_ROWS))])
    try:
        return Plane.fit(vectors, unit=index.manifest.metric == "cosine")
    except UsageError:
        return None
