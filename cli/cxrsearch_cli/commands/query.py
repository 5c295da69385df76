"""`cxrsearch query`: the nearest images of other patients, and what they say."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cxrsearch.errors import CatalogueError, CxrsearchError, UsageError
from cxrsearch_cli import console
from cxrsearch_cli.inputs import require_index, split_names
from cxrsearch_cli.options import AsJson, Device, IndexOption, select_arguments, with_options

if TYPE_CHECKING:
    from cxrsearch.query.answer import QueryResult
    from cxrsearch.query.index import Index


@dataclass(frozen=True, kw_only=True)
class _Options:
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="An image, several, or a folder of images.")]
    index: IndexOption = None
    k: Annotated[int, typer.Option("-k", help="Number of neighbours.")] = 20
    vote: Annotated[
        Literal["uniform", "distance", "softmax", "mlknn"],
        typer.Option(
            help="How neighbours vote: uniform, distance, softmax or mlknn. mlknn is fitted for each query, which is "
            "slow on a large index.",
            metavar="VOTE",
        ),
    ] = "uniform"
    patient: Annotated[
        str | None,
        typer.Option(
            help="The patient of the query, whose images are left out. Default: recognised by file, pixels, name or "
            "DICOM tags."
        ),
    ] = None
    same_patient: Annotated[
        bool,
        typer.Option("--same-patient", help="Also allow images of the query's patient, and the query itself."),
    ] = False
    view: Annotated[str | None, typer.Option(help="Only images with this view: PA or AP.")] = None
    sex: Annotated[str | None, typer.Option(help="Only images of this sex: F or M.")] = None
    age: Annotated[str | None, typer.Option(help="Only patients of this age in years, as 40-60.")] = None
    present: Annotated[str | None, typer.Option("--with", help="Only images with all of these findings, as a,b.")] = (
        None
    )
    absent: Annotated[str | None, typer.Option("--without", help="Only images with none of these findings.")] = None
    alarm: Annotated[
        float,
        typer.Option(
            help="Flag an image that is unlike the index. At most this share of ordinary images is flagged, too."
        ),
    ] = 0.01
    box: Annotated[
        str | None,
        typer.Option(
            help="Search by a region, as x,y,w,h in pixels of the image's file: upper left corner, width, height. "
            "Needs the index's pixels.",
            show_default=False,
        ),
    ] = None
    candidates: Annotated[int, typer.Option(help="With --box: number of images to compare by their best region.")] = 200
    sheet: Annotated[
        Path | None, typer.Option(help="Write a contact sheet of the query and its neighbours to this PNG.")
    ] = None
    weights: Annotated[
        str | None,
        typer.Option(help="Use these weights; others than the index's are refused. Default: the copy in the index."),
    ] = None
    device: Device = "auto"
    as_json: AsJson = False


@with_options
def command(options: _Options) -> None:
    """Find the most similar X-rays of other patients, and let them vote on the findings.

    Several images, or a folder, give one answer per image, in name order. If one of them fails, the exit code is 3.
    """
    paths, several = _find_queries(options.images)
    box = _parse_box(options.box, len(paths))
    _require_sheet(options.sheet, len(paths))
    folder = require_index(options.index)
    from cxrsearch.query.index import open_index

    question = _read_question(options) | {"box": box}
    index = open_index(folder, device=options.device, weights=options.weights)
    failed = 0
    for path in paths:
        try:
            with console.progress() as progress:
                result = index.query(path, progress=progress, **question)
        except CxrsearchError as problem:
            if not several or isinstance(problem, UsageError):
                raise
            failed += 1
            _show_failure(path, problem, options.as_json)
            continue
        _show(result, options.as_json)
        if options.sheet is not None:
            _write_sheet(index, result, options.sheet)
    if failed:
        raise typer.Exit(console.PARTIAL)


def _read_question(options: _Options) -> dict[str, Any]:
    """The arguments of `Index.query`, other than the image, the box and the progress."""
    from cxrsearch.query.options import QueryOptions
    from cxrsearch.store.filtered_search import Filters, parse_years

    view, sex = (None if value is None else value.upper() for value in (options.view, options.sex))
    present, absent = split_names(options.present), split_names(options.absent)
    filters = Filters(view, sex, parse_years(options.age), present, absent)
    return select_arguments(QueryOptions, options) | {"filters": filters}


def _parse_box(text: str | None, queries: int) -> tuple[float, float, float, float] | None:
    """The box in `x,y,w,h`: left, top, width and height in pixels."""
    if text is None:
        return None
    if queries > 1:
        raise UsageError(f"one box for {queries} images", "query one image with --box")
    try:
        left, top, width, height = (float(side) for side in text.split(","))
    except ValueError:
        raise UsageError(f"invalid box {text!r}", "give it as x,y,w,h in pixels") from None
    return left, top, width, height


def _find_queries(images: list[Path]) -> tuple[list[Path], bool]:
    """The images to query with, those in folders included, and whether there may be several."""
    from cxrsearch.images.image_file import require_readable
    from cxrsearch.images.sources.folder import find_images

    several = len(images) > 1 or images[0].is_dir()
    if not several:
        require_readable(images[0])
    paths = [path for image in images for path in (find_images(image) if image.is_dir() else [image])]
    if not paths:
        raise CatalogueError(f"no images in {images[0]}", "name a folder of PNG, JPEG or DICOM files")
    return (sorted(paths, key=lambda path: (path.name, path)) if several else paths), several


def _require_sheet(path: Path | None, queries: int) -> None:
    """Refuse a sheet that cannot be written, before the work."""
    if path is None:
        return
    from cxrsearch.files import require_folder
    from cxrsearch.report.contact_sheet import require_png

    require_png(path)
    require_folder(path)
    if queries > 1:
        raise UsageError(f"one contact sheet for {queries} images", "query one image with --sheet")


def _show_failure(path: Path, problem: CxrsearchError, as_json: bool) -> None:
    if as_json:
        console.json_line({"query": str(path), "error": str(problem)})
    else:
        console.error(problem)


def _show(result: "QueryResult", as_json: bool) -> None:
    console.warnings(result.warnings)
    if as_json:
        console.json_line(result.to_json())
        return
    columns = {"rank": True, "image": False, "patient": False, "view": False, "findings": False, "distance": True}
    rows = (
        (
            str(record["rank"]),
            record["image"],
            record["patient"],
            record["view"] or "",
            "unknown" if record["findings"] is None else ", ".join(record["findings"]),
            f"{record['distance']:.4g}",
        )
        for record in result.neighbours.records()
    )
    title = f"{result.query}: {result.heading()}"
    if result.box is not None:
        title += f", by region {','.join(f'{side:g}' for side in result.box)}"
    console.table(title, columns, rows)
    if (known := result.known()) is not None:
        console.text(f"{known}\n")
    _show_votes(result)
    console.text(result.typicality.description)


def _show_votes(result: "QueryResult") -> None:
    predictions = {record["finding"]: record["probability"] for record in result.predictions_records()}
    columns = {"finding": False, "vote": True, "prevalence": True, "lift": True}
    columns |= {"network": True} if predictions else {}
    rows = [
        [
            vote["finding"],
            _format_share(vote["probability"]),
            _format_share(vote["prevalence"]),
            "" if vote["lift"] is None else f"{vote['lift']:.1f}x",
            *([_format_share(predictions.get(vote["finding"]))] if predictions else []),
        ]
        for vote in result.votes_records()
    ]
    if rows:
        console.table("Votes of these neighbours", columns, rows)


def _format_share(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


def _write_sheet(index: "Index", result: "QueryResult", path: Path) -> None:
    from cxrsearch.query.answer_sheet import query_sheet
    from cxrsearch.report.contact_sheet import save_png

    save_png(query_sheet(index, result), path)
    console.note(f"contact sheet: {path}")
