"""`cxrsearch localise`: where findings are believed to be, and which regions make two images alike."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cxrsearch.errors import UsageError
from cxrsearch_cli import console
from cxrsearch_cli.options import AsJson, Device, IndexOption, present_index

if TYPE_CHECKING:
    from PIL.Image import Image

    from cxrsearch.encoder.embed import Embedder
    from cxrsearch.localisation.localise import Localised

_Image = Annotated[Path, typer.Argument(help="A PNG, JPEG or DICOM file.")]
_Weights = Annotated[
    str | None,
    typer.Option(help="An encoder with a trained head, instead of an index's: a checkpoint or a run's folder."),
]
_Finding = Annotated[
    list[str] | None,
    typer.Option("--finding", help="Only this finding; several times. Default: all, the most probable first."),
]
_Method = Annotated[
    Literal["cam", "grad-cam"],
    typer.Option(help="cam: exact, size/32 cells a side. grad-cam: of dense block 3, size/16, an approximation."),
]
_Overlay = Annotated[
    Path | None, typer.Option(help="Draw the maps over the image into this PNG; of the first four unless named.")
]
_Boxes = Annotated[bool, typer.Option("--boxes", help="Also put boxes around what reaches --threshold.")]
_Threshold = Annotated[
    float, typer.Option(help="Of boxes, as a share of the map's range; evaluate-localisation chooses one.")
]
_Against = Annotated[
    str | None,
    typer.Option(
        help="Instead: which regions make the image like this indexed one, by its id or its row as #12.",
        show_default=False,
    ),
]


def command(
    image: _Image,
    index: IndexOption = None,
    weights: _Weights = None,
    finding: _Finding = None,
    method: _Method = "cam",
    overlay: _Overlay = None,
    boxes: _Boxes = False,
    threshold: _Threshold = 0.5,
    against: _Against = None,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Show where the network sees its findings in an X-ray.

    A class-activation map is exact: its mean plus a constant is the finding's logit. It says what the network looks at,
    which need not be where the disease is.
    """
    from cxrsearch.images.image_file import require_readable

    if overlay is not None:
        _require_overlay(overlay)
    if against is not None and (weights is not None or finding or boxes or method != "cam"):
        raise UsageError("--against beside options of findings", "give it with --index and --overlay alone")
    if weights is not None and index is not None:
        raise UsageError("an index and weights", "leave one of --index and --weights out")
    require_readable(image)
    if against is not None:
        _compare(image, index, against, overlay, device, as_json)
        return
    embedder = _embedder(index, weights, device)
    from cxrsearch.localisation.localise import localise_image

    asked = tuple(finding or ())
    result = localise_image(embedder, image, findings=asked, method=method, boxes=boxes, threshold=threshold)
    _show(result, as_json)
    if overlay is not None:
        from cxrsearch.localisation.overlays import MOST_SHOWN, localised_sheet

        _write(localised_sheet(result, max(MOST_SHOWN, len(asked))), overlay)


def _embedder(index: Path | None, weights: str | None, device: str) -> "Embedder":
    if weights is None:
        folder = present_index(None, index)
        from cxrsearch.query.index import open_index

        return open_index(folder, device=device).embedder
    from cxrsearch.encoder.embed import Embedder
    from cxrsearch.encoder.weights import load_encoder

    return Embedder(load_encoder(weights), device)


def _show(result: "Localised", as_json: bool) -> None:
    if as_json:
        console.json_line(result.to_json())
        return
    columns = {"finding": False, "probability": True, "peak at x, y": True}
    columns |= {"boxes (x, y, w, h)": False} if result.boxes is not None else {}
    rows = [
        [finding, f"{result.found.probabilities[row]:.1%}", result.peak(row)]
        + ([] if result.boxes is None else ["; ".join(_box(box) for box in result.boxes[row].tolist())])
        for row, finding in enumerate(result.found.findings)
    ]
    width, height = result.size
    title = f"{result.image} ({width} x {height} pixels): {result.found.method} of {result.encoder}"
    console.table(title, columns, rows)
    console.text(result.resolution())


def _box(box: list[float]) -> str:
    return ", ".join(f"{side:.0f}" for side in box)


def _compare(image: Path, index: Path | None, against: str, overlay: Path | None, device: str, as_json: bool) -> None:
    folder = present_index(None, index)
    from cxrsearch.localisation.localise import compare_image
    from cxrsearch.query.index import open_index

    result = compare_image(open_index(folder, device=device), image, against)
    if as_json:
        console.json_line(result.to_json())
    else:
        console.text(f"{result.image} and {result.other}: cosine {result.cosine:.4f}, product {result.product:.4g}")
    if overlay is not None:
        from cxrsearch.localisation.overlays import alike_sheet

        _write(alike_sheet(result), overlay)


def _require_overlay(path: Path) -> None:
    """Refuse a picture that could not be written, before the work."""
    from cxrsearch.files import require_folder
    from cxrsearch.report.contact_sheet import require_png

    require_png(path)
    require_folder(path)


def _write(sheet: "Image", path: Path) -> None:
    from cxrsearch.report.contact_sheet import save_png

    save_png(sheet, path)
    console.note(f"overlay: {path}")
