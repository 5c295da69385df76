"""Options that several commands share, and what they mean when they are not given."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from cxrsearch.errors import CatalogueError, UsageError
from cxrsearch_cli import console

IndexOption = Annotated[
    Path | None,
    typer.Option(
        "--index", help="The index directory. Default: $CXRSEARCH_INDEX, else ./cxr-index.", show_default=False
    ),
]
IndexArgument = Annotated[
    Path | None, typer.Argument(metavar="[DIR]", help="The index directory, as --index.", show_default=False)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on stdout instead of tables.")]
AsLatex = Annotated[bool, typer.Option("--latex", help="Print a LaTeX table on stdout.")]
Replicates = Annotated[int, typer.Option(help="Of the patient bootstrap.", min=1)]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N; also for FAISS kinds that run on a GPU.")]
KindOption = Annotated[
    Literal["exact", "faiss-flat", "faiss-hnsw"],
    typer.Option(help="How the index is searched: exactly, or faster with some neighbours missing (faiss-hnsw)."),
]
MetricOption = Annotated[
    Literal["l2", "ip", "cosine"],
    typer.Option(help="Distance: L2 (not squared), the negated inner product, or 1 - cosine."),
]
Weights = Annotated[
    str | None,
    typer.Option(
        help="A checkpoint, a run's folder, imagenet, or random:SEED. "
        "Default: $CXRSEARCH_WEIGHTS, else the newest run in ./runs, else imagenet.",
        show_default=False,
    ),
]

ImagesArgument = Annotated[
    Path | None,
    typer.Argument(
        help="Folder of PNG, JPEG or DICOM files, searched with its sub-folders. "
        "Default: images/ in $CXRSEARCH_DATA (else ./data), with the Data_Entry_2017*.csv beside it.",
        show_default=False,
    ),
]


def _table(note: str) -> Any:
    columns = "image, patient, findings (and view, sex, age, split)"
    return typer.Option(
        "--labels", help=f"NIH's Data_Entry CSV, or a CSV with the columns {columns}. {note}", show_default=False
    )


LabelsOption = Annotated[Path | None, _table("Without it, findings are unknown and nothing can vote.")]
NeededLabels = Annotated[Path | None, _table("Needed with IMAGES.")]
LabelsOfImages = Annotated[Path | None, _table("Needed with IMAGES; an index has its own.")]
LabelsToLearn = Annotated[
    Path | None, _table("Needed with IMAGES, but for a recipe that learns without labels (unlabelled).")
]
FindingsOption = Annotated[
    str | None,
    typer.Option("--findings", help="Another vocabulary than NIH's 14 findings, as a,b,c.", show_default=False),
]


def index_folder(argument: Path | None, option: Path | None = None) -> Path:
    """The index directory: the argument or the option, else `$CXRSEARCH_INDEX`, else `cxr-index`.

    Raises:
        UsageError: both are given and differ.
    """
    if argument is not None and option is not None and argument != option:
        raise UsageError(f"two index directories: {argument} and --index {option}", "give one of the two")
    return argument or option or Path(os.environ.get("CXRSEARCH_INDEX") or "cxr-index")


def present_index(argument: Path | None, option: Path | None = None) -> Path:
    """The index directory, as `index_folder`, in which there is an index: to be asked before torch is imported.

    Raises:
        StoreError: there is none, or its manifest cannot be used.
    """
    folder = index_folder(argument, option)
    findings_of(folder)
    return folder


def findings_of(folder: Path) -> tuple[str, ...]:
    """The vocabulary of an index, from its manifest alone. Raises StoreError as `present_index`."""
    from cxrsearch.store.manifest import read_manifest

    return read_manifest(folder.resolve()).findings


def require_finding(name: str, vocabulary: Sequence[str]) -> None:
    """Raise UsageError where a vocabulary (none given: NIH's) has no such finding, before torch is imported."""
    from cxrsearch.images.findings import Vocabulary

    (Vocabulary(tuple(vocabulary)) if vocabulary else Vocabulary()).asked(name)


def require_split(definition: str | None) -> None:
    """Raise UsageError where a split's definition cannot be meant, before torch is imported."""
    from cxrsearch.images.splits import parse_split

    if definition is not None:
        parse_split(definition)


def data_folder() -> Path:
    """The folder of a data set: `$CXRSEARCH_DATA`, else `data`."""
    return Path(os.environ.get("CXRSEARCH_DATA") or "data")


def names(given: str | None) -> tuple[str, ...]:
    """The names in `a,b,c`."""
    return tuple(name.strip() for name in (given or "").split(",") if name.strip())


def require_one_source(images: Path | None, index: Path | None) -> None:
    """Raise UsageError where a folder of images and an index are both named."""
    if images is not None and index is not None:
        raise UsageError(f"images {images} and --index {index} at once", "name one of the two")


def inputs(images: Path | None, labels: Path | None) -> tuple[Path, Path | None]:
    """The folder and the table: as given, else where a data set lies; a folder that is given needs no table.

    Raises:
        CatalogueError: there is no such folder, or no such table.
        UsageError: several tables lie there.
    """
    folder = images or data_folder() / "images"
    if not folder.is_dir():
        fix = "name the folder of images" if images is None else "check the path"
        raise CatalogueError(f"no folder of images at {folder}", fix)
    if labels is not None and not labels.exists():
        raise CatalogueError(f"cannot read the table {labels}: No such file or directory", "check the path")
    beside = sorted(folder.parent.glob("Data_Entry_2017*.csv"))
    if labels is not None:
        return folder, labels
    if images is not None:
        if beside:
            console.note(f"no table given, so findings stay unknown; {beside[0]} lies beside the folder (--labels)")
        return folder, None
    if len(beside) > 1:
        raise UsageError(
            f"{len(beside)} tables in {folder.parent}: {', '.join(path.name for path in beside)}",
            "name the right one with --labels",
        )
    return folder, beside[0] if beside else None
