"""A small index behind a real server, in a thread."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from cxrsearch.query import Index, open_index
from cxrsearch.web.server import address_of, listening, server
from cxrsearch.web.settings import Settings


@pytest.fixture(scope="session")
def index(trained_index: Path) -> Index:
    return open_index(trained_index, device="cpu")


@dataclass(frozen=True)
class Served:
    """A server that runs in a thread."""

    address: str
    port: int

    def healthy_within(self, seconds: float) -> bool:
        started = time.monotonic()
        answer = httpx.get(f"{self.address}health", timeout=10)
        return answer.json() == {"status": "ok"} and time.monotonic() - started < seconds


@contextmanager
def served(index: Index, settings: Settings) -> Iterator[Served]:
    ready = threading.Event()
    settings = replace(settings, port=0)
    with listening(settings) as place:
        running = server(index, settings, ready.set)
        thread = threading.Thread(target=running.run, args=([place],), daemon=True)
        thread.start()
        assert ready.wait(60)
        try:
            yield Served(address_of(place), place.getsockname()[1])
        finally:
            running.should_exit = True
            thread.join(30)
            assert not thread.is_alive()


@contextmanager
def client_of(index: Index, **settings: Any) -> Iterator[httpx.Client]:
    """A client of a server with these settings."""
    with served(index, Settings(**settings)) as running, httpx.Client(base_url=running.address, timeout=60) as client:
        yield client


@pytest.fixture(scope="session")
def client(index: Index) -> Iterator[httpx.Client]:
    with client_of(index) as made:
        yield made
