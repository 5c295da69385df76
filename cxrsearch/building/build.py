"""Build an index directory from a folder of images and a table.

catalogue (images) -> shards of embeddings and pixels (encoder, store) -> search structure, reference -> commit
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrsearch.analysis.neighbours.typicality import Reference, reference_rows
from cxrsearch.encoder.embed import Embedder, cores
from cxrsearch.encoder.weights import choose_weights, load_encoder
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
from cxrsearch.store.content import UNLISTED, IndexContent, make_refusal
from cxrsearch.store.filtered_search import build_vectors, require_kind
from cxrsearch.store.layout import SEARCH
from cxrsearch.store.manifest import Manifest
from cxrsearch.store.shards import ShardFiller
from cxrsearch.store.writer import IndexWriter, read_present_manifest
from cxrsearch.words import counted
from cxrsearch_indexes import Metric, Restriction, VectorIndex
from cxrsearch_indexes.vectors import Vectors

REFERENCE_K = 20
"""Typicality compares distances to the 20th neighbour of another patient, the paper's k."""


@dataclass(frozen=True)
class BuildResult:
    """The result of a build: what was indexed, and what was refused.

    Attributes:
        path: the index directory.
        generation: the generation of the index that was written, 16 hex digits.
        images: number of indexed images.
        patients: number of their patients.
        refused: image and reason for every file that is not in the index.
        rows_without_image: number of table rows that have no file.
        warnings: what a user should know, one sentence each.
    """

    path: Path
    generation: str
    images: int
    patients: int
    refused: tuple[tuple[str, str], ...]
    rows_without_image: int
    warnings: tuple[str, ...]

    def to_frame(self) -> pd.DataFrame:
        """Return the refused images as a table with the columns image and reason."""
        return pd.DataFrame(list(self.refused), columns=["image", "reason"])

    def to_json(self) -> Json:
        """Return the object that `cxrsearch build-index --json` prints."""
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
    """Embed every image of a folder into an index. After an interruption, the same call continues.

    Args:
        images: a folder of PNG, JPEG or DICOM files, or another source of images.
        labels: NIH's table or a plain CSV. None: findings are unknown.
        index: the index directory. An existing index is replaced at the end, in one step.
        weights: of the encoder, see `load_encoder`. None: see `choose_weights`.
        arch: the architecture, for weights that do not name one.
        size: side of the network's input in pixels.
        kind: how the index is searched, one of `cxrsearch_indexes.KINDS`.
        metric: `l2`, `ip` or `cosine`.
        findings: the vocabulary. None: NIH's 14.
        split: the definition of a split, recorded in the catalogue.
        part: the part of the split to index. None: all images.
        patient_pattern: regular expression that finds the patient in a file's path, if there is no table.
        precision: `auto`, `fp32` or `bf16`.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        batch_size: images per batch.
        workers: decoding processes. None: all cores beside a GPU, else a quarter of them.
        pixels: whether the index keeps the stored pixels.
        cache: folder of a pixel cache to read and fill.
        strict: refuse to build if any image is refused.
        replace_other: replace even an index of other images or of another encoder.
        progress: called as the work proceeds.

    Raises:
        CxrsearchError: any input that cannot be used; see `cxrsearch.errors`.
    """
    _require_valid(batch_size, workers, split, part)
    require_kind(kind, metric, device)
    matched = _match(open_source(images), labels, findings, patient_pattern, progress)
    finish = partial(finish_index, kind=kind, metric=metric, device=device, progress=progress)
    encoder = load_encoder(weights or choose_weights(os.environ, Path.cwd()), arch=arch, size=size)
    filling = {"batch_size": batch_size, "workers": workers, "keep_pixels": pixels, "cache": cache}
    build = _Build(Path(index), Embedder(encoder, device, precision), filling, strict, replace_other, finish, progress)
    return build.run(_select_part(matched, split, part, strict), {"definition": split, "part": part})


@dataclass(frozen=True, eq=False)
class _Build:
    """A build that is about to start: where, by what encoder, and how."""

    folder: Path
    embedder: Embedder
    filling: dict[str, Any]
    strict: bool
    replace_other: bool
    finish: Callable[..., Manifest]
    progress: Progress

    def run(self, matched: Matched, split: dict[str, str | None]) -> BuildResult:
        """Embed the images, and make the result the index."""
        if not self.replace_other:
            require_replaceable(self.folder, partial(_is_of, matched.source, self.embedder))
        filler = ShardFiller(matched, self.embedder, **self.filling | self._decoding())
        with IndexWriter(self.folder, filler.plan()) as writer:
            content = IndexContent(matched, filler.run(writer, self.progress))
            content.require_images(self.strict)
            manifest = self.finish(writer, content, self.embedder, split=split)
        return make_result(self.folder, content, manifest)

    def _decoding(self) -> dict[str, Any]:
        """The processes that decode, and the pixel cache."""
        workers, cache = self.filling["workers"], self.filling["cache"]
        return {
            "workers": _default_workers(self.embedder.device.type) if workers is None else workers,
            "cache": None if cache is None else PixelCache(Path(cache), self.embedder.spec.preprocess),
        }


def _match(
    source: ImageSource,
    labels: Path | str | None,
    findings: Sequence[str] | None,
    patient_pattern: str | None,
    progress: Progress,
) -> Matched:
    table, vocabulary = None if labels is None else Path(labels), Vocabulary.of(findings)
    return read_images(source, table, vocabulary, patient_pattern=patient_pattern, progress=progress)


def _require_valid(batch_size: int, workers: int | None, split: str | None, part: str | None) -> None:
    if batch_size < 1 or (workers or 0) < 0:
        raise UsageError(f"batch size {batch_size} with {workers} workers", "use a batch size >= 1 and workers >= 0")
    if part is not None and split is None:
        raise UsageError(f"part {part!r} without a split", "add --split")


def _is_of(source: ImageSource, embedder: Embedder, present: Manifest) -> bool:
    """Whether an existing index is of these images and this encoder."""
    same_encoder = present.encoder is not None and present.encoder["fingerprint"] == embedder.fingerprint
    return same_encoder and present.images_root == source.location


def require_replaceable(folder: Path, ours: Callable[[Manifest], bool]) -> None:
    """Refuse to replace an index of other images or another encoder: it may have taken hours to build.

    Args:
        folder: the index directory.
        ours: whether an existing index, by its manifest, may be replaced.

    Raises:
        StoreError: there is an index that may not be replaced.
    """
    present = read_present_manifest(folder)
    if present is not None and not ours(present):
        root = present.images_root or "imported embeddings"
        raise StoreError(
            f"{folder} already is an index: {counted(present.n, 'image')} of {root}, encoder {present.encoder_label}",
            "name another --index, or replace it with --replace",
        )


def _default_workers(device: str) -> int:
    """Choose the number of decoding processes: all cores beside a GPU, a quarter if the network runs on them too."""
    return cores() // 4 if device == "cpu" else cores()


def _select_part(matched: Matched, definition: str | None, part: str | None, strict: bool) -> Matched:
    """Record the split in the catalogue and keep the requested part, None for all images.

    Raises:
        ImageError: `strict`, and a file has no row in the table.
        UsageError, SplitError: as `parse_split` and `Split.rows`.
    """
    if strict and matched.unlisted:
        raise make_refusal([(name, UNLISTED) for name in matched.unlisted])
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
    """Add the other files of an index to its finished shards, and commit it. Imported embeddings have no embedder.

    Raises:
        MissingDependencyError, WriteError: as `build_vectors`.
    """
    vectors = build_vectors(kind, writer.blocks(), metric, writer.content / SEARCH, device, progress)
    content.write(writer.content, embedder, compute_reference(vectors, writer.blocks(), content.catalogue))
    return writer.commit(content.manifest(embedder, vectors, writer.plan, split))


def compute_reference(index: VectorIndex, blocks: Sequence[NDArray[np.float32]], catalogue: Catalogue) -> Json:
    """Compute the reference of typicality: the k-th other-patient distances of at most 5,000 images (seed 0)."""
    rows, groups = reference_rows(index.n, seed=0), catalogue.patient_groups()
    restriction = Restriction(groups=groups, query_groups=groups[rows])
    reference = Reference.of(index.search(Vectors(blocks).take(rows), REFERENCE_K, restriction), REFERENCE_K)
    if reference is None:
        return {"k": REFERENCE_K, "distances": []}
    return {"k": reference.k, "distances": reference.distances.tolist()}


def make_result(path: Path, content: IndexContent, manifest: Manifest) -> BuildResult:
    """Make the result of a build from an index that was just committed."""
    return BuildResult(
        path=path,
        generation=manifest.generation,
        images=manifest.n,
        patients=manifest.summary["patients"],
        refused=tuple(content.refused),
        rows_without_image=content.matched.rows_without_image,
        warnings=tuple(_list_warnings(content, manifest)),
    )


def _list_warnings(content: IndexContent, manifest: Manifest) -> list[str]:
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
