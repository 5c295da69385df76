"""The pixel cache gives back what it was given, and never what was damaged."""

from pathlib import Path

import numpy as np
import pytest

from cxrsearch.errors import WriteError
from cxrsearch.images import pixel_cache
from cxrsearch.images.pixel_cache import PixelCache, StoredImage
from cxrsearch.images.preprocess import Preprocess


def image(number: int) -> StoredImage:
    pixels = np.random.default_rng(number).integers(0, 256, (256, 256), dtype=np.uint8)
    return StoredImage(pixels, f"source{number}", f"pixels{number}", "PNG")


def filled(folder: Path, numbers: range) -> PixelCache:
    cache = PixelCache(folder, Preprocess())
    for number in numbers:
        cache.add(image(number))
    cache.flush()
    return cache


def same(found: StoredImage | None, number: int) -> bool:
    wanted = image(number)
    return found is not None and found.facts() == wanted.facts() and np.array_equal(found.pixels, wanted.pixels)


def test_what_was_added_comes_back_in_this_process_and_in_the_next(tmp_path: Path) -> None:
    cache = filled(tmp_path, range(3))
    assert all(same(cache.get(f"source{n}"), n) for n in range(3))
    again = PixelCache(tmp_path, Preprocess())
    assert len(again) == 3
    assert all(same(again.get(f"source{n}"), n) for n in range(3))
    assert again.get("source3") is None


def test_images_come_back_before_they_are_on_disk(tmp_path: Path) -> None:
    cache = PixelCache(tmp_path, Preprocess())
    cache.add(image(1))
    assert same(cache.get("source1"), 1)
    assert len(PixelCache(tmp_path, Preprocess())) == 0


def test_a_full_shard_is_written_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pixel_cache, "SHARD_IMAGES", 2)
    cache = PixelCache(tmp_path, Preprocess())
    for number in range(5):
        cache.add(image(number))
    assert len(PixelCache(tmp_path, Preprocess())) == 4


def test_damaged_shards_and_lists_are_not_used(tmp_path: Path) -> None:
    filled(tmp_path, range(2))
    for path in sorted(tmp_path.rglob("*.*")):
        whole = path.read_bytes()
        for position in (0, len(whole) // 2, len(whole) - 1):
            path.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
            assert len(PixelCache(tmp_path, Preprocess())) == 0
        path.write_bytes(whole)
    assert len(PixelCache(tmp_path, Preprocess())) == 2


def test_another_side_is_another_cache_and_another_network_size_is_not(tmp_path: Path) -> None:
    filled(tmp_path, range(2))
    assert len(PixelCache(tmp_path, Preprocess(size=192))) == 2
    assert len(PixelCache(tmp_path, Preprocess.for_size(300))) == 0


def test_an_image_is_kept_once(tmp_path: Path) -> None:
    filled(tmp_path, range(2))
    cache = filled(tmp_path, range(1, 4))
    assert len(cache) == 4
    assert len(list(tmp_path.rglob("*.npy"))) == 2


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(WriteError, match="cannot make the pixel cache"):
        PixelCache(tmp_path / "file", Preprocess())
