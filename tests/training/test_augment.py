"""Variation: a function of seed, epoch and image; crops and flips by their pixels."""

import numpy as np
import pytest
from numpy.typing import NDArray

from cxrsearch.images.preprocess import Preprocess, resize
from cxrsearch.training._augment import augment, augmentations, crops, image_rng, order_rng, step_seed
from cxrsearch.training.recipe import MODERN, PAPER, UNLABELLED

RANDOM = PAPER.changed({"size": 56, "crop": "random", "flip": 0.0})
PREPROCESS = RANDOM.preprocess(Preprocess())
WHOLE = PAPER.changed({"size": 32})


@pytest.fixture(scope="module")
def stored() -> NDArray[np.uint8]:
    return np.random.default_rng(5).integers(0, 256, (64, 64), dtype=np.uint8)


def test_random_crops_are_squares_of_the_image(stored: NDArray[np.uint8]) -> None:
    windows = np.lib.stride_tricks.sliding_window_view(stored, (56, 56)).reshape(-1, 56, 56)
    seen = set()
    for image in range(60):
        crop = augment(stored, PREPROCESS, RANDOM, image_rng(0, 0, image))
        (found,) = np.flatnonzero((windows == crop).all(axis=(1, 2)))
        seen.add(int(found))
    assert len(seen) > 30
    assert max(seen) // 9 == 8


def test_flips_mirror_half_of_the_images(stored: NDArray[np.uint8]) -> None:
    preprocess = Preprocess(size=32, pixel_side=64)
    plain = resize(stored, 32)
    flips = 0
    for image in range(400):
        view = augment(stored, preprocess, WHOLE, image_rng(1, 2, image))
        mirrored = np.array_equal(view, plain[:, ::-1])
        assert mirrored or np.array_equal(view, plain)
        flips += mirrored
    assert 160 < flips < 240  # 4 standard deviations


def test_variation_depends_on_seed_epoch_and_image_alone(stored: NDArray[np.uint8]) -> None:
    recipe, preprocess = MODERN.changed({"size": 32}), Preprocess(size=32, pixel_side=64)
    first = augment(stored, preprocess, recipe, image_rng(3, 1, 4))
    views = [augment(stored, preprocess, recipe, image_rng(*key)) for key in ((3, 1, 5), (3, 2, 4), (4, 1, 4))]
    assert not any(np.array_equal(first, view) for view in views)
    assert np.array_equal(first, augment(stored, preprocess, recipe, image_rng(3, 1, 4)))


def test_generators_of_different_purposes_never_meet() -> None:
    draws = [order_rng(0, 1).random(), image_rng(0, 1, 0).random(), image_rng(0, 0, 1).random()]
    assert len(set(draws)) == 3
    assert len({step_seed(0, step, rank) for step in range(50) for rank in range(4)}) == 200


def test_a_rotation_moves_the_image_by_what_the_recipe_allows() -> None:
    """A single bright column through the centre stays within 7 degrees of upright."""
    image = np.zeros((64, 64), dtype=np.uint8)
    image[:, 31:33] = 255
    recipe = WHOLE.changed({"size": 64, "rotation": 7, "flip": 0})
    preprocess = Preprocess(size=64, pixel_side=64)
    slopes = []
    for i in range(40):
        view = augment(image, preprocess, recipe, image_rng(0, 0, i)).astype(float)
        centres = (view * np.arange(64)).sum(axis=1)[8:56] / view.sum(axis=1)[8:56]
        slopes.append(np.degrees(np.arctan(np.polyfit(np.arange(48), centres, 1)[0])))
    assert 5 < max(map(abs, slopes)) < 7.3
    assert min(slopes) < 0 < max(slopes)


def test_a_shift_moves_the_image_by_what_the_recipe_allows() -> None:
    image = np.zeros((64, 64), dtype=np.uint8)
    image[32, 32] = 255
    recipe = WHOLE.changed({"size": 64, "translation": 0.25, "flip": 0})
    preprocess = Preprocess(size=64, pixel_side=64)
    places = []
    for i in range(40):
        view = augment(image, preprocess, recipe, image_rng(0, 0, i)).astype(float)
        places.append(np.array([(view.sum(axis=a) * np.arange(64)).sum() / view.sum() for a in (0, 1)]) - 32)
    assert 12 < np.abs(places).max() <= 16.5


def test_resized_crops_keep_the_area_asked_for() -> None:
    """The values of a horizontal ramp tell how wide the rectangle was, those of a vertical one how high."""
    ramp = np.repeat(np.arange(0, 256, 2, dtype=np.uint8)[None], 128, axis=0)
    recipe = WHOLE.changed({"size": 128, "smallest_area": 0.5, "flip": 0})
    preprocess = Preprocess(size=128, pixel_side=128)
    areas = []
    for i in range(60):
        spans = [
            float(np.ptp(augment(image, preprocess, recipe, image_rng(0, 0, i)).astype(float)) / 254)
            for image in (ramp, np.ascontiguousarray(ramp.T))
        ]
        assert 0.7 < spans[0] / spans[1] < 1.4
        areas.append(spans[0] * spans[1])
    assert 0.45 < min(areas) < 0.6
    assert 0.85 < max(areas) <= 1


def test_ten_crops_are_the_centre_the_corners_and_their_mirrors(stored: NDArray[np.uint8]) -> None:
    found = crops(stored, PREPROCESS, "ten")
    places = [(4, 4), (0, 0), (0, 8), (8, 0), (8, 8)]
    expected = [stored[top : top + 56, left : left + 56] for top, left in places]
    assert np.array_equal(found[:5], np.stack(expected))
    assert np.array_equal(found[5:], np.stack(expected)[:, :, ::-1])
    assert np.array_equal(crops(stored, PREPROCESS, "five"), found[:5])


def test_one_crop_is_what_an_index_would_hold(stored: NDArray[np.uint8]) -> None:
    for preprocess in (PREPROCESS, Preprocess(size=32, pixel_side=64)):
        assert np.array_equal(crops(stored, preprocess, "one"), preprocess.network_pixels(stored)[None])


def test_exposure_moves_grey_levels_by_what_the_recipe_allows() -> None:
    """On a ramp of all grey levels: still in order, brighter and darker, steeper and flatter."""
    ramp = np.arange(256, dtype=np.uint8).repeat(256).reshape(256, 256)
    preprocess = Preprocess(size=256, pixel_side=256)
    recipe = WHOLE.changed({"size": 256, "flip": 0, "exposure": 0.5})
    levels = [augment(ramp, preprocess, recipe, image_rng(0, 0, i))[:, 0].astype(int) for i in range(200)]
    assert all((np.diff(own) >= 0).all() for own in levels)
    middles = np.array([own[128] for own in levels]) / 255
    lowest, highest = ((128 / 255) ** np.exp(0.5 * sign) for sign in (1, -1))
    lowest, highest = ((value - 0.5) * 2**0.5 + 0.5 + sign / 6 for value, sign in ((lowest, -1), (highest, 1)))
    assert lowest - 0.01 < middles.min() < lowest + 0.15
    assert highest - 0.15 < middles.max() < highest + 0.01
    plain = augment(ramp, preprocess, recipe.changed({"exposure": 0.0}), image_rng(0, 0, 0))
    assert np.array_equal(plain, ramp)


def test_augmentations_are_two_variations_from_one_generator(stored: NDArray[np.uint8]) -> None:
    recipe, preprocess = UNLABELLED.changed({"size": 32}), Preprocess(size=32, pixel_side=64)
    views = augmentations(stored, preprocess, recipe, image_rng(3, 1, 4), 2)
    rng = image_rng(3, 1, 4)
    assert np.array_equal(views, [augment(stored, preprocess, recipe, rng) for _ in range(2)])
    assert not np.array_equal(views[0], views[1])
