"""ARCHITECTURE.md is true: every file it names exists, and holds the names that the three ways name in it."""

import ast
import re
from pathlib import Path

import pytest

from tests.test_layers import BASE, ROOMS, SUBROOMS

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
WAYS = PAGE[PAGE.index("## Four ways") : PAGE.index("## Decisions")]
FILE = r"`((?:cxrsearch|cli|indexes)/[\w/]+\.py)`"
STATIONS = [(path, name) for path, name in re.findall(FILE + r"(?:\s+`(\w+)`)?", WAYS)]


@pytest.mark.parametrize(("path", "name"), STATIONS)
def test_the_ways_go_through_what_is_there(path: str, name: str) -> None:
    source = (ROOT / path).read_text(encoding="utf-8")
    defined = {node.name for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    assert not name or name in defined


def test_there_are_four_ways() -> None:
    assert len(STATIONS) > 25
    assert WAYS.count("\n1. ") == 4


def test_the_picture_shows_every_room_in_order() -> None:
    picture = PAGE[PAGE.index("    cli/cxrsearch_cli/") : PAGE.index("**The law.**")]
    drawn = re.findall(r"^        (\w+)/ ", picture, flags=re.MULTILINE)
    assert drawn[::-1] == list(ROOMS)
    for room, inner in SUBROOMS.items():
        if room != "training":
            line = picture[picture.index(f" {room}/") :].splitlines()[1]
            assert sorted(re.findall(r"(\w+)/", line)) == sorted(inner)
    below = picture[picture.index("from files and tables") :].splitlines()[2]
    assert [name for name in below.split() if name in BASE] == list(BASE)[::-1]


def test_files_named_in_the_text_exist() -> None:
    named = set(re.findall(r"`([\w/]+\.py)`", PAGE))
    assert len(named) > 30
    for name in named:
        assert (ROOT / name).exists() or (ROOT / "cxrsearch" / name).exists(), name


@pytest.mark.parametrize("top", ["cxrsearch", "cli", "indexes", "benchmarks"])
def test_no_function_has_more_than_60_lines_and_no_file_more_than_400(top: str) -> None:
    for path in (ROOT / top).rglob("*.py"):
        source = path.read_text(encoding="utf-8")
        assert source.count("\n") <= 400, path
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno is not None
                assert node.end_lineno - node.lineno < 60, f"{path.relative_to(ROOT)} {node.name}"
