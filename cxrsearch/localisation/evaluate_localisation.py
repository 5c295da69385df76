"""Compare heat maps with the boxes that readers drew: T(IoBB) and T(IoU) against `BBox_List_2017.csv`.

boxes (images) -> rows to choose the threshold by, and to score -> heat maps (query) -> overlaps, intervals (analysis)
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cxrsearch.analysis.maps.box_scores import Case, MapOf, average_cases, choose_threshold, score_cases
from cxrsearch.arrays import Floats
from cxrsearch.encoder.embed import Embedder, load_batches
from cxrsearch.encoder.weights import load_encoder
from cxrsearch.errors import CatalogueError, UsageError
from cxrsearch.files import Json
from cxrsearch.images.boxes import Boxes, read_boxes
from cxrsearch.images.catalogue import Catalogue
from cxrsearch.images.findings import Vocabulary
from cxrsearch.images.loading import RefusedImage
from cxrsearch.images.matching import read_images
from cxrsearch.images.preprocess import Pixels
from cxrsearch.images.sources.source import ImageSource
from cxrsearch.images.sources.source_registry import Location, open_source
from cxrsearch.images.splits import parse_split
from cxrsearch.images.tables import PARTS
from cxrsearch.localisation.localisation_result import LocalisationResult, rows_of
from cxrsearch.progress import Progress, silent
from cxrsearch.protocol.rows import choose_split
from cxrsearch.protocol.seen import find_seen, require_unseen
from cxrsearch.query.embedded import embed_images
from cxrsearch.query.index import Index
from cxrsearch.query.maps import METHODS, Method, finding_maps, on_stored
from cxrsearch.words import counted

RANDOM_DRAWS = 10
"""Number of random maps per case; their scores are averaged."""

_DECODED = 32


@dataclass(frozen=True)
class LocalisationQuestion:
    """The options of an evaluation of heat maps.

    Attributes:
        split: the definition of the split. None: that of the encoder's training, else the table's column, else a
            patient hash.
        part: the part to score. Boxed images that were kept out of the training are scored as well.
        method: `cam` or `grad-cam`.
        allow_seen: also score images that the encoder was trained on; the result says so.
        replicates: bootstrap replicates, at least 1.
        seed: seed of the bootstrap and of the random maps, at least 0.

    Raises:
        UsageError: unknown part or method, or invalid numbers.
    """

    split: str | None = None
    part: str = "test"
    method: Method = "cam"
    allow_seen: bool = False
    replicates: int = 2000
    seed: int = 0

    def __post_init__(self) -> None:
        for value, choices, what in ((self.part, PARTS, "part"), (self.method, METHODS, "method")):
            if value not in choices:
                raise UsageError(f"unknown {what} {value!r}", f"use one of {', '.join(choices)}")
        if self.replicates < 1 or self.seed < 0:
            raise UsageError(
                f"{self.replicates} replicates, seed {self.seed}", "use at least 1 replicate, and a seed of at least 0"
            )


@dataclass(frozen=True, eq=False)
class _Images:
    """Images, their encoder, and a function that reads pixels: `pixels(rows)` has None for a refused image."""

    embedder: Embedder
    encoder: Json
    catalogue: Catalogue
    pixels: Callable[[NDArray[np.int64], Progress], list[Pixels | None]]


def evaluate_localisation(
    index: Index, boxes: Path | str, question: LocalisationQuestion | None = None, progress: Progress = silent
) -> LocalisationResult:
    """Evaluate the heat maps of the boxed images of an index.

    Args:
        index: an open index with pixels, of an encoder with a trained head.
        boxes: NIH's `BBox_List_2017.csv`.
        question: the options; None: the defaults.
        progress: called while heat maps are computed.

    Returns:
        T(IoBB) and T(IoU) of each finding, with intervals.

    Raises:
        UsageError: imported embeddings, no pixels, or no trained head.
        CatalogueError: the table of boxes or the split cannot be used, or no boxed image is left to score.
        CxrsearchError: the encoder was trained on boxed images that would be scored.
    """
    encoder = index.manifest.require_encoder()
    if index.stored_pixels(0) is None:
        raise UsageError("this index keeps no pixels, so no heat map can be computed", "build it without --no-pixels")

    def pixels(rows: NDArray[np.int64], _: Progress) -> list[Pixels | None]:
        return [index.stored_pixels(int(row)) for row in rows]

    images = _Images(index.embedder, encoder, index.catalogue, pixels)
    return _evaluate(images, read_boxes(Path(boxes)), question or LocalisationQuestion(), progress)


def evaluate_localisation_of_images(
    images: Location,
    labels: Path | str,
    weights: str,
    boxes: Path | str,
    question: LocalisationQuestion | None = None,
    *,
    device: str = "auto",
    precision: str = "auto",
    workers: int = 0,
    progress: Progress = silent,
) -> LocalisationResult:
    """Evaluate the heat maps of the boxed images of a folder. Only these images are decoded.

    Args:
        images: a folder of images.
        labels: NIH's table or a plain CSV.
        weights: an encoder with a trained head.
        boxes: NIH's `BBox_List_2017.csv`.
        question: the options; None: the defaults.
        device: where the encoder runs, as in `build_index`.
        precision: `fp32`, `bf16` or `auto`, as in `build_index`.
        workers: processes that decode images, as in `build_index`.
        progress: called while images are decoded and heat maps computed.

    Returns:
        T(IoBB) and T(IoU) of each finding, with intervals.

    Raises:
        CxrsearchError: as `evaluate_localisation`, or the folder, the table or the weights cannot be used.
    """
    embedder = Embedder(load_encoder(weights), device, precision)
    vocabulary = Vocabulary(embedder.spec.findings) if embedder.spec.findings else Vocabulary()
    source = open_source(images)
    catalogue = read_images(source, Path(labels), vocabulary).catalogue
    refused: list[tuple[str, str]] = []
    pixels = partial(_decode, catalogue, source, embedder, workers, refused)
    folder = _Images(embedder, embedder.spec.to_json(), catalogue, pixels)
    result = _evaluate(folder, read_boxes(Path(boxes)), question or LocalisationQuestion(), progress)
    return replace(result, refused=tuple(refused))


def _decode(
    catalogue: Catalogue,
    source: ImageSource,
    embedder: Embedder,
    workers: int,
    refused: list[tuple[str, str]],
    rows: NDArray[np.int64],
    progress: Progress,
) -> list[Pixels | None]:
    names = catalogue.take(rows).paths
    batches = [range(i, min(i + _DECODED, len(names))) for i in range(0, len(names), _DECODED)]
    pixels: list[Pixels | None] = []
    for batch in load_batches(source, names, batches, embedder.spec.preprocess, workers=workers):
        for image in batch:
            if isinstance(image, RefusedImage):
                refused.append((catalogue.ids[rows[len(pixels)]], image.reason))
            pixels.append(None if isinstance(image, RefusedImage) else image.stored.pixels)
        progress("reading images", len(pixels), len(names))
    return pixels


def _evaluate(images: _Images, boxes: Boxes, question: LocalisationQuestion, progress: Progress) -> LocalisationResult:
    findings = images.embedder.spec.findings
    if findings is None:
        raise UsageError(f"{images.embedder.spec.label} has no trained head", "name trained weights")
    definition = question.split or choose_split(images.catalogue, images.encoder)
    cases, warnings = _cases(images.catalogue, boxes, findings, images.embedder.spec.preprocess.pixel_side)
    choosing, scored, part_warnings = _divide(images, boxes, cases, definition, question)
    maps = _Maps.of(images, [*choosing, *scored], question, progress)
    scored = [case for case in scored if case.image in maps.by_image]
    choosing = [case for case in choosing if case.image in maps.by_image]
    thresholds, scores = _scores(maps, choosing, scored, question.seed, progress)
    bootstrap = {"replicates": question.replicates, "seed": question.seed}
    averages = {name: average_cases(scored, values, len(findings), **bootstrap) for name, values in scores.items()}
    return LocalisationResult(
        encoder=images.embedder.spec.label,
        method=question.method,
        cells=maps.cells,
        split=definition,
        part=question.part,
        images=len({case.image for case in scored}),
        patients=len({case.patient for case in scored}),
        validation_images=len({case.image for case in choosing}),
        thresholds=thresholds,
        rows=tuple(rows_of((*findings, "all"), averages)),
        warnings=(*images.catalogue.warnings, *warnings, *part_warnings),
        replicates=question.replicates,
        seed=question.seed,
    )


def _cases(catalogue: Catalogue, boxes: Boxes, findings: tuple[str, ...], side: int) -> tuple[list[Case], list[str]]:
    """The cases, in catalogue order, and warnings about boxes that cannot be used."""
    rows = {image: row for row, image in enumerate(catalogue.ids)}
    here = [i for i, image in enumerate(boxes.images) if image in rows]
    if not here:
        fix = "name the table of the boxes of these images"
        raise CatalogueError(f"none of the {len(set(boxes.images))} boxed images is among these images", fix)
    known = [i for i in here if boxes.findings[i] in findings]
    unknown = counted(len(here) - len(known), "box", "boxes")
    warnings = [] if len(known) == len(here) else [f"{unknown} of findings that the head does not predict"]
    pixels, members = boxes.pixels(side), dict[tuple[int, int], list[int]]()
    for i in known:
        members.setdefault((rows[boxes.images[i]], findings.index(boxes.findings[i])), []).append(i)
    patients = catalogue.patients
    return [
        Case(*key, patients[key[0]], pixels[rows_of_case]) for key, rows_of_case in sorted(members.items())
    ], warnings


def _divide(
    images: _Images, boxes: Boxes, cases: list[Case], definition: str, question: LocalisationQuestion
) -> tuple[list[Case], list[Case], list[str]]:
    """The cases that choose the threshold, the cases that are scored, and warnings about them."""
    parts = parse_split(definition).assign(images.catalogue)
    seen = find_seen(images.encoder, images.catalogue, boxes)
    free = (parts == question.part) | ((parts == "train") & ~seen.learned & seen.spared)
    scored = [case for case in cases if free[case.image]]
    choosing = [case for case in cases if parts[case.image] == "val" and not free[case.image]]
    if not scored:
        raise CatalogueError(
            f"no boxed image is in part {question.part} of {definition}", "name another --part or --split"
        )
    scored_rows = np.unique([case.image for case in scored])
    fix = "score another part or split, or train with --exclude-boxes"
    warnings = require_unseen(seen, scored_rows, allowed=question.allow_seen, noun="boxed image", fix=fix)
    if not choosing:
        warnings.append("no boxed image is in the validation part, so the threshold is the default one")
    return choosing, scored, warnings


@dataclass(frozen=True, eq=False)
class _Maps:
    """The heat maps of all findings by image, float64 (F, h, w) each, and the encoder that places them."""

    by_image: dict[int, Floats]
    embedder: Embedder

    @classmethod
    def of(cls, images: _Images, cases: list[Case], question: LocalisationQuestion, progress: Progress) -> "_Maps":
        """Compute the heat maps of every image that can be read."""
        rows = np.array(sorted({case.image for case in cases}), dtype=np.int64)
        maps: dict[int, Floats] = {}
        for done, (row, pixels) in enumerate(zip(rows, images.pixels(rows, progress), strict=True)):
            progress("heat maps", done, len(rows))
            if pixels is not None:
                image = embed_images(images.embedder, [pixels])[0]
                heat = finding_maps(images.embedder, image, question.method)
                assert heat is not None
                maps[int(row)] = heat.maps
        progress("heat maps", len(rows), len(rows))
        if not maps:
            raise CatalogueError("none of the boxed images can be read", "check the folder of images")
        return cls(maps, images.embedder)

    @property
    def cells(self) -> tuple[int, int]:
        """Height and width of a heat map, in cells."""
        height, width = next(iter(self.by_image.values())).shape[1:]
        return height, width

    def whole(self, values: Floats) -> Floats:
        """A heat map at the size of the stored pixels."""
        return on_stored(self.embedder.spec.preprocess, values)

    def of_cases(self, cases: list[Case]) -> MapOf:
        """The heat map of each case."""
        return lambda i: self.whole(self.by_image[cases[i].image][cases[i].finding])

    def others(self, cases: list[Case], seed: int) -> MapOf:
        """For each case, the heat map of a random case of the same finding of another patient.

        This baseline knows only where the finding usually is. If no other patient has the finding, it is noise.
        """
        noise = self.random(seed)

        def draw(i: int) -> Floats:
            this = cases[i]
            others = [case.image for case in cases if case.finding == this.finding and case.patient != this.patient]
            if not others:
                return noise(i)
            image = others[np.random.default_rng((seed, 1, i)).integers(len(others))]
            return self.whole(self.by_image[image][this.finding])

        return draw

    def random(self, seed: int) -> MapOf:
        """Uniform noise, one number per cell."""
        return lambda i: self.whole(np.random.default_rng((seed, 0, i)).random(self.cells))


def _scores(
    maps: _Maps, choosing: list[Case], scored: list[Case], seed: int, progress: Progress
) -> tuple[dict[str, float], dict[str, Floats]]:
    """The threshold of each model, chosen on validation; and its scores, float64 (n, 24), with paired differences."""
    sources: dict[str, tuple[Callable[[list[Case]], MapOf], int]] = {
        "map": (maps.of_cases, 1),
        "random": (lambda _: maps.random(seed), RANDOM_DRAWS),
    }
    if all(len({case.patient for case in cases}) != 1 for cases in (choosing, scored)):
        sources["other image"] = (partial(maps.others, seed=seed), 1)
    thresholds, scores = {}, {}
    for done, (name, (source, draws)) in enumerate(sources.items()):
        progress("boxes", done, len(sources))
        thresholds[name] = choose_threshold(choosing, source(choosing))
        scores[name] = score_cases(scored, source(scored), thresholds[name], draws)
    progress("boxes", len(sources), len(sources))
    scores |= {f"map - {name}": scores["map"] - scores[name] for name in sources if name != "map"}
    return thresholds, scores
