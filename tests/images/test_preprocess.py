"""One preprocessing, equal to Pillow's, with a fingerprint for every part of it."""

from dataclasses import fields, replace

import numpy as np
import pytest
from PIL import Image

from cxrsearch.errors import UsageError
from cxrsearch.images.preprocess import Preprocess, resize

RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 256, (300, 500), dtype=np.uint8)


@pytest.mark.parametrize("side", [64, 224, 256, 600])
def test_resizing_is_pillows_antialiased_bilinear(side: int) -> None:
    expected = np.asarray(Image.fromarray(IMAGE).resize((side, side), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(resize(IMAGE, side), expected)


def test_reducing_by_two_is_a_tent_over_four_pixels() -> None:
    """Antialiased bilinear: weights 1, 3, 3, 1 (over 8) along each axis; plain bilinear would average two pixels."""
    rows = np.array([0, 0, 0, 80, 160, 160, 160, 160], dtype=np.uint8)
    image = np.tile(rows[:, None], (1, 8))
    assert resize(image, 4)[1:3, 1].tolist() == [(0 + 3 * 0 + 3 * 80 + 160) / 8, (80 + 3 * 160 + 3 * 160 + 160) / 8]


def test_the_network_sees_the_resized_or_the_middle_of_the_stored_pixels() -> None:
    stored = Preprocess().stored_pixels(IMAGE)
    assert stored.shape == (256, 256)
    np.testing.assert_array_equal(Preprocess().network_pixels(stored), resize(stored, 224))
    np.testing.assert_array_equal(Preprocess(crop="centre").network_pixels(stored), stored[16:240, 16:240])


def test_imagenet_normalisation_is_torchvisions() -> None:
    scale, offset = Preprocess().affine()
    pixel = 137
    expected = (pixel / 255 - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
    np.testing.assert_allclose(pixel * scale + offset, expected, rtol=1e-6)


def test_xrv_normalisation_maps_black_and_white_to_plus_minus_1024() -> None:
    scale, offset = Preprocess(normalisation="xrv", channels=1).affine()
    np.testing.assert_allclose([0 * scale[0] + offset[0], 255 * scale[0] + offset[0]], [-1024, 1024])


def test_every_field_is_in_the_fingerprint() -> None:
    other = {"size": 192, "crop": "centre", "pixel_side": 300, "normalisation": "xrv", "channels": 1}
    prints = {replace(Preprocess(), **{name: value}).fingerprint for name, value in other.items()}  # type: ignore[arg-type]
    assert len(prints | {Preprocess().fingerprint}) == 6
    assert {field.name for field in fields(Preprocess)} == {*other, "interpolation"}
    assert Preprocess().fingerprint == Preprocess.for_size(224).fingerprint == "e2b552057d206461"


@pytest.mark.parametrize(
    "wrong", [{"size": 16}, {"size": 300}, {"size": 4000, "pixel_side": 4000}, {"crop": "five"}, {"channels": 2}]
)
def test_impossible_values_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        Preprocess(**wrong)  # type: ignore[arg-type]
