"""Tables of images as they come: NIH's Data_Entry CSV of either generation, and a plain CSV, `.gz` or not.

Nothing is guessed: every cell is text until the rules here turn it into something else, and a row that the rules do not
cover is refused by its line. Ids keep their spelling, so the patients `00012`, `12` and `NA` are three.
"""

import csv
import gzip
import io
import re
import zlib
from collections import Counter
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

REQUIRED = ("id", "patient", "findings")

_NIH_COLUMNS = {
    "image index": "id",
    "patient id": "patient",
    "finding labels": "findings",
    "view position": "view",
    "patient gender": "sex",
    "patient sex": "sex",
    "patient age": "age",
    "split": "split",
}
_PLAIN_COLUMNS = {"image": "id"} | {name: name for name in ("patient", "findings", "view", "sex", "age", "split")}

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


def read_cells(path: Path) -> Table:
    """The cells of a table, checked for everything that does not need the vocabulary.

    Header names are understood in any case. Columns: NIH's `Image Index`, `Patient ID`, `Finding Labels` and optionally
    `View Position`, `Patient Gender` or `Patient Sex`, `Patient Age`; or `image`, `patient`, `findings` and optionally
    `view`, `sex`, `age`; and `split` with either. Others are ignored.

    Raises:
        CatalogueError: the file cannot be read, is not UTF-8 or not a CSV, is empty, lacks or repeats a column; a row
            has too few or too many fields, no image or no patient; an image has two rows.
    """
    table = _table(read_text(path), path.name)
    for column in ("id", "patient"):
        _require_ids(table, column)
    _require_unique(table)
    return table


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


def _table(text: str, name: str) -> Table:
    """Take a CSV apart; each of its rows has a field for every name of the header."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows, lines = [], []
    try:
        header = next(reader, [])
        while header and not header[-1].strip():  # NIH's first table ends every line with a comma
            header.pop()
        positions = _positions(header, name)
        for row in filter(None, reader):  # leaves out blank lines
            if len(row) < len(header) or any(cell.strip() for cell in row[len(header) :]):
                raise CatalogueError(
                    f"{name}, line {reader.line_num}: {len(row)} fields where the header has {len(header)}",
                    "write several findings as Effusion|Mass, and quote a field that contains a comma",
                )
            rows.append(row)
            lines.append(reader.line_num)
    except csv.Error as error:
        raise CatalogueError(f"{name}, line {reader.line_num}: {error}", "save the table as CSV anew") from error
    if not rows:
        raise CatalogueError(f"{name} has no rows", "give a table with a header and one row an image")
    return Table(name, {column: [row[at] for row in rows] for column, at in positions.items()}, lines)


def _positions(header: Sequence[str], name: str) -> dict[str, int]:
    """Where each of a catalogue's columns is in a row."""
    names = [field.strip().lower() for field in header]
    known = _NIH_COLUMNS if "image index" in names else _PLAIN_COLUMNS
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


def listed(names: Sequence[str], most: int = 12) -> str:
    """The names for a message, cut short where they are many."""
    return ", ".join(names[:most]) + (" ..." if len(names) > most else "")
