"""The known formats of tables, and how a table is recognised as one of them."""

from pathlib import Path

from cxrsearch.images.catalogue import Catalogue
from cxrsearch.images.findings import Vocabulary
from cxrsearch.images.formats.nih import NIH
from cxrsearch.images.formats.plain import PLAIN
from cxrsearch.images.formats.table_format import TableFormat
from cxrsearch.images.tables import read_table_file

FORMATS: dict[str, TableFormat] = {"plain": PLAIN, "nih": NIH}
"""By name. The last that recognises a header reads the table; `plain` says what is missing where none does."""


def read_table(path: Path, vocabulary: Vocabulary | None = None) -> Catalogue:
    """The catalogue of a table in any known format, plain or gzipped.

    Args:
        path: the table.
        vocabulary: its findings; None means NIH's 14.

    Raises:
        CatalogueError: the table cannot be used; the message names the line.
        VocabularyError: a label outside the vocabulary.
    """
    file = read_table_file(path)
    header = [field.strip().lower() for field in file.header]
    found = next((known for known in reversed(FORMATS.values()) if known.recognises(header)), PLAIN)
    return found.read(file, vocabulary or Vocabulary())
