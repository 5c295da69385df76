"""A trial: one training with suggested values, and what came of it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from cxrsearch.files import Json
from cxrsearch.training.search._space import Value

State = Literal["running", "complete", "pruned", "failed"]


@dataclass(frozen=True)
class Trial:
    """One training of a search.

    Attributes:
        number: counted from 0, which is its folder's name.
        values: of the recipe's entries that are searched.
        auroc: the mean validation AUROC of each of its epochs.
        state: `pruned`: stopped, as it was behind the others; `failed`: it diverged, or memory did not suffice.
        reason: why it failed.
    """

    number: int
    values: Mapping[str, Value]
    auroc: tuple[float, ...] = ()
    state: State = "running"
    reason: str = ""

    @property
    def folder(self) -> str:
        """The name of its run's folder."""
        return f"{self.number:03d}"

    @property
    def best(self) -> float | None:
        """The highest mean validation AUROC, or None before the first epoch."""
        return max(self.auroc, default=None)

    def after(self, epoch: int, auroc: float) -> "Trial":
        """The trial after an epoch, counted from 1; one that is repeated replaces what it gave before."""
        return replace(self, auroc=(*self.auroc[: epoch - 1], auroc))

    def to_json(self) -> Json:
        """Every attribute, and the best AUROC."""
        return asdict(self) | {"values": dict(self.values), "auroc": list(self.auroc), "best_auroc": self.best}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Trial":
        """What `to_json` gave. Raises KeyError or TypeError where it did not."""
        return cls(
            int(value["number"]), dict(value["values"]), tuple(value["auroc"]), value["state"], str(value["reason"])
        )


def ranked(trials: Sequence[Trial]) -> list[Trial]:
    """The best first: complete ones, then pruned, then failed ones, each by AUROC; equals in their order."""
    order = ("complete", "pruned", "failed", "running")
    return sorted(trials, key=lambda trial: (order.index(trial.state), -(trial.best or 0.0), trial.number))


def best_of(trials: Sequence[Trial]) -> Trial | None:
    """The complete trial with the highest AUROC, the first of equals; None where no trial is complete."""
    first = ranked(trials)[:1]
    return first[0] if first and first[0].state == "complete" else None


def shown(value: Value) -> str:
    """A value for people: numbers with three digits, the rest as TOML has it."""
    return f"{value:.3g}" if isinstance(value, float) else str(value).lower() if isinstance(value, bool) else str(value)
