"""The images of a part, and their order in training on every rank."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from cxrsearch.encoder.embed import end_with_parent, load_batches
from cxrsearch.errors import CxrsearchError
from cxrsearch.images.loading import LoadedImage, RefusedImage
from cxrsearch.images.pixel_cache import PixelCache
from cxrsearch.images.preprocess import Pixels, Preprocess
from cxrsearch.images.sources.source import ImageSource
from cxrsearch.progress import Progress
from cxrsearch.training._augment import augmentations, crops, image_rng, order_rng
from cxrsearch.training.recipe import Recipe

_FILLED = 32
"""Images that a decoding process handles at a time."""

_FIXED_SEED = 0
"""Validation images have the same two augmentations in every epoch and run."""

Batch = tuple[Tensor, Tensor]
"""Pixels, uint8 (b, size, size), or (b, crops or augmentations, size, size); and labels, float32 (b, F)."""


@dataclass(frozen=True, eq=False)
class Examples:
    """Images of one part, with their labels.

    Attributes:
        cache: holds all of them, flushed to disk, so that worker processes share it as mapped memory.
        sha256s: sha256 of each file, n.
        labels: bool (n, F).
    """

    cache: PixelCache
    sha256s: Sequence[str]
    labels: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.sha256s)

    def stored(self, row: int) -> Pixels:
        """The stored pixels of the image in a row, uint8 (pixel_side, pixel_side)."""
        image = self.cache.get(self.sha256s[row])
        assert image is not None
        return image.pixels


def fill_cache(
    source: ImageSource,
    names: Sequence[str],
    cache: PixelCache,
    preprocess: Preprocess,
    *,
    workers: int,
    progress: Progress,
) -> list[str | RefusedImage]:
    """Decode the images that the cache does not hold yet.

    Args:
        source: the folder of images.
        names: files of the source.
        cache: filled and flushed.
        preprocess: how images are decoded.
        workers: decoding processes; 0: this one.
        progress: called while images are read.

    Returns:
        For every file its sha256, or why it is refused.

    Raises:
        CxrsearchError: a decoding process was killed, or the disk is full. Images decoded so far stay in the cache.
    """
    batches = [range(i, min(i + _FILLED, len(names))) for i in range(0, len(names), _FILLED)]
    results: list[str | RefusedImage] = []
    progress("reading images", 0, len(names))
    for batch in load_batches(source, names, batches, preprocess, cache=cache, workers=workers):
        for image in batch:
            if isinstance(image, LoadedImage):
                cache.add(image.stored)
            results.append(image if isinstance(image, RefusedImage) else image.stored.source_sha256)
        progress("reading images", len(results), len(names))
    cache.flush()
    return results


def steps_per_epoch(images: int, batch_size: int, ranks: int) -> int:
    """Batches per rank and epoch. The remainder below ranks x batch is dropped; it differs from epoch to epoch."""
    return images // (batch_size * ranks)


def epoch_batches(images: int, batch_size: int, ranks: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """The images of each rank and step of an epoch, no image twice. The result depends only on the arguments.

    Returns:
        int64 (steps, ranks, batch_size), rows of the training part.
    """
    steps = steps_per_epoch(images, batch_size, ranks)
    order = order_rng(seed, epoch).permutation(images)
    return order[: steps * ranks * batch_size].reshape(steps, ranks, batch_size)


@dataclass(frozen=True)
class BatchOrder:
    """One rank's batches from step `start` to the end of the training, as lists of (epoch, row)."""

    images: int
    batch_size: int
    ranks: int
    rank: int
    seed: int
    start: int
    epochs: int

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        steps = steps_per_epoch(self.images, self.batch_size, self.ranks)
        for epoch in range(self.start // steps, self.epochs):
            batches = epoch_batches(self.images, self.batch_size, self.ranks, self.seed, epoch)
            for rows in batches[max(0, self.start - epoch * steps) :, self.rank]:
                yield [(epoch, int(row)) for row in rows]


def training_batches(
    examples: Examples, preprocess: Preprocess, recipe: Recipe, order: BatchOrder, workers: int
) -> Iterator[Batch]:
    """One rank's training batches, augmented in worker processes; see `augment`.

    Raises:
        CxrsearchError: a worker process was killed, usually because memory ran out.
    """
    return _load(_TrainingImages(examples, preprocess, recipe, order.seed), order, workers)


def evaluation_batches(
    examples: Examples, preprocess: Preprocess, recipe: Recipe, rows: Sequence[int], workers: int
) -> Iterator[Batch]:
    """Batches of rows in order, each with the recipe's crops, or with augmentations that never change.

    Raises:
        CxrsearchError: a worker process was killed, usually because memory ran out.
    """
    batches = [rows[i : i + recipe.batch_size] for i in range(0, len(rows), recipe.batch_size)]
    return _load(_EvaluationImages(examples, preprocess, recipe), batches, workers)


class _TrainingImages(Dataset[tuple[Pixels, NDArray[np.bool_]]]):
    def __init__(self, examples: Examples, preprocess: Preprocess, recipe: Recipe, seed: int) -> None:
        self._examples, self._preprocess, self._recipe, self._seed = examples, preprocess, recipe, seed

    def __getitem__(self, place: tuple[int, int]) -> tuple[Pixels, NDArray[np.bool_]]:
        epoch, row = place
        rng, stored = image_rng(self._seed, epoch, row), self._examples.stored(row)
        count = self._recipe.objective_kind.augmentations
        pixels = augmentations(stored, self._preprocess, self._recipe, rng, count)
        return pixels[0] if count == 1 else pixels, self._examples.labels[row]


class _EvaluationImages(Dataset[tuple[Pixels, NDArray[np.bool_]]]):
    def __init__(self, examples: Examples, preprocess: Preprocess, recipe: Recipe) -> None:
        self._examples, self._preprocess, self._recipe = examples, preprocess, recipe

    def __getitem__(self, row: int) -> tuple[Pixels, NDArray[np.bool_]]:
        return self._crops(self._examples.stored(row), row), self._examples.labels[row]

    def _crops(self, stored: Pixels, row: int) -> Pixels:
        if (count := self._recipe.objective_kind.augmentations) > 1:
            return augmentations(stored, self._preprocess, self._recipe, image_rng(_FIXED_SEED, 0, row), count)
        return crops(stored, self._preprocess, self._recipe.evaluation_crops)


def _load(dataset: Dataset[tuple[Pixels, NDArray[np.bool_]]], batches: object, workers: int) -> Iterator[Batch]:
    loader = DataLoader(
        dataset,
        batch_sampler=batches,  # type: ignore[arg-type]  # any iterable of lists is such a sampler
        num_workers=workers,
        collate_fn=_collate,
        worker_init_fn=end_with_parent(),
    )
    try:
        yield from loader
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise CxrsearchError(
            "a process that prepares images was killed, probably because memory ran out", "use fewer --workers"
        ) from error


def _collate(items: Sequence[tuple[Pixels, NDArray[np.bool_]]]) -> Batch:
    pixels, labels = zip(*items, strict=True)
    return torch.from_numpy(np.stack(pixels)), torch.from_numpy(np.stack(labels).astype(np.float32))
