"""Decode images in a few separate processes, so that a file that crashes or blocks a decoder does no further harm."""

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
"""Longest side, in pixels, of an image that is sent to the page."""
_NAME = "the image"
"""The name of an upload in messages; its file name could identify a patient."""
_PR_SET_PDEATHSIG = 1  # linux/prctl.h

T = TypeVar("T")


@dataclass(frozen=True)
class Picture:
    """An image for the page.

    Attributes:
        png: a grey PNG, its longer side at most `DISPLAY`.
        width: width of the file itself.
        height: height of the file itself.
    """

    png: bytes
    width: int
    height: int

    @classmethod
    def of(cls, pixels: Pixels) -> Self:
        """The picture of decoded pixels, uint8 (height, width)."""
        height, width = pixels.shape
        image = Image.fromarray(pixels)
        image.thumbnail((DISPLAY, DISPLAY), Image.Resampling.BILINEAR)
        return cls(png(image), width, height)


@dataclass(frozen=True)
class Prepared:
    """A decoded upload. `identify` accepts it as a source.

    Attributes:
        stored: stored pixels, uint8 (side, side).
        picture: the picture for the page; None if it was not requested.
        size: width and height of the file itself.
        source_sha256: as in `Radiograph`.
        pixel_sha256: as in `Radiograph`.
        description: as in `Radiograph`.
        tags: as in `Radiograph`.
    """

    stored: Pixels
    picture: Picture | None
    size: tuple[int, int]
    source_sha256: str
    pixel_sha256: str
    description: str
    tags: DicomTags | None


def png(image: Image.Image) -> bytes:
    """An image as PNG, with weak compression because speed matters more than size here."""
    file = io.BytesIO()
    image.save(file, format="PNG", compress_level=1)
    return file.getvalue()


def prepare(data: bytes, side: int, show: bool) -> Prepared:
    """Decode an upload and resize it to stored pixels. Raises ImageError if it cannot be used."""
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
    """Decode the original file of an indexed image. Raises ImageError, also if the file has changed since."""
    radiograph = decode_radiograph(source.read(name), "the original file")
    if sha256 is not None and radiograph.source_sha256 != sha256:
        raise ImageError("the original file is not the one that was indexed", "build the index anew")
    return Picture.of(radiograph.pixels)


class Decoder:
    """A pool of decoding processes; `close` ends them.

    Args:
        workers: number of processes.
        seconds: time limit of one job. A pool with a job that takes longer is replaced.
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
            ImageError: the image cannot be used, or it crashed the process, or took too long.
            RequestError: 503, if a process ended while it worked on several images: any of them may be the cause.
        """
        async with self._places:  # the time limit of a job starts when a process is free for it
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
        await asyncio.gather(*(self.run(_import_decoders) for _ in range(self._workers)))

    def _replace(self, pool: ProcessPoolExecutor) -> None:
        if pool is self._pool:
            self._pool = self._new()
            _end(pool)

    def close(self) -> None:
        """End the processes."""
        _end(self._pool)


def _end(pool: ProcessPoolExecutor) -> None:
    for process in list((pool._processes or {}).values()):  # Python has no public way before 3.14
        process.kill()
    pool.shutdown(wait=True, cancel_futures=True)


def _import_decoders() -> None:
    load_decoders()


def _begin() -> None:
    """Set up a new process: the server handles Ctrl-C, and the process ends with the server."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
