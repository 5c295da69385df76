"""Decoding in processes of its own, a few at a time: a file that breaks a decoder, or keeps it busy, breaks no more."""

import asyncio
import ctypes
import io
import multiprocessing
import signal
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Self, TypeVar

from PIL import Image

from cxrsearch.errors import ImageError, RequestError
from cxrsearch.images.dicom_tags import DicomTags
from cxrsearch.images.preprocess import Pixels, resize
from cxrsearch.images.radiograph import decode_radiograph, load_decoders
from cxrsearch.images.sources.source import ImageSource

DISPLAY = 1536
"""Longer side, at most, of an image that is sent to be looked at."""
_NAME = "the image"
"""What messages call an upload: its own name can be a patient's."""
_PR_SET_PDEATHSIG = 1  # linux/prctl.h

T = TypeVar("T")


@dataclass(frozen=True)
class Picture:
    """An image to be looked at.

    Attributes:
        png: grey, its longer side at most `DISPLAY`.
        width, height: of the file itself.
    """

    png: bytes
    width: int
    height: int

    @classmethod
    def of(cls, pixels: Pixels) -> Self:
        """Of decoded pixels, uint8 (height, width)."""
        height, width = pixels.shape
        image = Image.fromarray(pixels)
        image.thumbnail((DISPLAY, DISPLAY), Image.Resampling.BILINEAR)
        return cls(png(image), width, height)


@dataclass(frozen=True)
class Prepared:
    """A decoded upload; what `identify` takes as a source.

    Attributes:
        stored: uint8 (side, side), as an index keeps it.
        picture: to be looked at; None where it was not asked for.
        size: width and height of the file itself.
        source_sha256, pixel_sha256, description, tags: as `Radiograph` has them.
    """

    stored: Pixels
    picture: Picture | None
    size: tuple[int, int]
    source_sha256: str
    pixel_sha256: str
    description: str
    tags: DicomTags | None


def png(image: Image.Image) -> bytes:
    """An image as PNG; fast rather than small."""
    file = io.BytesIO()
    image.save(file, format="PNG", compress_level=1)
    return file.getvalue()


def prepare(data: bytes, side: int, show: bool) -> Prepared:
    """Decode an upload and bring it to stored pixels. Raises ImageError."""
    radiograph = decode_radiograph(data, _NAME)
    return Prepared(
        resize(radiograph.pixels, side),
        Picture.of(radiograph.pixels) if show else None,
        radiograph.size,
        radiograph.source_sha256,
        radiograph.pixel_sha256,
        radiograph.description,
        radiograph.tags,
    )


def original(source: ImageSource, name: str, sha256: str | None) -> Picture:
    """An indexed image's own file. Raises ImageError, also where it is not the file that was indexed."""
    radiograph = decode_radiograph(source.read(name), "the original file")
    if sha256 is not None and radiograph.source_sha256 != sha256:
        raise ImageError("the original file is not the one that was indexed", "build the index anew")
    return Picture.of(radiograph.pixels)


class Decoder:
    """A pool of decoding processes; `close` ends them.

    Args:
        workers: processes.
        seconds: for one job; a pool with a job that takes longer is replaced.
    """

    def __init__(self, workers: int, seconds: float) -> None:
        self._workers, self._seconds = workers, seconds
        self._pool = self._new()
        self._places = asyncio.Semaphore(workers)
        self._inside = 0

    def _new(self) -> ProcessPoolExecutor:
        context = multiprocessing.get_context("spawn")  # threads of torch do not survive a fork
        return ProcessPoolExecutor(self._workers, context, initializer=_begin)

    async def run(self, job: Callable[..., T], *arguments: object) -> T:
        """Run a job in a process.

        Raises:
            ImageError: the image cannot be used; also one that ended the process, or took too long.
            RequestError: 503, where a process ended while several images were in work: nobody knows whose fault it was.
        """
        async with self._places:  # so that the clock of a job starts when a process is free for it
            self._inside += 1
            try:
                return await self._run(self._pool, job, *arguments)
            finally:
                self._inside -= 1

    async def _run(self, pool: ProcessPoolExecutor, job: Callable[..., T], *arguments: object) -> T:
        try:
            async with asyncio.timeout(self._seconds):
                return await asyncio.get_running_loop().run_in_executor(pool, job, *arguments)
        except TimeoutError:
            self._replace(pool)
            problem = f"{_NAME} was not decoded within {self._seconds:g} seconds"
            raise ImageError(problem, "save it in another format") from None
        except BrokenProcessPool:
            alone = self._inside == 1 and pool is self._pool
            self._replace(pool)
            if not alone:
                raise RequestError(503, "decoding was interrupted", "send the image again") from None
            raise ImageError(f"{_NAME} ended the decoder", "save it in another format") from None

    async def warm(self) -> None:
        """Start the processes, and let each import what decoding needs."""
        await asyncio.gather(*(self.run(_imported) for _ in range(self._workers)))

    def _replace(self, pool: ProcessPoolExecutor) -> None:
        if pool is self._pool:
            self._pool = self._new()
            _end(pool)

    def close(self) -> None:
        """End the processes."""
        _end(self._pool)


def _end(pool: ProcessPoolExecutor) -> None:
    for process in list((pool._processes or {}).values()):  # there is no public way until Python 3.14
        process.kill()
    pool.shutdown(wait=True, cancel_futures=True)


def _imported() -> None:
    load_decoders()


def _begin() -> None:
    """In a new process: Ctrl-C is the server's affair, and the process ends when the server does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
