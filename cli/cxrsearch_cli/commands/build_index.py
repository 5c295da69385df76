"""`cxrsearch build-index`: from a folder of X-rays to an index."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cxrsearch.errors import UsageError
from cxrsearch.words import counted, images_of
from cxrsearch_cli import console
from cxrsearch_cli.inputs import find_dataset, require_split, resolve_index
from cxrsearch_cli.options import (
    COMPUTING,
    INDEX,
    AsJson,
    DatasetOptions,
    DeviceInPanel,
    EncoderOptions,
    IndexOption,
    SearchOptions,
    select_arguments,
    with_options,
)

if TYPE_CHECKING:
    from cxrsearch.building.build import BuildResult


@dataclass(frozen=True, kw_only=True)
class _Options(SearchOptions, EncoderOptions, DatasetOptions):
    index: IndexOption = None
    arch: Annotated[
        str | None,
        typer.Option(help="With imagenet and random: densenet121 (the default), 169 or 201.", show_default=False),
    ] = None
    size: Annotated[
        int | None, typer.Option(help="Side of the network's input in pixels. Default: 224.", show_default=False)
    ] = None
    split: Annotated[
        str | None,
        typer.Option(
            help="Record a split: paper[:DIR], official[:DIR], patient-hash:a/b/c (fractions), patient-fold:i/K or "
            "column.",
            show_default=False,
        ),
    ] = None
    part: Annotated[
        str | None, typer.Option(help="Index only this part of the split: train, val or test.", show_default=False)
    ] = None
    patient_pattern: Annotated[
        str | None,
        typer.Option(
            help="Without a table: a regular expression whose group is the patient in a file name, as '^([0-9]+)_'.",
            show_default=False,
        ),
    ] = None
    precision: Annotated[
        Literal["auto", "fp32", "bf16"],
        typer.Option(help="auto is bf16 on a GPU, else fp32.", rich_help_panel=COMPUTING),
    ] = "auto"
    device: DeviceInPanel = "auto"
    batch_size: Annotated[int, typer.Option(help="Images per batch.", rich_help_panel=COMPUTING)] = 32
    workers: Annotated[
        int | None,
        typer.Option(
            help="Decoding processes. Default: one per core beside a GPU, else a quarter of the cores.",
            show_default=False,
            rich_help_panel=COMPUTING,
        ),
    ] = None
    pixels: Annotated[
        bool,
        typer.Option(
            help="Keep 256-pixel images in the index, for contact sheets (65 kB per image).", rich_help_panel=INDEX
        ),
    ] = True
    cache: Annotated[
        Path | None,
        typer.Option(
            envvar="CXRSEARCH_CACHE",
            help="Folder of a pixel cache: a second build of the same images skips decoding.",
            show_default=False,
            rich_help_panel=COMPUTING,
        ),
    ] = None
    strict: Annotated[bool, typer.Option("--strict", help="Build nothing if any image is refused.")] = False
    replace_other: Annotated[
        bool,
        typer.Option(
            "--replace", help="Replace an index of other images or of another encoder.", rich_help_panel=INDEX
        ),
    ] = False
    as_json: AsJson = False


@with_options
def command(options: _Options) -> None:
    """Embed a folder of chest X-rays into an index. If interrupted, the same command continues.

    Images that cannot be read, or that the table does not name, are left out and listed, and the exit code is 3.
    """
    if options.part is not None and options.split is None:
        raise UsageError(f"part {options.part!r} without a split", "add --split")
    folder, table = find_dataset(options.images, options.labels)
    require_split(options.split)
    from cxrsearch.building.build import build_index

    resolved = {
        "images": folder,
        "labels": table,
        "index": resolve_index(None, options.index),
        "weights": options.weights or _find_weights(),
        "findings": options.vocabulary(),
    }
    with console.progress() as progress:
        result = build_index(**select_arguments(build_index, options) | resolved, progress=progress)
    _show(result, options.as_json)
    console.finish(result.refused, str(result.path / result.generation / "report.json"))


def _find_weights() -> str:
    """The weights to use without --weights; which they are is a note on stderr."""
    from cxrsearch.encoder.weights import choose_weights

    weights = choose_weights(os.environ, Path.cwd())
    console.note(f"weights: {weights} (no --weights: $CXRSEARCH_WEIGHTS, else the newest run in runs/, else imagenet)")
    return weights


def _show(result: "BuildResult", as_json: bool) -> None:
    console.warnings(result.warnings)
    if as_json:
        console.json_line(result.to_json())
    else:
        console.text(f"{result.path}: {images_of(result.images, result.patients)}, {result.generation}")
    if result.rows_without_image:
        rows = counted(result.rows_without_image, "row of the table has", "rows of the table have")
        console.note(f"{rows} no image in the folder")
