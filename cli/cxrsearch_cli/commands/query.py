"""`cxrsearch query`: the nearest images of other patients, and what they say."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cxrsearch.errors import CatalogueError, CxrsearchError, UsageError
from cxrsearch_cli import console
from cxrsearch_cli.options import AsJson, Device, IndexOption, names, present_index

if TYPE_CHECKING:
    from cxrsearch.query.answer import QueryResult
    from cxrsearch.query.index import Index


_Images = Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="An image, several, or a folder of images.")]
_K = Annotated[int, typer.Option("-k", help="Neighbours wanted.")]
_Vote = Annotated[
    Literal["uniform", "distance", "softmax", "mlknn"],
    typer.Option(help="How neighbours vote. mlknn is fitted at each query, which takes its time on a large index."),
]
_Patient = Annotated[
    str | None,
    typer.Option(
        help="The query's patient, whose images are left out. Default: found by file, pixels, name or DICOM tags."
    ),
]
_SamePatient = Annotated[
    bool, typer.Option("--same-patient", help="Let images of the query's own patient, and itself, answer too.")
]
_View = Annotated[str | None, typer.Option(help="Only images of this view: PA or AP.")]
_Sex = Annotated[str | None, typer.Option(help="Only images of this sex: F or M.")]
_Age = Annotated[str | None, typer.Option(help="Only these years of age, as 40-60.")]
_Present = Annotated[str | None, typer.Option("--with", help="Only images with all these findings, as a,b.")]
_Absent = Annotated[str | None, typer.Option("--without", help="Only images with none of these findings.")]
_Sheet = Annotated[Path | None, typer.Option(help="Write a contact sheet of the query and its neighbours to this PNG.")]
_Alarm = Annotated[
    float,
    typer.Option(help="Flag an image as unlike the index; at most this share of ordinary images is flagged, too."),
]
_Box = Annotated[
    str | None,
    typer.Option(
        help="Ask by a region, as x,y,w,h in pixels of the image's file: upper left corner, width, height; needs the "
        "index's pixels.",
        show_default=False,
    ),
]
_Candidates = Annotated[int, typer.Option(help="With --box: images that are judged by their best region.")]
_Weights = Annotated[
    str | None, typer.Option(help="Use these weights; refused unless they are the index's. Default: its own copy.")
]


def command(
    images: _Images,
    index: IndexOption = None,
    k: _K = 20,
    vote: _Vote = "uniform",
    patient: _Patient = None,
    same_patient: _SamePatient = False,
    view: _View = None,
    sex: _Sex = None,
    age: _Age = None,
    present: _Present = None,
    absent: _Absent = None,
    alarm: _Alarm = 0.01,
    box: _Box = None,
    candidates: _Candidates = 200,
    sheet: _Sheet = None,
    weights: _Weights = None,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Find the most similar X-rays of other patients, and let them vote on the findings.

    Several images, or a folder, print one answer each, in name order; one that fails makes the exit code 3.
    """
    paths, several = _paths(images)
    region = _region(box, len(paths))
    _require_sheet(sheet, len(paths))
    folder = present_index(None, index)
    from cxrsearch.query.index import open_index
    from cxrsearch.store.filtered_search import Filters, years

    filters = Filters(_upper(view), _upper(sex), years(age), names(present), names(absent))
    opened = open_index(folder, device=device, weights=weights)
    failed = 0
    for path in paths:
        try:
            with console.progress() as progress:
                result = opened.query(
                    path,
                    k=k,
                    vote=vote,
                    patient=patient,
                    same_patient=same_patient,
                    filters=filters,
                    alarm=alarm,
                    box=region,
                    candidates=candidates,
                    progress=progress,
                )
        except CxrsearchError as problem:
            if not several or isinstance(problem, UsageError):
                raise
            failed += 1
            _show_failure(path, problem, as_json)
            continue
        _show(result, as_json)
        if sheet is not None:
            _write_sheet(opened, result, sheet)
    if failed:
        raise typer.Exit(3)


def _region(text: str | None, queries: int) -> tuple[float, float, float, float] | None:
    """The box in `x,y,w,h`."""
    if text is None:
        return None
    if queries > 1:
        raise UsageError(f"one box for {queries} images", "query one image with --box")
    try:
        left, top, width, height = (float(side) for side in text.split(","))
    except ValueError:
        raise UsageError(f"a box that cannot be meant: {text!r}", "give it as x,y,w,h in pixels") from None
    return left, top, width, height


def _upper(value: str | None) -> str | None:
    return None if value is None else value.upper()


def _paths(images: list[Path]) -> tuple[list[Path], bool]:
    """The images to ask for, and whether several were meant; folders stand for the images in them."""
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
    """Refuse a sheet that could not be written, before the work."""
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
            _share(vote["probability"]),
            _share(vote["prevalence"]),
            "" if vote["lift"] is None else f"{vote['lift']:.1f}x",
            *([_share(predictions.get(vote["finding"]))] if predictions else []),
        ]
        for vote in result.votes_records()
    ]
    if rows:
        console.table("Votes of these neighbours", columns, rows)


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


def _write_sheet(index: "Index", result: "QueryResult", path: Path) -> None:
    from cxrsearch.query.answer_sheet import query_sheet
    from cxrsearch.report.contact_sheet import save_png

    save_png(query_sheet(index, result), path)
    console.note(f"contact sheet: {path}")
