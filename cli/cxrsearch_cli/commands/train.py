"""`cxrsearch train`: from a folder of X-rays and a table to an encoder."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxrsearch.words import counted
from cxrsearch_cli import console
from cxrsearch_cli.inputs import find_dataset, require_split
from cxrsearch_cli.options import COMPUTING, AsJson, declare_table, with_options
from cxrsearch_cli.training_options import TRAINING, Seed, Split, StartingWeights, TrainingOptions
from cxrsearch_cli.training_progress import format_score, make_report

if TYPE_CHECKING:
    from cxrsearch.training.request import Training
    from cxrsearch.training.train import TrainResult


@dataclass(frozen=True, kw_only=True)
class _Options(TrainingOptions):
    labels: Annotated[
        Path | None, declare_table("Needed with IMAGES, unless the recipe learns without labels (unlabelled).")
    ] = None
    weights: StartingWeights = None
    split: Split = "patient-hash:0.7/0.1/0.2"
    seed: Seed = 0
    holdout: Annotated[
        str | None,
        typer.Option(
            help="Leave this finding out of the vocabulary, and leave out every image that shows it. See novelty.",
            show_default=False,
        ),
    ] = None
    strict: Annotated[
        bool, typer.Option("--strict", help="With --holdout: leave out all images of patients who have the finding.")
    ] = False
    boxes: Annotated[
        Path | None,
        typer.Option(
            "--exclude-boxes",
            help="NIH's BBox_List_2017.csv: do not learn from images of its patients, so that evaluate-localisation "
            "can score them.",
            show_default=False,
        ),
    ] = None
    freeze: Annotated[
        bool, typer.Option("--freeze", help="Train only the head, on embeddings.", rich_help_panel=TRAINING)
    ] = False
    devices: Annotated[
        int,
        typer.Option(
            help="Number of devices, with one process each. The batch size is per device.",
            min=1,
            metavar="N",
            rich_help_panel=COMPUTING,
        ),
    ] = 1
    tensorboard: Annotated[
        bool,
        typer.Option(
            "--tensorboard",
            help="Also log for TensorBoard, into the run's folder (needs the extra tensorboard).",
            rich_help_panel=TRAINING,
        ),
    ] = False
    as_json: AsJson = False


@with_options
def command(options: _Options) -> None:
    """Train an encoder on chest X-rays. If interrupted, the same command continues.

    The run's folder contains the encoder of the best epoch; other commands take that folder as --weights. Images that
    cannot be read are left out and listed, and the exit code is 3. With --config unlabelled no table is needed: the
    encoder learns to match two augmentations of the same image. To learn findings, start from that encoder with
    --weights.
    """
    folder, table = find_dataset(options.images, options.labels)
    require_split(options.split)
    request = options.request()
    request.require_table(table)
    if options.boxes is not None:
        from cxrsearch.images.boxes import read_boxes

        read_boxes(options.boxes)
    from cxrsearch.training.train import train

    with console.progress() as display:
        report = make_report(display, _list_predicted(request))
        result = train(folder, table, request, out=options.out, progress=display, report=report)
    if result.rank == 0:
        _show(result, options.as_json)
    console.finish(result.refused, lists=result.rank == 0)


def _list_predicted(request: "Training") -> tuple[str, ...]:
    """The findings that the encoder will predict; none if the recipe learns without labels."""
    if not request.recipe().objective_kind.needs_labels:
        return ()
    vocabulary, held_out = request.vocabulary(), request.held_out()
    return (vocabulary if held_out is None else held_out.rest(vocabulary)).findings


def _show(result: "TrainResult", as_json: bool) -> None:
    console.warnings(result.warnings)
    if as_json:
        console.json_line(result.to_json())
        return
    best = result.best
    quality = (
        f"mean validation AUROC {format_score(best.mean_auroc)}"
        if result.findings
        else f"validation loss {best.val_loss:.4f}"
    )
    console.text(
        f"{result.path}: {result.n_train:,} training and {counted(result.n_val, 'validation image')}, best epoch "
        f"{best.epoch} of {len(result.epochs)}, {quality}"
    )
