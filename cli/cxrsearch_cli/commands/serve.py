"""`cxrsearch serve`: an index as a page in the browser."""

import logging
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxrsearch.errors import MissingDependencyError
from cxrsearch_cli import console
from cxrsearch_cli.inputs import resolve_index
from cxrsearch_cli.options import Device, IndexOption, with_options

if TYPE_CHECKING:
    from cxrsearch.web.settings import Settings


@dataclass(frozen=True, kw_only=True)
class _Options:
    index: IndexOption = None
    host: Annotated[str, typer.Option(help="The address to listen on. Callers from other machines need the token.")] = (
        "127.0.0.1"
    )
    port: Annotated[
        int, typer.Option(help="The port to listen on; 0 takes a free one.", min=0, max=65535, metavar="N")
    ] = 8000
    token: Annotated[
        str | None,
        typer.Option(
            help="A secret that callers must send, at least 16 characters. Default: none if only this machine can "
            "connect, else a new one, which is shown.",
            envvar="CXRSEARCH_TOKEN",
            show_envvar=True,
        ),
    ] = None
    max_upload: Annotated[
        int, typer.Option("--max-upload", help="Largest upload in MB.", min=1, max=1024, metavar="MB")
    ] = 64
    images: Annotated[
        Path | None,
        typer.Option(
            "--images", help="Where the indexed files are now. Default: where they were when the index was built."
        ),
    ] = None
    device: Device = "auto"


@with_options
def command(options: _Options) -> None:
    """Open an index in the browser: drop an X-ray, see where the network sees its findings, and the nearest cases.

    Needs the extra web. Uploads are not kept. Ctrl-C ends it. The API is described at /api/openapi.json.
    """
    # Before torch is loaded: otherwise its waiting threads spin, which costs others on these cores, and the next
    # answer, more than it gains (docs/RESULTS.md).
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        from cxrsearch.web.server import address_of, listening, server
        from cxrsearch.web.settings import Settings, is_loopback, new_token
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] in ("cxrsearch", "cxrsearch_cli"):
            raise
        raise MissingDependencyError(
            f"the page needs {error.name}, which is not installed", "pip install 'cxrsearch[web]'"
        ) from error
    from cxrsearch.query.index import open_index

    token = options.token
    if token is None and not is_loopback(options.host):
        token = new_token()
    settings = Settings(options.host, options.port, token, options.max_upload * 1_000_000, options.images)
    index = open_index(resolve_index(None, options.index), device=options.device)
    _log_to_stderr()
    with listening(settings) as place:
        address = address_of(place)
        console.note("loading the encoder ...")
        running = server(index, settings, lambda: _announce(address, settings))
        with suppress(KeyboardInterrupt):  # versions of Python and uvicorn differ in whether a signal raises it
            running.run(sockets=[place])
        console.note("stopped")


def _announce(address: str, settings: "Settings") -> None:
    console.note(f"serving at {address}" + (f"?token={settings.token}" if settings.token else ""))
    console.note("research use only, not a medical device; Ctrl-C ends it")


def _log_to_stderr() -> None:
    """One line per request: method, route, status and time, never an id or a name."""

    class _Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            console.note(record.getMessage())

    for name, level in (("cxrsearch.web", logging.INFO), ("uvicorn.error", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.setLevel(level)
        logger.addHandler(_Lines())
        logger.propagate = False
