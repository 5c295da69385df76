"""Loading gives the same pixels with and without a cache, and a refused image keeps its reason and its sha256."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cxrsearch.images import loading
from cxrsearch.images.loading import LoadedImage, RefusedImage, load_image
from cxrsearch.images.pixel_cache import PixelCache
from cxrsearch.images.preprocess import Preprocess
from cxrsearch.images.sources.folder import FolderSource

SPEC = Preprocess(size=48, pixel_side=64)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "picture.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 120), dtype=np.uint8)).save(path)
    return path


def loaded(path: Path, cache: PixelCache | None = None) -> LoadedImage:
    image = load_image(FolderSource(path.parent), path.name, SPEC, cache)
    assert isinstance(image, LoadedImage)
    return image


def test_an_image_is_resized_twice_by_pillow_and_described(picture: Path) -> None:
    image = loaded(picture)
    with Image.open(picture) as original:
        plain = np.asarray(original)
        stored = original.resize((64, 64), Image.Resampling.BILINEAR)
        network = stored.resize((48, 48), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(image.stored.pixels, np.asarray(stored))
    np.testing.assert_array_equal(image.network, np.asarray(network))
    assert image.stored.source_sha256 == hashlib.sha256(picture.read_bytes()).hexdigest()
    assert image.stored.pixel_sha256 == hashlib.sha256(b"90x120\n" + plain.tobytes()).hexdigest()
    assert image.stored.description == "PNG 8-bit grey"


@pytest.mark.parametrize("flushed", [False, True])
def test_the_cache_gives_what_decoding_gave(
    flushed: bool, picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = PixelCache(tmp_path / "cache", SPEC)
    first = loaded(picture, cache)
    cache.add(first.stored)
    if flushed:
        cache.flush()
        cache = PixelCache(tmp_path / "cache", SPEC)
    monkeypatch.setattr(loading, "decode_radiograph", lambda *_: pytest.fail("decoded again"))
    again = loaded(picture.rename(tmp_path / "renamed.png"), cache)
    np.testing.assert_array_equal(again.stored.pixels, first.stored.pixels)
    np.testing.assert_array_equal(again.network, first.network)
    assert again.stored.facts() == first.stored.facts()


def test_a_changed_file_is_not_taken_from_the_cache(picture: Path, tmp_path: Path) -> None:
    cache = PixelCache(tmp_path / "cache", SPEC)
    first = loaded(picture, cache)
    cache.add(first.stored)
    with Image.open(picture) as original:
        mirrored = original.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    mirrored.save(picture)
    second = loaded(picture, cache)
    np.testing.assert_array_equal(second.stored.pixels, first.stored.pixels[:, ::-1])
    assert second.stored.source_sha256 == hashlib.sha256(picture.read_bytes()).hexdigest()


def test_a_refused_image_keeps_its_reason_and_sha256(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_bytes(b"text")
    refused = load_image(FolderSource(tmp_path), "text.png", SPEC, PixelCache(tmp_path / "cache", SPEC))
    reason = "text.png is neither PNG, JPEG nor DICOM: it begins with 'text' — repair the file or leave it out"
    assert refused == RefusedImage(reason, hashlib.sha256(b"text").hexdigest())


def test_an_image_that_cannot_be_read_has_no_sha256(tmp_path: Path) -> None:
    refused = load_image(FolderSource(tmp_path), "missing.png", SPEC)
    assert isinstance(refused, RefusedImage)
    assert refused.reason.endswith("missing.png: No such file or directory — check the path and its permissions")
    assert refused.source_sha256 is None
