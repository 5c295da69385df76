"""The house: rooms stand in order, arrows point down, and what is private to a room stays in it."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LIBRARY = ROOT / "cxrsearch"
PACKAGES = {"cxrsearch": LIBRARY, "cxrsearch_indexes": ROOT / "indexes", "cxrsearch_cli": ROOT / "cli"}
SOURCES = sorted(path for top in ("cxrsearch", "indexes", "cli") for path in (ROOT / top).rglob("*.py"))

BASE = ("errors", "files", "progress", "words", "arrays", "json_values", "shown")
"""Modules below every room, from the lowest up."""

ROOMS: dict[str, tuple[str, ...]] = {
    "images": (),
    "phantom": ("images",),
    "analysis": (),
    "encoder": ("images",),
    "report": ("images",),
    "training": ("images", "analysis", "encoder", "report"),
    "store": ("images", "encoder"),
    "protocol": ("images", "analysis", "encoder", "store"),
    "query": ("images", "analysis", "encoder", "report", "store"),
    "building": ("images", "analysis", "encoder", "training", "store", "query"),
    "evaluation": ("images", "analysis", "encoder", "report", "training", "store", "protocol", "query", "building"),
    "novelty": ("images", "analysis", "report", "training", "protocol", "query", "building"),
    "localisation": ("images", "analysis", "encoder", "report", "protocol", "query"),
    "overview": ("images", "analysis", "encoder", "report", "store", "query"),
    "web": ("images", "analysis", "report", "store", "query"),
}
"""Every room, from the lowest up, and the rooms that it may import; each of these stands before it."""

ANALYSIS = ("measures", "neighbours", "models", "retrieval", "evaluation", "clusters", "plane", "maps", "novelty")
"""The rooms of `analysis`, from the lowest up."""

SUBROOMS = {"analysis": ANALYSIS, "images": ("formats", "sources"), "training": ("search",)}
"""Rooms within rooms."""


def module_of(path: Path) -> str:
    """The dotted name of a source file."""
    inside = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(inside[1 if inside[0] in ("indexes", "cli") else 0 :]).removesuffix(".__init__")


MODULES = {module_of(path): path for path in SOURCES}


def imports(path: Path) -> Iterator[str]:
    """The modules of ours that a file imports, function bodies and type checking included."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.partition(".")[0] in PACKAGES)
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] in PACKAGES:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in MODULES else node.module


def room_of(module: str) -> str:
    """The room of a module: `cxrsearch.analysis.models`; a package of its own is a room as a whole."""
    package, *rest = module.split(".")
    if package != "cxrsearch" or not rest or rest[0] not in ROOMS:
        return package if package != "cxrsearch" else ".".join((package, *rest[:1]))
    depth = 2 if len(rest) > 1 and rest[1] in SUBROOMS.get(rest[0], ()) else 1
    return ".".join((package, *rest[:depth]))


def may_import(importer: str, module: str) -> bool:
    """Whether a module of ours may import another."""
    (package, *here), (other, *there) = importer.split("."), module.split(".")
    if package != "cxrsearch" or other != "cxrsearch":
        return other == package or package == "cxrsearch_cli" or (package, other) == ("cxrsearch", "cxrsearch_indexes")
    if not here:  # the package itself: imports on demand
        return True
    if not there or (there[0] not in ROOMS and there[0] not in BASE):
        return False
    if here[0] in BASE:
        return there[0] in BASE[: BASE.index(here[0])]
    if there[0] in BASE or there[0] in ROOMS[here[0]]:
        return True
    if there[0] != here[0]:
        return False
    return here[0] != "analysis" or len(here) < 2 or ANALYSIS.index(there[1]) <= ANALYSIS.index(here[1])


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_arrows_point_down(path: Path) -> None:
    wrong = [module for module in imports(path) if not may_import(module_of(path), module)]
    assert not wrong, f"{module_of(path)} imports {wrong}, which its room may not"


def test_the_rule_bites() -> None:
    assert not may_import("cxrsearch.images.radiograph", "cxrsearch.encoder.embed")
    assert not may_import("cxrsearch.analysis.neighbours.vote", "cxrsearch.store.reader")
    assert not may_import("cxrsearch.analysis.measures.metrics", "cxrsearch.analysis.models.model")
    assert not may_import("cxrsearch_indexes.exact", "cxrsearch.errors")
    assert not may_import("cxrsearch.building.build", "cxrsearch_cli.console")
    assert not may_import("cxrsearch.errors", "cxrsearch.words")
    assert not may_import("cxrsearch.query.index", "cxrsearch.web.server")
    assert not may_import("cxrsearch.store.reader", "cxrsearch.training.state")
    assert not may_import("cxrsearch.protocol.rows", "cxrsearch.query.index")
    assert not may_import("cxrsearch.query.index", "cxrsearch.not_a_room.anything")
    assert may_import("cxrsearch.web.server", "cxrsearch.query.index")
    assert may_import("cxrsearch.store.filtered_search", "cxrsearch_indexes")
    assert may_import("cxrsearch.words", "cxrsearch.errors")


def test_rooms_stand_in_order_and_every_module_is_in_one() -> None:
    order = list(ROOMS)
    for room, below in ROOMS.items():
        assert set(below) <= set(order[: order.index(room)]), f"{room} stands below what it imports"
    here = {path.name for path in LIBRARY.iterdir() if path.is_dir() and not path.name.startswith("__")}
    assert here == set(ROOMS)
    assert {path.stem for path in LIBRARY.glob("*.py")} == {"__init__", *BASE}
    for room, inner in SUBROOMS.items():
        found = {path.parent.name for path in (LIBRARY / room).glob("*/__init__.py")}
        assert found == set(inner)


def test_every_arrow_that_is_allowed_is_used() -> None:
    """A room that no longer needs another says so in `ROOMS`."""
    used = {(room_of(m).split(".")[1], i.split(".")[1]) for m in MODULES if room_of(m).count(".") for i in used_by(m)}
    unused = [(room, other) for room, below in ROOMS.items() for other in below if (room, other) not in used]
    assert not unused


def used_by(module: str) -> list[str]:
    """The modules of the library's rooms that a module imports."""
    return [name for name in imports(MODULES[module]) if name.startswith("cxrsearch.")]


def test_no_module_imports_itself_by_a_detour() -> None:
    graph = {module: set(imports(path)) & set(MODULES) for module, path in MODULES.items() if module != "cxrsearch"}
    finished: set[str] = set()

    def visit(module: str, above: tuple[str, ...]) -> None:
        assert module not in above, " -> ".join((*above[above.index(module) :], module))
        if module not in finished:
            for other in sorted(graph.get(module, ())):
                visit(other, (*above, module))
            finished.add(module)

    for module in graph:
        visit(module, ())


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_private_modules_stay_in_their_room(path: Path) -> None:
    here = room_of(module_of(path))
    for module in imports(path):
        private = any(part.startswith("_") for part in module.split("."))
        within = module.startswith(f"{here}.") or here.startswith(f"{room_of(module)}.")
        assert not private or within, f"{module_of(path)} imports {module}, which is private to {room_of(module)}"


def rooms() -> list[str]:
    """Every room of the library that has modules, rooms within rooms included."""
    return sorted({room_of(module) for module in MODULES if room_of(module).count(".") and module not in rooms_alone()})


def rooms_alone() -> set[str]:
    """Modules below every room."""
    return {f"cxrsearch.{name}" for name in BASE}


@pytest.mark.parametrize("room", rooms())
def test_a_room_names_what_others_may_use(room: str) -> None:
    """Its docstring has a line for each public module, and for each inner room, whose name ends with a slash."""
    folder = ROOT.joinpath(*room.split("."))
    said = ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8")), clean=False) or ""
    named = re.findall(r"^(\w+/?)  ", said, flags=re.MULTILINE)
    public = [path.stem for path in folder.glob("*.py") if not path.stem.startswith("_")]
    inner = [f"{path.parent.name}/" for path in folder.glob("*/__init__.py")]
    assert sorted(named) == sorted(public + inner)


def test_no_two_modules_of_the_library_have_one_name() -> None:
    names = [path.stem.lstrip("_") for top in (LIBRARY, ROOT / "indexes") for path in top.rglob("*.py")]
    twice = {name for name in names if names.count(name) > 1} - {"init__"}
    assert not twice


def test_no_two_classes_have_one_name() -> None:
    names: list[str] = []
    for path in SOURCES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names += [node.name for node in tree.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_")]
    assert not {name for name in names if names.count(name) > 1}


HEAVY = ("torch", "faiss", "pandas", "sklearn", "scipy", "matplotlib", "PIL", "pydicom", "fastapi", "numpy")


def loaded_by(modules: list[str]) -> list[str]:
    """Which heavy packages a fresh interpreter has after importing these modules."""
    code = f"import sys\nfor name in {modules!r}: __import__(name)\nprint(*(m for m in {HEAVY!r} if m in sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return run.stdout.split()


def test_a_rooms_own_module_imports_nothing() -> None:
    assert loaded_by(["cxrsearch", *rooms()]) == []


def test_the_protocol_loads_no_torch() -> None:
    names = [module for module in MODULES if room_of(module) == "cxrsearch.protocol"]
    assert len(names) > 3
    assert "torch" not in loaded_by(names)
    assert "torch" not in loaded_by([module for module in MODULES if room_of(module).startswith("cxrsearch.images")])
