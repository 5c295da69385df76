"""The house: arrows point down. A room of the library imports only rooms that data reach before it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ["images", "encoder", "store", "analysis", "report"]
TOP = "web"  # stands on the modules that bring the rooms together, and nothing of the library stands on it
BASE = ["errors", "files", "progress", "words"]
SOURCES = sorted(path for top in ("cxrsearch", "indexes", "cli") for path in (ROOT / top).rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    """Every module a file imports, `from a.b import c` as `a.b.c`, function bodies and type checking included."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def allowed(path: Path, module: str) -> bool:
    """Whether a source file may import a module of ours; everybody else's are allowed here."""
    package, *rest = module.split(".")
    inside = path.relative_to(ROOT).parts
    if package not in ("cxrsearch", "cxrsearch_indexes", "cxrsearch_cli"):
        return True
    if inside[0] == "indexes":
        return package == "cxrsearch_indexes"
    if inside[0] == "cli":
        return True
    if package != "cxrsearch":
        return package == "cxrsearch_indexes"
    if inside[1] == TOP:
        return True
    if rest[0] == TOP:
        return False
    if len(inside) == 2:  # a module on top of the rooms, or below them
        return inside[1].removesuffix(".py") not in BASE or rest[0] in BASE
    reachable = ROOMS[: ROOMS.index(inside[1]) + 1]
    if inside[1] == "analysis":
        reachable = ["images", "analysis"]
    return rest[0] in BASE + reachable


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_arrows_point_down(path: Path) -> None:
    wrong = [module for module in imports(path) if not allowed(path, module)]
    assert not wrong, f"{path.relative_to(ROOT)} imports upwards: {wrong}"


def test_the_rule_bites() -> None:
    assert not allowed(ROOT / "cxrsearch/images/radiograph.py", "cxrsearch.encoder.embed")
    assert not allowed(ROOT / "cxrsearch/analysis/vote.py", "cxrsearch.store.reader")
    assert not allowed(ROOT / "indexes/cxrsearch_indexes/exact.py", "cxrsearch.errors")
    assert not allowed(ROOT / "cxrsearch/build.py", "cxrsearch_cli.console")
    assert not allowed(ROOT / "cxrsearch/errors.py", "cxrsearch.images.findings")
    assert not allowed(ROOT / "cxrsearch/query.py", "cxrsearch.web.service")
    assert not allowed(ROOT / "cxrsearch/report/style.py", "cxrsearch.web.assets")
    assert not allowed(ROOT / "cxrsearch/web/service.py", "cxrsearch_cli.console")
    assert allowed(ROOT / "cxrsearch/web/service.py", "cxrsearch.query.Index")
    assert allowed(ROOT / "cxrsearch/store/search.py", "cxrsearch.images.catalogue")
    assert allowed(ROOT / "cxrsearch/store/search.py", "cxrsearch_indexes")
