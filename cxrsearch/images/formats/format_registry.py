"""The known table formats, and the reader that picks one by the table's header."""

from pathlib import Path

from cxrsearch.images.catalogue import Catalogue
from cxrsearch.images.findings import Vocabulary
from cxrsearch.images.formats.nih import NIH
from cxrsearch.images.formats.plain import PLAIN
from cxrsearch.images.formats.table_format import TableFormat
from cxrsearch.images.tables import read_table_file

FORMATS: dict[str, TableFormat] = {"plain": PLAIN, "nih": NIH}
"""Formats by name. The last one that recognises a header reads the table. If none does, `plain` reports what is
missing."""


def read_table(path: Path, vocabulary: Vocabulary | None = None) -> Catalogue:
    """Read a table of any known format, plain or gzipped, into a catalogue.

    Args:
        path: the table.
        vocabulary: the findings that its labels may name; None means NIH's 14.

    Raises:
        CatalogueError: the table cannot be used; the message names the line.
        VocabularyError: a label is outside the vocabulary.
    """
    file = read_table_file(path)
    header = [field.strip().lower() for field in file.header]
    table_format = next((known for known in reversed(FORMATS.values()) if known.recognises(header)), PLAIN)
    return table_format.read(file, vocabulary or Vocabulary())
