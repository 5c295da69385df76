"""What bf16 costs: neighbours of bf16 embeddings against those of fp32, on a folder of images.

    python benchmarks/precision.py [FOLDER] [--weights random:0] [--k 20]

Prints recall@k of a bf16 index asked in bf16, and of one asked in fp32, against an fp32 index asked in fp32, and the
smallest cosine between the two embeddings of an image, centred on the fp32 mean. FOLDER defaults to a phantom.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from _headline import headline

from cxrsearch.building.build import build_index
from cxrsearch.phantom.write import make_phantom
from cxrsearch.store.reader import open_stored
from cxrsearch_indexes import build, recall_at_k


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--weights", default="random:0")
    parser.add_argument("--k", type=int, default=20)
    arguments = parser.parse_args()
    made = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or make_phantom(Path(temporary) / "phantom", 100, size=256).folder / "images"
        for precision in ("fp32", "bf16"):
            index = Path(temporary) / precision
            cache = Path(temporary) / "cache"
            build_index(folder, index=index, weights=arguments.weights, precision=precision, cache=cache)
            made[precision] = np.concatenate(open_stored(index).blocks)
    a, b = made["fp32"], made["bf16"]
    exact, rounded = build("exact", [a], "l2"), build("exact", [b], "l2")
    truth = exact.search(a, arguments.k)
    centred_a, centred_b = a - a.mean(0), b - a.mean(0)
    norms = np.linalg.norm(centred_a, axis=1) * np.linalg.norm(centred_b, axis=1)
    print(f"{len(a)} images, {arguments.weights}")
    for title, queries in (("bf16", b), ("fp32", a)):
        found = rounded.search(queries, arguments.k)
        recall = recall_at_k(found, truth)
        print(f"recall@{arguments.k}, bf16 index asked in {title}: {recall:.4f}")
        headline(f"recall@{arguments.k} of a bf16 index, untrained, asked in {title}", recall, unit="")
    print(f"smallest centred cosine: {((centred_a * centred_b).sum(1) / norms).min():.6f}")


if __name__ == "__main__":
    main()
