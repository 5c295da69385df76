"""Building an index: a folder of images and a table in, an index directory out.

catalogue (images) -> shards of embeddings and pixels (encoder, store) -> search structure, reference -> commit
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrsearch.analysis.neighbours.typicality import Reference, reference_rows
from cxrsearch.encoder.embed import Embedder, cores
from cxrsearch.encoder.weights import default_weights, load_encoder
from cxrsearch.errors import StoreError, UsageError
from cxrsearch.files import Json
from cxrsearch.images.catalogue import Catalogue
from cxrsearch.images.findings import Vocabulary
from cxrsearch.images.matching import Matched, read_images
from cxrsearch.images.pixel_cache import PixelCache
from cxrsearch.images.sources.source import ImageSource
from cxrsearch.images.sources.source_registry import Location, open_source
from cxrsearch.images.splits import parse_split
from cxrsearch.json_values import refusals
from cxrsearch.progress import Progress, silent
from cxrsearch.store.content import UNLISTED, IndexContent, refusal
from cxrsearch.store.filtered_search import build_vectors, require_kind
from cxrsearch.store.layout import SEARCH
from cxrsearch.store.manifest import Manifest
from cxrsearch.store.shards import ShardFiller
from cxrsearch.store.writer import IndexWriter, present_manifest
from cxrsearch.words import counted
from cxrsearch_indexes import Metric, Restriction, VectorIndex
from cxrsearch_indexes.vectors import Vectors

REFERENCE_K = 20
"""Typicality compares distances to the 20th neighbour of another patient, the paper's k."""


@dataclass(frozen=True)
class BuildResult:
    """What became of the images.

    Attributes:
        path: the index directory.
        generation: of the index that was written.
        images: indexed images.
        patients: their patients.
        refused: image and reason for every file that is not in the index.
        rows_without_image: rows of the table for which the folder has no file.
        warnings: what a user should know.
    """

    path: Path
    generation: str
    images: int
    patients: int
    refused: tuple[tuple[str, str], ...]
    rows_without_image: int
    warnings: tuple[str, ...]

    def to_frame(self) -> pd.DataFrame:
        """The refused images: columns image, reason."""
        return pd.DataFrame(list(self.refused), columns=["image", "reason"])

    def to_json(self) -> Json:
        """The object that `cxrsearch build-index --json` prints."""
        return asdict(self) | {
            "path": str(self.path),
            "refused": refusals(self.refused),
            "warnings": list(self.warnings),
        }


def build_index(
    images: Location,
    labels: Path | str | None = None,
    *,
    index: Path | str = "cxr-index",
    weights: str | None = None,
    arch: str | None = None,
    size: int | None = None,
    kind: str = "exact",
    metric: Metric = "l2",
    findings: Sequence[str] | None = None,
    split: str | None = None,
    part: str | None = None,
    patient_pattern: str | None = None,
    precision: str = "auto",
    device: str = "auto",
    batch_size: int = 32,
    workers: int | None = None,
    pixels: bool = True,
    cache: Path | str | None = None,
    strict: bool = False,
    replace_other: bool = False,
    progress: Progress = silent,
) -> BuildResult:
    """Embed every image of a folder into an index; interrupted, the same call goes on where it was.

    Args:
        images, labels: folder of PNG, JPEG or DICOM files; NIH's table or a plain CSV, None leaves findings unknown.
        index: the index directory; an index that is there is replaced at the end, in one step.
        weights, arch, size: of the encoder, see `load_encoder`; no weights: see `default_weights`.
        kind, metric, findings: how the index is searched; another vocabulary than NIH's.
        split, part: a split's definition, recorded in the catalogue, and the one part to index.
        patient_pattern: regular expression that finds the patient in a file name, where there is no table.
        precision, device, batch_size, workers: how to embed; by default all cores decode beside a GPU, else a quarter.
        pixels, cache: whether to keep the stored pixels in the index; folder of a pixel cache to read and fill.
        strict, replace_other, progress: refuse to build when any image is refused; take the place of an index of
            another folder of images or another encoder; called as work goes on.

    Raises:
        CxrsearchError: any input that cannot be used; see `cxrsearch.errors`.
    """
    _require_meant(batch_size, workers, split, part)
    require_kind(kind, metric, device)
    source, table = open_source(images), None if labels is None else Path(labels)
    given = read_images(source, table, Vocabulary.of(findings), patient_pattern=patient_pattern, progress=progress)
    matched = _chosen(given, split, part, strict)
    encoder = load_encoder(weights or default_weights(os.environ, Path.cwd()), arch=arch, size=size)
    embedder = Embedder(encoder, device, precision)
    kept = None if cache is None else PixelCache(Path(cache), embedder.spec.preprocess)
    workers = _default_workers(embedder.device.type) if workers is None else workers
    if not replace_other:
        require_replaceable(Path(index), partial(_is_of, source, embedder))
    filler = ShardFiller(matched, embedder, batch_size=batch_size, workers=workers, keep_pixels=pixels, cache=kept)
    with IndexWriter(Path(index), filler.plan()) as writer:
        content = IndexContent(matched, filler.run(writer, progress))
        content.require_images(strict)
        recorded = {"definition": split, "part": part}
        finish = partial(finish_index, kind=kind, metric=metric, device=device, progress=progress)
        manifest = finish(writer, content, embedder, split=recorded)
    return build_result(Path(index), content, manifest)


def _require_meant(batch_size: int, workers: int | None, split: str | None, part: str | None) -> None:
    if batch_size < 1 or (workers or 0) < 0:
        raise UsageError(f"batch size {batch_size} with {workers} workers", "use a batch size >= 1 and workers >= 0")
    if part is not None and split is None:
        raise UsageError(f"part {part!r} of no split", "name a --split as well")


def _is_of(source: ImageSource, embedder: Embedder, present: Manifest) -> bool:
    """Whether an index is of these images, by this encoder."""
    own = present.encoder is not None and present.encoder["fingerprint"] == embedder.fingerprint
    return own and present.images_root == source.location


def require_replaceable(folder: Path, ours: Callable[[Manifest], bool]) -> None:
    """Raise StoreError where an index is there that is not ours: it took its time to make."""
    present = present_manifest(folder)
    if present is not None and not ours(present):
        root = present.images_root or "imported embeddings"
        raise StoreError(
            f"{folder} is an index already: {counted(present.n, 'image')} of {root}, encoder {present.encoder_label}",
            "name another --index, or put this one in its place with --replace",
        )


def _default_workers(device: str) -> int:
    """Decoding processes: one a core beside a GPU; a quarter of the cores where the network itself needs them."""
    return cores() // 4 if device == "cpu" else cores()


def _chosen(matched: Matched, definition: str | None, part: str | None, strict: bool) -> Matched:
    """The images with the split's parts, and of these only the one asked for; strict: no file may lack a row."""
    if strict and matched.unlisted:
        raise refusal([(name, UNLISTED) for name in matched.unlisted])
    if definition is None:
        return matched
    split, catalogue = parse_split(definition), matched.catalogue
    assigned = replace(catalogue, frame=catalogue.frame.assign(split=split.assign(catalogue)))
    return replace(matched, catalogue=assigned if part is None else assigned.take(split.rows(catalogue, part)))


def finish_index(
    writer: IndexWriter,
    content: IndexContent,
    embedder: Embedder | None,
    *,
    kind: str,
    metric: Metric,
    device: str,
    split: dict[str, str | None],
    progress: Progress,
) -> Manifest:
    """Add to finished shards what else an index holds, and commit it; no embedder where embeddings were imported.

    Raises:
        MissingDependencyError, WriteError: as `build_vectors`.
    """
    vectors = build_vectors(kind, writer.blocks(), metric, writer.content / SEARCH, device, progress)
    content.write(writer.content, embedder, typicality_reference(vectors, writer.blocks(), content.catalogue))
    return writer.commit(content.manifest(embedder, vectors, writer.plan, split))


def typicality_reference(index: VectorIndex, blocks: Sequence[NDArray[np.float32]], catalogue: Catalogue) -> Json:
    """The k-th other-patient distances of at most 5,000 seeded images of the index."""
    rows, groups = reference_rows(index.n, seed=0), catalogue.patient_groups()
    restriction = Restriction(groups=groups, query_groups=groups[rows])
    reference = Reference.of(index.search(Vectors(blocks).take(rows), REFERENCE_K, restriction), REFERENCE_K)
    if reference is None:
        return {"k": REFERENCE_K, "distances": []}
    return {"k": reference.k, "distances": reference.distances.tolist()}


def build_result(path: Path, content: IndexContent, manifest: Manifest) -> BuildResult:
    """What became of the images of an index that was just committed."""
    return BuildResult(
        path=path,
        generation=manifest.generation,
        images=manifest.n,
        patients=manifest.summary["patients"],
        refused=tuple(content.refused),
        rows_without_image=content.matched.rows_without_image,
        warnings=tuple(_warnings(content, manifest)),
    )


def _warnings(content: IndexContent, manifest: Manifest) -> list[str]:
    warnings = list(content.catalogue.warnings)
    if content.matched.patient_source == "file":
        warnings.append(
            "patients are not known: every file counts as its own patient, so a query may find images of its own "
            "patient (give --labels or --patient-pattern)"
        )
    elif content.own_patients:
        one = "image without a patient id counts as its own patient"
        warnings.append(counted(content.own_patients, one, "images without a patient id count as their own patients"))
    return [*warnings, *manifest.warnings]
