"""What every table format can do, and the kind whose columns are those of a catalogue under other names."""

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
    """A format of tables."""

    @abstractmethod
    def recognises(self, header: Sequence[str]) -> bool:
        """Whether a table with this header, in lower case, has this format."""

    @abstractmethod
    def read(self, file: TableFile, vocabulary: Vocabulary) -> Catalogue:
        """The catalogue of a table.

        Raises:
            CatalogueError: the table cannot be used; the message names the line.
            VocabularyError: a label outside the vocabulary.
        """


@dataclass(frozen=True)
class RenamedColumns(TableFormat):
    """One row per image, its columns those of a catalogue under other names; other columns are ignored.

    Attributes:
        columns: the name in the table, in lower case, and the name in a catalogue.
        sign: a column that only this format has.
    """

    columns: Mapping[str, str]
    sign: str

    def recognises(self, header: Sequence[str]) -> bool:
        """Whether the sign is among the columns."""
        return self.sign in header

    def read(self, file: TableFile, vocabulary: Vocabulary) -> Catalogue:
        """As `TableFormat.read`; ids are checked before labels."""
        table = self.cells(file)
        columns = {
            "id": table.columns["id"],
            "patient": table.columns["patient"],
            "view": table.parsed("view", parse_view, ""),
            "sex": table.parsed("sex", parse_sex, "write M or F, or nothing where it is unknown"),
            "age": table.parsed("age", parse_age, "write years as 58, or 058Y or 018M, or nothing where it is unknown"),
            "split": table.parsed("split", parse_part, "write train, val or test, or nothing for an image in no part"),
        }
        frame = pd.DataFrame(columns, dtype=object)
        return Catalogue(frame, vocabulary, table.labels(vocabulary), tuple(table.warnings()))

    def cells(self, file: TableFile) -> Table:
        """The cells, checked for everything that does not need the vocabulary.

        Raises:
            CatalogueError: a column is missing or there twice; a row without an image or a patient; an image with two
                rows.
        """
        table = file.cells(self._positions(file))
        for column in ("id", "patient"):
            _require_ids(table, column)
        _require_unique(table)
        return table

    def _positions(self, file: TableFile) -> dict[str, int]:
        """Where each of a catalogue's columns is in a row."""
        header, name, known = file.header, file.name, self.columns
        names = [field.strip().lower() for field in header]
        columns = [(known[field], at) for at, field in enumerate(names) if field in known]
        positions = dict(columns)
        missing = [field for field, column in known.items() if column in REQUIRED and column not in positions]
        own = [field.strip() for field in header if not Vocabulary().unknown([field]) and field.strip()]
        if missing and "findings" not in positions and own:
            raise CatalogueError(
                f"{name} lacks {', '.join(missing)}: its findings have a column each ({listed(own)})",
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
    """Refuse empty ids and ids with space around them: the same patient under two spellings would be two patients."""
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
