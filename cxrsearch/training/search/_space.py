"""The search space: entries of the recipe, each with a range or with choices.

It can be a TOML file. Entries that it does not name keep the recipe's values:

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
"""The type of each recipe entry that can be searched. The name is left out, as it does not affect a training."""

_MOST = 100_000
"""At most this many combinations of choices and ends of ranges are checked before a search begins."""


@dataclass(frozen=True)
class Range:
    """Every number from `low` to `high`; integers if the entry is an integer.

    Attributes:
        low: the lowest value.
        high: the highest value, above `low`.
        log: sample uniformly in the logarithm; `low` must then be above 0.
    """

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
        """The range as a TOML file writes it."""
        return dict(vars(self))


@dataclass(frozen=True)
class Choices:
    """A list of values to choose from.

    Attributes:
        values: at least two, all different.
    """

    values: tuple[Value, ...]

    @property
    def ends(self) -> tuple[Value, ...]:
        """The values to check before a search."""
        return self.values

    def holds(self, value: Any) -> bool:
        """Whether a value is one of the choices."""
        return value in self.values

    def to_json(self) -> list[Value]:
        """The choices as a TOML file writes them."""
        return list(self.values)


Entry = Range | Choices


@dataclass(frozen=True)
class SearchSpace:
    """The entries of a recipe that a search varies.

    Attributes:
        entries: ranges and choices by their names in `Recipe`.

    Raises:
        UsageError: no entry, an unknown entry, the objective, a reversed range, or values of the wrong type.
    """

    entries: Mapping[str, Entry]

    def __post_init__(self) -> None:
        if not self.entries:
            raise UsageError("the search has nothing to vary", "name an entry of the recipe with its values")
        for name in self.entries:
            if name not in _TYPES:
                raise UsageError(f"unknown recipe entry {name!r} in a search", f"use {', '.join(_TYPES)}")
        if "objective" in self.entries:
            raise UsageError("a search over objectives: trials are compared by AUROC", "leave objective out")
        object.__setattr__(self, "entries", {name: _check_entry(name, entry) for name, entry in self.entries.items()})

    def without(self, names: Iterable[str]) -> "SearchSpace":
        """The space without these entries.

        Raises:
            UsageError: nothing is left.
        """
        removed = set(names)
        return SearchSpace({name: entry for name, entry in self.entries.items() if name not in removed})

    def values_of(self, recipe: Recipe) -> dict[str, Value] | None:
        """The recipe's values of the entries, or None if the space does not contain one of them."""
        values = {name: getattr(recipe, name) for name in self.entries}
        return values if all(entry.holds(values[name]) for name, entry in self.entries.items()) else None

    def require_recipes(self, recipe: Recipe) -> None:
        """Check before the first trial that every suggestion is a valid recipe.

        Only choices and the ends of ranges are tried, in all combinations.

        Raises:
            UsageError: a value is out of bounds, values exclude each other, or there are too many combinations.
        """
        ends = [entry.ends for entry in self.entries.values()]
        if math.prod(map(len, ends)) > _MOST:
            raise UsageError(f"a search over more than {_MOST} combinations of choices", "vary fewer entries")
        for values in product(*ends):
            recipe.changed(dict(zip(self.entries, values, strict=True)))

    def to_json(self) -> dict[str, Any]:
        """The space as a TOML file writes it."""
        return {name: entry.to_json() for name, entry in self.entries.items()}


def load_space(path: Path) -> SearchSpace:
    """Read a search space from a TOML file.

    Raises:
        UsageError: the file cannot be read, or is not a search space.
    """
    try:
        text = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"cannot read the search space {path}: {reason}", "name a TOML file") from error
    return SearchSpace({name: _parse(name, value) for name, value in text.items()})


def _parse(name: str, value: object) -> Entry:
    """The entry of a TOML value: an array of choices, or a table with low, high and log."""
    if isinstance(value, list):
        return Choices(tuple(value))
    if isinstance(value, dict) and {"low", "high"} <= set(value) <= {"low", "high", "log"}:
        return Range(**value)
    raise UsageError(
        f"{name} = {value!r} in a search is neither a range nor choices",
        f"write {name} = {{ low = A, high = B, log = true }} or {name} = [A, B, C]",
    )


def _check_entry(name: str, entry: Entry) -> Entry:
    """Check an entry, and convert its numbers to the type of the recipe's entry."""
    if isinstance(entry, Choices):
        values = tuple(_convert(name, value) for value in entry.values)
        if len(values) < 2 or len(set(values)) < len(values):
            raise UsageError(
                f"the choices {list(values)} of {name}", "give at least two, each once (--set takes a single one)"
            )
        return Choices(values)
    if _TYPES[name] not in (int, float) or not isinstance(entry.log, bool):
        raise UsageError(f"a range of {name}", f"give choices, as {name} = [A, B], or numbers and log = true")
    low, high = _convert(name, entry.low), _convert(name, entry.high)
    if not low < high:
        raise UsageError(f"the range of {name} from {low} to {high}", "give low < high")
    if entry.log and low <= 0:
        raise UsageError(f"the range of {name} from {low} to {high} by order of magnitude", "give low > 0")
    return Range(low, high, entry.log)


def _convert(name: str, value: object) -> Any:
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
"""The space that Wu and Yang searched (section 3). Their L2 is `weight_decay`; they chose no L2."""


def default_space(recipe: Recipe) -> SearchSpace:
    """The paper's space, without `lr_decay` if the recipe has a cosine schedule, which does not use it."""
    return PAPER_SPACE.without({"lr_decay"} if recipe.schedule == "cosine" else ())
