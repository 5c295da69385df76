"""Draw the embedding map of an index: its embeddings in the plane, as a figure and as a page to explore.

embeddings --projection (analysis)--> coordinates --colours, figure, page (report)--> files
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrsearch.analysis.plane.projection import Method, Projection, project
from cxrsearch.encoder.embed import cores
from cxrsearch.errors import UsageError
from cxrsearch.files import Json, require_folder, write_bytes
from cxrsearch.images.catalogue import Catalogue
from cxrsearch.overview._scatter import Scatter, scatter_file
from cxrsearch.overview._scatter_colours import (
    Colouring,
    by_age,
    by_finding,
    by_novelty,
    by_view,
    highlight,
    rows_with,
)
from cxrsearch.overview._scatter_page import scatter_page
from cxrsearch.progress import Progress, silent
from cxrsearch.query.index import Index
from cxrsearch.store.filtered_search import open_vectors
from cxrsearch.words import images_of

Colour = Literal["finding", "view", "age", "novelty"]
COLOURS: tuple[Colour, ...] = get_args(Colour)
FORMATS = (".png", ".svg", ".html")

NOVELTY_K = 20
"""Novelty is the distance to the neighbour of this rank of another patient, as in typicality."""

MOST_THREADS = 8
"""Threads of t-SNE by default, at most; more gain little."""


@dataclass(frozen=True)
class MapResult:
    """An embedding map.

    Attributes:
        index: path, generation and encoder of the index.
        images: ids of the n images, in the order of the coordinates.
        patients: number of their patients.
        projection: the coordinates, and how they were computed.
        colouring: the meaning of the figure's colours.
        finding: the highlighted finding, or None.
        threads: threads of t-SNE.
        files: the files that were written.
        warnings: what a reader must know.
    """

    index: Json
    images: tuple[str, ...]
    patients: int
    projection: Projection
    colouring: Colouring
    finding: str | None
    threads: int
    files: tuple[Path, ...]
    warnings: tuple[str, ...]

    def to_frame(self) -> pd.DataFrame:
        """A table with one row per image: columns image, x, y, class."""
        across, up = self.projection.coordinates.T
        classes = np.array(self.colouring.classes, dtype=object)[self.colouring.codes]
        return pd.DataFrame({"image": list(self.images), "x": across, "y": up, "class": classes})

    def to_json(self) -> Json:
        """The object that `cxrsearch map --json` prints."""
        entries = zip(self.colouring.classes, self.colouring.counts, strict=True)
        return {
            "index": self.index,
            "images": len(self.images),
            "patients": self.patients,
            "method": self.projection.method,
            "neighbours": self.projection.neighbours,
            "components": self.projection.components,
            "explained": self.projection.explained,
            "seed": self.projection.seed,
            "threads": self.threads,
            "colour": self.colouring.name,
            "finding": self.finding,
            "classes": [{"class": name, "images": count} for name, count in entries],
            "files": [str(path) for path in self.files],
            "warnings": list(self.warnings),
        }


def draw_map(
    index: Index,
    out: Sequence[Path | str],
    *,
    colour: Colour = "finding",
    finding: str | None = None,
    method: Method = "tsne",
    seed: int = 0,
    threads: int | None = None,
    progress: Progress = silent,
) -> MapResult:
    """Draw the embedding map of an index. The same index, seed and threads give the same bytes.

    Args:
        index: an open index. Neighbours are those of its metric; with `ip`, those of `l2`.
        out: files to write, each `.png`, `.svg` or `.html` (a page to explore).
        colour: the meaning of the colours: `finding`, `view`, `age` or `novelty`. The reader of a page can choose
            among those that are known. Novelty is among them only if it is requested, because it takes one search
            per image.
        finding: a finding, or `No Finding`, whose images are highlighted.
        method: `tsne` or `umap`.
        seed: seed of the projection.
        threads: threads of t-SNE; None: all cores, at most 8.
        progress: called during the work.

    Raises:
        UsageError: invalid arguments, or an index that is too small for an embedding map or for novelty.
        CatalogueError: the colours or the highlight need findings, and these are not known.
        MissingDependencyError: UMAP is not installed.
        WriteError: a file cannot be written.
    """
    paths = _writable(out)
    catalogue, manifest = index.catalogue, index.manifest
    plain = _colouring(index, colour, progress)
    name, rows = (None, None) if finding is None else rows_with(catalogue, finding)
    colouring = plain if name is None or rows is None else highlight(plain, name, rows)
    threads = _default_threads() if threads is None else threads
    projection = project(
        index.stored.vectors,
        method=method,
        unit=manifest.metric == "cosine",
        seed=seed,
        threads=threads,
        progress=progress,
    )
    patients = len(set(catalogue.patients))
    warnings = index.manifest.warnings
    scatter = Scatter(projection.coordinates, colouring, _title(len(catalogue), patients), _lines(index, projection))
    for done, path in enumerate(paths):
        progress("drawing", done, len(paths))
        write_bytes(path, _draw(path, scatter, index, [plain, *_others(catalogue, colour)], name))
    progress("drawing", len(paths), len(paths))
    source = {"path": str(index.stored.folder), "generation": manifest.generation, "encoder": manifest.encoder_label}
    return MapResult(
        source, tuple(catalogue.ids), patients, projection, colouring, name, threads, tuple(paths), tuple(warnings)
    )


def novelty(index: Index, progress: Progress = silent) -> tuple[NDArray[np.float64], int]:
    """The distance of each image to its k-th neighbour of another patient, float64 (n,), and k.

    k is 20, or less if some image has fewer such neighbours.

    Raises:
        UsageError: the index holds one patient only.
    """
    n, patients = len(index), index.catalogue.patient_groups()
    neighbours = open_vectors(index.stored, "cpu").search_all(
        NOVELTY_K, patients, lambda done: progress("neighbours of other patients", done, n)
    )
    k = int(neighbours.counts.min(initial=NOVELTY_K))
    if k == 0:
        raise UsageError("novelty needs at least two patients; the index has one", "use --colour view")
    return neighbours.last(k), k


def _writable(out: Sequence[Path | str]) -> list[Path]:
    """The files to write. One that cannot be written is refused before the work."""
    paths = [Path(path) for path in out]
    for path in paths:
        if path.suffix.lower() not in FORMATS:
            raise UsageError(f"an embedding map as {path.name!r}", f"give names that end in {', '.join(FORMATS)}")
        require_folder(path)
    if not paths:
        raise UsageError("an embedding map without a file to write", "name at least one")
    return paths


def _default_threads() -> int:
    return min(cores(), MOST_THREADS)


def _colouring(index: Index, colour: str, progress: Progress) -> Colouring:
    if colour == "finding":
        return by_finding(index.catalogue)
    if colour == "view":
        return by_view(index.catalogue)
    if colour == "age":
        return by_age(index.catalogue)
    if colour == "novelty":
        return by_novelty(*novelty(index, progress))
    raise UsageError(f"unknown colour {colour!r}", f"use one of {', '.join(COLOURS)}")


def _others(catalogue: Catalogue, colour: str) -> list[Colouring]:
    """The other colourings of a page; all of them are cheap, as none needs a search."""
    makers = {"view": by_view, "age": by_age} | ({} if catalogue.labels is None else {"finding": by_finding})
    return [makers[name](catalogue) for name in COLOURS if name in makers and name != colour]


def _draw(path: Path, scatter: Scatter, index: Index, colourings: Sequence[Colouring], highlight: str | None) -> bytes:
    suffix = path.suffix.lower()
    if suffix != ".html":
        return scatter_file(scatter, "png" if suffix == ".png" else "svg")
    return scatter_page(
        scatter.coordinates,
        index.catalogue,
        colourings,
        title=scatter.title,
        lines=scatter.lines,
        highlight=highlight,
        pixels_of=index.stored_pixels,
    )


def _title(images: int, patients: int) -> str:
    return images_of(images, patients)


def _lines(index: Index, projection: Projection) -> tuple[str, ...]:
    manifest = index.manifest
    length = ", brought to length 1" if manifest.metric == "cosine" else ""
    encoder = manifest.encoder_label if manifest.encoder is None else f"embeddings by {manifest.encoder_label}"
    return (
        f"{encoder[:1].upper()}{encoder[1:]}, {manifest.dim} dimensions{length}; index {manifest.generation}.",
        f"{projection.description}.",
        "Only neighbourhoods are meaningful: areas, gaps and axes are not.",
        *(f"{note[:1].upper()}{note[1:]}." for note in index.manifest.warnings),
    )
