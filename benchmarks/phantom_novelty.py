"""A disease that nobody knew, in a world whose truth is known: is a planted finding found by an encoder without it?

    python benchmarks/phantom_novelty.py [--n 2000] [--holdout Hernia] [--size 64] [--epochs 20] [--plain] [--out DIR]

Draws `n` balanced synthetic X-rays, whose hernias are 2.2 times as large and twice as clear as the phantom's mostly are
(with --plain they are not, and the score that is named beforehand does not find them: docs/RESULTS.md). Trains
DenseNet-121 from random weights without the finding on half of the patients (split patient-hash:0.5/0.1/0.4), indexes
all, and prints how well every score tells images with the finding from all others. Then, as a control, all images with
it are left out and as many of the other patients, drawn at random, are said to have it, 20 times: of the `knn` score,
which is named beforehand, at most 4 intervals should exclude .5. With --out, an interrupted run goes on.
"""

import argparse
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
from _folder import working_folder
from _headline import headline
from numpy.typing import NDArray

from cxrsearch.analysis.novelty.comparisons import rows
from cxrsearch.analysis.novelty.neighbours import KNeighbours
from cxrsearch.images.splits import parse_split
from cxrsearch.novelty.evaluate_novelty import NoveltyQuestion
from cxrsearch.novelty.novelty_result import NoveltyResult
from cxrsearch.novelty.retrain import retrain
from cxrsearch.phantom.signs import SIGNS, Sign, hernia
from cxrsearch.phantom.write import make_phantom
from cxrsearch.query.index import Index, open_index
from cxrsearch.training.request import Training

if "--plain" not in sys.argv:  # here, so that processes that draw have it, too
    SIGNS["Hernia"] = Sign(partial(hernia, scale=2.2, contrast=2.0))
SPLIT = "patient-hash:0.5/0.1/0.4"
PRETENCES = 20


def pretended(shows: NDArray[np.bool_], groups: NDArray[np.int64], seed: int) -> NDArray[np.bool_]:
    """Other images, bool (n,), as if they showed the finding: of as many patients, the same share of their images."""
    rng = np.random.default_rng(seed)
    having = np.unique(groups[shows])
    share = shows[np.isin(groups, having)].mean()
    drawn = rng.choice(np.unique(groups[~shows]), len(having), replace=False)
    others: NDArray[np.bool_] = np.isin(groups, drawn) & ~shows & (rng.random(len(groups)) < share)
    return others


def control(index: Index, found: NoveltyResult) -> int:
    """How many pretences have a `knn` interval that excludes .5; images that do show the finding have no part."""
    assert index.catalogue.labels is not None
    finding, patients = index.manifest.findings.index(found.holdout), index.catalogue.patient_groups()
    shows = index.catalogue.labels[:, finding]
    parts = parse_split(found.split).assign(index.catalogue)
    train, test = (np.flatnonzero((parts == part) & ~shows) for part in ("train", "test"))
    excluded = 0
    for seed in range(PRETENCES):
        labels = index.catalogue.labels.copy()
        labels[:, finding] = pretended(shows, patients, seed)
        known = train[~labels[train, finding]]
        score = KNeighbours(found.chosen.k["knn"]).fit(index.stored.vectors.take(known), labels[known])
        values = score.score(index.stored.vectors.take(test))
        row = rows(labels[test], finding, patients[test], {"knn": values}, replicates=found.replicates, seed=seed)[0]
        assert row.auroc_low is not None, "too few patients with the finding in the test part: draw more images"
        excluded += not row.auroc_low <= 0.5 <= (row.auroc_high or 0)
    return excluded


def run(folder: Path, asked: argparse.Namespace) -> None:
    """Draw, train without the finding, index, evaluate, pretend and print."""
    data = folder / "phantom"
    if not data.exists():
        make_phantom(data, asked.n, size=256, workers=2)
    start = time.perf_counter()
    found = retrain(
        data / "images",
        data / "Data_Entry_2017.csv",
        asked.holdout,
        NoveltyQuestion(split=SPLIT, shots=(0, 1, 5, 20)),
        Training(
            config=asked.config,
            changes={"arch": "densenet121", "weights": "random:0", "size": asked.size, "epochs": asked.epochs},
            max_minutes=asked.minutes,
        ),
        out=folder / "novelty",
    )
    print(f"{found.heading()}; {found.seen}; {(time.perf_counter() - start) / 60:.1f} minutes")
    print(f"chosen on validation: {found.chosen}")
    for row in found.rows:
        interval = "" if row.auroc_low is None else f"[{row.auroc_low:.3f}, {row.auroc_high:.3f}]"
        value = "-" if row.auroc is None else f"{row.auroc:.3f}"
        if (row.score, row.positives, row.negatives) == ("knn", "any", "all") and row.auroc is not None:
            headline(f"AUROC of {found.holdout}, unknown, by knn", row.auroc, unit=interval)
        counts = f"{row.n_positive} images of {row.n_patients} patients against {row.n_negative}"
        print(f"{row.score:20} {row.positives:5} {row.negatives:15} {value} {interval:16} {counts}")
    for shots in found.shots:
        print(f"{shots.score:10} {shots.shots:3} known patients: {shots.auroc} {shots.lowest} to {shots.highest}")
    index = open_index(folder / "novelty" / found.holdout / "index")
    print(f"{control(index, found)} of {PRETENCES} pretences of {found.holdout} have a knn interval that excludes .5")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=2000)
    parser.add_argument("--holdout", default="Hernia")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--config", default="modern")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--plain", action="store_true", help="hernias as the phantom mostly draws them")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    with working_folder(asked.out) as folder:
        run(folder, asked)


if __name__ == "__main__":
    main()
