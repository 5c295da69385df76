"""A training that takes seconds, for tests and, run as a script, for the processes that they start.

python small_training.py FOLDER kill STEP      killed, as by kill -9, when that step is done
python small_training.py FOLDER ranks          two ranks, each of which writes what it did
"""

import os
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from safetensors.torch import save_file
from sklearn.metrics import roc_auc_score

from cxrsearch.encoder.densenet import Encoder, draw_tensors
from cxrsearch.encoder.spec import Provenance
from cxrsearch.images.pixel_cache import PixelCache, StoredImage
from cxrsearch.images.preprocess import Pixels, Preprocess
from cxrsearch.training._batches import Examples
from cxrsearch.training._clock import Clock
from cxrsearch.training._head import with_head
from cxrsearch.training.recipe import PAPER, Recipe
from cxrsearch.training.state import EpochRecord
from cxrsearch.training.trainer import Report, StepReport, Task, Trainer

FINDINGS = ("Mass", "Effusion", "Hernia")
RECIPE = PAPER.changed({"arch": "densenet121", "size": 32, "batch_size": 4, "epochs": 2, "lr": 1e-3, "flip": 0.5})


@dataclass(frozen=True, eq=False)
class Watched(Examples):
    """Examples that note which of them are looked at (in this process)."""

    seen: list[int] = field(default_factory=list)

    def stored(self, row: int) -> Pixels:
        self.seen.append(row)
        return super().stored(row)


def auroc(labels: NDArray[np.bool_], scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of each finding, nan without both classes."""
    both = labels.any(axis=0) & ~labels.all(axis=0)
    return np.array(
        [roc_auc_score(labels[:, i], scores[:, i]) if known else np.nan for i, known in enumerate(np.atleast_1d(both))]
    )


def examples(folder: Path, preprocess: Preprocess, n: int, seed: int) -> Watched:
    """`n` random images; a Mass is bright, no image has a Hernia."""
    rng = np.random.default_rng(seed)
    labels = np.stack([rng.random(n) < 0.5, rng.random(n) < 0.5, np.zeros(n, bool)], axis=1)
    labels[:2, :2] = [[True, False], [False, True]]
    cache = PixelCache(folder / "pixels", preprocess)
    names = [f"{seed}-{i}" for i in range(n)]
    side = preprocess.pixel_side
    for name, label in zip(names, labels, strict=True):
        pixels = rng.integers(0, 128, (side, side), dtype=np.uint8) + np.uint8(100 * label[0])
        cache.add(StoredImage(pixels, name, name, "noise"))
    cache.flush()
    return Watched(cache, names, labels)


def encoder(recipe: Recipe = RECIPE, findings: tuple[str, ...] | None = FINDINGS) -> Encoder:
    """An untrained one for the three findings, or without a head."""
    start = Encoder(draw_tensors("densenet121", 0), Preprocess(), label="start")
    preprocess = recipe.preprocess(start.spec.preprocess)
    return with_head(start, findings, preprocess, seed=0, label="run", provenance=Provenance("column", "ids", 11))


def task(folder: Path, recipe: Recipe = RECIPE, **fields: Any) -> Task:
    """11 training and 7 validation images: two steps an epoch, the remainder dropped."""
    folder.mkdir(exist_ok=True)
    preprocess = recipe.preprocess(Preprocess())
    parts = {"train": examples(folder, preprocess, 11, seed=1), "val": examples(folder, preprocess, 7, seed=2)}
    return Task(**{"recipe": recipe, "seed": 5, "score": auroc, "folder": folder, **parts, **fields})


def fabric(ranks: int = 1) -> Fabric:
    """On the CPU, in fp32."""
    made = Fabric(accelerator="cpu", devices=ranks, strategy="ddp" if ranks > 1 else "auto", precision="32-true")
    made.launch()
    return made


def killing(step: int) -> Report:
    """Kills this process when a step is done."""

    def report(event: StepReport | EpochRecord) -> None:
        if isinstance(event, StepReport) and event.step == step:
            os.kill(os.getpid(), signal.SIGKILL)

    return report


def train_as_a_rank(folder: Path) -> None:
    """Train with two ranks by hand, and write weights before and gradients after every step."""
    both = fabric(ranks=2)
    work = task(folder / f"rank{both.global_rank}")
    trainer = Trainer(both, encoder(), work)
    clock, tensors = Clock(4), dict[str, torch.Tensor]()
    for number, batch in enumerate(trainer.batches()):
        tensors |= {f"{number}.before.{name}": value.clone() for name, value in trainer.encoder.tensors().items()}
        report = trainer.step(batch, clock)
        grads = {f"{number}.gradient.{n}": p.grad.clone().contiguous() for n, p in trainer.encoder.named_parameters()}  # type: ignore[union-attr]
        tensors |= grads | {f"{number}.loss": torch.tensor(report.loss, dtype=torch.float64)}
    tensors["seen"] = torch.tensor(work.train.seen)  # type: ignore[attr-defined]
    tensors["probabilities"] = torch.from_numpy(trainer.evaluate())
    tensors["evaluated"] = torch.tensor(work.val.seen)  # type: ignore[attr-defined]
    tensors |= {f"after.{name}": value.clone() for name, value in trainer.encoder.tensors().items()}
    save_file(tensors, folder / f"{both.global_rank}.safetensors")


if __name__ == "__main__":
    torch.set_num_threads(1)
    where, what = Path(sys.argv[1]), sys.argv[2]
    if what == "kill":
        Trainer(fabric(), encoder(), task(where, save_every=1)).run(killing(int(sys.argv[3])))
    else:
        train_as_a_rank(where)
