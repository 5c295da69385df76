"""`cxrsearch import-embeddings`: from embeddings made elsewhere to an index."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from cxrsearch.words import images_of
from cxrsearch_cli import console
from cxrsearch_cli.inputs import resolve_index, split_names
from cxrsearch_cli.options import INDEX, AsJson, Findings, IndexOption, SearchOptions, with_options


@dataclass(frozen=True, kw_only=True)
class _Options(SearchOptions):
    embeddings: Annotated[
        Path,
        typer.Argument(metavar="X.npy", help="The embeddings, saved by numpy.save: float32 (images, dimensions)."),
    ]
    catalogue: Annotated[
        Path,
        typer.Option(
            "--catalogue",
            help="NIH's Data_Entry CSV, or a CSV with the columns image, patient, findings (and optionally view, sex, "
            "age, split): one row per embedding, in the same order.",
        ),
    ]
    index: IndexOption = None
    findings: Findings = None
    replace_other: Annotated[
        bool, typer.Option("--replace", help="Replace an index of images.", rich_help_panel=INDEX)
    ] = False
    as_json: AsJson = False


@with_options
def command(options: _Options) -> None:
    """Make an index of embeddings that were made elsewhere. It has no encoder, so query does not work on it."""
    from cxrsearch.building.imported import import_embeddings

    with console.progress() as progress:
        result = import_embeddings(
            options.embeddings,
            options.catalogue,
            index=resolve_index(None, options.index),
            kind=options.kind,
            metric=options.metric,
            findings=split_names(options.findings) or None,
            replace_other=options.replace_other,
            progress=progress,
        )
    console.warnings(result.warnings)
    if options.as_json:
        console.json_line(result.to_json())
    else:
        console.text(f"{result.path}: {images_of(result.images, result.patients)}, {result.generation}")
