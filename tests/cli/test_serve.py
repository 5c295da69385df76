"""`cxrsearch serve`: what it says, what it refuses, and that it serves."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner, Result

from cxrsearch_cli.app import app

ROOT = Path(__file__).parents[2]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@contextmanager
def serving(*arguments: object) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """The command as a process, and what it said until it served."""
    code = "from cxrsearch_cli.app import main; main()"
    path = os.pathsep.join(str(ROOT / part) for part in ("", "indexes", "cli"))
    process = subprocess.Popen(
        [sys.executable, "-c", code, "serve", *map(str, arguments)],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"PYTHONPATH": path},
    )
    assert process.stderr
    lines = []
    for line in process.stderr:
        lines.append(line)
        if "research use only" in line:
            break
    try:
        yield process, lines
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_logs_and_ends_politely(small_index: Path, ending: signal.Signals) -> None:
    with serving("--index", small_index, "--port", "0", "--device", "cpu") as (process, lines):
        address = re.search(r"serving at (http://127\.0\.0\.1:\d+/)\n", "".join(lines))
        assert address, lines
        assert httpx.get(f"{address[1]}api/index", timeout=20).json()["images"] == 10
        assert httpx.get(f"{address[1]}api/images?id=03.png", timeout=20).json()["total"] == 1
        process.send_signal(ending)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 0
    assert re.search(r"^GET /api/images 200 \d+ ms$", said, re.MULTILINE)
    assert "03.png" not in said
    assert said.rstrip().endswith("stopped")


def test_elsewhere_a_token_is_made_up_and_shown(small_index: Path) -> None:
    with serving("--index", small_index, "--port", "0", "--device", "cpu", "--host", "0.0.0.0") as (_, lines):
        link = re.search(r"serving at (http://127\.0\.0\.1:\d+/)\?token=([\w-]{32})\n", "".join(lines))
        assert link, lines
        address, token = link[1], link[2]
        assert httpx.get(f"{address}api/index", timeout=20).status_code == 401
        headers = {"authorization": f"Bearer {token}"}
        assert httpx.get(f"{address}api/index", headers=headers, timeout=20).status_code == 200


def test_a_missing_extra_is_named(small_index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith(("cxrsearch.web", "fastapi", "uvicorn"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    result = run("serve", "--index", small_index)
    assert result.exit_code == 1
    assert "uvicorn" in result.stderr
    assert "pip install 'cxrsearch[web]'" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_invalid_options_are_refused(small_index: Path, tmp_path: Path) -> None:
    for arguments, said in (
        (["--token", "short"], "guess"),
        (["--max-upload", "0"], "--max-upload"),
        (["--port", "70000"], "--port"),
    ):
        result = run("serve", "--index", small_index, *arguments)
        assert result.exit_code == 2
        assert said in result.stderr
    assert run("serve", "--index", tmp_path).exit_code == 1


def test_a_port_that_is_taken(small_index: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = run("serve", "--index", small_index, "--port", taken.getsockname()[1])
    assert result.exit_code == 2
    assert "cannot listen" in result.stderr
