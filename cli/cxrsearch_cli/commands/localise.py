"""`cxrsearch localise`: where the network sees its findings, and which regions make two images alike."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cxrsearch.errors import UsageError
from cxrsearch_cli import console
from cxrsearch_cli.inputs import require_index
from cxrsearch_cli.options import AsJson, Device, IndexOption, with_options

if TYPE_CHECKING:
    from PIL.Image import Image

    from cxrsearch.encoder.embed import Embedder
    from cxrsearch.localisation.localise import Localised


@dataclass(frozen=True, kw_only=True)
class _Options:
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="A PNG, JPEG or DICOM file.")]
    index: IndexOption = None
    weights: Annotated[
        str | None,
        typer.Option(help="An encoder with a trained head instead of an index: a checkpoint or the folder of a run."),
    ] = None
    finding: Annotated[
        list[str] | None,
        typer.Option("--finding", help="Only this finding. May be repeated. Default: all, the most probable first."),
    ] = None
    method: Annotated[
        Literal["cam", "grad-cam"],
        typer.Option(
            help="cam: exact, with size/32 cells per side. grad-cam: of dense block 3, with size/16 cells per side, an "
            "approximation."
        ),
    ] = "cam"
    overlay: Annotated[
        Path | None,
        typer.Option(
            help="Draw the heat maps over the image into this PNG: those of --finding, else of the first four."
        ),
    ] = None
    boxes: Annotated[bool, typer.Option("--boxes", help="Also draw boxes around what reaches --threshold.")] = False
    threshold: Annotated[
        float,
        typer.Option(help="Threshold of boxes, as a share of the heat map's range. evaluate-localisation chooses one."),
    ] = 0.5
    against: Annotated[
        str | None,
        typer.Option(
            help="Instead, show which regions make the image similar to this indexed one: its id, or its row as #12.",
            show_default=False,
        ),
    ] = None
    device: Device = "auto"
    as_json: AsJson = False


@with_options
def command(options: _Options) -> None:
    """Show where the network sees its findings in an X-ray.

    A class-activation map is exact: its mean plus a constant is the finding's logit. It shows what the network looks
    at, which need not be where the disease is.
    """
    from cxrsearch.images.image_file import require_readable

    if options.overlay is not None:
        _require_overlay(options.overlay)
    _require_one_mode(options)
    require_readable(options.image)
    if options.against is not None:
        _compare(options, options.against)
        return
    embedder = _open_embedder(options)
    from cxrsearch.localisation.localise import localise_image

    findings = tuple(options.finding or ())
    result = localise_image(
        embedder,
        options.image,
        findings=findings,
        method=options.method,
        boxes=options.boxes,
        threshold=options.threshold,
    )
    _show(result, options.as_json)
    if options.overlay is not None:
        from cxrsearch.localisation.overlays import MOST_SHOWN, localised_sheet

        _write(localised_sheet(result, max(MOST_SHOWN, len(findings))), options.overlay)


def _require_one_mode(options: _Options) -> None:
    of_findings = options.weights is not None or options.finding or options.boxes or options.method != "cam"
    if options.against is not None and of_findings:
        raise UsageError("--against beside options of findings", "use only --index and --overlay with it")
    if options.weights is not None and options.index is not None:
        raise UsageError("an index and weights", "leave one of --index and --weights out")


def _open_embedder(options: _Options) -> "Embedder":
    if options.weights is None:
        folder = require_index(options.index)
        from cxrsearch.query.index import open_index

        return open_index(folder, device=options.device).embedder
    from cxrsearch.encoder.embed import Embedder
    from cxrsearch.encoder.weights import load_encoder

    return Embedder(load_encoder(options.weights), options.device)


def _show(result: "Localised", as_json: bool) -> None:
    if as_json:
        console.json_line(result.to_json())
        return
    columns = {"finding": False, "probability": True, "peak at x, y": True}
    columns |= {"boxes (x, y, w, h)": False} if result.boxes is not None else {}
    rows = [
        [finding, f"{result.found.probabilities[row]:.1%}", result.peak(row)]
        + ([] if result.boxes is None else ["; ".join(_format_box(box) for box in result.boxes[row].tolist())])
        for row, finding in enumerate(result.found.findings)
    ]
    width, height = result.size
    title = f"{result.image} ({width} x {height} pixels): {result.found.method} of {result.encoder}"
    console.table(title, columns, rows)
    console.text(result.resolution())


def _format_box(box: list[float]) -> str:
    return ", ".join(f"{side:.0f}" for side in box)


def _compare(options: _Options, against: str) -> None:
    folder = require_index(options.index)
    from cxrsearch.localisation.localise import compare_image
    from cxrsearch.query.index import open_index

    result = compare_image(open_index(folder, device=options.device), options.image, against)
    if options.as_json:
        console.json_line(result.to_json())
    else:
        console.text(f"{result.image} and {result.other}: cosine {result.cosine:.4f}, product {result.product:.4g}")
    if options.overlay is not None:
        from cxrsearch.localisation.overlays import alike_sheet

        _write(alike_sheet(result), options.overlay)


def _require_overlay(path: Path) -> None:
    """Refuse an overlay that cannot be written, before the work."""
    from cxrsearch.files import require_folder
    from cxrsearch.report.contact_sheet import require_png

    require_png(path)
    require_folder(path)


def _write(sheet: "Image", path: Path) -> None:
    from cxrsearch.report.contact_sheet import save_png

    save_png(sheet, path)
    console.note(f"overlay: {path}")
