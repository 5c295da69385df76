"""Every image of an index asked for its neighbours among the other patients: exact search against its peers.

    python benchmarks/search_all.py [--n 112120] [--dim 1024] [--k 20] [--threads 2] [--only exact ...]

A patient has four images. The peers know no patients: they are asked for four neighbours more, and the patient's own
are dropped. Each contender runs in a process of its own, one after the other; ratios hold inside one run only. A sample
of the answers of all contenders is held against brute force in float64.
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from _headline import headline
from _synthetic import embeddings
from search import AIMS, CONTENDERS, Array, arguments, contender, kernels

IMAGES = 4  # of a patient
CHECKED = 256
TITLES = ["exact", *AIMS]


def others(found: Array, patients: Array, k: int) -> Array:
    """Of ids (n, k + IMAGES), nearest first, the first k (n, k) that belong to other patients than the row's own."""
    foreign = patients[found] != patients[:, None]
    first = np.argsort(~foreign, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(found, first, axis=1)


def neighbours(name: str, rows: Array, k: int) -> Array:
    """Ids (n, k) of the nearest rows of other patients, of every row."""
    patients = np.arange(len(rows)) // IMAGES
    if name.startswith("peer"):
        return others(contender(name, rows, k + IMAGES)(rows), patients, k)
    from cxrsearch_indexes import build

    found = build(name, np.split(rows, range(4096, len(rows), 4096)), "l2").search_all(k, patients)
    return found.rows.reshape(len(rows), k)


def measure(name: str, folder: Path, k: int) -> None:
    """Time one contender, building included, and leave its figures and ids in the folder."""
    rows = np.load(folder / "rows.npy")
    clocks = np.array([time.perf_counter(), time.process_time()])
    ids = neighbours(name, rows, k)
    seconds, processor = np.array([time.perf_counter(), time.process_time()]) - clocks
    np.save(folder / "ids.npy", ids)
    (folder / "figures.json").write_text(json.dumps({"s": seconds, "cpu": processor, "kernel": kernels(name)}))


def truth(rows: Array, asked: Array, k: int) -> Array:
    """Brute force in float64: ids (len(asked), k), nearest first, equal distances by row."""
    wanted = rows[asked].astype(np.float64)
    apart = np.empty((len(asked), len(rows)))
    for start in range(0, len(rows), 4096):
        block = rows[start : start + 4096].astype(np.float64)
        for number, query in enumerate(wanted):
            apart[number, start : start + 4096] = np.square(block - query).sum(axis=1)
    for number, query in enumerate(asked):
        own = query // IMAGES * IMAGES
        apart[number, own : own + IMAGES] = np.inf
    return np.argsort(apart, axis=1, kind="stable")[:, :k]


def compare(folder: Path, k: int, threads: int, only: list[str]) -> None:
    """Run every contender and print the table; `x` is how many times the time of exact search it takes."""
    rows = np.load(folder / "rows.npy", mmap_mode="r")
    asked = np.sort(np.random.default_rng(1).choice(len(rows), min(CHECKED, len(rows)), replace=False))
    right = truth(rows, asked, k)
    inherited = {key: value for key, value in os.environ.items() if key != "OPENBLAS_CORETYPE"}
    inherited |= {f"{pool}_NUM_THREADS": str(threads) for pool in ("OMP", "OPENBLAS")}
    print(f"{'':20}{'s':>9}{'x':>8}{'CPU s':>9}{'x':>8}{'as exact':>10}{'as float64':>12}  OpenBLAS")
    ratios: dict[str, tuple[float, float]] = {}
    exact: dict[str, Any] = {}
    for title in only:
        name, environment = CONTENDERS[title]
        command = [sys.executable, __file__, "--one", name, "--folder", str(folder), "--k", str(k)]
        subprocess.run(command, check=True, env=inherited | environment)
        got, ids = json.loads((folder / "figures.json").read_text()), np.load(folder / "ids.npy")
        exact = exact or got | {"ids": ids}
        ratios[title] = got["s"] / exact["s"], got["cpu"] / exact["cpu"]
        same = [np.mean(np.all(ids == exact["ids"], axis=1)), np.mean(np.all(ids[asked] == right, axis=1))]
        row = f"{title:20}{got['s']:9.1f}{ratios[title][0]:8.2f}{got['cpu']:9.1f}{ratios[title][1]:8.2f}"
        print(f"{row}{same[0]:10.4f}{same[1]:12.4f}  {got['kernel']}", flush=True)
    for title in only[1:]:
        aim = AIMS[title]
        headline(f"exact search, all against all, other patients, against {title}", ratios[title][0], aim)
        headline(f"exact search, all against all, against {title}, by processor time", ratios[title][1], aim)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--only", nargs="+", default=TITLES, choices=TITLES, help="beside exact search")
    options = parser.parse_args()
    if options.one:
        measure(options.one, options.folder, options.k)
        return
    print(f"{options.n:,} x {options.dim}, k = {options.k}, l2, all against all without the patient's own images")
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {options.threads} threads used")
    with tempfile.TemporaryDirectory() as temporary:
        np.save(Path(temporary) / "rows.npy", embeddings(options.n, options.dim))
        contenders = list(dict.fromkeys([TITLES[0], *options.only]))
        compare(Path(temporary), options.k, options.threads, contenders)


if __name__ == "__main__":
    main()
