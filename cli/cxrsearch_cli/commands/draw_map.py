"""`cxrsearch map`: the embeddings of an index in the plane."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from cxrsearch.words import images_of
from cxrsearch_cli import console
from cxrsearch_cli.options import AsJson, IndexOption, present_index

_Out = Annotated[
    list[Path] | None,
    typer.Option(
        "--out",
        help="A file to write: .png, .svg, or .html, a page to explore. May be given several times. "
        "Default: map.png and map.html.",
        show_default=False,
    ),
]
_Colour = Annotated[
    Literal["finding", "view", "age", "novelty"],
    typer.Option(
        "--colour", help="What colours mean. novelty is the distance to the 20th neighbour of another patient, slower."
    ),
]
_Finding = Annotated[
    str | None,
    typer.Option(help="Let the images with this finding, or with 'No Finding', stand out.", show_default=False),
]
_Method = Annotated[Literal["tsne", "umap"], typer.Option(help="umap needs the extra cxrsearch[umap].")]
_Seed = Annotated[int, typer.Option(help="Another seed, a slightly different map.")]
_Threads = Annotated[
    int | None, typer.Option(help="Threads of t-SNE. Default: all cores, at most 8.", show_default=False)
]


def command(
    index: IndexOption = None,
    out: _Out = None,
    colour: _Colour = "finding",
    finding: _Finding = None,
    method: _Method = "tsne",
    seed: _Seed = 0,
    threads: _Threads = None,
    as_json: AsJson = False,
) -> None:
    """Draw the embeddings of an index as a map: similar images lie side by side. As a figure, or a page to explore."""
    folder = present_index(None, index)
    from cxrsearch.overview.embedding_map import draw_map
    from cxrsearch.query.index import open_index

    opened = open_index(folder)
    with console.progress() as progress:
        result = draw_map(
            opened,
            out or [Path("map.png"), Path("map.html")],
            colour=colour,
            finding=finding,
            method=method,
            seed=seed,
            threads=threads,
            progress=progress,
        )
    console.warnings(result.warnings)
    if as_json:
        console.json_line(result.to_json())
        return
    files = ", ".join(str(path) for path in result.files)
    console.text(f"{files}: {images_of(len(result.images), result.patients)}, {result.projection.description}")
