"""The images of a part, and the order in which the ranks see them."""

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
"""Images that a decoding process works on at a time."""

_FIXED_SEED = 0
"""Validation images have the same two views in every epoch and run."""

Batch = tuple[Tensor, Tensor]
"""uint8 (b, size, size), or (b, views, size, size) in evaluation and of pairs of views; and labels, float32 (b, F)."""


@dataclass(frozen=True, eq=False)
class Examples:
    """Images of one part, with their labels.

    Attributes:
        cache: holds every one of them, flushed, so that worker processes share it as mapped memory.
        sha256s: of their files.
        labels: bool (n, F).
    """

    cache: PixelCache
    sha256s: Sequence[str]
    labels: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.sha256s)

    def stored(self, row: int) -> Pixels:
        """An image's stored pixels."""
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
    """Decode what the cache does not hold yet; for every file its sha256, or why it is refused.

    Raises:
        CxrsearchError: a decoding process was killed, or the disk is full; what was decoded stays.
    """
    batches = [range(i, min(i + _FILLED, len(names))) for i in range(0, len(names), _FILLED)]
    found: list[str | RefusedImage] = []
    progress("reading images", 0, len(names))
    for batch in load_batches(source, names, batches, preprocess, cache=cache, workers=workers):
        for image in batch:
            if isinstance(image, LoadedImage):
                cache.add(image.stored)
            found.append(image if isinstance(image, RefusedImage) else image.stored.source_sha256)
        progress("reading images", len(found), len(names))
    cache.flush()
    return found


def steps_an_epoch(images: int, batch_size: int, ranks: int) -> int:
    """How many batches every rank gets; the remainder below ranks x batch is dropped, another one each epoch."""
    return images // (batch_size * ranks)


def epoch_batches(images: int, batch_size: int, ranks: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """Which images each rank sees in each step of an epoch, no image twice; a function of the arguments alone.

    Returns:
        int64 (steps, ranks, batch_size), rows of the training part.
    """
    steps = steps_an_epoch(images, batch_size, ranks)
    order = order_rng(seed, epoch).permutation(images)
    return order[: steps * ranks * batch_size].reshape(steps, ranks, batch_size)


@dataclass(frozen=True)
class BatchOrder:
    """One rank's batches from a step on, to the end of the training: lists of (epoch, row)."""

    images: int
    batch_size: int
    ranks: int
    rank: int
    seed: int
    start: int
    epochs: int

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        steps = steps_an_epoch(self.images, self.batch_size, self.ranks)
        for epoch in range(self.start // steps, self.epochs):
            batches = epoch_batches(self.images, self.batch_size, self.ranks, self.seed, epoch)
            for rows in batches[max(0, self.start - epoch * steps) :, self.rank]:
                yield [(epoch, int(row)) for row in rows]


def training_batches(
    examples: Examples, preprocess: Preprocess, recipe: Recipe, order: BatchOrder, workers: int
) -> Iterator[Batch]:
    """One rank's training batches, varied in worker processes; see `augment`.

    Raises:
        CxrsearchError: a worker process was killed (usually for want of memory).
    """
    return _loaded(_Varied(examples, preprocess, recipe, order.seed), order, workers)


def evaluation_batches(
    examples: Examples, preprocess: Preprocess, recipe: Recipe, rows: Sequence[int], workers: int
) -> Iterator[Batch]:
    """These rows in order, each in the crops of the recipe, or in augmentations that never change.

    Raises:
        CxrsearchError: a worker process was killed (usually for want of memory).
    """
    batches = [rows[i : i + recipe.batch_size] for i in range(0, len(rows), recipe.batch_size)]
    return _loaded(_Fixed(examples, preprocess, recipe), batches, workers)


class _Varied(Dataset[tuple[Pixels, NDArray[np.bool_]]]):
    def __init__(self, examples: Examples, preprocess: Preprocess, recipe: Recipe, seed: int) -> None:
        self._examples, self._preprocess, self._recipe, self._seed = examples, preprocess, recipe, seed

    def __getitem__(self, place: tuple[int, int]) -> tuple[Pixels, NDArray[np.bool_]]:
        epoch, row = place
        rng, stored = image_rng(self._seed, epoch, row), self._examples.stored(row)
        count = self._recipe.objective_kind.augmentations
        pixels = augmentations(stored, self._preprocess, self._recipe, rng, count)
        return pixels[0] if count == 1 else pixels, self._examples.labels[row]


class _Fixed(Dataset[tuple[Pixels, NDArray[np.bool_]]]):
    def __init__(self, examples: Examples, preprocess: Preprocess, recipe: Recipe) -> None:
        self._examples, self._preprocess, self._recipe = examples, preprocess, recipe

    def __getitem__(self, row: int) -> tuple[Pixels, NDArray[np.bool_]]:
        return self._views(self._examples.stored(row), row), self._examples.labels[row]

    def _views(self, stored: Pixels, row: int) -> Pixels:
        if (count := self._recipe.objective_kind.augmentations) > 1:
            return augmentations(stored, self._preprocess, self._recipe, image_rng(_FIXED_SEED, 0, row), count)
        return crops(stored, self._preprocess, self._recipe.evaluation_crops)


def _loaded(dataset: Dataset[tuple[Pixels, NDArray[np.bool_]]], batches: object, workers: int) -> Iterator[Batch]:
    loader = DataLoader(
        dataset,
        batch_sampler=batches,  # type: ignore[arg-type]  # any iterable of lists is such a sampler
        num_workers=workers,
        collate_fn=_collated,
        worker_init_fn=end_with_parent(),
    )
    try:
        yield from loader
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise CxrsearchError(
            "a process that prepares images was killed, probably for want of memory", "use fewer --workers"
        ) from error


def _collated(items: Sequence[tuple[Pixels, NDArray[np.bool_]]]) -> Batch:
    pixels, labels = zip(*items, strict=True)
    return torch.from_numpy(np.stack(pixels)), torch.from_numpy(np.stack(labels).astype(np.float32))
