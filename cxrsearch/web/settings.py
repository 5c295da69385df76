"""How the server is run, and what it lets in."""

import ipaddress
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path

from cxrsearch.errors import UsageError

FEWEST_TOKEN_CHARACTERS = 16


@dataclass(frozen=True)
class Settings:
    """Where the server listens and its limits; checked as it is made.

    Attributes:
        host, port: where it listens; port 0 takes a free one.
        token: what a caller must know; None only where this machine alone can reach the server.
        upload_bytes: of a request's body, counted as it is read.
        images_root: where the indexed files lie now; None: where they lay when the index was built.
        body_seconds: for a whole body to arrive.
        header_seconds: for the head of a request to arrive.
        decode_seconds: for one file to be decoded.
        waiting: requests that may be uploading, decoding or computing at once; further ones are told to come again.

    Raises:
        UsageError: values that cannot be meant, or a server that others reach without a token.
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
            raise UsageError(f"a server that cannot be meant: {got}", "use a port up to 65535 and limits above 0")
        if self.token is None and not is_loopback(self.host):
            raise UsageError(f"a server at {self.host} without a token", "others can reach it: give a token")
        if self.token is not None and (len(self.token) < FEWEST_TOKEN_CHARACTERS or not _plain(self.token)):
            fix = f"use {FEWEST_TOKEN_CHARACTERS} or more letters, digits, - and _"
            raise UsageError("a token that could be guessed, or not be sent", fix)


def _plain(token: str) -> bool:
    return token.isascii() and all(letter.isalnum() or letter in "-_" for letter in token)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server that listens there."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def new_token() -> str:
    """A token nobody guesses."""
    return secrets.token_urlsafe(24)


def is_meant(host: str, settings: Settings) -> bool:
    """Whether a Host header names this server: an address, or a name that is known to be its own.

    A page elsewhere whose own name was made to point here (DNS rebinding) sends that name, which is refused. Ports are
    not compared: a tunnel has another one.
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
