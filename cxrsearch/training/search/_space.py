"""What a search varies: entries of the recipe, each with a range or with choices.

A TOML file may say it; whatever it does not name stays as the recipe has it:

    lr = { low = 1e-5, high = 1e-2, log = true }
    dropout = { low = 0.0, high = 0.5 }
    weight_decay = [0, 1e-4, 1e-3]
"""

import math
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from itertools import product
from pathlib import Path
from typing import Any

from cxrsearch.errors import UsageError
from cxrsearch.training.recipe import Recipe

Value = bool | int | float | str

_TYPES: dict[str, type] = {field.name: type(field.default) for field in fields(Recipe) if field.name != "name"}
"""What a recipe's entries are; a recipe's name decides nothing."""

_MOST = 100_000
"""So many combinations of choices and ends of ranges are checked before a search begins."""


@dataclass(frozen=True)
class Range:
    """Every number from `low` to `high`, whole ones where the entry is whole; `log`: evenly by order of magnitude."""

    low: float
    high: float
    log: bool = False

    @property
    def ends(self) -> tuple[Value, ...]:
        """The values to check before a search."""
        return self.low, self.high

    def holds(self, value: Any) -> bool:
        """Whether a value lies in the range."""
        return bool(self.low <= value <= self.high)

    def to_json(self) -> dict[str, Any]:
        """As a TOML file says it."""
        return dict(vars(self))


@dataclass(frozen=True)
class Choices:
    """One of these values."""

    values: tuple[Value, ...]

    @property
    def ends(self) -> tuple[Value, ...]:
        """The values to check before a search."""
        return self.values

    def holds(self, value: Any) -> bool:
        """Whether a value is one of these."""
        return value in self.values

    def to_json(self) -> list[Value]:
        """As a TOML file says it."""
        return list(self.values)


Entry = Range | Choices


@dataclass(frozen=True)
class SearchSpace:
    """The entries of a recipe that a search varies.

    Attributes:
        entries: by their names in `Recipe`.

    Raises:
        UsageError: nothing to vary, an unknown entry, the objective, a reversed range, values of the wrong type.
    """

    entries: Mapping[str, Entry]

    def __post_init__(self) -> None:
        if not self.entries:
            raise UsageError("a search without anything to vary", "name an entry of the recipe with its values")
        for name in self.entries:
            if name not in _TYPES:
                raise UsageError(f"unknown recipe entry {name!r} in a search", f"use {', '.join(_TYPES)}")
        if "objective" in self.entries:
            raise UsageError("a search over objectives: trials are compared by AUROC", "leave objective out")
        object.__setattr__(self, "entries", {name: _checked(name, entry) for name, entry in self.entries.items()})

    def without(self, names: Iterable[str]) -> "SearchSpace":
        """The space without these entries.

        Raises:
            UsageError: nothing is left.
        """
        left_out = set(names)
        return SearchSpace({name: entry for name, entry in self.entries.items() if name not in left_out})

    def values_of(self, recipe: Recipe) -> dict[str, Value] | None:
        """The recipe's own values of the entries, or None where one of them could not be suggested."""
        values = {name: getattr(recipe, name) for name in self.entries}
        return values if all(entry.holds(values[name]) for name, entry in self.entries.items()) else None

    def require_recipes(self, recipe: Recipe) -> None:
        """Check that whatever a search may suggest is a recipe, before the first trial is trained.

        Raises:
            UsageError: a value is out of bounds, or values exclude each other; or there are too many to check.
        """
        ends = [entry.ends for entry in self.entries.values()]
        if math.prod(map(len, ends)) > _MOST:
            raise UsageError(f"a search over more than {_MOST} combinations of choices", "vary fewer entries")
        for values in product(*ends):
            recipe.changed(dict(zip(self.entries, values, strict=True)))

    def to_json(self) -> dict[str, Any]:
        """As a TOML file says it."""
        return {name: entry.to_json() for name, entry in self.entries.items()}


def load_space(path: Path) -> SearchSpace:
    """The search space of a TOML file.

    Raises:
        UsageError: the file cannot be read, or is no search space.
    """
    try:
        text = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"cannot read the search space {path}: {reason}", "name a TOML file") from error
    return SearchSpace({name: _parsed(name, value) for name, value in text.items()})


def _parsed(name: str, value: object) -> Entry:
    """An array of choices, or a table with low, high and log."""
    if isinstance(value, list):
        return Choices(tuple(value))
    if isinstance(value, dict) and {"low", "high"} <= set(value) <= {"low", "high", "log"}:
        return Range(**value)
    raise UsageError(
        f"{name} = {value!r} in a search is neither a range nor choices",
        f"write {name} = {{ low = A, high = B, log = true }} or {name} = [A, B, C]",
    )


def _checked(name: str, entry: Entry) -> Entry:
    """The entry, with its numbers of the type that the recipe has there."""
    if isinstance(entry, Choices):
        values = tuple(_typed(name, value) for value in entry.values)
        if len(values) < 2 or len(set(values)) < len(values):
            raise UsageError(
                f"the choices {list(values)} of {name}", "give at least two, each once (--set takes a single one)"
            )
        return Choices(values)
    if _TYPES[name] not in (int, float) or not isinstance(entry.log, bool):
        raise UsageError(f"a range of {name}", f"give choices, as {name} = [A, B], or numbers and log = true")
    low, high = _typed(name, entry.low), _typed(name, entry.high)
    if not low < high:
        raise UsageError(f"the range of {name} from {low} to {high}", "give low < high")
    if entry.log and low <= 0:
        raise UsageError(f"the range of {name} from {low} to {high} by order of magnitude", "give low > 0")
    return Range(low, high, entry.log)


def _typed(name: str, value: object) -> Any:
    kind = _TYPES[name]
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise UsageError(f"{name} = {value!r} in a search", f"give a value like {kind.__name__}")
    return value


PAPER_SPACE = SearchSpace(
    {
        "lr": Range(1e-5, 1e-2, log=True),
        "weight_decay": Choices((0.0, 1e-4, 1e-3)),
        "dropout": Choices((0.1, 0.2)),
        "lr_decay": Choices((0.5, 0.2)),
    }
)
"""What Wu and Yang searched (section 3), L2 being `weight_decay`; no L2 is what they chose."""


def default_space(recipe: Recipe) -> SearchSpace:
    """The paper's, without what the recipe does not use: a cosine schedule knows no decay."""
    return PAPER_SPACE.without({"lr_decay"} if recipe.schedule == "cosine" else ())
