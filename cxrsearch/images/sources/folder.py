"""A folder of image files, with its sub-folders."""

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
"""File name endings of images. The last five are never read; they are listed so that they are refused with a reason."""


@dataclass(frozen=True)
class FolderSource(ImageSource):
    """The image files of a folder and its sub-folders.

    Attributes:
        folder: the folder.
    """

    folder: Path

    @classmethod
    def at(cls, location: str | os.PathLike[str]) -> "FolderSource":
        """The folder of this path; every location that no other source knows is a path."""
        return cls(Path(location))

    def __str__(self) -> str:
        return str(self.folder)

    @property
    def location(self) -> str:
        """The absolute path of the folder."""
        return str(self.folder.resolve())

    def names(self) -> list[str]:
        """As `ImageSource.names`; see `find_images` for which files are images."""
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
        """As `ImageSource.open`."""
        return open_file(self.folder / name)


def find_images(folder: Path) -> list[Path]:
    """The image files of a folder and its sub-folders, by relative path.

    These are the files with one of `SUFFIXES`, in any case, and all others that begin as DICOM does. Hidden files and
    folders are passed over; links to folders are followed, each folder once.

    Raises:
        CatalogueError: no such folder, or one in it that cannot be read.
    """
    if not folder.is_dir():
        what = f"{folder} is a file, not a folder" if folder.exists() else f"no folder {folder}"
        raise CatalogueError(what, "name the folder that holds the images")
    return sorted(_walk(folder), key=lambda path: path.relative_to(folder).as_posix())


def _walk(folder: Path) -> Iterator[Path]:
    seen = set()
    for root, folders, files in os.walk(folder, followlinks=True, onerror=_unreadable):
        if Path(root).resolve() in seen:
            folders.clear()
            continue
        seen.add(Path(root).resolve())
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in files:
            path = Path(root, name)
            if not name.startswith(".") and (path.suffix.lower() in SUFFIXES or _bare_dicom(path)):
                yield path


def _unreadable(error: OSError) -> NoReturn:
    message = f"cannot read the folder {error.filename}: {error.strerror}"
    raise CatalogueError(message, "check its permissions, or leave it out") from error


def _bare_dicom(path: Path) -> bool:
    """Whether a file of any other name is a DICOM file: scanners write IM0001, 1.2.840.113619.2, x.ima and more."""
    try:
        with open_file(path) as file:
            return is_dicom(file.read(132))
    except ImageError:
        return False
