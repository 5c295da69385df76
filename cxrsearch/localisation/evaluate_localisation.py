"""Whether findings are where readers boxed them: T(IoBB) and T(IoU) against `BBox_List_2017.csv`.

boxes (images) -> rows to choose the threshold by, and to score -> maps (localise) -> overlaps, intervals (analysis)
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
"""Random maps of each case, whose scores are averaged."""

_DECODED = 32


@dataclass(frozen=True)
class LocalisationQuestion:
    """What an evaluation of maps asks.

    Attributes:
        split: its definition; None: that of the encoder's training, else the table's column, else a patient hash.
        part: the part to score, to which come boxed images that were kept out of training.
        method: `cam` or `grad-cam`.
        allow_seen: score images that the encoder was trained on; the result says so.
        replicates, seed: of the bootstrap; the seed is also that of the random maps.

    Raises:
        UsageError: an unknown part or method, or numbers that cannot be meant.
    """

    split: str | None = None
    part: str = "test"
    method: Method = "cam"
    allow_seen: bool = False
    replicates: int = 2000
    seed: int = 0

    def __post_init__(self) -> None:
        for value, known, what in ((self.part, PARTS, "part"), (self.method, METHODS, "method")):
            if value not in known:
                raise UsageError(f"unknown {what} {value!r}", f"use one of {', '.join(known)}")
        if self.replicates < 1 or self.seed < 0:
            raise UsageError(
                f"{self.replicates} replicates, seed {self.seed}", "use replicates from 1 on, a seed from 0 on"
            )


@dataclass(frozen=True, eq=False)
class _Images:
    """Images, the encoder that maps them, and how to come by their pixels: `pixels(rows)` are None where refused."""

    embedder: Embedder
    encoder: Json
    catalogue: Catalogue
    pixels: Callable[[NDArray[np.int64], Progress], list[Pixels | None]]


def evaluate_localisation(
    index: Index, boxes: Path | str, question: LocalisationQuestion | None = None, progress: Progress = silent
) -> LocalisationResult:
    """Evaluate the maps of the boxed images of an index.

    Raises:
        UsageError: imported embeddings, no pixels, or no trained head.
        CatalogueError: the table of boxes or the split cannot be used, or no boxed image is left to score.
        CxrsearchError: the encoder was trained on boxed images that would be scored.
    """
    encoder = index.manifest.require_encoder()
    if index.stored_pixels(0) is None:
        raise UsageError("this index keeps no pixels, so no map can be computed", "build it without --no-pixels")

    def pixels(rows: NDArray[np.int64], _: Progress) -> list[Pixels | None]:
        return [index.stored_pixels(int(row)) for row in rows]

    images = _Images(index.embedder, encoder, index.catalogue, pixels)
    return _evaluated(images, read_boxes(Path(boxes)), question or LocalisationQuestion(), progress)


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
    """Evaluate the maps of the boxed images of a folder; only these are decoded.

    Args:
        images, labels: the folder, and NIH's table or a plain CSV.
        weights: an encoder with a trained head.
        boxes: NIH's `BBox_List_2017.csv`.
        question: what to ask.
        device, precision, workers: as of `build_index`.
        progress: called as images are decoded and mapped.

    Raises:
        CxrsearchError: as `evaluate_localisation`, and what of the folder, the table or the weights cannot be used.
    """
    embedder = Embedder(load_encoder(weights), device, precision)
    vocabulary = Vocabulary(embedder.spec.findings) if embedder.spec.findings else Vocabulary()
    source = open_source(images)
    catalogue = read_images(source, Path(labels), vocabulary).catalogue
    refused: list[tuple[str, str]] = []
    pixels = partial(_decoded, catalogue, source, embedder, workers, refused)
    given = _Images(embedder, embedder.spec.to_json(), catalogue, pixels)
    result = _evaluated(given, read_boxes(Path(boxes)), question or LocalisationQuestion(), progress)
    return replace(result, refused=tuple(refused))


def _decoded(
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
    found: list[Pixels | None] = []
    for batch in load_batches(source, names, batches, embedder.spec.preprocess, workers=workers):
        for image in batch:
            if isinstance(image, RefusedImage):
                refused.append((catalogue.ids[rows[len(found)]], image.reason))
            found.append(None if isinstance(image, RefusedImage) else image.stored.pixels)
        progress("reading images", len(found), len(names))
    return found


def _evaluated(images: _Images, boxes: Boxes, question: LocalisationQuestion, progress: Progress) -> LocalisationResult:
    findings = images.embedder.spec.findings
    if findings is None:
        raise UsageError(f"{images.embedder.spec.label} has no trained head to locate by", "name trained weights")
    definition = question.split or choose_split(images.catalogue, images.encoder)
    cases, warnings = _cases(images.catalogue, boxes, findings, images.embedder.spec.preprocess.pixel_side)
    choosing, scored, said = _divided(images, boxes, cases, definition, question)
    maps = _Maps.of(images, [*choosing, *scored], question, progress)
    scored = [case for case in scored if case.image in maps.by_image]
    choosing = [case for case in choosing if case.image in maps.by_image]
    thresholds, scores = _scores(maps, choosing, scored, question.seed, progress)
    drawn = {"replicates": question.replicates, "seed": question.seed}
    averages = {name: average_cases(scored, own, len(findings), **drawn) for name, own in scores.items()}
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
        warnings=(*images.catalogue.warnings, *warnings, *said),
        replicates=question.replicates,
        seed=question.seed,
    )


def _cases(catalogue: Catalogue, boxes: Boxes, findings: tuple[str, ...], side: int) -> tuple[list[Case], list[str]]:
    """What there is to judge, in catalogue order, and what the table has besides."""
    rows = {image: row for row, image in enumerate(catalogue.ids)}
    here = [i for i, image in enumerate(boxes.images) if image in rows]
    if not here:
        fix = "name the table of the boxes of these images"
        raise CatalogueError(f"none of the {len(set(boxes.images))} boxed images is among these images", fix)
    known = [i for i in here if boxes.findings[i] in findings]
    unknown = counted(len(here) - len(known), "box", "boxes")
    said = [] if len(known) == len(here) else [f"{unknown} of findings the head does not know"]
    pixels, members = boxes.pixels(side), dict[tuple[int, int], list[int]]()
    for i in known:
        members.setdefault((rows[boxes.images[i]], findings.index(boxes.findings[i])), []).append(i)
    patients = catalogue.patients
    return [Case(*key, patients[key[0]], pixels[own]) for key, own in sorted(members.items())], said


def _divided(
    images: _Images, boxes: Boxes, cases: list[Case], definition: str, question: LocalisationQuestion
) -> tuple[list[Case], list[Case], list[str]]:
    """The cases that choose the threshold, those that are scored, and what a reader must know of them."""
    parts = parse_split(definition).assign(images.catalogue)
    seen = find_seen(images.encoder, images.catalogue, boxes)
    free = (parts == question.part) | ((parts == "train") & ~seen.learned & seen.spared)
    scored = [case for case in cases if free[case.image]]
    choosing = [case for case in cases if parts[case.image] == "val" and not free[case.image]]
    if not scored:
        raise CatalogueError(
            f"no boxed image is in part {question.part} of {definition}", "name another --part or --split"
        )
    shown = np.unique([case.image for case in scored])
    fix = "score another part or split, or train with --exclude-boxes"
    said = require_unseen(seen, shown, allowed=question.allow_seen, noun="boxed image", fix=fix)
    if not choosing:
        said.append("no boxed image is in the validation part, so the threshold is the default one")
    return choosing, scored, said


@dataclass(frozen=True, eq=False)
class _Maps:
    """All findings' maps of the images: float64 (F, h, w) each, and how they lie over the stored pixels."""

    by_image: dict[int, Floats]
    embedder: Embedder

    @classmethod
    def of(cls, images: _Images, cases: list[Case], question: LocalisationQuestion, progress: Progress) -> "_Maps":
        """Map every image that can be read."""
        rows = np.array(sorted({case.image for case in cases}), dtype=np.int64)
        maps: dict[int, Floats] = {}
        for done, (row, pixels) in enumerate(zip(rows, images.pixels(rows, progress), strict=True)):
            progress("maps", done, len(rows))
            if pixels is not None:
                image = embed_images(images.embedder, [pixels])[0]
                found = finding_maps(images.embedder, image, question.method)
                assert found is not None
                maps[int(row)] = found.maps
        progress("maps", len(rows), len(rows))
        if not maps:
            raise CatalogueError("none of the boxed images can be read", "check the folder of images")
        return cls(maps, images.embedder)

    @property
    def cells(self) -> tuple[int, int]:
        """Height and width of a map."""
        height, width = next(iter(self.by_image.values())).shape[1:]
        return height, width

    def whole(self, values: Floats) -> Floats:
        """A map over the stored pixels."""
        return on_stored(self.embedder.spec.preprocess, values)

    def own(self, cases: list[Case]) -> MapOf:
        """Each case's map."""
        return lambda i: self.whole(self.by_image[cases[i].image][cases[i].finding])

    def others(self, cases: list[Case], seed: int) -> MapOf:
        """For each case the map of another patient's case of its finding, drawn by the seed: where it mostly is.

        Noise where nobody else has one.
        """
        noise = self.random(seed)

        def drawn(i: int) -> Floats:
            own = cases[i]
            others = [case.image for case in cases if case.finding == own.finding and case.patient != own.patient]
            if not others:
                return noise(i)
            image = others[np.random.default_rng((seed, 1, i)).integers(len(others))]
            return self.whole(self.by_image[image][own.finding])

        return drawn

    def random(self, seed: int) -> MapOf:
        """Uniform noise, a number a cell."""
        return lambda i: self.whole(np.random.default_rng((seed, 0, i)).random(self.cells))


def _scores(
    maps: _Maps, choosing: list[Case], scored: list[Case], seed: int, progress: Progress
) -> tuple[dict[str, float], dict[str, Floats]]:
    """Each model's threshold, chosen on validation, and its scores, float64 (n, 24); and a difference."""
    sources: dict[str, tuple[Callable[[list[Case]], MapOf], int]] = {
        "map": (maps.own, 1),
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
