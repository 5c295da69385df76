"""Where the server listens, and its limits."""

import ipaddress
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path

from cxrsearch.errors import UsageError

FEWEST_TOKEN_CHARACTERS = 16


@dataclass(frozen=True)
class Settings:
    """Where the server listens, and its limits. They are checked when the object is made.

    Attributes:
        host: name or address where it listens.
        port: port where it listens; 0: a free one.
        token: the token that callers must send. None is allowed only if no other machine can reach the server.
        upload_bytes: limit of a request's body in bytes, counted while it is read.
        images_root: folder of the indexed files; None: where they were when the index was built.
        body_seconds: time limit for a whole body to arrive.
        header_seconds: time limit for the head of a request to arrive.
        decode_seconds: time limit for decoding one file.
        waiting: requests that may upload, decode or compute at once. Further ones are refused with status 503.

    Raises:
        UsageError: invalid values, or a server that others can reach without a token.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = None
    upload_bytes: int = 64_000_000
    images_root: Path | None = None
    body_seconds: float = 60.0
    header_seconds: float = 10.0
    decode_seconds: float = 20.0
    waiting: int = 16

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535 or self.upload_bytes < 1 or self.waiting < 1:
            got = f"port {self.port}, {self.upload_bytes} bytes, {self.waiting} requests"
            raise UsageError(f"invalid server settings: {got}", "use a port up to 65535 and limits above 0")
        if self.token is None and not is_loopback(self.host):
            raise UsageError(f"a server at {self.host} without a token", "others can reach it: give a token")
        if self.token is not None and (len(self.token) < FEWEST_TOKEN_CHARACTERS or not _plain(self.token)):
            fix = f"use {FEWEST_TOKEN_CHARACTERS} or more letters, digits, - and _"
            raise UsageError("the token is too easy to guess, or cannot be sent", fix)


def _plain(token: str) -> bool:
    return token.isascii() and all(letter.isalnum() or letter in "-_" for letter in token)


def is_loopback(host: str) -> bool:
    """Whether a server at this host can be reached only from this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def new_token() -> str:
    """A random token of 24 bytes, safe in a URL."""
    return secrets.token_urlsafe(24)


def names_this_server(host: str, settings: Settings) -> bool:
    """Whether a Host header names this server: by an address, or by a name that belongs to it.

    This stops DNS rebinding: a foreign page whose name was made to point here sends that name, which is refused. Ports
    are not compared, because a tunnel has another one.
    """
    name = _without_port(host)
    if name in ("localhost", settings.host.lower()):
        return True
    try:
        address = ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return not is_loopback(settings.host) and name == socket.gethostname().lower()
    return address.is_loopback or not is_loopback(settings.host)


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isdigit() else host).lower()
