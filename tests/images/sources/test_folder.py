"""A folder as a source of images."""

import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cxrsearch.errors import ImageError
from cxrsearch.images.sources.folder import FolderSource
from cxrsearch.images.sources.source_registry import open_source


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.png", "a/c.png"):
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40), dtype=np.uint8)).save(path)
    (tmp_path / "outside.png").write_bytes(b"secret")
    return tmp_path / "images"


def test_images_are_listed_by_name_and_read_by_it(folder: Path) -> None:
    source = FolderSource(folder)
    assert source.names() == ["a/c.png", "b.png"]
    data = (folder / "a/c.png").read_bytes()
    assert source.read("a/c.png") == data
    assert source.digest("a/c.png") == hashlib.sha256(data).hexdigest()
    with source.open("a/c.png") as file:
        assert (file.read(4), file.seek(0), file.read(4)) == (data[:4], 0, data[:4])


def test_a_source_survives_pickling_and_is_found_again_by_its_location(folder: Path) -> None:
    source = FolderSource(folder)
    assert pickle.loads(pickle.dumps(source)) == source
    assert open_source(source) is source
    assert open_source(folder) == open_source(str(folder)) == source
    assert open_source(source.location).names() == source.names()


def test_only_images_inside_the_folder_are_there(folder: Path) -> None:
    (folder / "link.png").symlink_to(folder.parent / "outside.png")
    (folder / "inner.png").symlink_to(folder / "b.png")
    source = FolderSource(folder)
    assert [source.has(name) for name in ("b.png", "inner.png", "a", "x.png", "link.png", "../outside.png")] == [
        *(True, True),
        *(False, False, False, False),
    ]


def test_an_image_is_unchanged_while_its_bytes_are(folder: Path) -> None:
    source = FolderSource(folder)
    sha256 = source.digest("b.png")
    assert source.is_unchanged("b.png", sha256)
    assert not source.is_unchanged("b.png", None)
    (folder / "b.png").write_bytes((folder / "b.png").read_bytes() + b"\0")
    assert not source.is_unchanged("b.png", sha256)
    (folder / "b.png").unlink()
    assert not source.is_unchanged("b.png", sha256)
    assert source.is_unchanged("b.png", None)


def test_an_image_that_is_not_there_is_refused_by_its_path(folder: Path) -> None:
    with pytest.raises(ImageError, match=r"^cannot read .*images/x\.png: No such file or directory"):
        FolderSource(folder).read("x.png")
