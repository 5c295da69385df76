"""What a person sees: results on stdout; progress, warnings and errors on stderr. The only place that prints."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from cxrsearch.errors import CxrsearchError, UsageError
from cxrsearch.progress import Progress
from cxrsearch.words import by_reason, counted

if TYPE_CHECKING:
    from pandas import DataFrame

_SHOWN = 10


class Result(Protocol):
    """What an analysis came to, in several forms."""

    @property
    def warnings(self) -> Sequence[str]:
        """What a reader must know."""
        ...

    def to_json(self) -> Mapping[str, Any]:
        """One object."""
        ...

    def to_frame(self) -> "DataFrame":
        """One table."""
        ...

    def to_latex(self) -> str:
        """A table for a paper."""
        ...


class Display(Progress, Protocol):
    """A progress display, which also shows a few words on what is being done."""

    def __call__(self, stage: str, done: int, total: int, detail: str = "") -> None:
        """Show it."""
        ...


def json_line(value: Mapping[str, Any]) -> None:
    """Print one object as one line of JSON on stdout."""
    sys.stdout.write(json.dumps(value, allow_nan=False) + "\n")
    sys.stdout.flush()


def require_one_form(as_json: bool, as_csv: bool, as_latex: bool) -> None:
    """Raise UsageError where several forms of output are asked for."""
    if as_json + as_csv + as_latex > 1:
        raise UsageError("several forms of output", "give one of --json, --csv and --latex")


def result(found: Result, as_json: bool, as_csv: bool, as_latex: bool, show: Callable[[], None]) -> None:
    """Print warnings, and a result in the form asked for; `show` prints the tables for people."""
    warnings(found.warnings)
    if as_json:
        json_line(found.to_json())
    elif as_csv:
        text(found.to_frame().to_csv(index=False).rstrip("\n"))
    elif as_latex:
        text(found.to_latex())
    else:
        show()


def text(line: str = "") -> None:
    """Print a line of plain text on stdout."""
    sys.stdout.write(line + "\n")


def note(line: str) -> None:
    """Print a line for the person at the terminal on stderr, after what stdout holds already."""
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


def refused(images: Sequence[tuple[str, str]], place: str = "") -> None:
    """List refused images, by name and reason, on stderr: the first ten, where all are listed, how many a reason."""
    if not images:
        return
    note(f"{counted(len(images), 'image')} refused:")
    for image, reason in images[:_SHOWN]:
        note(f"  {image}: {reason}")
    if len(images) > _SHOWN:
        note(
            f"  ... all are listed in {place}" if place else f"  ... and {len(images) - _SHOWN} more (--json lists all)"
        )
    if len(images) > 1:
        note("by reason:")
        for problem, names in by_reason(images):
            note(f"  {len(names):>{len(str(len(images)))}}  {problem}")


def table(title: str, columns: Mapping[str, bool], rows: Iterable[Iterable[str]]) -> None:
    """Print a table on stdout, as wide as the terminal.

    Args:
        title: what it shows.
        columns: name of each column, and whether it holds numbers (set to the right, never folded); without any name
            there is no header.
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
    """A progress display on stderr: a bar with rate and time left a stage; a line a stage where it is no terminal."""
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
