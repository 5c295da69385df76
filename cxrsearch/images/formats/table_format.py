"""The interface of a table format, and the format whose columns are a catalogue's under other names."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from cxrsearch.errors import CatalogueError
from cxrsearch.images.catalogue import Catalogue
from cxrsearch.images.findings import Vocabulary
from cxrsearch.images.tables import Table, TableFile, listed, parse_age, parse_part, parse_sex, parse_view
from cxrsearch.words import counted

REQUIRED = ("id", "patient", "findings")


class TableFormat(ABC):
    """A table format: recognises its tables by their header, and reads them into a catalogue."""

    @abstractmethod
    def recognises(self, header: Sequence[str]) -> bool:
        """Whether a table with this header, in lower case, has this format."""

    @abstractmethod
    def read(self, file: TableFile, vocabulary: Vocabulary) -> Catalogue:
        """Read a table into a catalogue.

        Raises:
            CatalogueError: the table cannot be used; the message names the line.
            VocabularyError: a label is outside the vocabulary.
        """


@dataclass(frozen=True)
class RenamedColumns(TableFormat):
    """A format with one row per image and a catalogue's columns under other names. Further columns are ignored.

    Attributes:
        columns: names in a catalogue, by names in the table in lower case.
        sign: a column that only this format has, in lower case.
    """

    columns: Mapping[str, str]
    sign: str

    def recognises(self, header: Sequence[str]) -> bool:
        """Whether the header contains the column `sign`."""
        return self.sign in header

    def read(self, file: TableFile, vocabulary: Vocabulary) -> Catalogue:
        """Read a table as `TableFormat.read` does; ids are checked before labels."""
        table = self.cells(file)
        columns = {
            "id": table.columns["id"],
            "patient": table.columns["patient"],
            "view": table.parse_column("view", parse_view, ""),
            "sex": table.parse_column("sex", parse_sex, "write M or F, or nothing if it is unknown"),
            "age": table.parse_column(
                "age", parse_age, "write years as 58, or 058Y or 018M, or nothing if it is unknown"
            ),
            "split": table.parse_column(
                "split", parse_part, "write train, val or test, or nothing for an image in no part"
            ),
        }
        frame = pd.DataFrame(columns, dtype=object)
        return Catalogue(frame, vocabulary, table.labels(vocabulary), tuple(table.warnings()))

    def cells(self, file: TableFile) -> Table:
        """Read the cells, and check everything that does not need the vocabulary.

        Raises:
            CatalogueError: a column is missing or repeated; a row has no image or no patient; an image has several
                rows.
        """
        table = file.cells(self._find_columns(file))
        for column in ("id", "patient"):
            _require_ids(table, column)
        _require_unique(table)
        return table

    def _find_columns(self, file: TableFile) -> dict[str, int]:
        """Find the position in a row, from 0, of each of a catalogue's columns. Raises CatalogueError."""
        header, name, known = file.header, file.name, self.columns
        names = [field.strip().lower() for field in header]
        columns = [(known[field], at) for at, field in enumerate(names) if field in known]
        positions = dict(columns)
        missing = [field for field, column in known.items() if column in REQUIRED and column not in positions]
        per_finding = [field.strip() for field in header if not Vocabulary().unknown([field]) and field.strip()]
        if missing and "findings" not in positions and per_finding:
            raise CatalogueError(
                f"{name} lacks {', '.join(missing)}: its findings have a column each ({listed(per_finding)})",
                f"write those of an image into one column {missing[-1]}, as Effusion|Mass (docs/GUIDE.md shows how)",
            )
        if missing:
            raise CatalogueError(
                f"{name} lacks {', '.join(missing)}: its header is {listed(header) or 'empty'}",
                "give NIH's Data_Entry table, or a CSV with the columns image,patient,findings",
            )
        if len(positions) < len(columns):
            raise CatalogueError(f"{name} has a column twice: its header is {listed(header)}", "remove one of the two")
        return positions


def _require_ids(table: Table, column: str) -> None:
    """Refuse empty ids, and ids with spaces around them: two spellings of a patient would count as two patients."""
    for row, cell in enumerate(table.columns[column]):
        if not cell or cell != cell.strip():
            what = "image" if column == "id" else column
            problem = f"the {what} begins or ends with a space" if cell.strip() else f"no {what}"
            raise CatalogueError(table.at(row, problem), f"write the {what}'s id, without spaces around it")


def _require_unique(table: Table) -> None:
    ids = table.columns["id"]
    repeated = [image for image, count in Counter(ids).items() if count > 1]
    if repeated:
        lines = [str(line) for image, line in zip(ids, table.lines, strict=True) if image == repeated[0]]
        raise CatalogueError(
            f"{table.name}: image {repeated[0]!r} has {len(lines)} rows (lines {listed(lines)}), "
            f"one of {counted(len(repeated), 'image')} with several",
            "leave one row for each image",
        )
