"""A file's DICOM tags, as a catalogue reads them."""

from pathlib import Path

from cxrsearch.images.dicom_tags import DicomTags
from cxrsearch.images.image_file import open_file
from cxrsearch.images.radiograph import read_tags


def tags_of(path: Path) -> DicomTags:
    """The tags of the file at a path."""
    with open_file(path) as file:
        return read_tags(file, path.name)
