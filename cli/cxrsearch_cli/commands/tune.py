"""`cxrsearch tune`: search for the recipe that validates best."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxrsearch.words import counted
from cxrsearch_cli import console
from cxrsearch_cli.options import AsJson, declare_table, with_options
from cxrsearch_cli.training_options import (
    TRAINING,
    Seed,
    Split,
    StartingWeights,
    TrainingOptions,
    find_training_inputs,
)
from cxrsearch_cli.training_progress import format_score

if TYPE_CHECKING:
    from cxrsearch.training.search.trial import Trial
    from cxrsearch.training.tune import TuneReport, TuneResult


@dataclass(frozen=True, kw_only=True)
class _Options(TrainingOptions):
    labels: Annotated[Path | None, declare_table("Needed with IMAGES.")] = None
    weights: StartingWeights = None
    config: Annotated[
        str,
        typer.Option(
            help="The recipe: paper, modern, or a TOML file that changes one of them. Not unlabelled, which has no "
            "AUROC.",
            rich_help_panel=TRAINING,
        ),
    ] = "paper"
    max_minutes: Annotated[
        float | None,
        typer.Option(
            help="Stop each trial after about this many minutes.", show_default=False, rich_help_panel=TRAINING
        ),
    ] = None
    out: Annotated[
        Path | None,
        typer.Option(
            help="The search's folder. Default: studies/ARCH-CONFIG-SEED.", show_default=False, rich_help_panel=TRAINING
        ),
    ] = None
    split: Split = "patient-hash:0.7/0.1/0.2"
    space: Annotated[
        Path | None,
        typer.Option(
            help="A TOML file of the values to try, as lr = { low = 1e-5, high = 1e-2, log = true } or "
            "dropout = [0.1, 0.2]. Default: what the paper searched (lr, L2, dropout and decay), except for what "
            "other options set.",
            show_default=False,
        ),
    ] = None
    trials: Annotated[
        int,
        typer.Option(
            help="Number of trials, including those of earlier calls. A larger number continues a search.",
            min=1,
            metavar="N",
        ),
    ] = 20
    no_prune: Annotated[
        bool, typer.Option("--no-prune", help="Train every trial to its end, even if it is behind the others' median.")
    ] = False
    seed: Seed = 0
    as_json: AsJson = False


@with_options
def command(options: _Options) -> None:
    """Search for the recipe with the highest validation AUROC: each trial is one training. Needs the extra tune.

    If interrupted, the same command continues. The search's folder contains a run for every trial, a figure, and
    best.toml, which train takes as --config. The search uses Optuna.
    """
    folder, table = find_training_inputs(options, options.split)
    request = options.request()
    from cxrsearch.training.tune import tune

    with console.progress() as display:
        result = tune(
            folder,
            table,
            request,
            space=options.space,
            trials=options.trials,
            prune=not options.no_prune,
            out=options.out,
            progress=display,
            report=_make_report(display, options.trials),
        )
    _show(result, options.as_json)
    console.finish(result.refused)


def _make_report(display: console.Display, trials: int) -> "TuneReport":
    """A report of the whole search as one bar, with a line when a trial begins, after each epoch and when it ends."""
    from cxrsearch.training.search.trial import shown
    from cxrsearch.training.trainer import StepReport

    def report(trial: "Trial", event: object) -> None:
        if isinstance(event, StepReport):
            detail = f"trial {trial.number}  epoch {event.epoch}  loss {event.loss:.4f}"
            display("training", trial.number * event.total + event.step, trials * event.total, detail)
        elif trial.state != "running":
            console.note(f"trial {trial.number}: {trial.state}, mean AUROC {format_score(trial.best)}")
        elif event is not None:
            console.note(f"trial {trial.number}, epoch {len(trial.auroc)}: mean AUROC {format_score(trial.auroc[-1])}")
        else:
            values = ", ".join(f"{name} {shown(value)}" for name, value in trial.values.items())
            console.note(f"trial {trial.number} of {trials}: {values}")

    return report


def _show(result: "TuneResult", as_json: bool) -> None:
    console.warnings(result.warnings)
    for trial in result.trials:
        if trial.reason:
            console.note(f"trial {trial.number} failed: {trial.reason}")
    if as_json:
        console.json_line(result.to_json())
    else:
        _show_trials(result)
        console.text(f"to train by it: cxrsearch train --config {result.best_recipe}; figure: {result.plot}")


def _show_trials(result: "TuneResult") -> None:
    from cxrsearch.training.search.trial import shown

    values = list(result.best.values)
    columns = {"#": True, **dict.fromkeys(values, True), "epochs": True, "AUROC": True, "state": True}
    rows = (
        (
            str(trial.number),
            *(shown(trial.values[name]) for name in values),
            str(len(trial.auroc)),
            format_score(trial.best),
            trial.state,
        )
        for trial in result.trials
    )
    title = (
        f"{result.path}: {counted(len(result.trials), 'trial')} on {result.n_train:,} training and "
        f"{counted(result.n_val, 'validation image')} (AUROC: mean over the findings, at the best epoch)"
    )
    console.table(title, columns, rows)
