"""Serve the application with uvicorn: open a socket, and limit how long the head of a request may take."""

import asyncio
import socket
from collections.abc import Callable

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from cxrsearch.errors import UsageError
from cxrsearch.query.index import Index
from cxrsearch.web._app import make_app
from cxrsearch.web.settings import Settings

_HEAD_BYTES = 16_384
_KEEP_ALIVE_SECONDS = 15
_FINISH_SECONDS = 5
_TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


def listening(settings: Settings) -> socket.socket:
    """Open a socket that is bound to the settings' host and port. Raises UsageError if that fails."""
    try:
        family, *_, address = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0]
        opened = socket.socket(family, socket.SOCK_STREAM)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            opened.bind(address)
        except OSError:
            opened.close()
            raise
    except OSError as error:
        where = f"{settings.host}:{settings.port}"
        raise UsageError(f"cannot listen at {where}: {error.strerror}", "give another --host or --port") from error
    return opened


def address_of(opened: socket.socket) -> str:
    """The URL of the page for a browser."""
    host, port = opened.getsockname()[:2]
    name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{name}:{port}/"


def server(index: Index, settings: Settings, ready: Callable[[], None] = lambda: None) -> uvicorn.Server:
    """Make a server, to be run on a socket of `listening`.

    Args:
        index: an open index.
        settings: where it listens, and its limits.
        ready: called when it answers requests.
    """
    config = uvicorn.Config(
        make_app(index, settings),
        http=_protocol(settings.header_seconds),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        h11_max_incomplete_event_size=_HEAD_BYTES,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_FINISH_SECONDS,
    )
    return _Server(config, ready)


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()


def _protocol(seconds: float) -> type[asyncio.Protocol]:
    """uvicorn's protocol with a time limit for the head of a request; a late connection is closed with status 408."""

    class Timed(H11Protocol):
        _clock: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self.access_log = False  # else full paths reach any handler of the root logger
            self._watch()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._watch()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop()
            super().connection_lost(exc)

        def _watch(self) -> None:
            if self.conn.their_state is not h11.IDLE:
                self._stop()
            elif self._clock is None:  # started once per request: further bytes do not restart it
                self._clock = self.loop.call_later(seconds, self._end)

        def _stop(self) -> None:
            if self._clock is not None:
                self._clock.cancel()
                self._clock = None

        def _end(self) -> None:
            if not self.transport.is_closing():
                self.transport.write(_TOO_SLOW)
                self.transport.close()

    return Timed
