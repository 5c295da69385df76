"""How fast the kinds of index search, against FAISS IndexFlatL2 and scikit-learn, in one run on one machine.

    python benchmarks/search.py [--n 112120] [--dim 1024] [--k 20] [--threads 1]

Each contender runs in a process of its own, one after the other, on the same synthetic embeddings. Ratios hold inside
one run only. On a machine that does other work too, compare processor times (CPU), with --threads 1. FAISS's wheel
bundles an OpenBLAS whose speed depends on the kernel it picks, so FAISS runs with the one it picks by itself and with
two that it is told to use (OPENBLAS_CORETYPE).
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from _headline import headline
from _synthetic import embeddings

sys.path.insert(0, str(Path(__file__).parents[1] / "indexes"))

ALONE, TOGETHER = 200, 1024
CONTENDERS: dict[str, tuple[str, dict[str, str]]] = {
    "exact": ("exact", {}),
    "faiss-flat": ("faiss-flat", {}),
    "faiss-hnsw": ("faiss-hnsw", {}),
    "FAISS IndexFlatL2": ("peer-faiss", {}),
    "FAISS, Haswell": ("peer-faiss", {"OPENBLAS_CORETYPE": "Haswell"}),
    "FAISS, SkylakeX": ("peer-faiss", {"OPENBLAS_CORETYPE": "SkylakeX"}),
    "scikit-learn brute": ("peer-sklearn", {}),
}
AIMS = {
    "FAISS IndexFlatL2": ">= 3",
    "FAISS, Haswell": ">= 1.5",
    "FAISS, SkylakeX": ">= 1",
    "scikit-learn brute": ">= 2",
}

Array = np.ndarray[Any, Any]
Search = Callable[[Array], Array]


def contender(name: str, rows: Array, k: int) -> Search:
    """A function from queries (q, dim) to ids (q, k)."""
    if name == "peer-faiss":
        import faiss

        flat = faiss.IndexFlatL2(rows.shape[1])
        flat.add(rows)
        return lambda queries: np.asarray(flat.search(queries, k)[1])
    if name == "peer-sklearn":
        from sklearn.neighbors import NearestNeighbors

        brute = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(rows)
        return lambda queries: np.asarray(brute.kneighbors(queries, return_distance=False))
    from cxrsearch_indexes import build

    index = build(name, np.split(rows, range(4096, len(rows), 4096)), "l2")
    return lambda queries: index.search(queries, k).rows.reshape(len(queries), k)


def measure(name: str, folder: Path, k: int) -> None:
    """Time one contender, and leave its figures and ids in the folder."""
    rows, queries = np.load(folder / "rows.npy", mmap_mode="r"), np.load(folder / "queries.npy")
    rows = np.array(rows) if name.startswith("peer") else rows
    start = time.perf_counter()
    search = contender(name, rows, k)
    ready = time.perf_counter() - start
    search(queries[:1])
    alone = []
    for query in range(ALONE):
        start = time.perf_counter()
        search(queries[query : query + 1])
        alone.append(time.perf_counter() - start)
    together = []
    for _ in range(3):
        begun = np.array([time.perf_counter(), time.process_time()])
        ids = search(queries)
        together.append(np.array([time.perf_counter(), time.process_time()]) - begun)
    np.save(folder / "ids.npy", ids)
    p50, p99 = np.percentile(alone, [50, 99])
    batch, processor = np.min(together, axis=0) / len(queries)
    figures = {"build": ready, "p50": p50, "p99": p99, "batch": batch, "cpu": processor, "kernel": kernels(name)}
    (folder / "figures.json").write_text(json.dumps(figures))


def kernels(name: str) -> str:
    """The OpenBLAS kernel that does the products: FAISS's own for FAISS, numpy's or scipy's otherwise."""
    from threadpoolctl import threadpool_info

    of_faiss = name in ("peer-faiss", "faiss-flat")
    pools = [pool for pool in threadpool_info() if pool.get("internal_api") == "openblas"]
    chosen = [
        pool for pool in pools if ("faiss" in pool["filepath"]) == of_faiss and "scipy.libs" not in pool["filepath"]
    ]
    return ", ".join(f"{pool['architecture']} {pool['version']}" for pool in chosen)


def compare(folder: Path, k: int, threads: int) -> None:
    """Run every contender and print the table; `x` is how many times faster than FAISS with the kernel it picks."""
    figures: dict[str, dict[str, Any]] = {}
    ids: dict[str, Array] = {}
    inherited = {key: value for key, value in os.environ.items() if key != "OPENBLAS_CORETYPE"}
    inherited |= {f"{pool}_NUM_THREADS": str(threads) for pool in ("OMP", "OPENBLAS")}
    for title, (name, environment) in CONTENDERS.items():
        command = [sys.executable, __file__, "--one", name, "--folder", str(folder), "--k", str(k)]
        subprocess.run(command, check=True, env=inherited | environment)
        figures[title] = json.loads((folder / "figures.json").read_text())
        ids[title] = np.load(folder / "ids.npy")
    peer = figures["FAISS IndexFlatL2"]
    columns = ["build s", "p50 ms", "x", "p99 ms", "batch us", "x", "CPU us", "x", "same ids", "recall"]
    print(" " * 20 + "".join(f"{column:>10}" for column in columns) + "  OpenBLAS")
    for title, got in figures.items():
        same = np.mean(np.all(ids[title] == ids["exact"], axis=1))
        recall = np.mean([len(np.intersect1d(a, b)) / k for a, b in zip(ids[title], ids["exact"], strict=True)])
        alone = [got["build"], got["p50"] * 1e3, peer["p50"] / got["p50"], got["p99"] * 1e3]
        batch = [value for kind in ("batch", "cpu") for value in (got[kind] * 1e6, peer[kind] / got[kind])]
        row = [*alone, *batch, same, recall]
        print(f"{title:20}" + "".join(f"{value:10.4g}" for value in row) + f"  {got['kernel']}")
    for title, aim in AIMS.items():
        for kind, time_of in (("batch", ""), ("cpu", ", by processor time")):
            ratio = figures[title][kind] / figures["exact"][kind]
            headline(f"exact search, {TOGETHER} queries together, against {title}{time_of}", ratio, aim)


def arguments(description: str | None) -> argparse.ArgumentParser:
    """The options that every comparison of searches has."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=112_120)
    parser.add_argument("--dim", type=int, default=1024)
    parser.add_argument("--k", type=int, default=20)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    return parser


def main() -> None:
    options = arguments(__doc__).parse_args()
    if options.one:
        measure(options.one, options.folder, options.k)
        return
    import faiss
    import sklearn

    print(f"{options.n:,} x {options.dim}, k = {options.k}, l2; {ALONE} queries alone, {TOGETHER} together (best of 3)")
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {options.threads} threads used;")
    print(f"Python {platform.python_version()}, numpy {np.__version__}, faiss {faiss.__version__},", end=" ")
    print(f"scikit-learn {sklearn.__version__}\n")
    with tempfile.TemporaryDirectory() as temporary:
        rows = embeddings(options.n + TOGETHER, options.dim)
        np.save(Path(temporary) / "rows.npy", rows[: options.n])
        np.save(Path(temporary) / "queries.npy", rows[options.n :])
        del rows
        compare(Path(temporary), options.k, options.threads)


if __name__ == "__main__":
    main()
