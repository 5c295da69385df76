"""What the statistics of an index cost: against scipy's pdist, and at the size of NIH ChestX-ray14.

    python benchmarks/group_statistics.py [--n 5606] [--dim 1024] [--table CSV] [--full] [--device cuda]

The first part compares the mean L2 of all pairs within 15 groups (all images and 14 findings) with one `pdist` a group,
in one run: ratio, and largest relative error. pdist has one thread. On a machine that does other work too, compare
processor times, with OPENBLAS_NUM_THREADS=1: threads that wait for each other count as busy.

`--full` then takes every image of the table, its real findings and patients with synthetic embeddings, and runs the
whole of `cxrsearch statistics` but for the search (see full_index.py). Without a table, both are drawn at random.
"""

import argparse
import os
import platform
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import scipy
from _headline import headline
from scipy.spatial.distance import pdist

from cxrsearch.analysis.clusters.pair_distances import l1_sums, l2_to_groups, pair_counts, same_patient, squared_l2_sums
from cxrsearch.analysis.clusters.spaces import to_space
from cxrsearch.images.catalogue import Catalogue
from cxrsearch.images.findings import Vocabulary
from cxrsearch.images.formats.format_registry import read_table
from cxrsearch.overview.index_statistics import embedding_statistics

Result = TypeVar("Result")
Array = np.ndarray[Any, Any]


def embeddings(patients: Array, dim: int, seed: int = 0) -> Array:
    """float32 (n, dim), not negative, of 32 intrinsic dimensions and noise; a patient's images are alike."""
    rng = np.random.default_rng(seed)
    mixing = rng.standard_normal((32, dim), dtype=np.float32) / np.float32(32**0.5)
    own = rng.standard_normal((patients.max() + 1, 32), dtype=np.float32)
    rows = np.empty((len(patients), dim), np.float32)
    for start in range(0, len(rows), 4096):
        part = rows[start : start + 4096]
        part[:] = (
            own[patients[start : start + 4096]] + rng.standard_normal((len(part), 32), dtype=np.float32)
        ) @ mixing
        part += np.float32(0.3) * rng.standard_normal(part.shape, dtype=np.float32)
    return np.maximum(rows, 0, out=rows)


def drawn_table(n: int) -> Catalogue:
    """n images with NIH's numbers of patients and about its prevalences."""
    rng = np.random.default_rng(0)
    patients = np.sort(rng.integers(0, max(1, n * 30_805 // 112_120), n)).astype(str)
    frame = pd.DataFrame({"id": [f"{i}.png" for i in range(n)], "patient": patients})
    return Catalogue(frame, Vocabulary(), rng.random((n, 14)) < np.geomspace(0.18, 0.002, 14))


def timed(title: str, work: Callable[[], Result]) -> tuple[Result, Array]:
    """The result, and seconds on the clock and of all processors together."""
    start = now()
    result = work()
    seconds = now() - start
    print(f"{title:44}{seconds[0]:9.2f} s {seconds[1]:9.2f} s of processors")
    return result, seconds


def now() -> Array:
    """Seconds on the clock and of all processors together, float64 (2,)."""
    return np.array([time.perf_counter(), time.process_time()])


def against_pdist(table: Catalogue, dim: int, device: str) -> None:
    """Mean L2 within each group, ours and scipy's."""
    assert table.labels is not None
    points = to_space(embeddings(table.patient_groups(), dim)).points
    groups = np.column_stack([np.ones(len(table), dtype=np.bool_), table.labels])
    groups = groups[:, groups.sum(axis=0) > 1]
    print(f"mean L2 of all pairs within {groups.shape[1]} groups, {len(table):,} x {dim}")
    pairs = pair_counts(groups).diagonal()
    runs = [timed("  one pass, all groups", lambda: l2_to_groups(points, groups, device=device)) for _ in range(3)]
    ours, own = runs[0][0], np.min([seconds for _, seconds in runs], axis=0)
    exact = points.astype(np.float64)
    means, theirs = timed("  scipy pdist, one a group", lambda: [pdist(exact[group]).mean() for group in groups.T])
    error = np.abs((groups * ours).sum(axis=0) / pairs / means - 1).max()
    clock, processors = theirs / own
    print(
        f"  {clock:.1f}x as fast ({processors:.1f}x by processor time), largest relative error of a group {error:.1e}\n"
    )
    headline("L2 of all pairs, 15 groups, against scipy pdist", clock, ">= 20")
    headline("the same by processor time", processors, ">= 20")
    headline("largest relative error of a group", error, "<= 1e-6", "")


def at_full_size(table: Catalogue, dim: int, permutations: int, device: str) -> None:
    """Every part by itself, then the whole, with its peak memory."""
    assert table.labels is not None
    patients = table.patient_groups()
    rows = embeddings(patients, dim)
    groups = np.column_stack([np.ones(len(table), dtype=np.bool_), table.labels, ~table.labels.any(axis=1)])
    print(f"{len(table):,} x {dim}, {patients.max() + 1:,} patients, {groups.shape[1]} groups")
    parts(rows, groups, patients)
    before = peak()
    stages: dict[str, list[Array]] = {}

    def progress(stage: str, done: int, total: int) -> None:
        stages.setdefault(stage, []).append(now())

    result, _ = timed(
        f"  everything, {permutations:,} permutations",
        lambda: embedding_statistics(rows, table, permutations=permutations, device=device, progress=progress),
    )
    for stage, times in stages.items():
        clock, processors = times[-1] - times[0]
        print(f"    {stage:40}{clock:9.2f} s {processors:9.2f} s of processors")
    print(f"  peak memory {peak():.2f} GB, embeddings {rows.nbytes / 1e9:.2f} GB (before: {before:.2f} GB)")
    print("\n" + result.to_frame()[["group", "images", "mean_l2", "effect", "p_holm"]].to_string(index=False))
    for warning in result.warnings:
        print(f"warning: {warning}")


def parts(rows: Array, groups: Array, patients: Array) -> None:
    """Time what is quick enough to be timed twice."""
    space, _ = timed("  standardising", lambda: to_space(rows))
    _, took = timed("  squared L2, all groups, closed form", lambda: squared_l2_sums(space.points, groups))
    headline("squared L2 of all pairs in closed form, full size", took[0], "< 1", "s")
    timed("  L1, all groups, closed form", lambda: l1_sums(space.points, groups))
    same, _ = timed("  pairs of one patient, directly", lambda: same_patient(space.points, patients))
    print(f"    ({len(same.first):,} pairs)")


def peak() -> float:
    """The largest resident memory so far, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=5606)
    parser.add_argument("--dim", type=int, default=1024)
    parser.add_argument("--table", type=Path, help="NIH's Data_Entry table or a plain CSV, plain or gzipped")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--permutations", type=int, default=1000)
    parser.add_argument("--device", default="cpu", help="where the L2 of all pairs is summed: cpu or cuda")
    options = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores;", end=" ")
    print(f"Python {platform.python_version()}, numpy {np.__version__}, scipy {scipy.__version__}\n")
    whole = drawn_table(112_120) if options.table is None else read_table(options.table)
    few = np.sort(np.random.default_rng(0).choice(len(whole), min(options.n, len(whole)), replace=False))
    against_pdist(whole.take(few), options.dim, options.device)
    if options.full:
        at_full_size(whole, options.dim, options.permutations, options.device)


if __name__ == "__main__":
    main()
