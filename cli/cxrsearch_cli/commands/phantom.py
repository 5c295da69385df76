"""`cxrsearch phantom`: synthetic chest X-rays with known findings."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from cxrsearch.words import images_of
from cxrsearch_cli import console
from cxrsearch_cli.options import with_options


@dataclass(frozen=True, kw_only=True)
class _Options:
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A new or empty folder.")]
    n: Annotated[int, typer.Option("-n", help="Number of images.")] = 200
    seed: Annotated[int, typer.Option(help="Seed; another one gives other patients.")] = 0
    prevalence: Annotated[
        Literal["balanced", "nih"],
        typer.Option(help="balanced: every finding in at least 8% of patients. nih: as often as in ChestX-ray14."),
    ] = "balanced"
    size: Annotated[int, typer.Option(help="Side of the images in pixels.")] = 512


@with_options
def command(options: _Options) -> None:
    """Draw synthetic frontal chest X-rays with labels and boxes, in NIH's file formats. They are not medical images."""
    from cxrsearch.phantom.write import make_phantom

    with console.progress() as progress:
        phantom = make_phantom(
            options.out,
            options.n,
            seed=options.seed,
            prevalence=options.prevalence,
            size=options.size,
            progress=progress,
        )
    console.text(f"{phantom.folder}: {images_of(phantom.images, phantom.patients, 'synthetic image')}")
