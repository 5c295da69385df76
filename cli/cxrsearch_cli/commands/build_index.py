"""`cxrsearch build-index`: from a folder of X-rays to an index."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cxrsearch.errors import UsageError
from cxrsearch.words import counted, images_of
from cxrsearch_cli import console
from cxrsearch_cli.options import (
    AsJson,
    Device,
    FindingsOption,
    ImagesArgument,
    IndexOption,
    KindOption,
    LabelsOption,
    MetricOption,
    Weights,
    index_folder,
    inputs,
    names,
    require_split,
)

if TYPE_CHECKING:
    from cxrsearch.building.build import BuildResult

_Arch = Annotated[
    str | None, typer.Option(help="densenet121 (default), 169 or 201, for imagenet and random.", show_default=False)
]
_Size = Annotated[int | None, typer.Option(help="Side of the network's input. Default: 224.", show_default=False)]
_Split = Annotated[
    str | None,
    typer.Option(
        help="Record a split: paper[:DIR], official[:DIR], patient-hash:a/b/c (fractions), patient-fold:i/K or column.",
        show_default=False,
    ),
]
_Part = Annotated[
    str | None, typer.Option(help="Index only this part of the split: train, val or test.", show_default=False)
]
_PatientPattern = Annotated[
    str | None,
    typer.Option(
        help="Without a table: regular expression whose group is the patient, such as '^([0-9]+)_'.",
        show_default=False,
    ),
]
_Precision = Annotated[Literal["auto", "fp32", "bf16"], typer.Option(help="auto is bf16 on a GPU, else fp32.")]
_BatchSize = Annotated[int, typer.Option(help="Images a batch.")]
_Workers = Annotated[
    int | None,
    typer.Option(
        help="Decoding processes. Default: one a core beside a GPU, a quarter of the cores without one.",
        show_default=False,
    ),
]
_Pixels = Annotated[bool, typer.Option(help="Keep 256-pixel images in the index, for contact sheets (65 kB an image).")]
_Cache = Annotated[
    Path | None,
    typer.Option(
        envvar="CXRSEARCH_CACHE",
        help="Folder of a pixel cache: a second build of the same images skips decoding.",
        show_default=False,
    ),
]
_Strict = Annotated[bool, typer.Option("--strict", help="Build nothing when any image is refused.")]

_Replace = Annotated[
    bool, typer.Option("--replace", help="Take the place of an index of other images or of another encoder.")
]

_AS_GIVEN = (
    *("arch", "size", "kind", "metric", "split", "part", "patient_pattern", "precision", "device"),
    *("batch_size", "workers", "pixels", "cache", "strict"),
)


def command(
    images: ImagesArgument = None,
    labels: LabelsOption = None,
    index: IndexOption = None,
    weights: Weights = None,
    arch: _Arch = None,
    size: _Size = None,
    kind: KindOption = "exact",
    metric: MetricOption = "l2",
    findings: FindingsOption = None,
    split: _Split = None,
    part: _Part = None,
    patient_pattern: _PatientPattern = None,
    precision: _Precision = "auto",
    device: Device = "auto",
    batch_size: _BatchSize = 32,
    workers: _Workers = None,
    pixels: _Pixels = True,
    cache: _Cache = None,
    strict: _Strict = False,
    replace: _Replace = False,
    as_json: AsJson = False,
) -> None:
    """Embed a folder of chest X-rays into an index. Interrupted, the same command goes on where it was.

    Images that cannot be read, or that the table does not name, are left out, listed, and make the exit code 3.
    """
    given = dict(locals())
    if part is not None and split is None:
        raise UsageError(f"part {part!r} of no split", "name a --split as well")
    folder, table = inputs(images, labels)
    require_split(split)
    from cxrsearch.building.build import build_index
    from cxrsearch.encoder.weights import default_weights

    if weights is None:
        weights = default_weights(os.environ, Path.cwd())
        console.note(f"weights: {weights} (none were named: $CXRSEARCH_WEIGHTS, the newest run in runs/, or imagenet)")
    with console.progress() as progress:
        result = build_index(
            folder,
            table,
            index=index_folder(None, index),
            weights=weights,
            findings=names(findings) or None,
            replace_other=replace,
            progress=progress,
            **{name: given[name] for name in _AS_GIVEN},
        )
    _show(result, as_json)
    if result.refused:
        raise typer.Exit(3)


def _show(result: "BuildResult", as_json: bool) -> None:
    console.warnings(result.warnings)
    if as_json:
        console.json_line(result.to_json())
    else:
        console.text(f"{result.path}: {images_of(result.images, result.patients)}, {result.generation}")
    if result.rows_without_image:
        rows = counted(result.rows_without_image, "row of the table has", "rows of the table have")
        console.note(f"{rows} no image in the folder")
    console.refused(result.refused, str(result.path / result.generation / "report.json"))
