"""`cxrsearch phantom`: synthetic chest X-rays with known findings."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from cxrsearch.words import images_of
from cxrsearch_cli import console


def command(
    out: Annotated[Path, typer.Argument(help="A new or empty folder.")],
    n: Annotated[int, typer.Option("-n", help="Images.")] = 200,
    seed: Annotated[int, typer.Option(help="Another seed, other patients.")] = 0,
    prevalence: Annotated[
        Literal["balanced", "nih"],
        typer.Option(help="balanced: every finding in at least 8% of patients; nih: as often as in ChestX-ray14."),
    ] = "balanced",
    size: Annotated[int, typer.Option(help="Side of the images in pixels.")] = 512,
) -> None:
    """Draw synthetic frontal chest X-rays, labelled and boxed, in NIH's file formats. They are no medical images."""
    from cxrsearch.phantom.write import make_phantom

    with console.progress() as progress:
        made = make_phantom(out, n, seed=seed, prevalence=prevalence, size=size, progress=progress)
    console.text(f"{made.folder}: {images_of(made.images, made.patients, 'synthetic image')}")
