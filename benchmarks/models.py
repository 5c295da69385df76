"""What each model of an evaluation costs: time to fit and to score, and peak memory above the embeddings.

    python benchmarks/models.py [--n 78468] [--val 11219] [--test 22433] [--dim 1024] [--models knn,forest] [--jobs 2]

The sizes named here are those of the paper's split; without arguments, a quarter of them. Embeddings and labels are
synthetic: labels follow a linear rule and have NIH's prevalences. Each model runs in a process of its own; the
neighbours that kNN models share are searched by each. CPU seconds are those of all threads, and hold on a busy machine.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time

import numpy as np
from _synthetic import embeddings

from cxrsearch.analysis.measures.metrics import auroc
from cxrsearch.analysis.models.model import Sample
from cxrsearch.analysis.models.model_registry import DEFAULT_MODELS, MODELS, create

PREVALENCE = np.array([10.3, 2.5, 11.9, 17.7, 5.2, 5.6, 1.3, 4.7, 4.2, 2.1, 2.2, 1.5, 3.0, 0.2]) / 100


def draw(sizes: list[int], dim: int) -> list[Sample]:
    """Samples of these sizes, of 3.6 images a patient, no patient in two."""
    rng = np.random.default_rng(0)
    rows = embeddings(sum(sizes), dim)
    rule = (rng.standard_normal((dim, len(PREVALENCE))) / dim**0.5).astype(np.float32)
    signal = rows @ rule
    signal = (signal - signal.mean(axis=0)) / signal.std(axis=0)
    noisy = signal + rng.logistic(size=signal.shape).astype(np.float32)
    labels = noisy > np.array([np.quantile(column, 1 - p) for column, p in zip(noisy.T, PREVALENCE, strict=True)])
    samples, start = [], 0
    for part, size in enumerate(sizes):
        patients = np.sort(rng.integers(0, max(1, int(size / 3.6)), size)) + part * 1_000_000
        here = slice(start, start + size)
        samples.append(Sample(rows[here], labels[here], patients))
        start += size
    return samples


def measure(name: str, sizes: list[int], dim: int, jobs: int) -> None:
    """Fit and score one model, and print its figures as JSON."""
    train, val, test = draw(sizes, dim)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    clocks = [(time.perf_counter(), time.process_time())]
    fitted = create([name], jobs=jobs)[name].fit(train, val)
    clocks.append((time.perf_counter(), time.process_time()))
    probability = fitted.predict(test)
    clocks.append((time.perf_counter(), time.process_time()))
    (fit, fit_cpu), (score, score_cpu) = np.diff(clocks, axis=0).tolist()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    quality = float(np.nanmean(auroc(test.labels, probability)))
    figures = {"fit": fit, "fit_cpu": fit_cpu, "score": score, "score_cpu": score_cpu}
    figures |= {"above": (peak - before) / 1024, "auroc": quality}
    print(json.dumps(figures | {"images": len(fitted.train), "settings": dict(fitted.settings)}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=78_468 // 4)
    parser.add_argument("--val", type=int, default=11_219 // 4)
    parser.add_argument("--test", type=int, default=22_433 // 4)
    parser.add_argument("--dim", type=int, default=1024)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--models", default=",".join(DEFAULT_MODELS), help=f"some of {', '.join(MODELS)}")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    sizes = [options.n, options.val, options.test]
    if options.one:
        measure(options.one, sizes, options.dim, options.jobs)
        return
    print(f"{options.n:,} / {options.val:,} / {options.test:,} x {options.dim}, {options.jobs} jobs")
    print(
        f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}; MiB: peak above that before"
    )
    print(f"{'':20}{'fit s':>9}{'CPU s':>9}{'score s':>9}{'CPU s':>9}{'MiB':>7}{'AUROC':>8}{'images':>9}  settings")
    for name in options.models.split(","):
        words = [f"--{word}={getattr(options, word)}" for word in ("n", "val", "test", "dim", "jobs")]
        run = subprocess.run(
            [sys.executable, __file__, "--one", name, *words], check=True, capture_output=True, text=True
        )
        got = json.loads(run.stdout)
        print(f"{name:20}{got['fit']:9.1f}{got['fit_cpu']:9.1f}{got['score']:9.1f}", end="")
        print(
            f"{got['score_cpu']:9.1f}{got['above']:7.0f}{got['auroc']:8.4f}{got['images']:9}  {got['settings']}",
            flush=True,
        )


if __name__ == "__main__":
    main()
