"""Clients that ask `cxrsearch serve` at once for a while: errors, answers a second, and how long an answer takes.

    python benchmarks/serve.py [--index DIR --images DIR] [--clients 8] [--seconds 60]

Without an index, one of 64 synthetic X-rays behind an untrained DenseNet-121 at 224 pixels is built first: what an
image costs does not depend on what weights know. Every client uploads one image after another to `/api/query`, as PNG;
a further one asks `/health` five times a second. The target is no error, and `/health` within a second throughout. The
first 3 seconds do not count. `alone` is one client after them, on an idle server.
"""

import argparse
import contextlib
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

import httpx
import numpy as np
from _headline import headline

from cxrsearch.building.build import build_index
from cxrsearch.phantom.write import make_phantom

WARM_UP = 3.0
ALONE = 20
SLOWEST_HEALTH = 1.0


def built(folder: Path) -> tuple[Path, Path]:
    """A small index, and the folder of its images."""
    make_phantom(folder / "data", 64, size=512)
    images = folder / "data" / "images"
    build_index(
        images,
        folder / "data" / "Data_Entry_2017.csv",
        index=folder / "index",
        weights="random:0",
        arch="densenet121",
        workers=0,
    )
    return folder / "index", images


@contextlib.contextmanager
def serving(index: Path) -> Iterator[str]:
    """The address of a server of its own process."""
    command = [sys.executable, "-c", "from cxrsearch_cli.app import main; main()", "serve"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen([*command, "--index", str(index), "--port", "0"], stderr=log, env=environment)
        try:
            while True:
                log.seek(0)
                found = re.search(r"serving at (http://\S+)\n", log.read())
                if found:
                    break
                if process.poll() is not None:
                    log.seek(0)
                    sys.exit(log.read())
                time.sleep(0.2)
            yield found[1]
        finally:
            process.terminate()
            process.wait()


def ask(client: httpx.Client, path: Path) -> tuple[float, bool]:
    """Seconds until the answer, and whether it is one."""
    data, started = path.read_bytes(), time.perf_counter()
    try:
        good = client.post("/api/query", files={"file": (path.name, data)}).status_code == 200
    except httpx.HTTPError:
        good = False
    return time.perf_counter() - started, good


def load(address: str, paths: list[Path], clients: int, seconds: float) -> tuple[list[float], int, list[float]]:
    """Times of the answers that count, how many failed, and the times of `/health`."""
    times: list[float] = []
    health: list[float] = []
    failed = 0
    begin = time.perf_counter()
    end = begin + WARM_UP + seconds

    def client_of(number: int) -> None:
        nonlocal failed
        with httpx.Client(base_url=address, timeout=60) as client:
            for path in cycle(paths[number:] + paths[:number]):
                if time.perf_counter() > end:
                    return
                took, good = ask(client, path)
                failed += not good
                if time.perf_counter() > begin + WARM_UP:
                    times.append(took)

    def nurse() -> None:
        with httpx.Client(base_url=address, timeout=60) as client:
            while time.perf_counter() < end:
                started = time.perf_counter()
                client.get("/health").raise_for_status()
                health.append(time.perf_counter() - started)
                time.sleep(0.2)

    threads = [threading.Thread(target=client_of, args=(number,)) for number in range(clients)]
    threads.append(threading.Thread(target=nurse))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return times, failed, health


def shown(name: str, times: list[float]) -> None:
    p50, p95, most = (np.percentile(times, share) * 1000 for share in (50, 95, 100))
    print(f"{name:>10}{len(times):8}{p50:10.0f}{p95:10.0f}{most:10.0f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--index", type=Path)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=60)
    options = parser.parse_args()
    if (options.index is None) != (options.images is None):
        parser.error("give both of --index and --images, or neither")
    with tempfile.TemporaryDirectory() as folder:
        index, images = (options.index, options.images) if options.index else built(Path(folder))
        paths = sorted(images.glob("*.png"))[:64]
        with serving(index) as address:
            times, failed, health = load(address, paths, options.clients, options.seconds)
            with httpx.Client(base_url=address, timeout=60) as client:
                alone = [ask(client, path)[0] for path, _ in zip(cycle(paths), range(ALONE), strict=False)]
    print(f"{options.clients} clients, {options.seconds:g} s, {os.cpu_count()} cores: {failed} failed")
    print(f"{len(times) / options.seconds:.1f} answers a second")
    print(f"{'':>10}{'n':>8}{'p50 ms':>10}{'p95 ms':>10}{'most ms':>10}")
    shown("together", times)
    shown("alone", alone)
    shown("/health", health)
    headline(f"{options.clients} clients, requests that failed", failed, "<= 0", "requests")
    headline(f"{options.clients} clients, p95", float(np.percentile(times, 95)), "< 1.5", "s")
    headline("/health meanwhile, at most", max(health), f"< {SLOWEST_HEALTH:g}", "s")
    if failed or max(health) > SLOWEST_HEALTH:
        sys.exit(f"missed: {failed} failed, /health took up to {max(health):.2f} s")


if __name__ == "__main__":
    main()
