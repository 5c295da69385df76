"""Who is let in, what every answer carries, what is logged and what is kept."""

import io
import logging
import tempfile
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from cxrsearch.errors import UsageError
from cxrsearch.query.index import Index
from cxrsearch.web._upload import base_name
from cxrsearch.web.settings import Settings
from tests.conftest import DataSet
from tests.web.conftest import client_of, write_dicom

TOKEN = "a-token-of-some-length"


def noise(side: int = 64) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (side, side), dtype=np.uint8)).save(file, format="PNG")
    return file.getvalue()


@pytest.mark.parametrize("path", ["/", "/health", "/static/app.js", "/api/index", "/api/nothing", "/nowhere"])
def test_every_answer_carries_the_policy(client: httpx.Client, path: str) -> None:
    headers = client.get(path).headers
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'; style-src 'self'")
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"
    assert "server" not in headers


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost", "localhost:9000", "[::1]:8000"])
def test_own_names_are_let_in(client: httpx.Client, host: str) -> None:
    assert client.get("/health", headers={"host": host}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "localhost.evil.example", "10.0.0.1", "[", ""])
def test_other_names_are_not(client: httpx.Client, host: str) -> None:
    """A page at evil.example whose name was made to point here sends its own name (DNS rebinding)."""
    assert client.get("/api/index", headers={"host": host}).status_code == 421


def test_other_sites_cannot_ask(client: httpx.Client) -> None:
    own, other = str(client.base_url).rstrip("/"), "http://evil.example"
    files = {"file": ("a.png", noise())}
    assert client.post("/api/query", files=files, headers={"origin": own}).status_code == 200
    for origin in (other, "null", "http://127.0.0.1:1"):
        assert client.post("/api/query", files=files, headers={"origin": origin}).status_code == 403
    ours = {"origin": "null", "sec-fetch-site": "same-origin"}  # a form under the policy no-referrer
    assert client.post("/token", data={"token": "x"}, headers=ours, follow_redirects=False).status_code == 303
    assert client.post("/token", data={"token": "x"}, headers={"origin": "null"}).status_code == 403
    assert client.get("/api/index", headers={"sec-fetch-site": "cross-site"}).status_code == 403
    followed = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    assert client.get("/", headers=followed).status_code == 200


def test_a_token_is_asked_for_everywhere_but_where_nothing_is_to_be_had(index: Index) -> None:
    with client_of(index, token=TOKEN) as client:
        for path in ("/api/index", "/api/images", "/api/images/0/pixels", "/api/openapi.json", "/api/map"):
            assert client.get(path).status_code == 401
            assert client.get(path, headers={"authorization": "Bearer wrong"}).status_code == 401
            assert client.get(path, headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200
        assert client.post("/api/query", files={"file": ("a.png", noise())}).status_code == 401
        assert client.get("/health").status_code == 200
        asked = client.get("/")
        assert asked.status_code == 401
        assert "asks for its token" in asked.text
        client.post("/token", data={"token": "wrong"})
        assert client.get("/api/index").status_code == 401
        entered = client.post("/token", data={"token": TOKEN}, follow_redirects=False)
        assert entered.status_code == 303
        assert "HttpOnly" in entered.headers["set-cookie"]
        assert "samesite=strict" in entered.headers["set-cookie"].lower()
        assert client.get("/api/index").status_code == 200
        assert "Drop an X-ray" in client.get("/").text
    with client_of(index, token=TOKEN) as client:
        followed = client.get(f"/?token={TOKEN}", follow_redirects=False)
        assert followed.headers["location"] == "/"
        assert client.get("/api/index").status_code == 200


def test_others_reach_a_server_with_a_token_only() -> None:
    for host in ("0.0.0.0", "192.168.1.5", "::", "pacs.example"):
        with pytest.raises(UsageError, match="without a token"):
            Settings(host=host)
        assert Settings(host=host, token=TOKEN).token == TOKEN
    for token in ("short", "has a space in its middle", "grün-grün-grün-grün"):
        with pytest.raises(UsageError, match="easy to guess"):
            Settings(token=token)
    assert Settings().host == "127.0.0.1"


def test_the_log_has_no_names_ids_or_tags(
    client: httpx.Client, data_set: DataSet, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    dicom = tmp_path / "x.dcm"
    write_dicom(dicom)
    with caplog.at_level(logging.DEBUG):
        for data in (dicom.read_bytes(), (data_set.images / "03.png").read_bytes(), b"no image of Secretname"):
            files = {"file": ("Secretname_00000013_005.png", data)}
            client.post("/api/query", files=files, data={"patient": "Secretpatient"})
            client.post("/api/look", files=files, data={"with": "Secretfinding"})
        client.get("/api/images", params={"id": "Secretname.png"})
        client.get("/Secretname")
        client.get("/static/Secretname")
    own = [record for record in caplog.records if record.name.startswith(("cxrsearch", "uvicorn"))]
    text = "\n".join(record.getMessage() for record in own)
    assert "POST /api/query 200" in text
    assert "POST /api/query 422" in text
    assert "GET /api/images 200" in text
    assert "GET (no route) 404" in text
    everything = caplog.text
    for secret in ("Secret", "SECRET", "00000013", "03.png"):
        leaks = [r for r in caplog.records if secret in r.getMessage() and not r.name.startswith("httpx")]
        assert not leaks, f"{secret} in {everything}"


def test_a_fault_of_the_program_is_one_line_without_its_text(
    index: Index, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("Secretname")

    with client_of(index) as client, caplog.at_level(logging.DEBUG):
        monkeypatch.setattr(index, "answer_row", broken)
        answer = client.get("/api/images/0/query")
    assert answer.status_code == 500
    assert answer.json() == {"error": "the server failed: this is a fault of the program"}
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "RuntimeError at broken" in caplog.text
    assert "Secretname" not in caplog.text


def test_nothing_is_kept(index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even for a moment: files that are made and unlinked at once are seen, too."""
    made: list[object] = []

    def no_files(*arguments: object, **named: object) -> None:
        made.append((arguments, named))
        raise AssertionError("a temporary file")

    data = noise(2000)
    assert len(data) > 3_000_000  # more than a form keeps in memory by itself
    with client_of(index) as client:
        monkeypatch.setattr(tempfile, "TemporaryFile", no_files)
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        assert client.post("/api/look", files={"file": ("a.png", data)}).status_code == 200
        assert client.post("/api/sheet", files={"file": ("a.png", data)}).status_code == 200
    assert not made
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("a.png", "a.png"),
        ("../../etc/passwd", "passwd"),
        ("C:\\films\\b.dcm", "b.dcm"),
        ("a\0b\n.png", "a b .png"),
        ("..", "upload"),
        ("", "upload"),
        ("x" * 900 + ".png", "x" * 196 + ".png"),
    ],
)
def test_names_of_uploads_are_names_only(given: str, kept: str) -> None:
    assert base_name(given) == kept
