"""What `import cxrsearch` offers."""

import ast
import re
import subprocess
import sys
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import pytest

import cxrsearch

ROOT = Path(cxrsearch.__file__).parent
STUB = ast.parse((ROOT / "__init__.pyi").read_text(encoding="utf-8"))
HOMES = {
    alias.name: f"cxrsearch.{node.module}"
    for node in STUB.body
    if isinstance(node, ast.ImportFrom)
    for alias in node.names
}


def test_every_name_is_there_and_comes_from_where_it_is_said_to() -> None:
    assert sorted(cxrsearch.__all__) == sorted(HOMES)
    assert len(HOMES) > 20
    for name, home in HOMES.items():
        assert getattr(cxrsearch, name) is getattr(import_module(home), name)
        assert getattr(cxrsearch, name).__module__ == home
    assert cxrsearch.__version__ == version("cxrsearch")
    with pytest.raises(AttributeError, match="nonsense"):
        cxrsearch.nonsense  # type: ignore[attr-defined]  # noqa: B018


def test_a_function_is_not_hidden_by_a_module_of_its_name() -> None:
    """`import cxrsearch.train` would otherwise replace the function."""
    for name in cxrsearch.__all__:
        assert callable(getattr(cxrsearch, name)), name
        assert not (ROOT / name).exists()
        assert not (ROOT / f"{name}.py").exists()


def test_importing_it_costs_next_to_nothing() -> None:
    """Under a tenth of a second of its own: of what is slow, nothing but the reading of its list."""
    code = "import sys; import cxrsearch; print(*sorted(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name for name in run.stdout.split() if re.match(r"(numpy|pandas|torch|faiss|cxrsearch)\b", name)}
    assert loaded == {"cxrsearch"}
