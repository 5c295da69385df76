"""Trials and studies: what is suggested next, what is behind, and what is kept."""

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from cxrsearch.errors import CheckpointError, WriteError
from cxrsearch.training.search._space import PAPER_SPACE, Choices, Range, SearchSpace
from cxrsearch.training.search._suggest import PRUNING_TRIALS, Suggester
from cxrsearch.training.search.trial import State, Trial, best_of, rank_trials, shown

SPACE = SearchSpace(
    {
        "lr": Range(1e-5, 1e-1, log=True),
        "dropout": Range(0.0, 0.5),
        "epochs": Range(1, 9),
        "batch_size": Range(1, 64, log=True),
        "optimiser": Choices(("adam", "adamw")),
        "class_weights": Choices((True, False)),
    }
)


def judged(trial: Trial) -> Trial:
    """The trial complete, and the better the nearer its lr is to 1e-3."""
    auroc = 0.8 - 0.1 * abs(np.log10(float(trial.values["lr"])) + 3)
    return replace(trial, auroc=(auroc - 0.05, auroc), state="complete")


def grown(path: Path, trials: int, space: SearchSpace = SPACE, seed: int = 0, reopened: bool = False) -> Suggester:
    """A study of judged trials; every fifth one failed."""
    study = Suggester(path, space, seed)
    while len(study.finished) < trials:
        study = Suggester(path, space, seed) if reopened else study
        trial = judged(study.suggest())
        study.add(replace(trial, state="failed", reason="nan") if trial.number % 5 == 4 else trial)
    return study


def loaded_by_optuna(path: Path) -> optuna.Study:
    return optuna.load_study(study_name="cxrsearch", storage=JournalStorage(JournalFileBackend(str(path))))


def test_interrupted_after_every_trial_a_study_is_the_same(tmp_path: Path) -> None:
    whole = grown(tmp_path / "whole.log", 16)
    parts = grown(tmp_path / "parts.log", 16, reopened=True)
    assert parts.finished == whole.finished
    assert whole.suggest() == whole.suggest() == parts.suggest()
    assert Suggester(tmp_path / "whole.log", SPACE, 0).finished == whole.finished
    values = [trial.values for trial in whole.finished]
    assert all(a != b for i, a in enumerate(values) for b in values[:i])
    others = [trial.values for trial in grown(tmp_path / "other.log", 16, seed=1).finished]
    assert all(a != b for a, b in zip(values, others, strict=True))


def test_suggestions_lie_in_the_space_with_its_types(tmp_path: Path) -> None:
    trials = grown(tmp_path / "study.log", 30).finished
    assert [trial.number for trial in trials] == list(range(30))
    for name, entry in SPACE.entries.items():
        values = [trial.values[name] for trial in trials]
        assert all(entry.holds(value) for value in values)
        assert {type(value) for value in values} == {type(entry.ends[0])}
        if isinstance(entry, Choices):
            assert set(values) == set(entry.values)
    rates = np.log10([float(trial.values["lr"]) for trial in trials[:10]])
    assert rates.min() < -4
    assert rates.max() > -2


def test_suggestions_gather_where_trials_were_good(tmp_path: Path) -> None:
    """At random, half of the rates would be less than 0.75 orders of magnitude away from the best."""
    trials = grown(tmp_path / "study.log", 50, PAPER_SPACE).finished
    distance = np.array([abs(np.log10(float(trial.values["lr"])) + 3) for trial in trials])
    assert np.median(distance[30:]) < 0.4


def test_the_first_trial_may_be_given(tmp_path: Path) -> None:
    first = {"lr": 1e-4, "weight_decay": 0.0, "dropout": 0.1, "lr_decay": 0.2}
    study = Suggester(tmp_path / "study.log", PAPER_SPACE, 0, first)
    assert study.suggest() == Trial(0, first)
    study.add(judged(study.suggest()))
    free = Suggester(tmp_path / "study.log", PAPER_SPACE, 0).suggest()
    assert study.suggest() == free
    assert free.values != first


def test_a_trial_is_behind_below_the_median_at_its_epoch(tmp_path: Path) -> None:
    """Its own best epoch counts, and of the others those alone that are complete and got there."""
    study = Suggester(tmp_path / "study.log", PAPER_SPACE, 0)
    rng = np.random.default_rng(0)
    curves = rng.uniform(0.6, 0.8, (PRUNING_TRIALS + 1, 4)).round(3)
    for i, curve in enumerate(curves):
        state: State = "complete" if i else "pruned"
        assert not study.is_behind(Trial(0, {}, (0.1, 0.1, 0.1)))  # too few are complete
        study.add(replace(study.suggest(), auroc=tuple(curve.tolist()), state=state))
    median = np.median(curves[1:], axis=0)
    for epoch in (2, 3, 4):
        below, above = float(median[epoch - 1]) - 1e-6, float(median[epoch - 1]) + 1e-6
        assert study.is_behind(Trial(9, {}, (0.5,) * (epoch - 1) + (below,)))
        assert not study.is_behind(Trial(9, {}, (0.5,) * (epoch - 1) + (above,)))
        assert not study.is_behind(Trial(9, {}, (above, *(0.5,) * (epoch - 1))))
    assert not study.is_behind(Trial(9, {}, (0.1,)))
    assert not study.is_behind(Trial(9, {}, (0.1,) * 5))
    assert not study.is_behind(Trial(9, {}))


def test_the_journal_is_optunas(tmp_path: Path) -> None:
    trials = grown(tmp_path / "study.log", 6).finished
    theirs = loaded_by_optuna(tmp_path / "study.log")
    assert [trial.params for trial in theirs.trials] == [dict(trial.values) for trial in trials]
    assert [trial.state.name for trial in theirs.trials] == ["COMPLETE"] * 4 + ["FAIL", "COMPLETE"]
    assert theirs.trials[4].user_attrs == {"reason": "nan"}
    assert theirs.best_value == max(trial.auroc[1] for trial in trials if trial.state == "complete")
    assert theirs.trials[0].intermediate_values == dict(enumerate(trials[0].auroc, 1))


def test_a_trial_that_cannot_be_written_leaves_the_study_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = grown(tmp_path / "study.log", 3)
    before, data = study.finished, (tmp_path / "study.log").read_bytes()

    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        with pytest.raises(WriteError, match="No space left"):
            study.add(judged(study.suggest()))
    assert (tmp_path / "study.log").read_bytes() == data
    assert study.finished == Suggester(tmp_path / "study.log", SPACE, 0).finished == before
    study.add(judged(study.suggest()))
    assert study.finished == grown(tmp_path / "undisturbed.log", 4).finished


@pytest.mark.parametrize("text", ["{", "[1]\n", '{"op_code": 4}\n', "\xff"])
def test_a_damaged_journal_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "study.log"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(CheckpointError, match=r"cannot read .*study\.log"):
        Suggester(path, SPACE, 0)


def test_optuna_says_nothing_and_speaks_as_before_to_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[logging.LogRecord] = []
    for handler in logging.getLogger("optuna").handlers:
        monkeypatch.setattr(handler, "emit", said.append)
    optuna.logging.set_verbosity(optuna.logging.INFO)
    study = grown(tmp_path / "study.log", 11)
    study.is_behind(study.suggest())
    assert not said
    optuna.create_study()
    assert said


# Trials


def test_a_trial_survives_json_and_an_epoch_that_is_repeated_counts_once() -> None:
    trial = Trial(3, {"lr": 1e-4, "optimiser": "adam"}).after(1, 0.6).after(2, 0.7).after(2, 0.65)
    assert trial.auroc == (0.6, 0.65)
    assert trial.best == 0.65
    assert trial.folder == "003"
    text: Any = json.loads(json.dumps(trial.to_json()))
    assert Trial.from_json(text) == trial
    assert Trial(0, {}).best is None
    with pytest.raises((KeyError, TypeError)):
        Trial.from_json({"number": 1})


def test_the_best_come_first_and_only_complete_ones_are_the_best() -> None:
    trials = [
        Trial(0, {}, (0.6,), "complete"),
        Trial(1, {}, (0.9, 0.2), "failed", "nan"),
        Trial(2, {}, (0.8,), "pruned"),
        Trial(3, {}, (0.7, 0.5), "complete"),
        Trial(4, {}, (0.5, 0.7), "complete"),
        Trial(5, {}, (), "failed", "nan"),
    ]
    assert [trial.number for trial in rank_trials(trials)] == [3, 4, 0, 2, 1, 5]
    assert best_of(trials) == trials[3]
    assert best_of(trials[1:3]) is None
    assert best_of([]) is None


def test_values_are_shown_short() -> None:
    assert [shown(value) for value in (0.000123456, 0.0, 16, True, "adam")] == ["0.000123", "0", "16", "true", "adam"]
