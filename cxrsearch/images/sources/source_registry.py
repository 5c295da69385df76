"""The kinds of sources, and the source that a location names."""

import os

from cxrsearch.images.sources.folder import FolderSource
from cxrsearch.images.sources.source import ImageSource

Location = str | os.PathLike[str] | ImageSource
"""A folder's path, or a source."""

SOURCES: dict[str, type[ImageSource]] = {"folder": FolderSource}
"""By name. The last that takes a location opens it, so `folder`, which takes every path, comes first."""


def open_source(location: Location) -> ImageSource:
    """The source at a location; a source is returned as it is."""
    if isinstance(location, ImageSource):
        return location
    opened = [source for kind in SOURCES.values() if (source := kind.at(location)) is not None]
    return opened[-1]
