"""`cxrsearch import-embeddings`: from embeddings made elsewhere to an index."""

from pathlib import Path
from typing import Annotated

import typer

from cxrsearch.words import images_of
from cxrsearch_cli import console
from cxrsearch_cli.options import AsJson, FindingsOption, IndexOption, KindOption, MetricOption, index_folder, names

_Embeddings = Annotated[
    Path, typer.Argument(metavar="X.npy", help="The embeddings, saved with numpy.save: float32 (images, dimensions).")
]
_Table = Annotated[
    Path,
    typer.Option(
        "--catalogue",
        help="NIH's Data_Entry CSV, or a CSV with the columns image, patient, findings (and view, sex, age, split): "
        "one row an embedding, in the same order.",
    ),
]

_Replace = Annotated[bool, typer.Option("--replace", help="Take the place of an index of images.")]


def command(
    embeddings: _Embeddings,
    catalogue: _Table,
    index: IndexOption = None,
    kind: KindOption = "exact",
    metric: MetricOption = "l2",
    findings: FindingsOption = None,
    replace: _Replace = False,
    as_json: AsJson = False,
) -> None:
    """Make an index of embeddings that were made elsewhere. It has no encoder, so it cannot be asked with `query`."""
    from cxrsearch.building.imported import import_embeddings

    with console.progress() as progress:
        result = import_embeddings(
            embeddings,
            catalogue,
            index=index_folder(None, index),
            kind=kind,
            metric=metric,
            findings=names(findings) or None,
            replace_other=replace,
            progress=progress,
        )
    console.warnings(result.warnings)
    if as_json:
        console.json_line(result.to_json())
    else:
        console.text(f"{result.path}: {images_of(result.images, result.patients)}, {result.generation}")
