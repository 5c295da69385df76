"""What `statistics` and `evaluate` cost at the size of NIH ChestX-ray14: real labels, synthetic embeddings.

    python benchmarks/full_scale.py TABLE [SPLITS] [--only evaluate] [--every N] [--folder D]

TABLE is NIH's Data_Entry CSV with all 112,120 images, SPLITS the folder of the paper's lists (without it, patients are
divided by hash). The embeddings (1024 numbers, of 32 intrinsic dimensions, noise, and a little of every finding) know
nothing of X-rays, so the AUROCs mean nothing; time and memory do. Each command runs in a process of its own, one after
the other. Memory is sampled every 0.2 s from /proc: *own* is what the process allocated, without mapped files; it is
to be held against the embeddings' own size. `evaluate-all` (`--models all`, half an hour and more) runs only by name.
`--every N` takes every N-th patient, to see whether all is well first.
"""

import argparse
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from _headline import headline
from _synthetic import embeddings

from cxrsearch.images.findings import NO_FINDING
from cxrsearch.images.formats.format_registry import read_table

EVERY_MODEL = "evaluate-all"


def prepare(folder: Path, table: Path, every: int) -> int:
    """Write X.npy and catalogue.csv; returns the number of images."""
    whole = read_table(table)
    rows = np.flatnonzero(whole.patient_groups() % every == 0)
    catalogue = whole.take(rows)
    labels = np.asarray(catalogue.labels, np.float32)
    signal = np.random.default_rng(5).standard_normal((labels.shape[1], 1024), dtype=np.float32)
    np.save(folder / "X.npy", embeddings(len(rows), 1024) + np.float32(0.15) * (labels @ signal))
    findings = ["|".join(catalogue.findings(row) or ()) or NO_FINDING for row in range(len(rows))]
    frame = catalogue.frame
    pd.DataFrame(
        {
            "image": frame["id"],
            "patient": frame["patient"],
            "findings": findings,
            **{name: frame[name] for name in ("view", "sex", "age")},
        }
    ).to_csv(folder / "catalogue.csv", index=False)
    return len(rows)


def own_memory(process: int) -> float:
    """MiB that a process has allocated, 0 once it has ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024


def measure(name: str, arguments: list[str], folder: Path, size: float) -> None:
    """Run one command and print what it cost; its answer stays in the folder. `size`: of the embeddings, GiB."""
    program = [sys.executable, "-c", "from cxrsearch_cli.app import main; main()", *arguments]
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    with (folder / f"{name}.json").open("wb") as out, (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(program, stdout=out, stderr=log)
        peak = 0.0
        while process.poll() is None:
            peak = max(peak, own_memory(process.pid))
            time.sleep(0.2)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    wall = time.perf_counter() - start
    ended = "" if process.returncode == 0 else f"   exit {process.returncode}, see {folder / name}.log"
    print(f"{name:22} {wall:9.0f} {cpu:9.0f} {peak / 1024:10.2f}{ended}", flush=True)
    aim = f"<= {3 + size:.2f}" if name.startswith("evaluate") else ""
    headline(f"{name}, own memory", peak / 1024, aim, f"GiB, {wall:.0f} s")


def main() -> None:
    """Measure and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("splits", type=Path, nargs="?")
    parser.add_argument("--only", nargs="+")
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="full-scale-"))
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "X.npy").exists():
        prepare(folder, options.table, options.every)
    shape = np.load(folder / "X.npy", mmap_mode="r").shape
    split = f"paper:{options.splits}" if options.splits and options.every == 1 else "patient-hash:0.7/0.1/0.2"
    index = ["--index", str(folder / "index")]
    evaluate = ["evaluate", *index, "--split", split, "--json", "--models"]
    embedded = [str(folder / "X.npy"), "--catalogue", str(folder / "catalogue.csv")]
    commands = {
        "import-embeddings": ["import-embeddings", *embedded, *index, "--json"],
        "statistics": ["statistics", *index, "--json"],
        "evaluate": [*evaluate, "default"],
        "evaluate-retrieval": [*evaluate, "none", "--retrieval", "--strata"],
        "evaluate-fractions": [*evaluate, "none", "--fractions", "default"],
        EVERY_MODEL: [*evaluate, "all"],
    }
    print(f"{shape[0]} x {shape[1]}, {split}; {platform.processor() or platform.machine()}; {folder}")
    print(f"{'command':22} {'seconds':>9} {'CPU s':>9} {'own, GiB':>10}")
    for name, arguments in commands.items():
        if name in options.only if options.only else name != EVERY_MODEL:
            measure(name, arguments, folder, shape[0] * shape[1] * 4 / 2**30)


if __name__ == "__main__":
    main()
