"""Suggest trials with Optuna, and keep the finished ones in a file.

The file is an Optuna journal, which Optuna's own tools can read. It holds finished trials only, one per line. It is
replaced as a whole, so a killed process never leaves half a trial. A suggestion comes from a copy in memory with a new
sampler. So it depends only on the seed, the trial's number and the finished trials, and interruptions do not change it.
"""

import json
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.pruners import MedianPruner
from optuna.samplers import TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend
from optuna.trial import FrozenTrial, TrialState, create_trial

from cxrsearch.errors import CheckpointError
from cxrsearch.files import Json, write_bytes
from cxrsearch.training.search._space import Choices, Entry, SearchSpace, Value
from cxrsearch.training.search.trial import State, Trial

_NAME = "cxrsearch"
_STATES: dict[State, TrialState] = {
    "complete": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "failed": TrialState.FAIL,
}
_REASON = "reason"

PRUNING_TRIALS, PRUNING_EPOCH = 5, 2
"""Pruning begins once this many trials are complete, and in this epoch of a trial."""


class _Lines(BaseJournalBackend):
    """An Optuna journal for one process at a time, with one JSON entry per line."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._entries: list[Json] = []
        if path.exists():
            self._entries = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        return list(self._entries[log_number_from:])

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        entries = [*self._entries, *logs]
        write_bytes(self._path, "".join(json.dumps(entry, allow_nan=False) + "\n" for entry in entries).encode())
        self._entries = json.loads(json.dumps(entries))


class Suggester:
    """Suggests the trials of a search, and records the finished ones.

    Args:
        path: the journal; a new one is made if missing. No other process writes it; see `claim`.
        space: the search space.
        seed: seed of the suggestions.
        first: the values of trial 0; None: they are suggested as well.

    Raises:
        CheckpointError: the journal cannot be read.
        WriteError: it cannot be written.
    """

    def __init__(self, path: Path, space: SearchSpace, seed: int, first: Mapping[str, Value] | None = None) -> None:
        self._space, self._seed, self._first = space, seed, first
        with _quiet():
            try:
                storage = JournalStorage(_Lines(path))
                self._study = optuna.create_study(
                    storage=storage, study_name=_NAME, direction="maximize", load_if_exists=True
                )
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise CheckpointError(f"cannot read {path}: {error}", "search into another --out") from error

    @property
    def finished(self) -> tuple[Trial, ...]:
        """The finished trials, by number."""
        trials = self._study.get_trials(deepcopy=False, states=tuple(_STATES.values()))
        return tuple(_from_optuna(trial) for trial in trials)

    def suggest(self) -> Trial:
        """Suggest the next trial, with state `running`. Nothing is recorded.

        The first ten trials are random; then the tree-structured Parzen estimator (Bergstra et al. 2011) suggests.
        """
        number = len(self.finished)
        if number == 0 and self._first is not None:
            return Trial(0, dict(self._first))
        seed = int(np.random.default_rng((self._seed, number)).integers(2**32))
        with _quiet():
            copy = self._copy(sampler=TPESampler(seed=seed))
            suggested = copy.ask({name: _distribution(entry) for name, entry in self._space.entries.items()})
        return Trial(number, {name: suggested.params[name] for name in self._space.entries})

    def is_behind(self, trial: Trial) -> bool:
        """Whether a running trial's best epoch is below the median of the complete trials at the same epoch."""
        with _quiet():
            copy = self._copy(pruner=MedianPruner(n_startup_trials=PRUNING_TRIALS, n_warmup_steps=PRUNING_EPOCH))
            running = copy.ask()
            for epoch, auroc in enumerate(trial.auroc, 1):
                running.report(auroc, epoch)
            return bool(running.should_prune())

    def add(self, trial: Trial) -> None:
        """Record a finished trial. Raises WriteError."""
        with _quiet():
            self._study.add_trial(self._to_optuna(trial))

    def _copy(self, **options: Any) -> optuna.Study:
        """A copy in memory, where a trial can begin without changing the journal."""
        copy = optuna.create_study(direction="maximize", **options)
        copy.add_trials(self._study.get_trials(deepcopy=False))
        return copy

    def _to_optuna(self, trial: Trial) -> FrozenTrial:
        return create_trial(
            state=_STATES[trial.state],
            value=trial.best if trial.state == "complete" else None,
            params=dict(trial.values),
            distributions={name: _distribution(self._space.entries[name]) for name in trial.values},
            intermediate_values=dict(enumerate(trial.auroc, 1)),
            user_attrs={_REASON: trial.reason} if trial.reason else None,
        )


def _from_optuna(trial: FrozenTrial) -> Trial:
    state = next(name for name, state in _STATES.items() if state == trial.state)
    auroc = tuple(value for _, value in sorted(trial.intermediate_values.items()))
    return Trial(trial.number, dict(trial.params), auroc, state, trial.user_attrs.get(_REASON, ""))


def _distribution(entry: Entry) -> BaseDistribution:
    if isinstance(entry, Choices):
        return CategoricalDistribution(entry.values)
    if isinstance(entry.low, int) and isinstance(entry.high, int):
        return IntDistribution(entry.low, entry.high, log=entry.log)
    return FloatDistribution(entry.low, entry.high, log=entry.log)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence Optuna: it logs every step on stderr, and warns that much of its interface is experimental."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)
