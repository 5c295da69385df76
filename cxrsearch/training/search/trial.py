"""A trial: one training with suggested values, and its result."""

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
        number: counted from 0; the run's folder is named by it.
        values: the values of the searched recipe entries.
        auroc: the mean validation AUROC after each epoch.
        state: `pruned`: stopped because it was behind the others; `failed`: it diverged or ran out of memory.
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
        """The trial after an epoch, counted from 1. A repeated epoch replaces its earlier result."""
        return replace(self, auroc=(*self.auroc[: epoch - 1], auroc))

    def to_json(self) -> Json:
        """Every attribute, and the best AUROC."""
        return asdict(self) | {"values": dict(self.values), "auroc": list(self.auroc), "best_auroc": self.best}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Trial":
        """The trial of an object that `to_json` made. Raises KeyError or TypeError for any other object."""
        return cls(
            int(value["number"]), dict(value["values"]), tuple(value["auroc"]), value["state"], str(value["reason"])
        )


def rank_trials(trials: Sequence[Trial]) -> list[Trial]:
    """Sort trials, best first: complete, then pruned, then failed ones, each by AUROC; ties by number."""
    order = ("complete", "pruned", "failed", "running")
    return sorted(trials, key=lambda trial: (order.index(trial.state), -(trial.best or 0.0), trial.number))


def best_of(trials: Sequence[Trial]) -> Trial | None:
    """The complete trial with the highest AUROC, the first of ties; None if no trial is complete."""
    first = rank_trials(trials)[:1]
    return first[0] if first and first[0].state == "complete" else None


def shown(value: Value) -> str:
    """A value as text for people: floats with three significant digits, other values as in TOML."""
    return f"{value:.3g}" if isinstance(value, float) else str(value).lower() if isinstance(value, bool) else str(value)
