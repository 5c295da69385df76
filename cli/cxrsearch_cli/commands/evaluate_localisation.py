"""`cxrsearch evaluate-localisation`: do heat maps show findings where readers boxed them?"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cxrsearch.errors import UsageError
from cxrsearch.words import counted
from cxrsearch_cli import console
from cxrsearch_cli.inputs import require_index, require_one_source
from cxrsearch_cli.options import (
    OUTPUT,
    AllowSeen,
    Device,
    FormOptions,
    IndexOption,
    LabelsOfImages,
    Replicates,
    select_arguments,
    with_options,
)

if TYPE_CHECKING:
    from cxrsearch.localisation.evaluate_localisation import LocalisationQuestion
    from cxrsearch.localisation.localisation_result import LocalisationResult, LocalisationRow

_SHOWN = (("iobb", 0.25), ("iou", 0.1))
_NAMES = {"iobb": "IoBB", "iou": "IoU"}


@dataclass(frozen=True, kw_only=True)
class _Options(FormOptions):
    boxes: Annotated[Path, typer.Option(help="NIH's BBox_List_2017.csv, or that of a phantom.")]
    images: Annotated[
        Path | None,
        typer.Argument(
            metavar="IMAGES",
            help="A folder of images instead of an index. Needs --labels and --weights.",
            show_default=False,
        ),
    ] = None
    index: IndexOption = None
    labels: LabelsOfImages = None
    weights: Annotated[
        str | None,
        typer.Option(help="With IMAGES: a checkpoint or the folder of a run, with a head.", show_default=False),
    ] = None
    split: Annotated[
        str | None,
        typer.Option(
            help="The val part chooses the threshold, --part is scored. Default: the encoder's split, else the "
            "table's column, else patient-hash:0.7/0.1/0.2.",
            show_default=False,
        ),
    ] = None
    part: Annotated[
        Literal["train", "val", "test"],
        typer.Option(help="The part to score, together with boxed images that --exclude-boxes kept out of training."),
    ] = "test"
    method: Annotated[Literal["cam", "grad-cam"], typer.Option(help="The kind of heat map, as in localise.")] = "cam"
    allow_seen: AllowSeen = False
    replicates: Replicates = 2000
    seed: Annotated[
        int, typer.Option(help="Seed of the bootstrap and of the random heat maps.", min=0, metavar="N")
    ] = 0
    device: Device = "auto"
    as_csv: Annotated[
        bool,
        typer.Option(
            "--csv",
            help="Print CSV on stdout, with one line per finding, model, measure and T.",
            rich_help_panel=OUTPUT,
        ),
    ] = False


@with_options
def command(options: _Options) -> None:
    """Score heat maps by readers' boxes: T(IoBB) and T(IoU), beside random heat maps and another patient's heat map.

    Intervals are 95% intervals from resampling patients; fewer than 10 patients give none. --json and --csv contain
    every T: IoBB .1 to .9, IoU .1 to .7.
    """
    from cxrsearch.localisation.evaluate_localisation import LocalisationQuestion

    form = options.form()
    question = LocalisationQuestion(**select_arguments(LocalisationQuestion, options))
    result = _evaluate(question, options)
    console.show(result, form, lambda: _show_tables(result))
    console.finish(result.refused)


def _evaluate(question: "LocalisationQuestion", options: _Options) -> "LocalisationResult":
    from cxrsearch.localisation.evaluate_localisation import evaluate_localisation, evaluate_localisation_of_images
    from cxrsearch.query.index import open_index

    images, labels, weights = options.images, options.labels, options.weights
    if images is None:
        if labels is not None or weights is not None:
            raise UsageError(
                "a table or weights beside an index, which contains both",
                "leave them out, or name the folder of images",
            )
        index = open_index(require_index(options.index), device=options.device)
        with console.progress() as progress:
            return evaluate_localisation(index, options.boxes, question, progress)
    require_one_source(images, options.index)
    if labels is None or weights is None:
        raise UsageError("a folder of images without its table or weights", "name --labels and --weights")
    with console.progress() as progress:
        return evaluate_localisation_of_images(
            images, labels, weights, options.boxes, question, device=options.device, progress=progress
        )


def _show_tables(result: "LocalisationResult") -> None:
    console.text(result.heading())
    for measure, level in _SHOWN:
        console.table(f"{_NAMES[measure]} > {level:g}", _name_columns(result), _format_rows(result, measure, level))
    chosen = ", ".join(f"{model} {threshold:g}" for model, threshold in result.thresholds.items())
    console.text(f"thresholds, chosen on {counted(result.validation_images, 'validation image')}: {chosen}")


def _name_columns(result: "LocalisationResult") -> dict[str, bool]:
    return {"finding": False, "images": True, "patients": True} | dict.fromkeys(result.thresholds, True)


def _format_rows(result: "LocalisationResult", measure: str, level: float) -> Iterator[list[str]]:
    """One row per finding: the accuracy of its heat map with an interval, and the accuracies of the others."""
    for finding in dict.fromkeys(row.finding for row in result.rows):
        first, *others = (result.row(finding, model, measure, level) for model in result.thresholds)
        counts = [str(first.images), str(first.patients)]
        yield [finding, *counts, _format_accuracy(first), *(f"{other.accuracy:.3f}" for other in others)]


def _format_accuracy(row: "LocalisationRow") -> str:
    point = f"{row.accuracy:.3f}"
    return point if row.low is None else f"{point} [{row.low:.3f}, {row.high:.3f}]"
