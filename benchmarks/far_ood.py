"""What the gate of a query says of things that are no chest X-ray, and of ordinary X-rays of patients it does not know.

    python benchmarks/far_ood.py IMAGES TABLE WEIGHTS OOD [--limit 60]

Indexes the training part of the images (split patient-hash:0.7/0.1/0.2), and asks for every image of the test part,
whose patients the index does not hold, and for up to `limit` files of each folder of OOD (in name order). Prints the
share that is flagged at alarms of 0.01 and 0.05, with 95% Wilson intervals (of images, not patients), and the AUROC of
the distance to the k-th neighbour against the test part. For the test part the share is the rate of false alarms.
"""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score

from cxrsearch.build import build_index
from cxrsearch.errors import ImageError
from cxrsearch.images.catalogue import match_images, read_table
from cxrsearch.images.radiograph import find_images
from cxrsearch.images.splits import parse_split
from cxrsearch.query import Index, open_index

SPLIT = "patient-hash:0.7/0.1/0.2"
ALARMS = (0.01, 0.05)


def asked(index: Index, paths: Sequence[Path]) -> tuple[list[float], list[float], int]:
    """Distances, percentiles, and how many files were refused."""
    distances, percentiles, refused = [], [], 0
    for path in paths:
        try:
            typical = index.query(path, k=1).typicality
        except ImageError:
            refused += 1
            continue
        if typical.percentile is not None and typical.kth_distance is not None:
            distances.append(typical.kth_distance)
            percentiles.append(typical.percentile)
    return distances, percentiles, refused


def share(flagged: int, n: int) -> str:
    """A share with its interval."""
    interval = binomtest(flagged, n).proportion_ci(method="wilson")
    return f"{flagged / n:.3f} [{interval.low:.3f}, {interval.high:.3f}]"


def main() -> None:
    """Measure and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path)
    parser.add_argument("table", type=Path)
    parser.add_argument("weights")
    parser.add_argument("ood", type=Path)
    parser.add_argument("--limit", type=int, default=60)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        built = build_index(
            options.images,
            options.table,
            index=Path(temporary) / "index",
            weights=options.weights,
            split=SPLIT,
            part="train",
        )
        index = open_index(built.path)
        catalogue = match_images(read_table(options.table), options.images).catalogue
        tested = catalogue.take(parse_split(SPLIT).rows(catalogue, "test"))
        groups = {"held-back patients": tested.paths(options.images)}
        for folder in sorted(path for path in options.ood.iterdir() if path.is_dir()):
            groups[folder.name] = find_images(folder)[: options.limit]
        ordinary: list[float] = []
        print(f"{len(index)} images indexed, encoder {index.manifest.encoder_label}")
        for name, paths in groups.items():
            distances, percentiles, refused = asked(index, paths)
            ordinary = ordinary or distances
            if not distances:
                print(f"{name:24} {refused} refused")
                continue
            flags = [
                share(int((np.array(percentiles) >= 100 - 100 * alarm).sum()), len(percentiles)) for alarm in ALARMS
            ]
            truth = np.repeat([0, 1], [len(ordinary), len(distances)])
            auroc = "" if distances is ordinary else f"{roc_auc_score(truth, ordinary + distances):.3f}"
            print(f"{name:24} n {len(distances):4} refused {refused:3}  at .01 {flags[0]}  at .05 {flags[1]}  {auroc}")


if __name__ == "__main__":
    main()
