"""`cxrsearch serve`: an index as a page in the browser."""

import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxrsearch.errors import MissingDependencyError
from cxrsearch_cli import console
from cxrsearch_cli.options import Device, IndexOption, index_folder

if TYPE_CHECKING:
    from cxrsearch.web.settings import Settings

_Host = Annotated[str, typer.Option(help="Where to listen. Others than this machine need the token.")]
_Port = Annotated[int, typer.Option(help="0 takes a free one.", min=0, max=65535)]
_Token = Annotated[
    str | None,
    typer.Option(
        help="What a caller must know, 16 characters or more. Default: none on this machine, else one that is made up "
        "and shown.",
        envvar="CXRSEARCH_TOKEN",
        show_envvar=True,
    ),
]
_Upload = Annotated[int, typer.Option("--max-upload", help="MB that an upload may have.", min=1, max=1024)]
_Images = Annotated[
    Path | None,
    typer.Option("--images", help="Where the indexed files lie now. Default: where they lay when it was built."),
]


def command(
    index: IndexOption = None,
    host: _Host = "127.0.0.1",
    port: _Port = 8000,
    token: _Token = None,
    max_upload: _Upload = 64,
    images: _Images = None,
    device: Device = "auto",
) -> None:
    """Look at an index in the browser: drop an X-ray, see where findings are believed to be, and the nearest cases.

    Needs the extra `web`. Uploads are not kept. Ctrl-C ends it. The API is described at /api/openapi.json.
    """
    # Before torch is loaded: its threads else spin while they wait, which costs whoever shares the cores, and the next
    # answer, more than they gain (docs/RESULTS.md).
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

    if token is None and not is_loopback(host):
        token = new_token()
    settings = Settings(host, port, token, max_upload * 1_000_000, images)
    opened = open_index(index_folder(None, index), device=device)
    _log_to_stderr()
    with listening(settings) as place:
        address = address_of(place)
        console.note("loading the encoder ...")
        running = server(opened, settings, lambda: _announce(address, settings))
        with suppress(KeyboardInterrupt):  # whether a signal ends as one depends on the versions of Python and uvicorn
            running.run(sockets=[place])
        console.note("stopped")


def _announce(address: str, settings: "Settings") -> None:
    console.note(f"serving at {address}" + (f"?token={settings.token}" if settings.token else ""))
    console.note("research use only, not a medical device; Ctrl-C ends it")


def _log_to_stderr() -> None:
    """One line a request: method, route, status and time, never an id or a name."""

    class _Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            console.note(record.getMessage())

    for name, level in (("cxrsearch.web", logging.INFO), ("uvicorn.error", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.setLevel(level)
        logger.addHandler(_Lines())
        logger.propagate = False
