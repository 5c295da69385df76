"""Mutation testing: what may be changed in the code without a test noticing (see `docs/TESTING.md`; `make mutants`).

    python benchmarks/mutants.py [FOLDER] [--only PATTERN ...]

A copy of the working tree is mutated in FOLDER (`runs/mutants` by default), with one process; running it again goes on.
"""

import argparse
import ast
import difflib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
ANALYSIS = ["neighbours/vote", "neighbours/mlknn", "measures/metrics", "measures/bootstrap", "clusters/pair_distances"]
ANALYSIS += [f"clusters/{name}" for name in ("cluster_test", "_exchange", "_group_sums", "spaces", "geometry")]
MODULES = [f"analysis/{name}" for name in ANALYSIS]
MODULES += ["training/losses", "images/splits", "store/manifest"]
MUTATED = ["cxrsearch_indexes", *(f"cxrsearch/{name}.py" for name in MODULES)]
TESTS = ["tests/indexes", *(f"tests/{Path(name).parent}/test_{Path(name).stem.lstrip('_')}.py" for name in MODULES)]
LEFT_OUT = ["-m", "not slow", "--deselect", "tests/indexes/test_hnsw.py::test_recall_with_and_without_restrictions"]
COPIED = ["cxrsearch", "cxrsearch_indexes", "tests"]
KILLED, SURVIVED, NO_TEST = "killed", "survived", "no test"


def prepare(folder: Path) -> None:
    """Copy what is mutated and what tests it; mutmut names a module by its path, so the indexes move up a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for source in ("cxrsearch", "indexes/cxrsearch_indexes", "tests"):
        target = folder / Path(source).name
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(ROOT / source, target, ignore=shutil.ignore_patterns("__pycache__"))
    lists = {
        "source_paths": MUTATED,
        "also_copy": COPIED,
        "pytest_add_cli_args_test_selection": TESTS,
        "pytest_add_cli_args": LEFT_OUT,
    }
    config = "\n".join(f"{name} = {json.dumps(values)}" for name, values in lists.items())
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (folder / "pyproject.toml").write_text(f"{project}\n[tool.mutmut]\n{config}\n", encoding="utf-8")


def verdicts(meta: Path) -> dict[str, str]:
    """What became of each mutant of a file that was tried; its name ends in a number."""
    codes: dict[str, int | None] = json.loads(meta.read_text(encoding="utf-8"))["exit_code_by_key"]
    words = {0: SURVIVED, 33: NO_TEST}
    return {name: words.get(code, KILLED) for name, code in codes.items() if code is not None}


def difference(source: str, name: str) -> Iterator[str]:
    """The lines that a mutant changes."""
    lines = source.splitlines()
    found = {
        node.name: [line.strip() for line in lines[node.lineno - 1 : node.end_lineno]]
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef)
    }
    mutant = name.rpartition(".")[2]
    original = re.sub(r"__mutmut_\d+$", "__mutmut_orig", mutant)
    for line in difflib.unified_diff(found[original], found[mutant], lineterm="", n=0):
        if line[0] in "+-" and line[:3] not in ("+++", "---") and "__mutmut_" not in line:
            yield f"      {line[0]} {line[1:]}"


def report(folder: Path) -> None:
    """Every survivor, then the table."""
    rows = []
    for meta in sorted((folder / "mutants").rglob("*.meta")):
        found = verdicts(meta)
        source = meta.with_suffix("").read_text(encoding="utf-8")
        for name in (name for name, verdict in found.items() if verdict != KILLED):
            print(f"{name} {found[name]}", *difference(source, name), sep="\n")
        if found:
            killed = sum(verdict == KILLED for verdict in found.values())
            rows.append((meta.with_suffix("").relative_to(folder / "mutants").as_posix(), len(found), killed))
    rows.append(("all", sum(row[1] for row in rows), sum(row[2] for row in rows)))
    print("\n| module | mutants | killed | share |\n|---|---:|---:|---:|")
    for module, count, killed in rows:
        print(f"| {module} | {count} | {killed} | {killed / max(1, count):.1%} |")


def main() -> None:
    """Prepare, run, report; mutmut's progress goes to FOLDER/log."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "runs" / "mutants")
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="PATTERN", help="such as 'cxrsearch.analysis.neighbours.vote*'"
    )
    options = parser.parse_args()
    prepare(options.folder)
    command = [sys.executable, "-m", "mutmut", "run", "--max-children", "1", *options.only]
    with (options.folder / "log").open("wb") as log:
        done = subprocess.run(
            command, cwd=options.folder, env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=log, stderr=log, check=False
        )
    report(options.folder)
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
