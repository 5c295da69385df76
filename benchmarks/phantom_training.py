"""Train on a world whose truth is known, and see whether it is found: the phantom, from images to a test AUROC.

    python benchmarks/phantom_training.py [--n 2000] [--size 64] [--minutes 15] [--epochs 20] [--out DIR]

Draws `n` balanced synthetic X-rays, trains DenseNet-121 from random weights on 70% of the patients, indexes all, and
prints the test AUROC of each finding by the network's head and by the kNN vote, with 95% patient-bootstrap intervals.
With --out, an interrupted run goes on where it was.
"""

import argparse
import time
from pathlib import Path

from _folder import working_folder
from _headline import headline

from cxrsearch.building.build import build_index
from cxrsearch.evaluation.evaluate import Question, evaluate_index
from cxrsearch.phantom.write import make_phantom
from cxrsearch.query.index import open_index
from cxrsearch.training.request import Training
from cxrsearch.training.state import EpochRecord
from cxrsearch.training.train import train


def shown(event: object) -> None:
    """A line an epoch."""
    if isinstance(event, EpochRecord) and event.mean_auroc is not None:
        print(f"epoch {event.epoch}: validation AUROC {event.mean_auroc:.3f}", flush=True)


def run(folder: Path, asked: argparse.Namespace) -> None:
    """Draw, train, index, evaluate and print."""
    data = folder / "phantom"
    if not data.exists():
        make_phantom(data, asked.n, size=256, workers=2)
    images, table = data / "images", data / "Data_Entry_2017.csv"
    start = time.perf_counter()
    changes = {"arch": "densenet121", "weights": "random:0", "size": asked.size, "epochs": asked.epochs}
    training = Training(config=asked.config, changes=changes, max_minutes=asked.minutes)
    trained = train(images, table, training, out=folder / "run", report=shown)
    took = (time.perf_counter() - start) / 60
    build_index(images, table, index=folder / "index", weights=str(trained.path), cache=trained.path / "pixels")
    result = evaluate_index(open_index(folder / "index"), Question(models=("knn",), baselines=("view", "histogram")))
    print(f"{result.heading()}; {asked.size} px, {len(trained.epochs)} epochs, {took:.1f} minutes")
    rows = result.to_frame().query("model == 'densenet'").fillna(float("nan"))  # where there is no interval
    for finding in rows.to_dict("records"):
        interval = "[{auroc_low:.3f}, {auroc_high:.3f}]".format_map(finding)
        counts = "{positives} images of {patients} patients".format_map(finding)
        print(f"{finding['finding']:20} {finding['auroc']:.3f} {interval} {counts}")
    for name, metrics in result.metrics.items():
        mean = metrics.auroc.mean
        if mean.findings:
            print(f"mean of {mean.findings}, {name:20} {mean.point:.3f} [{mean.low:.3f}, {mean.high:.3f}]")
    headline("mean test AUROC on the phantom", result.metrics["densenet"].auroc.mean.point, ">= 0.85", "")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=2000)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--config", default="modern")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    with working_folder(asked.out) as folder:
        run(folder, asked)


if __name__ == "__main__":
    main()
