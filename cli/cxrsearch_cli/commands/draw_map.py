"""`cxrsearch map`: the embeddings of an index in the plane."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from cxrsearch.words import images_of
from cxrsearch_cli import console
from cxrsearch_cli.inputs import require_index
from cxrsearch_cli.options import AsJson, IndexOption, with_options


@dataclass(frozen=True, kw_only=True)
class _Options:
    index: IndexOption = None
    out: Annotated[
        list[Path] | None,
        typer.Option(
            "--out",
            help="A file to write: .png, .svg, or .html, a page to explore. May be repeated. "
            "Default: map.png and map.html.",
            show_default=False,
        ),
    ] = None
    colour: Annotated[
        Literal["finding", "view", "age", "novelty"],
        typer.Option(
            "--colour",
            help="What colours mean: finding, view, age or novelty. novelty is the distance to the 20th neighbour of "
            "another patient; it is slower.",
            metavar="WHAT",
        ),
    ] = "finding"
    finding: Annotated[
        str | None,
        typer.Option(help="Highlight the images with this finding, or with 'No Finding'.", show_default=False),
    ] = None
    method: Annotated[Literal["tsne", "umap"], typer.Option(help="tsne, or umap, which needs the extra umap.")] = "tsne"
    seed: Annotated[int, typer.Option(help="Seed; another one gives a slightly different embedding map.")] = 0
    threads: Annotated[
        int | None, typer.Option(help="Threads of t-SNE. Default: all cores, at most 8.", show_default=False)
    ] = None
    as_json: AsJson = False


@with_options
def command(options: _Options) -> None:
    """Draw the embedding map of an index: similar images lie side by side. As a figure, or a page to explore."""
    folder = require_index(options.index)
    from cxrsearch.overview.embedding_map import draw_map
    from cxrsearch.query.index import open_index

    index = open_index(folder)
    with console.progress() as progress:
        result = draw_map(
            index,
            options.out or [Path("map.png"), Path("map.html")],
            colour=options.colour,
            finding=options.finding,
            method=options.method,
            seed=options.seed,
            threads=options.threads,
            progress=progress,
        )
    console.warnings(result.warnings)
    if options.as_json:
        console.json_line(result.to_json())
        return
    files = ", ".join(str(path) for path in result.files)
    console.text(f"{files}: {images_of(len(result.images), result.patients)}, {result.projection.description}")
