"""`cxrsearch train`: from a folder of X-rays and a table to an encoder."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxrsearch.words import counted
from cxrsearch_cli import console
from cxrsearch_cli.options import AsJson, FindingsOption, ImagesArgument, LabelsToLearn, inputs, require_split
from cxrsearch_cli.training_options import (
    Arch,
    Cache,
    Config,
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
)
from cxrsearch_cli.training_progress import reporting, score

if TYPE_CHECKING:
    from cxrsearch.training.request import Training
    from cxrsearch.training.train import TrainResult

_Minutes = Annotated[
    float | None,
    typer.Option(help="Stop after about so many minutes, over all sessions of the run.", show_default=False),
]
_Freeze = Annotated[bool, typer.Option("--freeze", help="Train the head alone, on embeddings.")]
_TensorBoard = Annotated[
    bool, typer.Option("--tensorboard", help="Also log for TensorBoard, into the run's folder (extra tensorboard).")
]
_Out = Annotated[
    Path | None, typer.Option(help="The run's folder. Default: runs/ARCH-CONFIG-SEED.", show_default=False)
]
_Holdout = Annotated[
    str | None,
    typer.Option(
        help="Leave a finding out of the vocabulary, and every image that shows it; see `novelty`.", show_default=False
    ),
]
_Strict = Annotated[
    bool, typer.Option("--strict", help="With --holdout: leave out all images of patients who have the finding.")
]
_Boxes = Annotated[
    Path | None,
    typer.Option(
        "--exclude-boxes",
        help="NIH's BBox_List_2017.csv: learn from no image of its patients, for evaluate-localisation.",
        show_default=False,
    ),
]
_Devices = Annotated[int, typer.Option(help="How many, a process each; the batch size is that of one.", min=1)]


def command(
    images: ImagesArgument = None,
    labels: LabelsToLearn = None,
    split: Split = "patient-hash:0.7/0.1/0.2",
    config: Config = "paper",
    arch: Arch = None,
    weights: Start = None,
    size: Size = None,
    epochs: Epochs = None,
    set_: Set = None,
    max_minutes: _Minutes = None,
    seed: Seed = 0,
    freeze: _Freeze = False,
    out: _Out = None,
    findings: FindingsOption = None,
    holdout: _Holdout = None,
    strict: _Strict = False,
    boxes: _Boxes = None,
    cache: Cache = None,
    device: Device = "auto",
    devices: _Devices = 1,
    precision: Precision = "auto",
    workers: Workers = None,
    tensorboard: _TensorBoard = False,
    as_json: AsJson = False,
) -> None:
    """Train an encoder on chest X-rays. Interrupted, the same command goes on where it was.

    The run's folder holds the encoder of the best epoch, and is what --weights of the other commands takes. Images that
    cannot be read are left out, listed, and make the exit code 3. With --config unlabelled no table is needed: the
    encoder learns to know an image again, and is one to start from, with --weights, where findings are to be learnt.
    """
    given = dict(locals())
    folder, table = inputs(images, labels)
    require_split(split)
    asked = training(given)
    asked.require_table(table)
    if boxes is not None:
        from cxrsearch.images.boxes import read_boxes

        read_boxes(boxes)
    from cxrsearch.training.train import train

    with console.progress() as display:
        result = train(folder, table, asked, out=out, progress=display, report=reporting(display, _predicted(asked)))
    if result.rank == 0:
        _show(result, as_json)
    if result.refused:
        raise typer.Exit(3)


def _predicted(asked: "Training") -> tuple[str, ...]:
    """What the encoder will predict; nothing where the recipe learns no findings."""
    if not asked.recipe().objective_kind.needs_labels:
        return ()
    vocabulary, held = asked.vocabulary(), asked.held_out()
    return (vocabulary if held is None else held.rest(vocabulary)).findings


def _show(result: "TrainResult", as_json: bool) -> None:
    console.warnings(result.warnings)
    if as_json:
        console.json_line(result.to_json())
    else:
        best = result.best
        quality = (
            f"mean validation AUROC {score(best.mean_auroc)}"
            if result.findings
            else f"validation loss {best.val_loss:.4f}"
        )
        console.text(
            f"{result.path}: {result.n_train:,} training and {counted(result.n_val, 'validation image')}, best epoch "
            f"{best.epoch} of {len(result.epochs)}, {quality}"
        )
    console.refused(result.refused)
