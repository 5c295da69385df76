"""From stored pixels to the network's input: augmented in training, fixed in evaluation.

The augmentation of an image in an epoch depends only on (seed, epoch, image), through a counter-based generator. The
order of images, the worker process and interruptions do not change it.
"""

import numpy as np
from PIL import Image

from cxrsearch.images.preprocess import Pixels, Preprocess
from cxrsearch.training.recipe import Crops, Recipe

_ORDER, _IMAGE, _STEP = range(3)
_LONGEST = 4 / 3
"""The largest ratio of the sides of a random resized crop, as in torchvision."""


def order_rng(seed: int, epoch: int) -> np.random.Generator:
    """The generator of an epoch's order of images."""
    return _rng(seed, _ORDER, epoch)


def image_rng(seed: int, epoch: int, image: int) -> np.random.Generator:
    """The generator of an image's augmentation in an epoch; `image` is its row in the training part."""
    return _rng(seed, _IMAGE, epoch, image)


def step_seed(seed: int, step: int, rank: int) -> int:
    """The seed of randomness inside the network in a step (dropout), different on every rank."""
    sequence = np.random.SeedSequence(seed, spawn_key=(_STEP, step, rank))
    return int(sequence.generate_state(1, np.uint64)[0])


def _rng(seed: int, *key: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=key)))


def augment(stored: Pixels, preprocess: Preprocess, recipe: Recipe, rng: np.random.Generator) -> Pixels:
    """One augmentation of an image.

    Args:
        stored: uint8 (pixel_side, pixel_side).
        preprocess: sets the size of the result.
        recipe: sets which augmentations are applied, and how strongly.
        rng: the generator; see `image_rng`.

    Returns:
        uint8 (size, size).
    """
    flipped = rng.random() < recipe.flip
    pixels = _move(stored, recipe, rng) if recipe.rotation or recipe.translation else stored
    if recipe.crop == "random":
        top, left = rng.integers(0, preprocess.pixel_side - preprocess.size + 1, size=2)
        pixels = _cut(pixels, int(top), int(left), preprocess.size)
    elif recipe.smallest_area < 1:
        pixels = _resized_crop(pixels, preprocess.size, recipe.smallest_area, rng)
    else:
        pixels = preprocess.network_pixels(pixels)
    if recipe.exposure:
        pixels = _exposure(recipe.exposure, rng)[pixels]
    return np.ascontiguousarray(pixels[:, ::-1] if flipped else pixels)


def augmentations(
    stored: Pixels, preprocess: Preprocess, recipe: Recipe, rng: np.random.Generator, count: int
) -> Pixels:
    """Augmentations of an image, one after the other from the same generator: uint8 (count, size, size)."""
    return np.stack([augment(stored, preprocess, recipe, rng) for _ in range(count)])


def crops(stored: Pixels, preprocess: Preprocess, which: Crops) -> Pixels:
    """The crops of an image whose probabilities evaluation averages. None of them is random.

    Args:
        stored: uint8 (pixel_side, pixel_side).
        preprocess: sets the size, and the crop of `one`.
        which: `one`; `five`: the centre and the corners; `ten`: these, and mirrored.

    Returns:
        uint8 (1, 5 or 10, size, size).
    """
    one = preprocess.network_pixels(stored)[None]
    if which == "one":
        return one
    far = preprocess.pixel_side - preprocess.size
    corners = [_cut(stored, top, left, preprocess.size) for top in (0, far) for left in (0, far)]
    five = np.concatenate([one, np.stack(corners)])
    return five if which == "five" else np.concatenate([five, five[:, :, ::-1]])


def _cut(pixels: Pixels, top: int, left: int, side: int) -> Pixels:
    return pixels[top : top + side, left : left + side]


def _move(pixels: Pixels, recipe: Recipe, rng: np.random.Generator) -> Pixels:
    """Rotate about the centre and shift. Pixels from outside the image are black."""
    angle = rng.uniform(-recipe.rotation, recipe.rotation)
    shift = rng.uniform(-recipe.translation, recipe.translation, size=2) * pixels.shape[0]
    moved = Image.fromarray(pixels).rotate(angle, Image.Resampling.BILINEAR, translate=(shift[0], shift[1]))
    return np.asarray(moved)


def _exposure(strength: float, rng: np.random.Generator) -> Pixels:
    """A table of 256 grey levels, uint8 (256,): gamma, then contrast about middle grey, then brightness."""
    gamma, contrast = np.exp(strength * rng.uniform(-1, 1)), 2 ** (strength * rng.uniform(-1, 1))
    levels = (np.linspace(0, 1, 256) ** gamma - 0.5) * contrast + 0.5 + strength / 3 * rng.uniform(-1, 1)
    table: Pixels = np.rint(255 * levels.clip(0, 1)).astype(np.uint8)
    return table


def _resized_crop(pixels: Pixels, size: int, smallest_area: float, rng: np.random.Generator) -> Pixels:
    """Resize a random rectangle of the image to the square (Szegedy et al., CVPR 2015), with an antialiasing filter."""
    side = pixels.shape[0]
    area, ratio = rng.uniform(smallest_area, 1), np.exp(rng.uniform(-np.log(_LONGEST), np.log(_LONGEST)))
    width, height = (min(side, side * float(np.sqrt(area * r))) for r in (ratio, 1 / ratio))
    left, top = rng.random() * (side - width), rng.random() * (side - height)
    box = (left, top, left + width, top + height)
    return np.asarray(Image.fromarray(pixels).resize((size, size), Image.Resampling.BILINEAR, box=box))
