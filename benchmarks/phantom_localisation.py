"""Where the truth is known: are findings seen where they were drawn, and does a region find its like?

    python benchmarks/phantom_localisation.py [--n 3000] [--epochs 7] [--fine-epochs 2] [--out DIR]

Draws `n` balanced synthetic X-rays, trains DenseNet-121 from random weights at 128 px and goes on at 224 px, so that
most of the training costs a third (split patient-hash:0.6/0.1/0.3; recipe `modern`). Then, on the test part:

- T(IoBB) and T(IoU) of exact maps and of Grad-CAM, each beside random maps and another patient's map;
- P@10 of `query --box` with a drawn box against the query by the whole image, both among the test part's images of
  other patients, for at most `--queries` images of each finding; 95% intervals from resampling patients, paired.

With --out, an interrupted run goes on, and drawing and training are done once. Where others work on the same cores, one
thread is often faster than two: OMP_NUM_THREADS=1.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from _folder import working_folder
from _headline import headline
from numpy.typing import NDArray

from cxrsearch.analysis.maps.box_scores import LEVELS
from cxrsearch.analysis.measures.bootstrap import PatientBootstrap
from cxrsearch.building.build import build_index
from cxrsearch.images.boxes import Boxes, read_boxes
from cxrsearch.images.preprocess import Pixels
from cxrsearch.localisation.evaluate_localisation import LocalisationQuestion, evaluate_localisation_of_images
from cxrsearch.phantom.write import make_phantom
from cxrsearch.query.index import Index, open_index
from cxrsearch.query.maps import METHODS
from cxrsearch.training.request import Training
from cxrsearch.training.train import train

SPLIT = "patient-hash:0.6/0.1/0.3"
FINDINGS = ("Nodule", "Mass", "Pneumonia", "Atelectasis")
"""Those whose boxes are small: 4, 9, 20 and 20 hundredths of an image's side, and larger."""
K = 10


def remember(index: Index) -> None:
    """Compute the feature map of each image once, as every query asks for many of the same ones."""
    compute, known = index.embedder.activations, dict[bytes, NDArray[np.float32]]()

    def activations(batch: Pixels) -> NDArray[np.float32]:
        new = [image for image in batch if image.tobytes() not in known]
        if new:
            known.update(zip([image.tobytes() for image in new], compute(np.stack(new)), strict=True))
        return np.stack([known[image.tobytes()] for image in batch])

    setattr(index.embedder, "activations", activations)  # noqa: B010  (a method of this one embedder)


def regions(index: Index, images: Path, boxes: Boxes, finding: str, most: int) -> tuple[list[str], NDArray[np.float64]]:
    """Patients of the queries, and P@10 of the whole image, of the region, their difference, and chance: (n, 4)."""
    rows = {image: row for row, image in enumerate(index.catalogue.ids)}
    first = {boxes.images[i]: i for i in reversed(range(len(boxes))) if boxes.findings[i] == finding}
    asked = sorted(image for image in first if image in rows)
    asked = [asked[i] for i in np.random.default_rng(0).permutation(len(asked))[:most]]
    assert index.catalogue.labels is not None
    shows = index.catalogue.labels[:, index.manifest.findings.index(finding)]
    groups, scores = index.catalogue.patient_groups(), []
    for image in asked:
        left, top, width, height = boxes.pixels(256)[first[image]].tolist()
        whole = index.query(images / image, k=K)
        region = index.query(images / image, k=K, box=(left, top, width, height))
        precisions = [shows[answer.neighbours.row].mean() for answer in (whole, region)]
        chance = shows[groups != groups[rows[image]]].mean()
        scores.append([*precisions, precisions[1] - precisions[0], chance])
    return [index.catalogue.patients[rows[image]] for image in asked], np.array(scores, dtype=np.float64)


def show_regions(index: Index, data: Path, most: int) -> None:
    """Print P@10 of regions and of whole images."""
    boxes = read_boxes(data / "BBox_List_2017.csv")
    remember(index)
    for finding in FINDINGS:
        patients, scores = regions(index, data / "images", boxes, finding, most)
        if not patients:
            print(f"{finding}: no test image shows it")
            continue
        found = PatientBootstrap(patients).averages(scores, np.ones((len(scores), 1), dtype=np.bool_))
        whole, region, difference, chance = (
            f"{found.point[0, i]:.3f} [{found.low[0, i]:.3f}, {found.high[0, i]:.3f}]" for i in range(4)
        )
        print(
            f"{finding}: {len(scores)} queries of {found.patients[0]} patients, P@{K} whole {whole}, region {region}, "
            f"difference {difference}, chance {chance.split()[0]}"
        )
        headline(
            f"P@{K} of a region minus the whole image, {finding}",
            float(found.point[0, 2]),
            "",
            difference.partition(" ")[2],
        )


def show_maps(data: Path, weights: str) -> None:
    """Print T(IoBB) and T(IoU)."""
    table, boxes = data / "Data_Entry_2017.csv", data / "BBox_List_2017.csv"
    for method in METHODS:
        question = LocalisationQuestion(split=SPLIT, method=method)
        result = evaluate_localisation_of_images(data / "images", table, weights, boxes, question)
        print(f"{result.heading()}; thresholds {result.thresholds}")
        gain = result.row("all", "map - random", "iobb", 0.25)
        headline(f"T(IoBB) .25 of {method} minus that of random maps", gain.accuracy, ">= 0.1", "")
        for finding in dict.fromkeys(row.finding for row in result.rows):
            for model in (*result.thresholds, "map - random"):
                own = [result.row(finding, model, *level) for level in LEVELS]
                quarter, tenth = own[1], own[5]
                counts = f"{quarter.images} images, {quarter.patients} patients"
                every = " ".join(f"{row.accuracy:.3f}" for row in own)
                spread = [f"[{row.low:.3f}, {row.high:.3f}]" for row in (quarter, tenth) if row.low is not None]
                print(f"{finding:18} {model:12} {counts}: {every}; IoBB .25 and IoU .1: {' '.join(spread)}")


def run(folder: Path, asked: argparse.Namespace) -> None:
    """Draw, train, index, evaluate and print."""
    data, start = folder / "phantom", time.perf_counter()
    if not data.exists():
        make_phantom(data, asked.n, size=256)
    images, table = data / "images", data / "Data_Entry_2017.csv"
    shared: dict[str, Any] = {"split": SPLIT, "config": "modern", "cache": folder / "pixels"}
    coarse: dict[str, Any] = {"arch": "densenet121", "weights": "random:0", "size": 128, "epochs": asked.epochs}
    train(images, table, Training(changes=coarse, **shared), out=folder / "coarse")
    fine = {"weights": str(folder / "coarse"), "size": 224, "epochs": asked.fine_epochs, "lr": 2e-4, "warmup": 20}
    training = Training(changes=fine | {"ema": 0.98}, **shared)
    trained = train(images, table, training, out=folder / "fine")
    minutes = (time.perf_counter() - start) / 60
    print(f"{trained.n_train} images to train; mean validation AUROC {trained.best.mean_auroc}; {minutes:.1f} minutes")
    where: dict[str, Any] = {"weights": str(folder / "fine"), "cache": folder / "pixels", "split": SPLIT}
    show_maps(data, where["weights"])
    build_index(images, table, index=folder / "test", part="test", **where)
    show_regions(open_index(folder / "test"), data, asked.queries)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=3000)
    parser.add_argument("--epochs", type=int, default=7)
    parser.add_argument("--fine-epochs", type=int, default=2)
    parser.add_argument("--queries", type=int, default=40)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    with working_folder(asked.out) as folder:
        run(folder, asked)


if __name__ == "__main__":
    main()
