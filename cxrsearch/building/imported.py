"""Import embeddings that were made elsewhere: build an index without an encoder from a .npy file and a table.

Operations that need only embeddings and catalogue work on such an index as on any other. Operations that need an
image's pixels, or embed a new image, raise an error.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrsearch.building.build import BuildResult, finish_index, make_result, require_replaceable
from cxrsearch.errors import CatalogueError, CxrsearchError
from cxrsearch.files import digest_file
from cxrsearch.images.findings import Vocabulary
from cxrsearch.images.formats.format_registry import read_table
from cxrsearch.images.matching import Matched
from cxrsearch.images.pixel_cache import SHARD_IMAGES
from cxrsearch.images.sources.folder import FolderSource
from cxrsearch.progress import Progress, silent
from cxrsearch.store.content import IndexContent
from cxrsearch.store.filtered_search import require_kind
from cxrsearch.store.writer import IndexWriter, ShardRecord
from cxrsearch_indexes import Metric
from cxrsearch_indexes.vectors import LARGEST_NORM, unusable

_SAVE = "save the embeddings with numpy.save, as float32 (images, dimensions)"
_NO_SPLIT: dict[str, str | None] = {"definition": None, "part": None}


def import_embeddings(
    embeddings: Path | str,
    catalogue: Path | str,
    *,
    index: Path | str = "cxr-index",
    kind: str = "exact",
    metric: Metric = "l2",
    findings: Sequence[str] | None = None,
    replace_other: bool = False,
    progress: Progress = silent,
) -> BuildResult:
    """Build an index from embeddings that were made elsewhere. After an interruption, the same call continues.

    The same file and table give the same bytes, wherever they are. Memory: the file is memory-mapped, and one shard of
    2,048 rows is held at a time.

    Args:
        embeddings: a .npy file of floats (n, dim). Floats other than float32 are converted, with a warning.
        catalogue: NIH's Data_Entry table or a plain CSV, with n rows in the order of the embeddings.
        index: the index directory. An existing index of imported embeddings is replaced at the end, in one step.
        kind: how the index is searched, one of `cxrsearch_indexes.KINDS`.
        metric: `l2`, `ip` or `cosine`.
        findings: the vocabulary, if not NIH's.
        replace_other: replace an index of images.
        progress: called as the work proceeds.

    Raises:
        CatalogueError: the table cannot be used, or its number of rows differs from that of the embeddings.
        CxrsearchError: the file cannot be used, or see `cxrsearch.errors`. Nothing is written then.
    """
    require_kind(kind, metric, "cpu")
    if not replace_other:
        require_replaceable(Path(index), lambda present: present.encoder is None)
    path, table = Path(embeddings), Path(catalogue)
    rows = read_table(table, Vocabulary.of(findings))
    vectors = open_embeddings(path)
    if len(vectors) != len(rows):
        raise CatalogueError(
            f"{path.name} has {len(vectors)} embeddings, {table.name} {len(rows)} rows",
            "give a table with one row per embedding, in the same order",
        )
    _require_usable(vectors, rows.ids, path.name, progress)
    plan = {"embeddings": digest_file(path), "shard_images": SHARD_IMAGES}
    with IndexWriter(Path(index), plan) as writer:
        records = list(_write_shards(writer, vectors, progress))
        content = IndexContent(Matched(rows, FolderSource(table.parent)), records)
        manifest = finish_index(
            writer, content, None, kind=kind, metric=metric, device="cpu", split=_NO_SPLIT, progress=progress
        )
    result = make_result(Path(index), content, manifest)
    return replace(result, warnings=(*_warn_of_conversion(vectors, path.name), *result.warnings))


def open_embeddings(path: Path) -> NDArray[Any]:
    """Memory-map the embeddings of a .npy file: floats (n, dim), n and dim at least 1. Nothing in it is executed.

    Raises:
        CxrsearchError: the file is missing, is not a .npy file, is truncated, or holds anything else.
    """
    array = _map_array(path)
    if array.ndim != 2 or not array.size:
        raise CxrsearchError(f"{path.name} holds an array of shape {array.shape}, not (images, dimensions)", _SAVE)
    if array.dtype.kind != "f":
        raise CxrsearchError(f"{path.name} holds {array.dtype} values, which are not embeddings", _SAVE)
    if path.stat().st_size != array.offset + array.nbytes:
        raise CxrsearchError(f"{path.name} continues after its array of shape {array.shape}", "save one array per file")
    return array


def _map_array(path: Path) -> "np.memmap[Any, np.dtype[Any]]":
    try:
        with path.open("rb") as file:
            start = file.read(4)
        if start == b"PK\x03\x04":
            raise CxrsearchError(f"{path.name} is an .npz archive, or another zip file", _SAVE)
        return np.lib.format.open_memmap(path, mode="r")
    except OSError as error:
        raise CxrsearchError(f"cannot read {path}: {error.strerror}", "name a .npy file of embeddings") from error
    except ValueError as error:
        raise CxrsearchError(f"{path.name} is not a .npy file of numbers, or is damaged: {error}", _SAVE) from error


def _read_float32(vectors: NDArray[Any], start: int) -> NDArray[np.float32]:
    """Read the rows of the shard that begins at `start`, as float32 (m, dim)."""
    with np.errstate(over="ignore"):  # a value too large for float32 becomes infinite, and its row is refused
        return np.asarray(vectors[start : start + SHARD_IMAGES], dtype=np.float32, order="C")


def _require_usable(vectors: NDArray[Any], ids: Sequence[str], name: str, progress: Progress) -> None:
    """Refuse values that cannot be searched, before anything is written. Raises CxrsearchError."""
    for start in range(0, len(vectors), SHARD_IMAGES):
        progress("checking embeddings", start, len(vectors))
        refused = unusable(_read_float32(vectors, start))
        if refused.size:
            row = start + int(refused[0])
            values = vectors[row]
            what = "NaN" if np.isnan(values).any() else "an infinite value" if np.isinf(values).any() else None
            raise CxrsearchError(
                f"{name}: row {row} (counted from 0, image {ids[row]}) "
                + (f"holds {what}" if what else f"has a norm over {LARGEST_NORM:g}"),
                "correct the embedding, or leave its row out of both files",
            )
    progress("checking embeddings", len(vectors), len(vectors))


def _write_shards(writer: IndexWriter, vectors: NDArray[Any], progress: Progress) -> Iterator[ShardRecord]:
    """Write the missing shards, and yield the records of all shards."""
    facts = {"source_sha256": None, "pixel_sha256": None, "description": f"imported {vectors.dtype.name}"}
    for number, start in enumerate(range(0, len(vectors), SHARD_IMAGES)):
        progress("writing embeddings", start, len(vectors))
        # The plan holds the digest of the file, so a finished shard is still of these embeddings.
        record = writer.read_finished_shard(number)
        if record is None:
            rows = range(start, min(start + SHARD_IMAGES, len(vectors)))
            record = ShardRecord([{"row": row} | facts for row in rows], [])
            writer.write_shard(number, record, [_read_float32(vectors, start)], [])
        yield record
    progress("writing embeddings", len(vectors), len(vectors))


def _warn_of_conversion(vectors: NDArray[Any], name: str) -> list[str]:
    if vectors.dtype.newbyteorder("=") == np.float32:
        return []
    return [f"{name} holds {vectors.dtype.name}; the index keeps the embeddings as float32"]
