"""`cxrsearch evaluate-localisation`: are findings seen where readers boxed them?"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cxrsearch.errors import UsageError
from cxrsearch.words import counted
from cxrsearch_cli import console
from cxrsearch_cli.options import (
    AsJson,
    Device,
    IndexOption,
    LabelsOfImages,
    Replicates,
    present_index,
    require_one_source,
)

if TYPE_CHECKING:
    from cxrsearch.localisation.evaluate_localisation import LocalisationQuestion
    from cxrsearch.localisation.localisation_result import LocalisationResult, LocalisationRow

_Images = Annotated[
    Path | None,
    typer.Argument(help="Instead of an index: a folder of images, with --labels and --weights.", show_default=False),
]
_Boxes = Annotated[Path, typer.Option(help="NIH's BBox_List_2017.csv, or that of a phantom.")]
_Weights = Annotated[
    str | None, typer.Option(help="With IMAGES: a checkpoint or a run's folder, with a head.", show_default=False)
]
_Split = Annotated[
    str | None,
    typer.Option(
        help="val chooses the threshold, --part is scored. Default: as the encoder's, else the table's column, else "
        "patient-hash:0.7/0.1/0.2.",
        show_default=False,
    ),
]
_Part = Annotated[
    Literal["train", "val", "test"],
    typer.Option(help="What is scored, beside boxed images that --exclude-boxes kept out of training."),
]
_Method = Annotated[Literal["cam", "grad-cam"], typer.Option(help="As of localise.")]
_AllowSeen = Annotated[
    bool, typer.Option("--allow-seen", help="Score images that the encoder was trained on; the result says so.")
]
_Seed = Annotated[int, typer.Option(help="Of the bootstrap and of the random maps.", min=0)]
_Csv = Annotated[bool, typer.Option("--csv", help="Print CSV on stdout, a line a finding, model, measure and T.")]

_SHOWN = (("iobb", 0.25), ("iou", 0.1))
_NAMES = {"iobb": "IoBB", "iou": "IoU"}


def command(
    boxes: _Boxes,
    images: _Images = None,
    index: IndexOption = None,
    labels: LabelsOfImages = None,
    weights: _Weights = None,
    split: _Split = None,
    part: _Part = "test",
    method: _Method = "cam",
    allow_seen: _AllowSeen = False,
    replicates: Replicates = 2000,
    seed: _Seed = 0,
    device: Device = "auto",
    as_json: AsJson = False,
    as_csv: _Csv = False,
) -> None:
    """Judge maps by readers' boxes: T(IoBB) and T(IoU), beside random maps and another patient's map.

    Intervals are 95%, from resampling patients; none under 10 patients. --json and --csv hold every T: IoBB .1 to .9,
    IoU .1 to .7.
    """
    from cxrsearch.localisation.evaluate_localisation import LocalisationQuestion

    console.require_one_form(as_json, as_csv, False)
    question = LocalisationQuestion(
        split=split, part=part, method=method, allow_seen=allow_seen, replicates=replicates, seed=seed
    )
    result = _evaluated(question, boxes, images, index, labels, weights, device)
    console.warnings(result.warnings)
    if as_json:
        console.json_line(result.to_json())
    elif as_csv:
        console.text(result.to_frame().to_csv(index=False).rstrip("\n"))
    else:
        _show(result)
    console.refused(result.refused)
    if result.refused:
        raise typer.Exit(3)


def _evaluated(
    question: "LocalisationQuestion",
    boxes: Path,
    images: Path | None,
    index: Path | None,
    labels: Path | None,
    weights: str | None,
    device: str,
) -> "LocalisationResult":
    from cxrsearch.localisation.evaluate_localisation import evaluate_localisation, evaluate_localisation_of_images
    from cxrsearch.query.index import open_index

    if images is None:
        if labels is not None or weights is not None:
            raise UsageError("a table or weights beside an index, which has its own", "name the folder of images, too")
        opened = open_index(present_index(None, index), device=device)
        with console.progress() as progress:
            return evaluate_localisation(opened, boxes, question, progress)
    require_one_source(images, index)
    if labels is None or weights is None:
        raise UsageError("a folder of images without its table or weights", "name --labels and --weights")
    with console.progress() as progress:
        return evaluate_localisation_of_images(
            images, labels, weights, boxes, question, device=device, progress=progress
        )


def _show(result: "LocalisationResult") -> None:
    console.text(result.heading())
    for measure, level in _SHOWN:
        console.table(f"{_NAMES[measure]} > {level:g}", _columns(result), _rows(result, measure, level))
    chosen = ", ".join(f"{model} {threshold:g}" for model, threshold in result.thresholds.items())
    console.text(f"thresholds, chosen on {counted(result.validation_images, 'validation image')}: {chosen}")


def _columns(result: "LocalisationResult") -> dict[str, bool]:
    return {"finding": False, "images": True, "patients": True} | dict.fromkeys(result.thresholds, True)


def _rows(result: "LocalisationResult", measure: str, level: float) -> Iterator[list[str]]:
    """A row a finding: the map's accuracy with its interval, that of the others."""
    for finding in dict.fromkeys(row.finding for row in result.rows):
        own, *others = (result.row(finding, model, measure, level) for model in result.thresholds)
        counts = [str(own.images), str(own.patients)]
        yield [finding, *counts, _accuracy(own), *(f"{other.accuracy:.3f}" for other in others)]


def _accuracy(row: "LocalisationRow") -> str:
    point = f"{row.accuracy:.3f}"
    return point if row.low is None else f"{point} [{row.low:.3f}, {row.high:.3f}]"
