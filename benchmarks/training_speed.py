"""Images a second of a training, against a plain fp32 loop as in PyTorch's own examples.

    python benchmarks/training_speed.py [IMAGES TABLE] [--size 224] [--steps 12] [--rounds 3] [--epochs 0]

The peer is torchvision's DenseNet-121 in eager fp32, Adam, batch 16, images decoded, resized and flipped by Pillow in
one loading process. Ours is the trainer with its pixel cache, by the recipe `paper` in fp32, in bf16 where the
processor computes in it, and by `modern`. All start untrained and do the same number of steps, each in a process of
its own, in turn, a number of rounds; the first 3 steps are left out. A ratio is the median of the ratios to the peer of
the same round, since machines change their speed. With --epochs E, the peer and `paper`, without the dropout and the
decay that the peer lacks, are also trained so long, and their mean validation AUROC is compared. IMAGES and TABLE
default to a phantom.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context, set_start_method
from pathlib import Path
from statistics import median
from typing import ParamSpec, TypeVar

import numpy as np
import torch
from _headline import headline
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision.models import densenet121

from cxrsearch.analysis.measures.bootstrap import PatientBootstrap
from cxrsearch.analysis.measures.metrics import auroc
from cxrsearch.encoder.weights import load_encoder
from cxrsearch.images.catalogue import Catalogue
from cxrsearch.images.formats.format_registry import read_table
from cxrsearch.images.matching import match_images
from cxrsearch.images.sources.folder import FolderSource
from cxrsearch.images.splits import parse_split
from cxrsearch.phantom.write import make_phantom
from cxrsearch.training.losses import FindingLoss, class_weights
from cxrsearch.training.request import Training
from cxrsearch.training.train import train
from cxrsearch.training.trainer import StepReport

P = ParamSpec("P")
R = TypeVar("R")
BATCH, WARM, SPLIT = 16, 3, "patient-hash:0.7/0.3/0"
AS_PEER = {"dropout": 0.0, "lr_decay": 1.0}
MEAN, STD = (np.array(value, np.float32).reshape(3, 1, 1) for value in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))


class Files(Dataset[tuple[np.ndarray, np.ndarray]]):
    """What everybody writes first: decode, resize, flip and normalise in `__getitem__`."""

    def __init__(self, catalogue: Catalogue, folder: Path, size: int, flip: bool) -> None:
        assert catalogue.labels is not None
        self.paths, self.labels, self.size, self.flip = (
            [folder / path for path in catalogue.paths],
            catalogue.labels,
            size,
            flip,
        )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        with Image.open(self.paths[row]) as image:
            pixels = np.asarray(image.convert("RGB").resize((self.size, self.size), Image.Resampling.BILINEAR))
        if self.flip and torch.rand(()) < 0.5:
            pixels = pixels[:, ::-1]
        normal = (pixels.transpose(2, 0, 1).astype(np.float32) / 255 - MEAN) / STD
        return normal.astype(np.float32), self.labels[row].astype(np.float32)


class Peer:
    """The plain loop."""

    def __init__(self, folder: Path, parts: dict[str, Catalogue], size: int) -> None:
        torch.manual_seed(0)
        labels = parts["train"].labels
        assert labels is not None
        self.net = densenet121(num_classes=labels.shape[1])
        self.optimiser = torch.optim.Adam(self.net.parameters(), lr=1e-4)
        positive, negative = class_weights(labels)
        self.loss = FindingLoss(torch.from_numpy(positive), torch.from_numpy(negative))
        self.files = {part: Files(own, folder, size, part == "train") for part, own in parts.items()}

    def epoch(self) -> Iterator[None]:
        """Train, a step at a time."""
        self.net.train()
        for pixels, labels in DataLoader(self.files["train"], BATCH, shuffle=True, drop_last=True, num_workers=1):
            self.optimiser.zero_grad()
            torch.autograd.backward(self.loss(self.net(pixels), labels))
            self.optimiser.step()
            yield

    def probabilities(self) -> np.ndarray:
        """Of the validation part."""
        self.net.eval()
        with torch.no_grad():
            found = [torch.sigmoid(self.net(pixels)) for pixels, _ in DataLoader(self.files["val"], BATCH)]
        return torch.cat(found).double().numpy()


class Enough(Exception):  # noqa: N818
    """So many steps were timed."""


def alone(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call it in a new process: what one contender does to its process's memory is not the next one's."""
    with ProcessPoolExecutor(1, get_context("spawn"), initializer=fork_loaders) as pool:
        return pool.submit(function, *args, **kwargs).result()


def fork_loaders() -> None:
    """A spawned process would spawn those that load its images too, which takes longer than all that is timed."""
    set_start_method("fork", force=True)


def peer_rate(steps: int, folder: Path, parts: dict[str, Catalogue], size: int) -> float:
    """Images a second of the plain loop."""
    peer, times = Peer(folder, parts, size), list[float]()
    while len(times) <= steps:
        for _ in peer.epoch():
            times.append(time.perf_counter())
            if len(times) > steps:
                break
    return BATCH * (steps - WARM) / (times[steps] - times[WARM])


def our_rate(steps: int, data: tuple[Path, Path], training: Training, folder: Path) -> tuple[float, float]:
    """Images a second of the trainer, and the share of the time that it waited for images."""
    times: list[float] = []
    waiting: list[float] = []

    def report(event: object) -> None:
        if isinstance(event, StepReport):
            times.append(time.perf_counter())
            waiting.append(event.waiting)
            if len(times) > steps:
                raise Enough

    try:
        train(*data, training, out=folder, report=report)
    except Enough:
        return BATCH * (steps - WARM) / (times[steps] - times[WARM]), waiting[-1]
    raise SystemExit(f"{len(times)} steps in all are fewer than {steps}: give more images")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", nargs="?", type=Path)
    parser.add_argument("table", nargs="?", type=Path)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=0)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder, images, table = Path(temporary), asked.images, asked.table
        if images is None:
            phantom = make_phantom(folder / "phantom", 1200 if asked.epochs else 320, size=512).folder
            images, table = phantom / "images", phantom / "Data_Entry_2017.csv"
        whole = match_images(read_table(table), FolderSource(images)).catalogue
        parts = {part: whole.take(parse_split(SPLIT).rows(whole, part)) for part in ("train", "val")}
        changes = {"arch": "densenet121", "weights": "random:0", "size": asked.size, "epochs": 1000}
        shared = Training(split=SPLIT, cache=folder / "cache", changes=changes)
        print(f"DenseNet-121, {asked.size} px, batch {BATCH}, {asked.steps} steps, {torch.get_num_threads()} threads,")
        print(f"medians of {asked.rounds} rounds")
        compare_rates((images, table), parts, shared, folder, asked.steps, asked.rounds)
        if asked.epochs:
            shared = replace(shared, changes=changes | {"epochs": asked.epochs} | AS_PEER)
            compare_aurocs((images, table), parts, shared, folder)


def compare_rates(
    data: tuple[Path, Path], parts: dict[str, Catalogue], training: Training, folder: Path, steps: int, rounds: int
) -> None:
    """Time the peer and the recipes, round by round, and print their medians."""
    bf16 = torch.cuda.is_available() or torch.cpu._is_avx512_bf16_supported()
    contenders = {
        f"{config}, {precision}": replace(training, config=config, precision=precision)
        for precision in (("fp32", "bf16") if bf16 else ("fp32",))
        for config in ("paper", "modern")
    }
    plain = []
    ours: dict[str, list[tuple[float, float]]] = {title: [] for title in contenders}
    for turn in range(rounds):
        plain.append(alone(peer_rate, steps, data[0], parts, training.recipe().size))
        for title, own in contenders.items():
            ours[title].append(alone(our_rate, steps, data, own, folder / f"{title} {turn}"))
    print(f"{'plain fp32 loop (peer)':24} {median(plain):6.2f} images/s")
    for title, measured in ours.items():
        ratios = [rate / peer for (rate, _), peer in zip(measured, plain, strict=True)]
        rate, waiting = (median(values) for values in zip(*measured, strict=True))
        print(f"{title:24} {rate:6.2f} images/s  {median(ratios):5.2f} times", end=" ")
        print(f"({min(ratios):.2f} to {max(ratios):.2f})  {waiting:.1%} waiting for images")
        headline(f"training, {title}, against a plain fp32 loop", median(ratios), ">= 2.5")
    if not bf16:
        print("bf16: not measured, this processor does not compute in it")


def compare_aurocs(data: tuple[Path, Path], parts: dict[str, Catalogue], training: Training, folder: Path) -> None:
    """Train both, and print the difference of their validation AUROC."""
    (images, _), recipe = data, training.recipe()
    peer = Peer(images, parts, recipe.size)
    for _ in range(recipe.epochs):
        list(peer.epoch())
    run = train(*data, training, out=folder / "whole")
    encoder = load_encoder(str(run.path / "last.safetensors")).eval()
    val, labels = parts["val"], parts["val"].labels
    assert labels is not None
    preprocess = encoder.spec.preprocess
    ours = []
    with torch.inference_mode():
        for path in [images / path for path in val.paths]:
            with Image.open(path) as image:
                stored = preprocess.stored_pixels(np.asarray(image.convert("L")))
            ours.append(torch.sigmoid(encoder(torch.from_numpy(preprocess.network_pixels(stored)[None].copy()))[1])[0])
    scores = torch.stack(ours).double().numpy(), peer.probabilities()
    apart = PatientBootstrap(val.patients).difference(labels, *scores).mean
    means = [np.nanmean(auroc(labels, own)) for own in scores]
    print(f"validation AUROC after {recipe.epochs} epochs: paper {means[0]:.3f}, plain loop {means[1]:.3f};", end=" ")
    print(f"difference {apart.point:+.3f} [{apart.low:+.3f}, {apart.high:+.3f}], {len(val)} images")


if __name__ == "__main__":
    main()
