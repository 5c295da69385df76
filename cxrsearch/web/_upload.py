"""Read an upload: its bytes are counted as they arrive, held in memory, and never written to a disk."""

import asyncio
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from cxrsearch.errors import RequestError
from cxrsearch.web.settings import Settings
from cxrsearch.words import printable

MOST_FIELDS = 16
FIELD_BYTES = 4096
_DRAINED = 4
"""A body over the limit is read on and discarded, up to this many times the limit, before it is refused. A client that
is cut off while it sends often never reads the answer."""
_DRAIN_SECONDS = 3.0
_NAME_CHARACTERS = 200


@dataclass(frozen=True)
class Upload:
    """An uploaded file and the other fields of its form.

    Attributes:
        data: the file's bytes.
        name: the client's name for it, without folders and unprintable characters; never a path of this machine.
        fields: the other fields, as text.
    """

    data: bytes
    name: str
    fields: dict[str, str]


async def read_upload(request: Request, settings: Settings) -> Upload:
    """Read a multipart body with one file named `file`.

    Raises:
        RequestError: 413 too many bytes, 408 too slow, 415 not multipart, 400 not exactly one file.
    """
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise RequestError(415, "the body is not multipart/form-data", "send the image as its part `file`")
    try:
        async with asyncio.timeout(settings.body_seconds):
            return await _parse(request, settings.upload_bytes)
    except TimeoutError:
        problem = f"the body did not arrive within {settings.body_seconds:g} seconds"
        raise RequestError(408, problem, "try again on a faster connection") from None
    except MultiPartException as error:
        raise RequestError(400, f"the form cannot be read: {printable(error.message)}", "send one file") from None
    except ClientDisconnect:
        raise RequestError(400, "the client disconnected before its body was complete", "send it again") from None


async def read_small(request: Request, most: int = FIELD_BYTES) -> bytes:
    """Read a body of at most `most` bytes. Raises RequestError, 413, if it is larger."""
    return b"".join([chunk async for chunk in _count(request, most)])


class _InMemory(MultiPartParser):
    """Keeps a file of any length in memory, never on a disk; `_count` has already limited it."""

    spool_max_size = 2**62


async def _parse(request: Request, most: int) -> Upload:
    stream = _count(request, most)
    parser = _InMemory(request.headers, stream, max_files=1, max_fields=MOST_FIELDS, max_part_size=FIELD_BYTES)
    try:
        form = await parser.parse()
        file = form.get("file")
        if not isinstance(file, UploadFile):
            raise RequestError(400, "the form has no file named `file`", "send the image as its part `file`")
        data = await file.read()
        fields = [(name, value) for name, value in form.multi_items() if isinstance(value, str)]
    finally:
        for part in parser._files_to_close_on_error:  # an incomplete part is in no form, so it is closed here
            part.close()
    if len(dict(fields)) != len(fields):
        raise RequestError(400, "a form with the same field twice", "give each field once")
    return Upload(data, base_name(file.filename or ""), dict(fields))


async def _count(request: Request, most: int) -> AsyncGenerator[bytes, None]:
    """Pass the body's chunks on and count them. Content-Length is not trusted."""
    read = 0
    stream = request.stream()
    async for chunk in stream:
        read += len(chunk)
        if read > most:
            await _drain(stream, _DRAINED * most)
            problem = f"the upload exceeds the limit of {most / 1e6:g} MB"
            raise RequestError(413, problem, "send a smaller file, or start the server with a higher --max-upload")
        yield chunk


async def _drain(stream: AsyncGenerator[bytes, None], most: int) -> None:
    until = time.monotonic() + _DRAIN_SECONDS
    try:
        async with asyncio.timeout(_DRAIN_SECONDS):
            async for chunk in stream:
                most -= len(chunk)
                if most < 0 or time.monotonic() > until:
                    return
    except TimeoutError:
        return


def base_name(name: str) -> str:
    """A client's file name in a form that is safe to show: its last part, on one line, at most 200 characters."""
    last = printable(name.replace("\\", "/").rpartition("/")[2])
    return last[-_NAME_CHARACTERS:] if last.strip(". ") else "upload"
