"""The cells of a table of images, a CSV, `.gz` or not, and how one cell is read.

Nothing is guessed: every cell is text until the rules here turn it into something else. A row that the rules do not
cover is refused by its line. Ids keep their spelling, so the patients `00012`, `12` and `NA` are three.
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
"""Years; NIH's first table holds typing errors such as 414."""

_AGE = re.compile(r"(\d+(?:\.\d*)?)([DWMY]?)", re.ASCII)
_UNITS_A_YEAR = {"": 1.0, "Y": 1.0, "M": 12.0, "W": 365.25 / 7, "D": 365.25}
_SEXES = {"M": "M", "MALE": "M", "F": "F", "FEMALE": "F", "O": None, "OTHER": None, "": None}


@dataclass(frozen=True)
class Table:
    """A table's cells as text.

    Attributes:
        name: the file's name, for messages.
        columns: each column by its name in a catalogue (`id`, `patient`, `findings`, `view` ...).
        lines: the line of the file on which each row ends, for messages.
    """

    name: str
    columns: Mapping[str, Sequence[str]]
    lines: Sequence[int]

    def at(self, row: int, problem: str) -> str:
        """The problem with its place in front."""
        return f"{self.name}, line {self.lines[row]}: {problem}"

    def parsed(self, column: str, parse: Callable[[str], T], fix: str) -> list[T | None]:
        """A column's values, each spelling parsed once; None throughout where the table has no such column.

        Raises:
            CatalogueError: `parse` raised ValueError.
        """
        known: dict[str, T] = {}
        for row, cell in enumerate(self.columns.get(column, ())):
            if cell not in known:
                try:
                    known[cell] = parse(cell)
                except ValueError:
                    raise CatalogueError(self.at(row, f"{cell!r} is no {column}"), fix) from None
        return [known[cell] for cell in self.columns[column]] if column in self.columns else [None] * len(self.lines)

    def warnings(self) -> list[str]:
        """What a user should know: views that count as unknown."""
        others = [cell for cell in self.columns.get("view", ()) if cell.strip() and parse_view(cell) is None]
        if not others:
            return []
        rows = f"{counted(len(others), 'row')} of {self.name} {'has' if len(others) == 1 else 'have'}"
        return [
            f"{rows} another view than PA and AP, such as {others[0]!r}: it counts as unknown, and lateral films are "
            "better left out"
        ]

    def labels(self, vocabulary: Vocabulary) -> NDArray[np.bool_]:
        """The label matrix, bool (n, len(vocabulary)), of the findings column.

        Raises:
            VocabularyError: a label outside the vocabulary; the message names its line, the vocabulary, and the others.
        """
        cells = self.columns["findings"]
        distinct = {cell: code for code, cell in enumerate(dict.fromkeys(cells))}
        parsed = []
        for cell in distinct:
            try:
                parsed.append(vocabulary.parse(cell))
            except VocabularyError as error:
                unknown = vocabulary.unknown(distinct)
                others = f"; the table has {len(unknown)} unknown labels: {listed(unknown)}" if len(unknown) > 1 else ""
                raise VocabularyError(self.at(cells.index(cell), error.problem + others), error.fix) from error
        return vocabulary.encode(parsed)[[distinct[cell] for cell in cells]]


def parse_view(cell: str) -> str | None:
    """`PA` or `AP`, in any case; any other view is none of the two, hence None."""
    view = cell.strip().upper()
    return view if view in ("PA", "AP") else None


def parse_part(cell: str) -> Part | None:
    """`train`, `val` or `test`, in any case; None where empty: an image in no part.

    Raises:
        ValueError: anything else.
    """
    named: dict[str, Part | None] = {"": None} | {part: part for part in PARTS}
    try:
        return named[cell.strip().lower()]
    except KeyError:
        raise ValueError(cell) from None


def parse_sex(cell: str) -> str | None:
    """`M` or `F`, from these or `Male` and `Female` in any case; None where empty or DICOM's `O`, other.

    Raises:
        ValueError: anything else.
    """
    try:
        return _SEXES[cell.strip().upper()]
    except KeyError:
        raise ValueError(cell) from None


def parse_age(cell: str) -> int | None:
    """Completed years, from years (`58`, `58.0`) or DICOM's age strings (`058Y`, `018M`, `003W`, `012D`).

    None where empty or over 120 years.

    Raises:
        ValueError: anything else.
    """
    if not cell.strip():
        return None
    match = _AGE.fullmatch(cell.strip().upper())
    if not match:
        raise ValueError(cell)
    years = float(match[1]) / _UNITS_A_YEAR[match[2]]
    return int(years) if years < OLDEST + 1 else None


@dataclass(frozen=True)
class TableFile:
    """A table as it lies on disk, not taken apart.

    Attributes:
        name: the file's name, for messages.
        text: all of it.
    """

    name: str
    text: str

    @property
    def header(self) -> list[str]:
        """The fields of its first line, without the empty ones at the end (NIH's first table has one)."""
        try:
            return _without_empty_end(next(csv.reader(io.StringIO(self.text, newline=""), strict=True), []))
        except csv.Error as error:
            raise CatalogueError(f"{self.name}, line 1: {error}", "save the table as CSV anew") from error

    def cells(self, positions: Mapping[str, int]) -> Table:
        """Take the table apart.

        Args:
            positions: each column by its name in a catalogue, and where it is in a row.

        Raises:
            CatalogueError: not a CSV, no rows, or a row with too few or too many fields.
        """
        width = len(self.header)
        reader = csv.reader(io.StringIO(self.text, newline=""), strict=True)
        rows, lines = [], []
        try:
            next(reader, [])
            for row in filter(None, reader):  # leaves out blank lines
                if len(row) < width or any(cell.strip() for cell in row[width:]):
                    raise CatalogueError(
                        f"{self.name}, line {reader.line_num}: {len(row)} fields where the header has {width}",
                        "write several findings as Effusion|Mass, and quote a field that contains a comma",
                    )
                rows.append(row)
                lines.append(reader.line_num)
        except csv.Error as error:
            problem = f"{self.name}, line {reader.line_num}: {error}"
            raise CatalogueError(problem, "save the table as CSV anew") from error
        if not rows:
            raise CatalogueError(f"{self.name} has no rows", "give a table with a header and one row per image")
        return Table(self.name, {column: [row[at] for row in rows] for column, at in positions.items()}, lines)


def _without_empty_end(fields: list[str]) -> list[str]:
    while fields and not fields[-1].strip():
        fields.pop()
    return fields


def read_table_file(path: Path) -> TableFile:
    """A table, UTF-8, plain or gzipped. Raises CatalogueError."""
    return TableFile(path.name, read_text(path))


def read_text(path: Path) -> str:
    """A table's text, UTF-8 with or without a mark, from a plain or a gzip file. Raises CatalogueError."""
    try:
        data = path.read_bytes()
        if data[:2] == b"\x1f\x8b":
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
    """The names for a message, cut short where they are many."""
    return ", ".join(names[:most]) + (" ..." if len(names) > most else "")
