"""Searches: trials that are trained, interrupted and gone on with, and what comes of them."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from filelock import FileLock
from PIL import Image
from typer.testing import CliRunner, Result

import cxrsearch.training.tune
from cxrsearch.encoder.checkpoint import BEST
from cxrsearch.encoder.weights import load_encoder
from cxrsearch.errors import (
    CheckpointError,
    CxrsearchError,
    LockedError,
    MissingDependencyError,
    SplitError,
    UsageError,
    WriteError,
)
from cxrsearch.training._run_folder import CONFIG
from cxrsearch.training.recipe import PAPER, load_recipe
from cxrsearch.training.request import Training
from cxrsearch.training.search._space import Choices, Range, SearchSpace
from cxrsearch.training.search._suggest import PRUNING_TRIALS, Suggester
from cxrsearch.training.search.trial import Trial
from cxrsearch.training.state import EpochRecord
from cxrsearch.training.train import TrainResult, train
from cxrsearch.training.trainer import STATE, StepReport
from cxrsearch.training.tune import TuneResult, tune
from cxrsearch_cli.app import app
from tests.conftest import DataSet

CHANGES = {"arch": "densenet121", "weights": "random:0", "size": 32, "epochs": 1, "batch_size": 3}
OPTIONS: dict[str, Any] = {"split": "column", "changes": CHANGES, "device": "cpu", "precision": "fp32", "workers": 0}


@pytest.fixture(scope="module")
def found(data_set: DataSet, split_table: Path, tmp_path_factory: pytest.TempPathFactory) -> TuneResult:
    """A finished search of two trials."""
    return tune(
        data_set.images, split_table, Training(**OPTIONS), trials=2, out=tmp_path_factory.mktemp("studies") / "first"
    )


def losses(run: Path) -> list[float]:
    """The validation loss of every epoch of a run."""
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [line["val_loss"] for line in lines if line["kind"] == "epoch"]


# Real trainings


def test_a_search_trains_the_recipe_itself_and_then_others(found: TuneResult) -> None:
    assert (found.n_train, found.n_val, found.refused) == (6, 2, ())
    trials = sorted(found.trials, key=lambda trial: trial.number)
    assert trials[0].values == {"lr": 1e-4, "weight_decay": 0.0, "dropout": 0.1, "lr_decay": 0.2}
    assert trials[1].values != trials[0].values
    for trial in trials:
        run = found.path / "trials" / trial.folder
        recipe = json.loads((run / CONFIG).read_text())["settings"]["recipe"]
        assert recipe == PAPER.changed(CHANGES | dict(trial.values)).to_json()
        assert json.loads((run / "trial.json").read_text()) == trial.to_json()
        assert load_encoder(str(run)).spec.provenance.n_train == 6
        assert not (run / STATE).exists()
    assert len(losses(found.path / "trials/000")) == 1
    assert len(list((found.path / "pixels").rglob("*.npy"))) == 1


def test_the_best_recipe_trains_the_best_trial_again(
    found: TuneResult, data_set: DataSet, split_table: Path, tmp_path: Path
) -> None:
    assert found.best == found.trials[0]
    expected = PAPER.changed(CHANGES | dict(found.best.values) | {"name": "best"})
    assert load_recipe(str(found.best_recipe)) == expected
    again = train(
        data_set.images,
        split_table,
        Training(config=str(found.best_recipe), **OPTIONS | {"changes": {}}),
        out=tmp_path / "run",
    )
    assert losses(again.path) == losses(found.best_run)
    one, other = (load_encoder(str(run)).tensors() for run in (again.path, found.best_run))
    assert all(torch.equal(one[name], value) for name, value in other.items())


def test_a_search_says_that_its_best_is_optimistic(found: TuneResult) -> None:
    (warning,) = (warning for warning in found.warnings if "optimistic" in warning)
    assert f"mean AUROC {found.best.best:.3f} is optimistic: it is the best of 2 complete trials, on the 2" in warning
    assert f"evaluate --weights {found.best_run} --part test" in warning
    assert any("no training image shows Atelectasis" in warning for warning in found.warnings)
    with Image.open(found.plot) as image:
        assert image.width > 1000


def test_a_finished_search_is_not_run_again(found: TuneResult, data_set: DataSet, split_table: Path) -> None:
    before = (found.best_run / BEST).stat().st_mtime_ns
    events: list[Trial] = []
    again = tune(
        data_set.images,
        split_table,
        Training(**OPTIONS),
        trials=1,
        out=found.path,
        report=lambda trial, _: events.append(trial),
    )
    assert again == found
    assert (events, (found.best_run / BEST).stat().st_mtime_ns) == ([], before)


def test_a_training_that_diverges_is_a_failed_trial(
    data_set: DataSet, split_table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nan(*_: object) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
        return lambda logits, labels: logits.sum() * float("nan")

    monkeypatch.setattr("cxrsearch.training._findings_objective.finding_loss", nan)
    with pytest.raises(
        CxrsearchError, match=r"none of the 1 trials .* the training diverged: the loss is nan in step 1"
    ):
        tune(data_set.images, split_table, Training(**OPTIONS), trials=1, out=tmp_path / "study")
    monkeypatch.undo()
    result = tune(data_set.images, split_table, Training(**OPTIONS), trials=2, out=tmp_path / "study")
    assert [(trial.number, trial.state) for trial in result.trials] == [(1, "complete"), (0, "failed")]
    assert "the loss is nan in step 1" in result.trials[1].reason


KILLED = """
import json, os, signal, sys
from cxrsearch.training.request import Training
from cxrsearch.training.tune import tune

def report(trial, event):
    if trial.number == 1 and getattr(event, "step", None) == 3:
        os.kill(os.getpid(), signal.SIGKILL)

tune(sys.argv[1], sys.argv[2], Training(**json.loads(sys.argv[4])), trials=3, out=sys.argv[3], report=report)
"""


@pytest.mark.slow
def test_killed_in_the_middle_of_a_trial_a_search_ends_as_if_it_had_not_been(
    data_set: DataSet, split_table: Path, tmp_path: Path
) -> None:
    options = OPTIONS | {"changes": CHANGES | {"epochs": 2}}
    line = [sys.executable, "-c", KILLED, data_set.images, split_table, tmp_path / "killed", json.dumps(options)]
    root = Path(__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(root), str(root / "indexes")])}
    assert subprocess.run(list(map(str, line)), env=environment).returncode == -signal.SIGKILL
    killed = tmp_path / "killed/trials"
    assert sorted(path.name for path in killed.iterdir()) == ["000", "001"]
    kept = (killed / "000" / BEST).stat().st_mtime_ns
    resumed = tune(data_set.images, split_table, Training(**options), trials=3, out=tmp_path / "killed")
    whole = tune(data_set.images, split_table, Training(**options), trials=3, out=tmp_path / "whole")
    assert resumed.trials == whole.trials
    assert (killed / "000" / BEST).stat().st_mtime_ns == kept
    for number in range(3):
        one, other = (result.path / f"trials/{number:03d}" for result in (resumed, whole))
        assert losses(one) == losses(other)


# Searches of trainings that are played


@dataclass
class Played:
    """A training in no time: an epoch's AUROC is a function of the trial's values; `stop` may end it anywhere.

    As a real one, it goes on after the last epoch whose report came back, and repeats the one whose report did not.
    """

    auroc: Callable[[dict[str, Any], int], float]
    stop: Callable[[int, int], None] = lambda trial, epoch: None
    calls: list[str] = field(default_factory=list)

    def __call__(self, *given: Any, out: Path, report: Any, **_: object) -> TrainResult:
        changes = dict(given[-1].changes)
        out.mkdir(parents=True, exist_ok=True)
        for name in (CONFIG, STATE):
            (out / name).touch()
        self.calls.append(out.name)
        epochs = PAPER.changed(changes).epochs
        records = [record(epoch, self.auroc(changes, epoch)) for epoch in range(1, epochs + 1)]
        for event in records[int((out / STATE).read_text() or 0) :]:
            self.stop(int(out.name), event.epoch)
            report(StepReport(event.epoch, event.step, epochs, 0.5, 1e-4, 1.0, 0.0))
            report(event)
            (out / STATE).write_text(str(event.epoch))
        best = max(records, key=lambda one: one.mean_auroc or 0.0)
        return TrainResult(out, (), 6, 2, tuple(records), best, (), (), 0)


def record(epoch: int, auroc: float) -> EpochRecord:
    return EpochRecord(epoch, epoch, 0.5, 0.5, (auroc,), auroc, 1e-4, 1.0, 0.0)


def by_rate(values: dict[str, Any], epoch: int) -> float:
    """The better, the nearer the rate is to 1e-3, and from epoch to epoch."""
    return float(0.7 - 0.1 * abs(np.log10(values["lr"]) + 3) + 0.01 * epoch)


@pytest.fixture
def search(data_set: DataSet, split_table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`search(trials, played=..., out="study", **options)`: `tune` with a played training."""

    def run(trials: int, *, played: Played | None = None, out: str = "study", **options: Any) -> TuneResult:
        monkeypatch.setattr(cxrsearch.training.tune, "train", played or Played(by_rate))
        monkeypatch.setattr(cxrsearch.training.tune, "search_plot", lambda *_, **__: Image.new("RGB", (1, 1)))
        settings = OPTIONS | {"changes": CHANGES | {"epochs": 3}, "cache": tmp_path / "pixels"} | options
        searched = {name: settings.pop(name) for name in ("space", "prune", "report") if name in settings}
        return tune(data_set.images, split_table, Training(**settings), trials=trials, out=tmp_path / out, **searched)

    return run


@pytest.mark.parametrize("prune", [True, False])
def test_interrupted_anywhere_a_search_ends_as_if_it_had_not_been(search: Any, prune: bool) -> None:
    """At each epoch of each of ten trials, among them pruned and failed ones."""

    def diverge(trial: int, epoch: int) -> None:
        if (trial, epoch) in ((3, 1), (4, 3)):
            raise CxrsearchError(f"the training diverged in trial {trial}", "use a lower lr")

    interrupted: list[tuple[int, int]] = []

    def interrupt(trial: int, epoch: int) -> None:
        if (trial, epoch) not in interrupted:
            interrupted.append((trial, epoch))
            raise KeyboardInterrupt
        diverge(trial, epoch)

    whole = search(10, played=Played(by_rate, diverge), prune=prune)
    played = Played(by_rate, interrupt)
    while True:
        try:
            parts = search(10, played=played, out="parts", prune=prune)
            break
        except KeyboardInterrupt:
            pass
    assert parts.trials == whole.trials
    assert {trial.state for trial in whole.trials} == {"complete", "failed"} | ({"pruned"} if prune else set())
    assert len(interrupted) == sum(max(1, len(trial.auroc)) + (trial.number == 4) for trial in whole.trials)
    assert parts.best_recipe.read_text().splitlines()[1:] == whole.best_recipe.read_text().splitlines()[1:]


def test_what_is_behind_is_pruned_and_keeps_its_epochs(search: Any) -> None:
    """By hand: behind is who is below the median of the complete ones at the second epoch, once there are five."""
    result = search(16, changes=CHANGES | {"epochs": 4})
    trials = sorted(result.trials, key=lambda trial: trial.number)
    second: list[float] = []
    for trial in trials:
        behind = len(second) >= PRUNING_TRIALS and max(trial.auroc[:2]) < np.median(second)
        assert (trial.state, len(trial.auroc)) == (("pruned", 2) if behind else ("complete", 4))
        second += [] if behind else [trial.auroc[1]]
    assert 2 < len(second) < 14
    assert result.best.best == max(by_rate(dict(trial.values), 4) for trial in trials if trial.state == "complete")


def test_who_falls_behind_in_the_last_epoch_is_complete(search: Any) -> None:
    played = Played(lambda _, epoch: 0.6 if len(played.calls) > PRUNING_TRIALS else (0.5, 0.5, 0.9)[epoch - 1])
    result = search(PRUNING_TRIALS + 1, played=played)
    assert [(trial.number, trial.state) for trial in result.trials][-1] == (PRUNING_TRIALS, "complete")


def test_a_finished_trial_that_is_not_recorded_yet_is_not_trained_again(
    search: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(self: Suggester, trial: Trial) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Suggester, "add", killed)
        with pytest.raises(KeyboardInterrupt):
            search(1)
    played = Played(by_rate)
    assert search(2, played=played).trials == search(2, out="whole").trials
    assert played.calls == ["001"]


def test_more_trials_go_on_with_a_study(search: Any) -> None:
    played = Played(by_rate)
    search(2, played=played)
    longer = search(4, played=played)
    assert played.calls == ["000", "001", "002", "003"]
    assert longer.trials == search(4, out="at once").trials


def test_what_is_wrong_with_the_set_up_stops_a_search_and_the_trial_goes_on_later(search: Any) -> None:
    def full(trial: int, epoch: int) -> None:
        if trial == 1:
            raise WriteError("the disk is full", "free some space")

    with pytest.raises(WriteError):
        search(3, played=Played(by_rate, full))
    played = Played(by_rate)
    result = search(3, played=played)
    assert played.calls == ["001", "002"]
    assert {trial.state for trial in result.trials} == {"complete"}


def test_events_come_with_the_trial_as_it_stands(search: Any) -> None:
    events: list[tuple[int, str, int, str]] = []
    search(2, report=lambda t, event: events.append((t.number, t.state, len(t.auroc), type(event).__name__)))
    assert events[:8] == [
        (0, "running", 0, "NoneType"),
        (0, "running", 0, "StepReport"),
        (0, "running", 1, "EpochRecord"),
        (0, "running", 1, "StepReport"),
        (0, "running", 2, "EpochRecord"),
        (0, "running", 2, "StepReport"),
        (0, "running", 3, "EpochRecord"),
        (0, "complete", 3, "NoneType"),
    ]


def test_a_study_of_other_settings_is_refused_by_name(search: Any) -> None:
    search(1)
    space = SearchSpace({"lr": Range(1e-4, 1e-2), "dropout": Choices((0.1, 0.2))})
    for options, message in (
        ({"seed": 1}, r"other settings: seed is 0, asked for 1 — continue"),
        ({"prune": False}, r"other settings: prune is True, asked for False — continue"),
        ({"changes": CHANGES | {"epochs": 4}}, r"other settings: recipe\.epochs is 3, asked for 4 — continue"),
        (
            {"space": space},
            r"space\.lr is {'high': 0\.01, 'log': True.*, space\.lr_decay is .*, space\.weight_decay is ",
        ),
        ({"max_minutes": 3.0}, "max_minutes"),
        ({"precision": "bf16"}, r"precision is 32-true, asked for bf16-mixed"),
    ):
        with pytest.raises(UsageError, match=message):
            search(2, **options)
    assert len(search(2).trials) == 2


def test_before_anything_is_trained_settings_may_be_corrected(search: Any, tmp_path: Path) -> None:
    def wrong(*_: object, **__: object) -> TrainResult:
        raise CheckpointError("no weights at nowhere", "name some")

    with pytest.raises(CheckpointError):
        search(1, played=wrong, seed=3)
    assert (tmp_path / "study" / CONFIG).exists()
    result = search(1, changes=CHANGES | {"dropout": 0.15})
    assert set(result.best.values) == {"lr", "weight_decay", "lr_decay"}
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / CONFIG).write_text('{"settings": {}}')
    with pytest.raises(UsageError, match="other settings"):
        search(1, out="run")
    assert (tmp_path / "run" / CONFIG).read_text() == '{"settings": {}}'


def test_what_is_set_is_not_searched(search: Any) -> None:
    assert set(search(1, changes=CHANGES | {"lr": 1e-3}).best.values) == {"weight_decay", "dropout", "lr_decay"}
    space = SearchSpace({"lr": Range(1e-4, 1e-2)})
    with pytest.raises(UsageError, match="lr is both set and searched"):
        search(1, out="other", space=space, changes=CHANGES | {"lr": 1e-3})
    with pytest.raises(UsageError, match="nothing to vary"):
        search(1, out="other", changes=CHANGES | {"lr": 1e-3, "weight_decay": 0, "dropout": 0.1, "lr_decay": 0.2})
    with pytest.raises(UsageError, match="recipe entry lr = 1000"):
        search(1, out="other", space=SearchSpace({"lr": Range(1e-4, 1e3)}))


def test_trials_that_were_damaged_are_refused(search: Any, tmp_path: Path) -> None:
    def stop(trial: int, epoch: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(1, played=Played(by_rate, stop))
    (tmp_path / "study/trials/000/trial.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"cannot read .*trial\.json"):
        search(1)


def test_what_cannot_be_searched_is_refused(
    search: Any, data_set: DataSet, split_table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for trials, options, message in (
        (0, {}, "use trials >= 1"),
        (1, {"seed": -1}, "use a seed >= 0"),
        (1, {"devices": 2}, "devices 2 cannot be set here: it must be 1"),
        (1, {"freeze": True, "changes": {"size": 32}}, "freeze True cannot be set here: it must be False"),
    ):
        with pytest.raises(UsageError, match=message):
            search(trials, **options)
    search(1)
    with FileLock(tmp_path / "study/train.lock"), pytest.raises(LockedError, match="another process"):
        search(2)
    alike = tmp_path / "labels.csv"
    alike.write_text(split_table.read_text().replace("06.png,p3,Mass", "06.png,p3,No Finding"))
    with pytest.raises(SplitError, match="no trial would have an AUROC"):
        tune(data_set.images, alike, Training(**OPTIONS), out=tmp_path / "alike")
    monkeypatch.setitem(sys.modules, "optuna", None)
    monkeypatch.delitem(sys.modules, "cxrsearch.training.search._suggest")
    with pytest.raises(MissingDependencyError, match=r"pip install 'cxrsearch\[tune\]'"):
        search(2)


# The command


@pytest.fixture
def command(search: Any, data_set: DataSet, split_table: Path, tmp_path: Path) -> Any:
    """`command(...)`: `cxrsearch tune` with a played training, into the study `command`."""
    search(1, out="other")
    given = [data_set.images, "--labels", split_table, "--split", "column", "--out", tmp_path / "command"]
    recipe = ["--arch", "densenet121", "--weights", "random:0", "--size", 32, "--epochs", 3, "--set", "batch_size=3"]
    options = ["--device", "cpu", "--precision", "fp32", "--workers", 0]

    def run(*more: object) -> Result:
        return CliRunner().invoke(app, ["tune", *map(str, [*given, *recipe, *options, *more])])

    return run


def test_the_command_shows_the_trials_the_best_first(command: Any, tmp_path: Path) -> None:
    result = command("--trials", 3)
    assert result.exit_code == 0, result.stderr
    value = json.loads(command("--trials", 3, "--json").stdout)
    best = value["best"]
    assert (best["state"], best["best_auroc"]) == ("complete", max(trial["best_auroc"] for trial in value["trials"]))
    assert value["best_recipe"] == str(tmp_path / "command/best.toml")
    assert value["best_run"] == str(tmp_path / f"command/trials/{best['number']:03d}")
    assert Path(value["plot"]).is_file()
    header, *rows = (line.split() for line in result.stdout.splitlines() if re.match(r"\s+[#\d]\s", line))
    assert header == ["#", "lr", "weight_decay", "dropout", "lr_decay", "epochs", "AUROC", "state"]
    expected = [[str(trial["number"]), "3", f"{trial['best_auroc']:.3f}", trial["state"]] for trial in value["trials"]]
    assert [[row[0], *row[-3:]] for row in rows] == expected
    assert f"train --config {value['best_recipe']}" in result.stdout
    assert "optimistic" in result.stderr
    assert "trial 0 of 3: lr 0.0001, weight_decay 0, dropout 0.1, lr_decay 0.2" in result.stderr
    assert "trial 2, epoch 3: mean AUROC" in result.stderr


def test_the_command_takes_a_space_and_leaves_pruning_out(command: Any, tmp_path: Path) -> None:
    space = tmp_path / "space.toml"
    space.write_text('lr = { low = 1e-4, high = 1e-2, log = true }\noptimiser = ["adam", "adamw"]\n')
    value = json.loads(command("--space", space, "--no-prune", "--trials", 9, "--max-minutes", 2, "--json").stdout)
    assert set(value["best"]["values"]) == {"lr", "optimiser"}
    assert {trial["state"] for trial in value["trials"]} == {"complete"}
    settings = json.loads((tmp_path / "command" / CONFIG).read_text())["settings"]
    assert (settings["prune"], settings["max_minutes"]) == (False, 2.0)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--trials", 0], 2, "trials"),
        (["--space", "absent.toml"], 2, "cannot read the search space absent.toml: No such file"),
        (["--set", "speed=1"], 2, "unknown recipe entry 'speed'"),
        (["--space", "objectives.toml"], 2, "a search over objectives"),
        (["--config", "best"], 2, "unknown recipe 'best'"),
        (["--device", "tpu"], 2, "unknown device"),
        (["--split", "patient-hash:1/0/0"], 1, "part val of split patient-hash:1/0/0 is empty"),
        (["--out", "/proc/study"], 1, "cannot make the run /proc/study"),
    ],
)
def test_a_wrong_call_is_one_line(
    command: Any,
    arguments: list[object],
    code: int,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "objectives.toml").write_text('objective = ["findings", "contrastive"]')
    monkeypatch.chdir(tmp_path)
    result = command(*arguments)
    assert result.exit_code == code
    assert message in result.stderr
    assert result.stderr.count("error: ") == 1


def test_refused_images_are_listed_and_make_exit_code_3(
    command: Any, data_set: DataSet, split_table: Path, tmp_path: Path
) -> None:
    images = tmp_path / "images"
    shutil.copytree(data_set.images, images)
    (images / "03.png").write_bytes(b"text")
    lines = ["tune", images, "--labels", split_table, "--split", "column", "--trials", 1, "--out", tmp_path / "study"]
    result = CliRunner().invoke(app, [*map(str, lines), "--device", "cpu", "--workers", "0"])
    assert result.exit_code == 3, result.stderr
    assert "1 image refused:" in result.stderr
    assert "03.png" in result.stderr


def test_it_is_part_of_the_library() -> None:
    assert cxrsearch.tune is tune
    assert cxrsearch.TuneResult is TuneResult
