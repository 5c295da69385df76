"""Read the cells of a table of images: a CSV file, plain or gzipped.

Nothing is guessed. Every cell is text until one of the rules here parses it. A row that breaks the rules is refused,
and the error names its line. Ids keep their spelling, so `00012`, `12` and `NA` are three patients.
"""

import csv
import gzip
import io
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from cxrsearch.errors import CatalogueError, VocabularyError
from cxrsearch.images.findings import Vocabulary
from cxrsearch.words import counted

T = TypeVar("T")

Part = Literal["train", "val", "test"]
PARTS: tuple[Part, ...] = get_args(Part)

OLDEST = 120
"""The highest age that is believed, in years. NIH's first table holds typing errors such as 414."""

_AGE = re.compile(r"(\d+(?:\.\d*)?)([DWMY]?)", re.ASCII)
_UNITS_A_YEAR = {"": 1.0, "Y": 1.0, "M": 12.0, "W": 365.25 / 7, "D": 365.25}
_SEXES = {"M": "M", "MALE": "M", "F": "F", "FEMALE": "F", "O": None, "OTHER": None, "": None}


@dataclass(frozen=True)
class Table:
    """The cells of a table, as text.

    Attributes:
        name: the file's name, for messages.
        columns: the cells of a column, by the column's name in a catalogue (`id`, `patient`, `findings`, `view` ...).
        lines: the line of the file on which each row ends, counted from 1, for messages.
    """

    name: str
    columns: Mapping[str, Sequence[str]]
    lines: Sequence[int]

    def at(self, row: int, problem: str) -> str:
        """Put the file name and line of a row in front of a problem."""
        return f"{self.name}, line {self.lines[row]}: {problem}"

    def parse_column(self, column: str, parse: Callable[[str], T], fix: str) -> list[T | None]:
        """Parse the cells of a column, each distinct text once. Every value is None if the table lacks the column.

        Raises:
            CatalogueError: `parse` raised ValueError; the message names the line and gives `fix`.
        """
        values: dict[str, T] = {}
        for row, cell in enumerate(self.columns.get(column, ())):
            if cell not in values:
                try:
                    values[cell] = parse(cell)
                except ValueError:
                    raise CatalogueError(self.at(row, f"{cell!r} is not a valid {column}"), fix) from None
        return [values[cell] for cell in self.columns[column]] if column in self.columns else [None] * len(self.lines)

    def warnings(self) -> list[str]:
        """Return a warning, in a list, if the table has views that count as unknown; else an empty list."""
        others = [cell for cell in self.columns.get("view", ()) if cell.strip() and parse_view(cell) is None]
        if not others:
            return []
        rows = f"{counted(len(others), 'row')} of {self.name} {'has' if len(others) == 1 else 'have'}"
        return [
            f"{rows} another view than PA and AP, such as {others[0]!r}: it counts as unknown; leave out lateral images"
        ]

    def labels(self, vocabulary: Vocabulary) -> NDArray[np.bool_]:
        """Parse the findings column to a label matrix, bool (n, len(vocabulary)).

        Raises:
            VocabularyError: a label is outside the vocabulary. The message names its line, the vocabulary, and the
                other unknown labels.
        """
        cells = self.columns["findings"]
        distinct = {cell: code for code, cell in enumerate(dict.fromkeys(cells))}
        parse_column = []
        for cell in distinct:
            try:
                parse_column.append(vocabulary.parse(cell))
            except VocabularyError as error:
                unknown = vocabulary.unknown(distinct)
                others = f"; the table has {len(unknown)} unknown labels: {listed(unknown)}" if len(unknown) > 1 else ""
                raise VocabularyError(self.at(cells.index(cell), error.problem + others), error.fix) from error
        return vocabulary.encode(parse_column)[[distinct[cell] for cell in cells]]


def parse_view(cell: str) -> str | None:
    """Parse a view: `PA` or `AP`, in any case; None for any other view."""
    view = cell.strip().upper()
    return view if view in ("PA", "AP") else None


def parse_part(cell: str) -> Part | None:
    """Parse a part: `train`, `val` or `test`, in any case. An empty cell gives None: the image is in no part.

    Raises:
        ValueError: the cell holds anything else.
    """
    named: dict[str, Part | None] = {"": None} | {part: part for part in PARTS}
    try:
        return named[cell.strip().lower()]
    except KeyError:
        raise ValueError(cell) from None


def parse_sex(cell: str) -> str | None:
    """Parse a sex: `M`, `F`, `Male` or `Female`, in any case. An empty cell or DICOM's `O` (other) gives None.

    Raises:
        ValueError: the cell holds anything else.
    """
    try:
        return _SEXES[cell.strip().upper()]
    except KeyError:
        raise ValueError(cell) from None


def parse_age(cell: str) -> int | None:
    """Parse an age to completed years, from years (`58`, `58.0`) or DICOM age strings (`058Y`, `018M`, `003W`, `012D`).

    An empty cell, or an age over 120 years, gives None.

    Raises:
        ValueError: the cell holds anything else.
    """
    if not cell.strip():
        return None
    match = _AGE.fullmatch(cell.strip().upper())
    if not match:
        raise ValueError(cell)
    years = float(match[1]) / _UNITS_A_YEAR[match[2]]
    return int(years) if years < OLDEST + 1 else None  # 120 and a half is a completed 120


@dataclass(frozen=True)
class TableFile:
    """The text of a table, before it is split into cells.

    Attributes:
        name: the file's name, for messages.
        text: the whole text.
    """

    name: str
    text: str

    @property
    def header(self) -> list[str]:
        """The fields of the first line, without empty ones at the end (NIH's first table has one).

        Raises:
            CatalogueError: the line is not CSV.
        """
        try:
            return _drop_empty_end(next(csv.reader(io.StringIO(self.text, newline=""), strict=True), []))
        except csv.Error as error:
            raise CatalogueError(f"{self.name}, line 1: {error}", "save the table as CSV again") from error

    def cells(self, positions: Mapping[str, int]) -> Table:
        """Split the table into cells.

        Args:
            positions: the position of each column in a row, counted from 0, by the column's name in a catalogue.

        Raises:
            CatalogueError: the text is not CSV, has no rows, or has a row with too few or too many fields.
        """
        width = len(self.header)
        reader = csv.reader(io.StringIO(self.text, newline=""), strict=True)
        rows, lines = [], []
        try:
            next(reader, [])
            for row in filter(None, reader):  # skips blank lines
                if len(row) < width or any(cell.strip() for cell in row[width:]):
                    raise CatalogueError(
                        f"{self.name}, line {reader.line_num}: {len(row)} fields where the header has {width}",
                        "write several findings as Effusion|Mass, and quote a field that contains a comma",
                    )
                rows.append(row)
                lines.append(reader.line_num)
        except csv.Error as error:
            problem = f"{self.name}, line {reader.line_num}: {error}"
            raise CatalogueError(problem, "save the table as CSV again") from error
        if not rows:
            raise CatalogueError(f"{self.name} has no rows", "give a table with a header and one row per image")
        return Table(self.name, {column: [row[at] for row in rows] for column, at in positions.items()}, lines)


def _drop_empty_end(fields: list[str]) -> list[str]:
    while fields and not fields[-1].strip():
        fields.pop()
    return fields


def read_table_file(path: Path) -> TableFile:
    """Read a UTF-8 table, plain or gzipped. Raises CatalogueError as `read_text`."""
    return TableFile(path.name, read_text(path))


def read_text(path: Path) -> str:
    """Read the text of a table: UTF-8, with or without a byte order mark, plain or gzipped.

    Raises:
        CatalogueError: the file cannot be read, is not UTF-8, or is a damaged gzip file.
    """
    try:
        data = path.read_bytes()
        if data[:2] == b"\x1f\x8b":  # the content decides, not the name
            data = gzip.decompress(data)
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise CatalogueError(f"{path.name}, line {line}: not UTF-8", "save the table as CSV with UTF-8 text") from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise CatalogueError(f"{path.name} is a damaged gzip file: {error}", "fetch the table again") from error
    except OSError as error:
        raise CatalogueError(f"cannot read the table {path}: {error.strerror}", "check the path") from error


def listed(names: Sequence[str], most: int = 12) -> str:
    """Join names for a message; only the first `most` if there are more."""
    return ", ".join(names[:most]) + (" ..." if len(names) > most else "")
