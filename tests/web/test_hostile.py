"""Hostile requests get the right answer, and meanwhile the server answers others."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress

import httpx
import pytest

from cxrsearch.query.index import Index
from cxrsearch.web.settings import Settings
from tests.conftest import DataSet
from tests.web.conftest import Served
from tests.web.conftest import served as serving

LIMIT = 200_000
SLOW = 1.5
BOUNDARY = "b"
HEAD = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'.encode()


@pytest.fixture(scope="module")
def server(index: Index) -> Iterator[Served]:
    settings = Settings(upload_bytes=LIMIT, body_seconds=SLOW, header_seconds=SLOW, waiting=4)
    with serving(index, settings) as running:
        yield running


def connected(server: Served) -> socket.socket:
    made = socket.create_connection(("127.0.0.1", server.port), timeout=20)
    made.settimeout(20)
    return made


def start(length: str, path: str = "/api/query", host: str = "127.0.0.1") -> bytes:
    kind = f"multipart/form-data; boundary={BOUNDARY}"
    return f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: {kind}\r\n{length}\r\n\r\n".encode()


def status(made: socket.socket) -> int:
    line = b""
    while b"\r\n" not in line:
        received = made.recv(4096)
        if not received:
            break
        line += received
    return int(line.split()[1]) if line else 0


def multipart(*parts: tuple[str, bytes]) -> bytes:
    body = b"".join(
        f"--{BOUNDARY}\r\nContent-Disposition: form-data; {head}\r\n\r\n".encode() + data + b"\r\n"
        for head, data in parts
    )
    return body + f"--{BOUNDARY}--\r\n".encode()


def posted(server: Served, body: bytes) -> httpx.Response:
    headers = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}
    return httpx.post(f"{server.address}api/query", content=body, headers=headers, timeout=30)


def test_an_upload_that_is_too_large(server: Served) -> None:
    answer = posted(server, multipart(('name="file"; filename="a.png"', b"x" * LIMIT)))
    assert answer.status_code == 413
    assert "0.2 MB" in answer.json()["error"]
    assert server.healthy_within(1)


def test_a_body_without_end(server: Served) -> None:
    """Chunks, one after another, without a length: it is told once it has sent too much."""
    with closing(connected(server)) as made:
        made.sendall(start("Transfer-Encoding: chunked") + f"{len(HEAD):x}\r\n".encode() + HEAD + b"\r\n")
        stop = threading.Event()

        def endless() -> None:
            with suppress(OSError):
                while not stop.is_set():
                    made.sendall(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
                    time.sleep(0.005)

        thread = threading.Thread(target=endless)
        thread.start()
        try:
            assert server.healthy_within(1)
            assert status(made) == 413
        finally:
            stop.set()
            thread.join()


def test_a_length_that_lies(server: Served) -> None:
    with closing(connected(server)) as made:  # says little, sends much: what is beyond is no part of the request
        made.sendall(start("Content-Length: 10") + HEAD + b"x" * 1000)
        assert status(made) == 400
    with closing(connected(server)) as made:  # says much, sends little
        made.sendall(start(f"Content-Length: {LIMIT - 1}") + HEAD)
        assert status(made) == 408
    with closing(connected(server)) as made:
        made.sendall(start("Content-Length: -5") + HEAD)
        assert status(made) == 400
    assert server.healthy_within(1)


def test_ten_thousand_parts(server: Served) -> None:
    fields = [(f'name="f{number}"', b"") for number in range(3000)]
    files = [('name="file"; filename="a"', b"") for _ in range(2000)]
    for parts in (fields, files):
        assert posted(server, multipart(*parts)).status_code == 400
    many = [('name="a"', b"")] * 10_000
    assert posted(server, multipart(*many)).status_code in (400, 413)
    assert server.healthy_within(1)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"--b",
        b"no form at all",
        HEAD + b"without an end",
        multipart(('name="other"; filename="a.png"', b"x")),
        multipart(('name="file"', b"no file name")),
        multipart(('filename="a.png"', b"x")),
        multipart(('name="k"', b"9" * 5000)),
        multipart(('name="file"; filename="a.png"', b"x"), ('name="k"', b"1"), ('name="k"', b"2")),
        multipart(('name="file"; filename="a.png"', b"x"), ('name="nonsense"', b"1")),
    ],
)
def test_forms_that_are_none(server: Served, body: bytes) -> None:
    answer = posted(server, body)
    assert answer.status_code == 400, answer.text
    assert "\n" not in answer.json()["error"]


def test_another_kind_of_body(server: Served) -> None:
    answer = httpx.post(f"{server.address}api/query", json={"file": "/etc/passwd"})
    assert answer.status_code == 415


@pytest.mark.parametrize(
    "data", [b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff" + b"\0" * 500, b"\0" * 128 + b"DICM" + b"x"]
)
def test_files_that_are_no_images(server: Served, data: bytes) -> None:
    answer = posted(server, multipart(('name="file"; filename="a.png"', data)))
    assert answer.status_code == 422
    assert answer.json()["error"].startswith("the image ")


@pytest.mark.parametrize(
    "path",
    [
        "/../../etc/passwd",
        "/static/../app.py",
        "/static/..%2f..%2fetc%2fpasswd",
        "/static/%2e%2e/%2e%2e/etc/passwd",
        "/static/app.js%00.png",
        "/api/images/0%00/pixels",
        "/api/images/../../index",
        "/api/images/-1/pixels",
        "/api/images/10/pixels",
        "/api/images/99999999999999999999/pixels",
        "/api/images/0/similarity/10",
        "/api/images?age=4",
        "/api/images?limit=1000",
        "/api/images?offset=-1",
        "/api/images?path=/etc/passwd",
        "/api/images/0/look?k=0",
        "/api/images/0/look?k=100000",
        "/api/images/0/look?vote=mlknn",
        "/api/images/0/look?alarm=nan",
        "/api/images/0/look?with=Nonsense",
        "/api/nothing",
    ],
)
def test_addresses_that_lead_nowhere(server: Served, path: str) -> None:
    with closing(connected(server)) as made:  # by hand: a client would tidy the path
        made.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
        assert status(made) in (400, 404)


def test_bytes_that_are_no_request(server: Served) -> None:
    for sent in (b"GET /\0 HTTP/1.1\r\nHost: localhost\r\n\r\n", b"\x16\x03\x01\x02\x00", b"GET / HTTP/1.1\r\n\r\n"):
        with closing(connected(server)) as made:
            made.sendall(sent + b"\r\n\r\n")
            assert 400 <= status(made) < 500
    with closing(connected(server)) as made:
        made.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 40_000)
        assert status(made) in (0, 400, 431)
    assert server.healthy_within(1)


def test_another_host(server: Served) -> None:
    with closing(connected(server)) as made:
        made.sendall(b"GET /api/index HTTP/1.1\r\nHost: evil.example\r\n\r\n")
        assert status(made) == 421


def test_slow_clients(server: Served) -> None:
    """Some never finish the head of their request, some never its body; all are ended, and hinder nobody."""
    heads = [connected(server) for _ in range(20)]
    bodies = [connected(server) for _ in range(3)]
    for made in heads:
        made.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-")
    for made in bodies:
        made.sendall(start("Content-Length: 5000") + HEAD)
    try:
        assert server.healthy_within(1)
        for _ in range(3):  # a byte now and then buys no time
            time.sleep(SLOW / 4)
            for made in heads:
                made.sendall(b"a")
        started = time.monotonic()
        assert [status(made) for made in heads] == [408] * 20
        assert [status(made) for made in bodies] == [408] * 3
        assert time.monotonic() - started < 2 * SLOW
    finally:
        for made in heads + bodies:
            made.close()
    assert server.healthy_within(1)


def test_too_many_at_once_are_told_to_come_again(server: Served, data_set: DataSet) -> None:
    bodies = [connected(server) for _ in range(4)]
    for made in bodies:
        made.sendall(start("Content-Length: 5000") + HEAD)
    time.sleep(0.2)
    file = (data_set.images / "00.png").read_bytes()
    whole = multipart(('name="file"; filename="a.png"', file))
    try:
        assert posted(server, whole).status_code == 503
        assert server.healthy_within(1)
        assert [status(made) for made in bodies] == [408] * 4
    finally:
        for made in bodies:
            made.close()
    assert posted(server, whole).status_code == 200
