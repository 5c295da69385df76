"""`cxrsearch tune`: search for the recipe that validates best."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxrsearch.words import counted
from cxrsearch_cli import console
from cxrsearch_cli.options import AsJson, FindingsOption, ImagesArgument, NeededLabels
from cxrsearch_cli.training_options import (
    Arch,
    Cache,
    Device,
    Epochs,
    Precision,
    Seed,
    Set,
    Size,
    Split,
    Start,
    Workers,
    training,
    training_inputs,
)

if TYPE_CHECKING:
    from cxrsearch.training.search.trial import Trial
    from cxrsearch.training.tune import TuneReport, TuneResult

_Config = Annotated[
    str,
    typer.Option(
        help="The recipe: paper, modern, or a TOML file that changes one of them; not unlabelled, which has no AUROC."
    ),
]
_Space = Annotated[
    Path | None,
    typer.Option(
        help="A TOML file of what is varied, as lr = { low = 1e-5, high = 1e-2, log = true } or dropout = [0.1, 0.2]. "
        "Default: what the paper searched (lr, L2, dropout and decay), but for what other options set.",
        show_default=False,
    ),
]
_Trials = Annotated[
    int, typer.Option(help="How many, those of earlier calls included; more go on with a study.", min=1)
]
_Minutes = Annotated[
    float | None, typer.Option(help="Stop each trial after about so many minutes.", show_default=False)
]
_NoPrune = Annotated[
    bool, typer.Option("--no-prune", help="Train every trial to its end, also one that is behind the others' median.")
]
_Out = Annotated[
    Path | None, typer.Option(help="The study's folder. Default: studies/ARCH-CONFIG-SEED.", show_default=False)
]


def command(
    images: ImagesArgument = None,
    labels: NeededLabels = None,
    split: Split = "patient-hash:0.7/0.1/0.2",
    config: _Config = "paper",
    space: _Space = None,
    trials: _Trials = 20,
    arch: Arch = None,
    weights: Start = None,
    size: Size = None,
    epochs: Epochs = None,
    set_: Set = None,
    max_minutes: _Minutes = None,
    no_prune: _NoPrune = False,
    seed: Seed = 0,
    out: _Out = None,
    findings: FindingsOption = None,
    cache: Cache = None,
    device: Device = "auto",
    precision: Precision = "auto",
    workers: Workers = None,
    as_json: AsJson = False,
) -> None:
    """Search for the recipe with the highest validation AUROC, a training a trial. It needs the extra tune: Optuna.

    Interrupted, the same command goes on where it was. The study's folder holds a run for every trial, a figure, and
    best.toml, which is what --config of train takes.
    """
    given = dict(locals())
    folder, table = training_inputs(images, labels, split, config)
    asked = training(given)
    from cxrsearch.training.tune import tune

    with console.progress() as display:
        result = tune(
            folder,
            table,
            asked,
            space=space,
            trials=trials,
            prune=not no_prune,
            out=out,
            progress=display,
            report=_reporting(display, trials),
        )
    _show(result, as_json)
    if result.refused:
        raise typer.Exit(3)


def _reporting(display: console.Display, trials: int) -> "TuneReport":
    """The steps of the whole search as one bar, and a line for the beginning, each epoch and the end of a trial."""
    from cxrsearch.training.search.trial import shown
    from cxrsearch.training.trainer import StepReport

    def report(trial: "Trial", event: object) -> None:
        if isinstance(event, StepReport):
            detail = f"trial {trial.number}  epoch {event.epoch}  loss {event.loss:.4f}"
            display("training", trial.number * event.total + event.step, trials * event.total, detail)
        elif trial.state != "running":
            console.note(f"trial {trial.number}: {trial.state}, mean AUROC {_score(trial.best)}")
        elif event is not None:
            console.note(f"trial {trial.number}, epoch {len(trial.auroc)}: mean AUROC {_score(trial.auroc[-1])}")
        else:
            values = ", ".join(f"{name} {shown(value)}" for name, value in trial.values.items())
            console.note(f"trial {trial.number} of {trials}: {values}")

    return report


def _score(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _show(result: "TuneResult", as_json: bool) -> None:
    console.warnings(result.warnings)
    for trial in result.trials:
        if trial.reason:
            console.note(f"trial {trial.number} failed: {trial.reason}")
    if as_json:
        console.json_line(result.to_json())
    else:
        _show_trials(result)
        console.text(f"train it on: cxrsearch train --config {result.best_recipe}; figure: {result.plot}")
    console.refused(result.refused)


def _show_trials(result: "TuneResult") -> None:
    from cxrsearch.training.search.trial import shown

    values = list(result.best.values)
    columns = {"#": True, **dict.fromkeys(values, True), "epochs": True, "AUROC": True, "state": True}
    rows = (
        (
            str(trial.number),
            *(shown(trial.values[name]) for name in values),
            str(len(trial.auroc)),
            _score(trial.best),
            trial.state,
        )
        for trial in result.trials
    )
    title = (
        f"{result.path}: {counted(len(result.trials), 'trial')} on {result.n_train:,} training and "
        f"{counted(result.n_val, 'validation image')} (AUROC: the best epoch's, mean over the findings)"
    )
    console.table(title, columns, rows)
