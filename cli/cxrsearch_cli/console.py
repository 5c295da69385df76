"""What a person sees: results on stdout; progress, warnings and errors on stderr. The only place that prints."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, Protocol

import typer

from cxrsearch.errors import CxrsearchError
from cxrsearch.progress import Progress
from cxrsearch.words import counted, group_by_reason

if TYPE_CHECKING:
    from pandas import DataFrame

Form = Literal["tables", "json", "csv", "latex"]
"""How a result is printed: as tables for people, or for programs and papers."""

PARTIAL = 3
"""The exit code of a command that did its work, but not for every image."""

_LISTED = 10


class Result(Protocol):
    """The result of an analysis, which is printed in several forms; only some have LaTeX."""

    @property
    def warnings(self) -> Sequence[str]:
        """What a reader must know before using the result."""
        ...

    def to_json(self) -> Mapping[str, Any]:
        """The result as one JSON object."""
        ...

    def to_frame(self) -> "DataFrame":
        """The result as one table, for CSV."""
        ...


class Display(Progress, Protocol):
    """A progress display, which can also show a few words about the current work."""

    def __call__(self, stage: str, done: int, total: int, detail: str = "") -> None:
        """Show that `done` of `total` units of a stage are finished."""
        ...


def json_line(value: Mapping[str, Any]) -> None:
    """Print one object as one line of JSON on stdout."""
    sys.stdout.write(json.dumps(value, allow_nan=False) + "\n")
    sys.stdout.flush()


def show(result: Result, form: Form, show_tables: Callable[[], None]) -> None:
    """Print the warnings of a result, then the result in this form; `show_tables` prints the tables for people."""
    warnings(result.warnings)
    if form == "json":
        json_line(result.to_json())
    elif form == "csv":
        text(result.to_frame().to_csv(index=False).rstrip("\n"))
    elif form == "latex":
        text(result.to_latex())  # type: ignore[attr-defined]
    else:
        show_tables()


def text(line: str = "") -> None:
    """Print a line of plain text on stdout."""
    sys.stdout.write(line + "\n")


def note(line: str) -> None:
    """Print a line for the person at the terminal on stderr, after everything that stdout already holds."""
    sys.stdout.flush()
    sys.stderr.write(line + "\n")


def warn(line: str) -> None:
    """Print a warning on stderr."""
    note(f"warning: {line}")


def warnings(lines: Iterable[str]) -> None:
    """Print each warning of a result."""
    for line in lines:
        warn(line)


def error(problem: CxrsearchError) -> None:
    """Print what is wrong, and the fix, on one line of stderr."""
    note(f"error: {problem}")


def finish(refused: Sequence[tuple[str, str]], place: str = "", *, lists: bool = True) -> None:
    """End a command: if images were refused, list them unless another process does, and exit with code 3.

    Args:
        refused: the images, by name and reason.
        place: a file that lists all of them; none: --json does.
        lists: whether this process lists them.
    """
    if not refused:
        return
    if lists:
        _list_refused(refused, place)
    raise typer.Exit(PARTIAL)


def _list_refused(images: Sequence[tuple[str, str]], place: str) -> None:
    """The first ten images, where all are listed, and how many images there are per reason, on stderr."""
    note(f"{counted(len(images), 'image')} refused:")
    for image, reason in images[:_LISTED]:
        note(f"  {image}: {reason}")
    if len(images) > _LISTED:
        note(
            f"  ... {place} lists all of them"
            if place
            else f"  ... and {len(images) - _LISTED} more (--json lists all)"
        )
    if len(images) > 1:
        note("by reason:")
        for problem, names in group_by_reason(images):
            note(f"  {len(names):>{len(str(len(images)))}}  {problem}")


def table(title: str, columns: Mapping[str, bool], rows: Iterable[Iterable[str]]) -> None:
    """Print a table on stdout, as wide as the terminal.

    Args:
        title: the line above the table.
        columns: the name of each column, and whether it holds numbers (aligned right, never folded). If all names are
            blank, there is no header.
        rows: the cells as text.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    header = any(name.strip() for name in columns)
    style = box.SIMPLE_HEAD if header else None
    drawn = Table(box=style, pad_edge=False, show_header=header)
    for name, number in columns.items():
        drawn.add_column(name, justify="right" if number else "left", no_wrap=number, overflow="fold")
    for row in rows:
        drawn.add_row(*(Text(cell) for cell in row))
    text(title)
    Console(highlight=False).print(drawn)


@contextmanager
def progress() -> Iterator[Display]:
    """A progress display on stderr: per stage a bar with rate and time left, or one line if stderr is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[detail]}"),
    )
    tasks: dict[str, tuple[TaskID, int]] = {}
    with Bars(*columns, console=console, disable=not console.is_terminal) as bars:

        def show(stage: str, done: int, total: int, detail: str = "") -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total, completed=done, rate="", detail=detail), done
                if not console.is_terminal:
                    note(f"{stage}: {total}")
                return
            task, already = tasks[stage]
            elapsed = bars.tasks[task].elapsed or 0.0
            rate = f"{(done - already) / elapsed:.1f}/s" if elapsed else ""
            bars.update(task, completed=done, total=total, rate=rate, detail=detail)

        yield show
