"""The kinds of sources, and the function that opens a location with the right one."""

import os

from cxrsearch.images.sources.folder import FolderSource
from cxrsearch.images.sources.source import ImageSource

Location = str | os.PathLike[str] | ImageSource
"""A folder's path, or a source."""

SOURCES: dict[str, type[ImageSource]] = {"folder": FolderSource}
"""Sources by name. The last kind that accepts a location opens it, so `folder`, which accepts every path, is first."""


def open_source(location: Location) -> ImageSource:
    """Open the source at a location. A location that is already a source is returned unchanged."""
    if isinstance(location, ImageSource):
        return location
    opened = [source for kind in SOURCES.values() if (source := kind.at(location)) is not None]
    return opened[-1]
