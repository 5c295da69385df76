"""What options stand for: the folders, tables and names they default to, checked before torch is imported."""

import os
from collections.abc import Sequence
from pathlib import Path

from cxrsearch.errors import CatalogueError, UsageError
from cxrsearch_cli import console


def resolve_index(argument: Path | None, option: Path | None = None) -> Path:
    """The index directory: the argument or the option, else `$CXRSEARCH_INDEX`, else `cxr-index`.

    Raises:
        UsageError: the argument and the option differ.
    """
    if argument is not None and option is not None and argument != option:
        raise UsageError(f"two index directories: {argument} and --index {option}", "give one of the two")
    return argument or option or Path(os.environ.get("CXRSEARCH_INDEX") or "cxr-index")


def require_index(option: Path | None) -> Path:
    """The index directory, as `resolve_index`, checked to contain an index.

    Raises:
        StoreError: there is none, or its manifest is invalid.
    """
    folder = resolve_index(None, option)
    read_findings(folder)
    return folder


def read_findings(folder: Path) -> tuple[str, ...]:
    """The vocabulary of an index, from its manifest alone. Raises StoreError as `require_index`."""
    from cxrsearch.store.manifest import read_manifest

    return read_manifest(folder.resolve()).findings


def require_finding(name: str, vocabulary: Sequence[str] | None) -> None:
    """Raise UsageError if the vocabulary (None: NIH's) lacks this finding."""
    from cxrsearch.images.findings import Vocabulary

    (Vocabulary(tuple(vocabulary)) if vocabulary else Vocabulary()).resolve(name)


def require_split(definition: str | None) -> None:
    """Raise UsageError if the definition of a split is invalid."""
    from cxrsearch.images.splits import parse_split

    if definition is not None:
        parse_split(definition)


def require_one_source(images: Path | None, index: Path | None) -> None:
    """Raise UsageError if both a folder of images and an index are named."""
    if images is not None and index is not None:
        raise UsageError(f"images {images} and --index {index} at once", "name one of the two")


def split_names(text: str | None) -> tuple[str, ...]:
    """The names in `a,b,c`, without spaces around them; none in None."""
    return tuple(name.strip() for name in (text or "").split(",") if name.strip())


def find_dataset(images: Path | None, labels: Path | None) -> tuple[Path, Path | None]:
    """The folder of images and its table, or None for a table that is neither named nor searched for.

    Without a folder, both are those in `$CXRSEARCH_DATA`, else in `data`.

    Raises:
        CatalogueError: there is no such folder, or no such table.
        UsageError: several tables lie beside the folder.
    """
    folder = images or Path(os.environ.get("CXRSEARCH_DATA") or "data") / "images"
    if not folder.is_dir():
        fix = "name the folder of images" if images is None else "check the path"
        raise CatalogueError(f"no folder of images at {folder}", fix)
    if labels is not None:
        if not labels.exists():
            raise CatalogueError(f"cannot read the table {labels}: No such file or directory", "check the path")
        return folder, labels
    tables = sorted(folder.parent.glob("Data_Entry_2017*.csv"))
    if images is not None:
        if tables:
            console.note(f"no --labels, so the findings are unknown; {tables[0]} lies beside the folder")
        return folder, None
    if len(tables) > 1:
        raise UsageError(
            f"{len(tables)} tables in {folder.parent}: {', '.join(path.name for path in tables)}",
            "name the right one with --labels",
        )
    return folder, tables[0] if tables else None
