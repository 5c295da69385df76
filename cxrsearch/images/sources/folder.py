"""The source that reads a folder of image files and its sub-folders."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NoReturn

from cxrsearch.errors import CatalogueError, ImageError
from cxrsearch.images.image_file import open_file
from cxrsearch.images.radiograph import is_dicom
from cxrsearch.images.sources.source import ImageSource

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".dcm", ".dicom", ".gif", ".bmp", ".tif", ".tiff", ".webp"})
"""Suffixes of image files. The last five formats cannot be decoded; listing them makes them refused with a reason."""


@dataclass(frozen=True)
class FolderSource(ImageSource):
    """The image files of a folder and its sub-folders.

    Attributes:
        folder: its path, absolute or relative to the working directory.
    """

    folder: Path

    @classmethod
    def at(cls, location: str | os.PathLike[str]) -> "FolderSource":
        """Return the source for a path. Every location that no other source accepts is taken as a path."""
        return cls(Path(location))

    def __str__(self) -> str:
        return str(self.folder)

    @property
    def location(self) -> str:
        """The absolute path of the folder."""
        return str(self.folder.resolve())

    def names(self) -> list[str]:
        """List all images as `ImageSource.names`; `find_images` decides which files are images."""
        names = [path.relative_to(self.folder).as_posix() for path in find_images(self.folder)]
        strange = [name for name in names if name.encode(errors="ignore").decode() != name]
        if strange:
            raise CatalogueError(f"the file name {strange[0]!a} is not UTF-8", "rename the file")
        return names

    def has(self, name: str) -> bool:
        """As `ImageSource.has`; a link that leads out of the folder does not count."""
        root = self.folder.resolve()
        file = (root / name).resolve()
        return file.is_relative_to(root) and file.is_file()

    def open(self, name: str) -> AbstractContextManager[BinaryIO]:
        """Open one image as `ImageSource.open`; raises ImageError."""
        return open_file(self.folder / name)


def find_images(folder: Path) -> list[Path]:
    """List the image files of a folder and its sub-folders, in the order of their relative paths.

    An image file has one of `SUFFIXES`, in any case, or begins like a DICOM file. Hidden files and folders are skipped.
    Links to folders are followed, but no folder is read twice.

    Raises:
        CatalogueError: there is no such folder, or it or a sub-folder cannot be read.
    """
    if not folder.is_dir():
        what = f"{folder} is a file, not a folder" if folder.exists() else f"no folder {folder}"
        raise CatalogueError(what, "name the folder that holds the images")
    return sorted(_walk(folder), key=lambda path: path.relative_to(folder).as_posix())


def _walk(folder: Path) -> Iterator[Path]:
    seen = set()
    for root, folders, files in os.walk(folder, followlinks=True, onerror=_raise_unreadable):
        if Path(root).resolve() in seen:  # a link, perhaps to a folder above: it would be walked without end
            folders.clear()
            continue
        seen.add(Path(root).resolve())
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in files:
            path = Path(root, name)
            if not name.startswith(".") and (path.suffix.lower() in SUFFIXES or _is_bare_dicom(path)):
                yield path


def _raise_unreadable(error: OSError) -> NoReturn:
    message = f"cannot read the folder {error.filename}: {error.strerror}"
    raise CatalogueError(message, "check its permissions, or leave it out") from error


def _is_bare_dicom(path: Path) -> bool:
    """Whether a file without a known suffix is DICOM: scanners write IM0001, 1.2.840.113619.2, x.ima and more."""
    try:
        with open_file(path) as file:
            return is_dicom(file.read(132))
    except ImageError:
        return False
