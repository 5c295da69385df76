"""The benchmarks, one after the other, and one table of what they were run for: `make bench`.

    python benchmarks/bench.py [--all] [--only search embed] [--quick] [--out bench]

Without `--all`, what has an aim of speed, memory or time; with it, the studies of quality too, which train for hours.
Each runs in a process of its own, alone, with its output in `out`/NAME.log; `out`/table.md has the machine, the
versions, every headline, its aim and whether it was met. `--quick` takes small sizes, to see whether all runs; its
figures mean nothing. What needs NIH's table looks in CXRSEARCH_TEST_DATA, and is left out, with a word, without it.
Not here: far_ood.py, which needs an index of your own.
"""

import argparse
import os
import platform
import subprocess
import sys
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from _headline import MARK

HERE = Path(__file__).parent
DATA = Path(os.environ.get("CXRSEARCH_TEST_DATA", HERE.parents[1] / "shared" / "data")) / "nih"
TABLE = str(DATA / "Data_Entry_2017_full.csv.gz")
PACKAGES = ("torch", "numpy", "scipy", "scikit-learn", "faiss-cpu", "pillow", "pandas")


@dataclass(frozen=True)
class Run:
    """A script with its arguments, those of a quick run, whether it needs the real data, and whether it is a study."""

    script: str
    arguments: tuple[str, ...] = ()
    quick: tuple[str, ...] = ()
    real: bool = False
    study: bool = False


RUNS = (
    Run("decode", quick=("--rounds", "1")),
    Run("embed", quick=("--images", "16", "--size", "64")),
    Run("precision"),
    Run("full_index", quick=("--n", "2000")),
    Run("search", quick=("--n", "5000", "--dim", "64")),
    Run("search_all", quick=("--n", "5000", "--dim", "64")),
    Run("group_statistics", ("--full",), ("--n", "500", "--dim", "64")),
    Run("models", quick=("--n", "600", "--val", "200", "--test", "200", "--dim", "32")),
    Run("training_speed", quick=("--size", "64", "--steps", "5", "--rounds", "1")),
    Run("serve", quick=("--seconds", "3", "--clients", "2")),
    Run("phantom_training", quick=("--n", "200", "--size", "32", "--epochs", "1")),
    Run(
        "full_scale", (TABLE, str(DATA / "splits")), (TABLE, "--every", "100", "--only", "import-embeddings"), real=True
    ),
    Run("coverage", quick=("--simulations", "20", "--replicates", "100", "--positive-patients", "10"), study=True),
    Run("recipes", ("--epochs", "20"), ("--folds", "2", "--size", "32", "--epochs", "1"), study=True),
    Run(
        "phantom_localisation",
        quick=("--n", "200", "--epochs", "1", "--fine-epochs", "1", "--queries", "2"),
        study=True,
    ),
    Run("phantom_novelty", quick=("--n", "300", "--size", "32", "--epochs", "1"), study=True),
)


def machine() -> str:
    """Processor, cores, memory, Python and packages, on one line."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        model = platform.processor() or platform.machine()
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return f"{model}, {os.cpu_count()} cores; Python {platform.python_version()}, {packages}"


def measured(run: Run, quick: bool, out: Path) -> list[list[str]]:
    """Run one script; the rows of its headlines, or one that says what happened instead."""
    if run.real and not Path(TABLE).is_file():
        return [[f"needs {Path(TABLE).name} in CXRSEARCH_TEST_DATA", "not run", "", ""]]
    arguments = run.quick if quick else run.arguments
    log, start = out / f"{run.script}.log", time.perf_counter()
    with log.open("w", encoding="utf-8") as file:
        command = [sys.executable, str(HERE / f"{run.script}.py"), *arguments]
        code = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, check=False).returncode
    print(
        f"{run.script}: {time.perf_counter() - start:.0f} s{'' if code == 0 else f', exit {code}, see {log}'}",
        flush=True,
    )
    rows = [line.split("\t")[1:] for line in log.read_text(encoding="utf-8").splitlines() if line.startswith(MARK)]
    return rows if code == 0 else [*rows, [f"ended with exit {code}", "", "", "missed"]]


def main() -> None:
    """Run, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", action="store_true", help="the studies of quality, too")
    parser.add_argument("--only", nargs="+", metavar="NAME")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("bench"))
    options = parser.parse_args()
    known = [run.script for run in RUNS]
    if unknown := set(options.only or ()) - set(known):
        parser.error(f"unknown benchmark {min(unknown)}: use some of {', '.join(known)}")
    options.out.mkdir(parents=True, exist_ok=True)
    lines = [machine() + (" (quick: these figures mean nothing)" if options.quick else ""), ""]
    lines += ["| script | what | measured | aim | |", "| --- | --- | --- | --- | --- |"]
    failed = False
    for run in RUNS:
        if run.script in options.only if options.only else options.all or not run.study:
            rows = measured(run, options.quick, options.out)
            failed |= any(row[0].startswith("ended") for row in rows)
            lines += [f"| `{run.script}` | {' | '.join(row)} |" for row in rows]
            (options.out / "table.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n" + "\n".join(lines))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
