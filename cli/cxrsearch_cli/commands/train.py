"""`cxrsearch train`: from a folder of X-rays and a table to an encoder."""

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cxrsearch.errors import UsageError
from cxrsearch_cli import console
from cxrsearch_cli.options import AsJson, FindingsOption, ImagesArgument, LabelsOption, inputs, names

if TYPE_CHECKING:
    from cxrsearch.encoder.train import Report
    from cxrsearch.encoder.training.state import EpochRecord
    from cxrsearch.train import TrainResult

_SHOWN = 10

_Split = Annotated[
    str,
    typer.Option(help="paper[:DIR], official[:DIR], patient-hash:a/b/c (fractions) or column; train and val count."),
]
_Config = Annotated[str, typer.Option(help="The recipe: paper, modern, or a TOML file that changes one of them.")]
_Arch = Annotated[
    str | None,
    typer.Option(help="densenet121, 169 or 201. Default: the recipe's, or that of the weights.", show_default=False),
]
_Start = Annotated[
    str | None,
    typer.Option(
        help="What to start from: a checkpoint, a run's folder, imagenet or random:SEED. Default: the recipe's.",
        show_default=False,
    ),
]
_Size = Annotated[int | None, typer.Option(help="Side of the input. Default: the recipe's.", show_default=False)]
_Epochs = Annotated[int | None, typer.Option(help="Default: the recipe's.", show_default=False)]
_Set = Annotated[
    list[str] | None,
    typer.Option("--set", help="Any other entry of the recipe, as lr=3e-4; several times.", show_default=False),
]
_Minutes = Annotated[
    float | None,
    typer.Option(help="Stop after about so many minutes, over all sessions of the run.", show_default=False),
]
_Seed = Annotated[int, typer.Option(help="Of everything random.", min=0)]
_Freeze = Annotated[bool, typer.Option("--freeze", help="Train the head alone, on embeddings.")]
_Out = Annotated[
    Path | None, typer.Option(help="The run's folder. Default: runs/ARCH-CONFIG-SEED.", show_default=False)
]
_Cache = Annotated[
    Path | None,
    typer.Option(
        envvar="CXRSEARCH_CACHE",
        help="Folder of a pixel cache, for several runs. Default: pixels/ in the run's folder.",
        show_default=False,
    ),
]
_Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
_Devices = Annotated[int, typer.Option(help="How many, a process each; the batch size is that of one.", min=1)]
_Precision = Annotated[
    Literal["auto", "fp32", "bf16"], typer.Option(help="auto is bf16 where the hardware computes in it, else fp32.")
]
_Workers = Annotated[
    int | None, typer.Option(help="Processes that prepare images; 0: none.", min=0, show_default=False)
]


def command(
    images: ImagesArgument = None,
    labels: LabelsOption = None,
    split: _Split = "patient-hash:0.7/0.1/0.2",
    config: _Config = "paper",
    arch: _Arch = None,
    weights: _Start = None,
    size: _Size = None,
    epochs: _Epochs = None,
    set_: _Set = None,
    max_minutes: _Minutes = None,
    seed: _Seed = 0,
    freeze: _Freeze = False,
    out: _Out = None,
    findings: FindingsOption = None,
    cache: _Cache = None,
    device: _Device = "auto",
    devices: _Devices = 1,
    precision: _Precision = "auto",
    workers: _Workers = None,
    as_json: AsJson = False,
) -> None:
    """Train an encoder on chest X-rays. Interrupted, the same command goes on where it was.

    The run's folder holds the encoder of the best epoch, and is what --weights of the other commands takes. Images that
    cannot be read are left out, listed, and make the exit code 3.
    """
    from cxrsearch.train import train

    folder, table = inputs(images, labels)
    if table is None:
        raise UsageError("training needs to know the findings", "name the table with --labels")
    options = {"arch": arch, "weights": weights, "size": size, "epochs": epochs}
    changes = _parsed(set_ or ()) | {name: value for name, value in options.items() if value is not None}
    with console.progress() as display:
        result = train(
            folder,
            table,
            split=split,
            config=config,
            changes=changes,
            seed=seed,
            max_minutes=max_minutes,
            freeze=freeze,
            out=out,
            findings=names(findings) or None,
            cache=cache,
            device=device,
            devices=devices,
            precision=precision,
            workers=workers,
            progress=display,
            report=_reporting(display, names(findings)),
        )
    if result.rank == 0:
        _show(result, as_json)
    if result.refused:
        raise typer.Exit(3)


def _parsed(entries: Sequence[str]) -> dict[str, Any]:
    """`lr=3e-4` as TOML reads it; a bare word is a string."""
    values: dict[str, Any] = {}
    for entry in entries:
        name, equals, value = entry.partition("=")
        if not (equals and name.strip().isidentifier()):
            raise UsageError(f"--set {entry!r}", "write --set NAME=VALUE")
        try:
            values[name.strip()] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            values[name.strip()] = value.strip()
    return values


def _reporting(display: console.Display, findings: Sequence[str]) -> "Report":
    from cxrsearch.encoder.train import StepReport
    from cxrsearch.images.findings import NIH_FINDINGS

    def report(event: "StepReport | EpochRecord") -> None:
        if isinstance(event, StepReport):
            detail = f"epoch {event.epoch}  loss {event.loss:.4f}  {event.images_per_second:.1f} images/s"
            display("training", event.step, event.total, detail)
        else:
            console.note(_epoch_line(event))
            scores = (
                f"{name} {_score(value)}" for name, value in zip(findings or NIH_FINDINGS, event.auroc, strict=True)
            )
            console.note("  AUROC: " + ", ".join(scores))

    return report


def _epoch_line(record: "EpochRecord") -> str:
    return (
        f"epoch {record.epoch}: loss {record.train_loss:.4f}, validation loss {record.val_loss:.4f}, mean AUROC "
        f"{_score(record.mean_auroc)}, {record.images_per_second:.1f} images/s, {record.waiting:.1%} of it waiting"
    )


def _score(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _show(result: "TrainResult", as_json: bool) -> None:
    for warning in result.warnings:
        console.warn(warning)
    if as_json:
        console.json_line(result.to_json())
    else:
        best = result.best
        console.text(
            f"{result.path}: {result.n_train} training and {result.n_val} validation images; best epoch "
            f"{best.epoch} of {len(result.epochs)}, mean validation AUROC {_score(best.mean_auroc)}"
        )
    if result.refused:
        console.note(f"{len(result.refused)} images refused:")
        for image, reason in result.refused[:_SHOWN]:
            console.note(f"  {image}: {reason}")
