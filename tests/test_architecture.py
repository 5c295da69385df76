"""ARCHITECTURE.md is true: every file it names exists, and holds the names that the three ways name in it."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
WAYS = PAGE[PAGE.index("## Three ways") : PAGE.index("## What was learnt")]
FILE = r"`((?:cxrsearch|cli|indexes)/[\w/]+\.py)`"
STATIONS = [(path, name) for path, name in re.findall(FILE + r"(?:\s+`(\w+)`)?", WAYS)]


@pytest.mark.parametrize(("path", "name"), STATIONS)
def test_the_ways_go_through_what_is_there(path: str, name: str) -> None:
    source = (ROOT / path).read_text(encoding="utf-8")
    defined = {node.name for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    assert not name or name in defined


def test_there_are_three_ways() -> None:
    assert len(STATIONS) > 25
    assert WAYS.count("\n1. ") == 3


def test_the_picture_names_modules_that_exist() -> None:
    picture = PAGE[PAGE.index("    cli/cxrsearch_cli/") : PAGE.index("A room imports only")]
    modules = set(re.findall(r"\b(\w+\.py)\b", picture))
    there = {path.name for top in ("cxrsearch", "cli", "indexes") for path in (ROOT / top).rglob("*.py")}
    assert modules <= there
    on_top = {path.name for path in (ROOT / "cxrsearch").glob("*.py")} - {"__init__.py"}
    assert on_top <= modules, f"not in the picture: {on_top - modules}"


@pytest.mark.parametrize("top", ["cxrsearch", "cli", "indexes", "benchmarks"])
def test_no_function_has_more_than_60_lines_and_no_file_more_than_400(top: str) -> None:
    for path in (ROOT / top).rglob("*.py"):
        source = path.read_text(encoding="utf-8")
        assert source.count("\n") <= 400, path
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno is not None
                assert node.end_lineno - node.lineno < 60, f"{path.relative_to(ROOT)} {node.name}"
