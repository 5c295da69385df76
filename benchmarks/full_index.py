"""What a full-size index costs to open and to ask: 112,120 x 1024 synthetic embeddings, with NIH's numbers of patients.

    python benchmarks/full_index.py [--n 112120] [--pixels]

Times whole commands, as a person waits for them (best of 3, after one that warms the disk cache), and queries inside
one process. `--pixels` adds the stored pixels (7.3 GB at full size). The targets: `--help` under 0.3 s, `info` under
0.3 s, hashing every file under 1 s.
"""

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from _headline import headline
from PIL import Image

from cxrsearch.building.build import compute_reference
from cxrsearch.encoder.embed import Embedder
from cxrsearch.encoder.weights import load_encoder
from cxrsearch.images.catalogue import Catalogue
from cxrsearch.images.findings import Vocabulary
from cxrsearch.images.matching import Matched
from cxrsearch.images.pixel_cache import SHARD_IMAGES
from cxrsearch.images.sources.folder import FolderSource
from cxrsearch.query.index import open_index
from cxrsearch.store.content import IndexContent
from cxrsearch.store.filtered_search import build_vectors
from cxrsearch.store.integrity import check_files
from cxrsearch.store.manifest import read_manifest
from cxrsearch.store.writer import IndexWriter, ShardRecord

PATIENTS = 30_805
DIM = 1024


def make_index(folder: Path, n: int, pixels: bool) -> None:
    """Write an index whose embeddings are random around the real network's range; everything else is as ever."""
    rng = np.random.default_rng(0)
    patients = np.sort(rng.integers(0, max(1, PATIENTS * n // 112_120), n))
    ids = [f"{i:08d}.png" for i in range(n)]
    frame = pd.DataFrame({"id": ids, "patient": patients.astype(str), "view": "PA", "path": ids}, dtype=object)
    labels = rng.random((n, 14)) < 0.06
    matched = Matched(Catalogue(frame, Vocabulary(), labels), FolderSource(folder))
    embedder = Embedder(load_encoder("random:0", size=224), "cpu", "fp32")
    with IndexWriter(folder, {"n": n, "pixels": pixels}) as writer:
        records = []
        for number, start in enumerate(range(0, n, SHARD_IMAGES)):
            rows = range(start, min(start + SHARD_IMAGES, n))
            facts = [
                {"row": r, "source_sha256": f"{r:064x}", "pixel_sha256": f"{r + n:064x}", "description": "synthetic"}
                for r in rows
            ]
            block = np.abs(rng.standard_normal((len(rows), DIM), dtype=np.float32))
            shown = rng.integers(0, 256, (len(rows), 256, 256), dtype=np.uint8) if pixels else ()
            records.append(ShardRecord(facts, []))
            writer.write_shard(number, records[-1], [block], list(shown))
        content = IndexContent(matched, records)
        vectors = build_vectors("exact", writer.blocks(), "l2", writer.content / "search", "cpu")
        reference = compute_reference(vectors, writer.blocks(), content.catalogue)
        content.write(writer.content, embedder, reference)
        writer.commit(content.manifest(embedder, vectors, writer.plan, {"definition": None, "part": None}))


def command(*arguments: str) -> float:
    """Seconds of one whole command, the best of 3 after a first one."""
    program = [sys.executable, "-c", "from cxrsearch_cli.app import main; main()", *arguments]
    times = []
    for _ in range(4):
        start = time.perf_counter()
        subprocess.run(program, check=True, capture_output=True)
        times.append(time.perf_counter() - start)
    return min(times[1:])


def main() -> None:
    """Measure and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=112_120)
    parser.add_argument("--pixels", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        index = Path(temporary) / "index"
        start = time.perf_counter()
        make_index(index, arguments.n, arguments.pixels)
        made = time.perf_counter() - start
        picture = Path(temporary) / "query.png"
        Image.fromarray(np.random.default_rng(1).integers(0, 256, (512, 512), dtype=np.uint8)).save(picture)
        manifest = read_manifest(index)
        size = sum(entry.size for entry in manifest.files.values())
        print(
            f"{arguments.n} x {DIM}, {size / 1e6:.0f} MB in {len(manifest.files)} files, {platform.machine()},", end=" "
        )
        print(f"python {platform.python_version()}; written in {made:.0f} s")
        print(f"{'import torch alone (peer)':40}{_import_torch():8.2f} s")
        for title, words in (("cxrsearch --help", ["--help"]), ("cxrsearch info", ["info", str(index)])):
            took = command(*words)
            print(f"{title:40}{took:8.2f} s")
            headline(title, took, "< 0.3", "s")
        whole = command("query", str(picture), "--index", str(index), "--json")
        print(f"{'cxrsearch query, whole command':40}{whole:8.2f} s")
        start = time.perf_counter()
        check_files(index, manifest, again=True)
        took = time.perf_counter() - start
        print(f"{'  hashing every file':40}{took:8.2f} s")
        headline("hashing a full-size index", took, "< 1", "s")
        start = time.perf_counter()
        opened = open_index(index, device="cpu")
        print(f"{'  opening, hashes included':40}{time.perf_counter() - start:8.2f} s")
        times = []
        for _ in range(21):
            start = time.perf_counter()
            json.dumps(opened.query(picture).to_json())
            times.append(time.perf_counter() - start)
        print(f"{'first query in a process':40}{times[0]:8.2f} s")
        p50, p99 = np.percentile(times[1:], [50, 99])
        print(f"{'further queries, p50 / p99 of 20':40}{p50:8.3f} / {p99:.3f} s")
        headline("query in a process, p50", p50, unit="s")


def _import_torch() -> float:
    times = []
    for _ in range(3):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import torch"], check=True)
        times.append(time.perf_counter() - start)
    return min(times)


if __name__ == "__main__":
    main()
