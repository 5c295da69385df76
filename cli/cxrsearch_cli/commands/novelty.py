"""`cxrsearch novelty`: does a finding that nobody knew stand out?"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cxrsearch.errors import UsageError
from cxrsearch_cli import console
from cxrsearch_cli.novelty_tables import show, write_figures
from cxrsearch_cli.options import (
    AsJson,
    AsLatex,
    Device,
    FindingsOption,
    ImagesArgument,
    IndexOption,
    LabelsOfImages,
    Replicates,
    findings_of,
    names,
    require_finding,
)
from cxrsearch_cli.training_options import (
    Arch,
    Cache,
    Config,
    Epochs,
    Precision,
    Set,
    Size,
    Workers,
    embedding,
    evaluated_inputs,
    training,
)
from cxrsearch_cli.training_progress import reporting

if TYPE_CHECKING:
    from cxrsearch.novelty.evaluate_novelty import NoveltyQuestion
    from cxrsearch.novelty.novelty_result import NoveltyResult, NoveltyTable

_Holdout = Annotated[str, typer.Option(help="The finding to hold out, or all: each in turn.")]
_Weights = Annotated[
    str | None,
    typer.Option(
        help="With IMAGES: the encoder, such as a run of `train --holdout`; with --retrain: what to start from.",
        show_default=False,
    ),
]
_Split = Annotated[
    str | None,
    typer.Option(
        help="paper[:DIR], official[:DIR], patient-hash:a/b/c, patient-fold:i/K or column: train is known, val "
        "chooses, test is scored. Default: as the encoder's, else the table's column, else patient-hash:0.7/0.1/0.2.",
        show_default=False,
    ),
]
_Retrain = Annotated[
    bool, typer.Option("--retrain", help="Train an encoder without the finding first: IMAGES and --labels.")
]
_Strict = Annotated[
    bool, typer.Option("--strict", help="Hold out all images of patients who have the finding in one image.")
]
_Scores = Annotated[
    str,
    typer.Option(
        help="As a,b: knn, class-knn, centroid, mahalanobis, relative-mahalanobis, lof, vim, max-probability, energy, "
        "no-finding; and the references view, random, ceiling; or all."
    ),
]
_Shots = Annotated[
    str | None,
    typer.Option(help="Also with so many patients of the finding known, as 0,1,5,20.", show_default=False),
]
_Seed = Annotated[int, typer.Option(help="Of everything random.", min=0)]
_Minutes = Annotated[
    float | None, typer.Option(help="With --retrain: stop each training after about so long.", show_default=False)
]
_Out = Annotated[
    Path | None,
    typer.Option(help="With --retrain: folder of runs and indexes. Default: runs/novelty-CONFIG.", show_default=False),
]
_Plot = Annotated[
    Path | None,
    typer.Option(help="Also draw the scores' distributions (of all: the table) as PNG or SVG.", metavar="FILE"),
]
_Sheet = Annotated[
    Path | None,
    typer.Option(help="Also draw the ten most novel images as a PNG.", metavar="FILE", show_default=False),
]
_Csv = Annotated[bool, typer.Option("--csv", help="Print CSV on stdout, a line a score and comparison.")]


def command(
    holdout: _Holdout,
    images: ImagesArgument = None,
    index: IndexOption = None,
    labels: LabelsOfImages = None,
    weights: _Weights = None,
    split: _Split = None,
    retrain: _Retrain = False,
    strict: _Strict = False,
    scores: _Scores = "all",
    shots: _Shots = None,
    replicates: Replicates = 2000,
    seed: _Seed = 0,
    config: Config = "paper",
    arch: Arch = None,
    size: Size = None,
    epochs: Epochs = None,
    set_: Set = None,
    max_minutes: _Minutes = None,
    out: _Out = None,
    findings: FindingsOption = None,
    cache: Cache = None,
    device: Device = "auto",
    precision: Precision = "auto",
    workers: Workers = None,
    plot: _Plot = None,
    sheet: _Sheet = None,
    as_json: AsJson = False,
    as_csv: _Csv = False,
    as_latex: AsLatex = False,
) -> None:
    """Hold a finding out, and see whether its images stand out from what is known.

    On an index the encoder stays as it is, and the result says whether it has seen the finding. With --retrain an
    encoder is trained without it; interrupted, the same command goes on. Intervals are 95%, from resampling patients.
    """
    given = dict(locals())  # typer's context holds them unconverted in some versions
    console.require_one_form(as_json, as_csv, as_latex)
    _require_drawable(holdout, plot, sheet)
    source, table = evaluated_inputs(given, trains=retrain)
    if holdout.lower() != "all":
        require_finding(holdout, names(findings) if table else findings_of(source))
    result = _evaluated(_question(given), source, table, given)
    console.result(result, as_json, as_csv, as_latex, lambda: show(result))
    write_figures(result, plot, sheet)
    console.refused(result.refused)
    if result.refused:
        raise typer.Exit(3)


def _question(given: Mapping[str, Any]) -> "NoveltyQuestion":
    from cxrsearch.novelty.evaluate_novelty import NoveltyQuestion

    asked = {name: given[name] for name in ("split", "strict", "replicates", "seed")}
    if given["scores"] != "all":
        asked["scores"] = names(given["scores"])
    return NoveltyQuestion(shots=_numbers(given["shots"]), **asked)


def _numbers(given: str | None) -> tuple[int, ...]:
    try:
        return tuple(int(number) for number in names(given))
    except ValueError as error:
        raise UsageError(f"the shots {given!r} are not whole numbers", "use --shots 0,1,5,20") from error


def _evaluated(
    question: "NoveltyQuestion", source: Path, table: Path | None, given: Mapping[str, Any]
) -> "NoveltyResult | NoveltyTable":
    """Of a training without the finding, of a folder of images, or, without a table, of an index."""
    if table is None:
        return _of_index(question, source, given)
    if given["retrain"]:
        return _retrained(question, source, table, given)
    from cxrsearch.novelty.evaluate_novelty import evaluate_novelty_of_images

    options = embedding(given)
    with console.progress() as progress:
        return evaluate_novelty_of_images(source, table, given["holdout"], question, progress=progress, **options)


def _retrained(
    question: "NoveltyQuestion", folder: Path, table: Path, given: Mapping[str, Any]
) -> "NoveltyResult | NoveltyTable":
    from cxrsearch.novelty.retrain import retrain, retrain_every

    settled = ("holdout", "strict")  # by the question
    asked = training({name: value for name, value in given.items() if name not in settled})
    out = given["out"] or Path("runs") / f"novelty-{given['config']}"
    with console.progress() as progress:
        options: dict[str, Any] = {"out": out, "progress": progress, "report": reporting(progress, None)}
        if given["holdout"].lower() == "all":
            return retrain_every(folder, table, question, asked, **options)
        return retrain(folder, table, given["holdout"], question, asked, **options)


def _of_index(question: "NoveltyQuestion", folder: Path, given: Mapping[str, Any]) -> "NoveltyResult | NoveltyTable":
    from cxrsearch.novelty.evaluate_novelty import evaluate_every, evaluate_novelty
    from cxrsearch.query.index import open_index

    opened = open_index(folder, device=given["device"], weights=given["weights"])
    with console.progress() as progress:
        if given["holdout"].lower() == "all":
            return evaluate_every(opened, question, progress=progress)
        return evaluate_novelty(opened, given["holdout"], question, progress=progress)


def _require_drawable(holdout: str, plot: Path | None, sheet: Path | None) -> None:
    """Refuse figures that could not be drawn, before the work."""
    from cxrsearch.files import require_folder
    from cxrsearch.report.contact_sheet import require_png
    from cxrsearch.report.drawing import require_figure

    if sheet is not None and holdout.lower() == "all":
        raise UsageError("one contact sheet of all findings", "hold one finding out with --sheet")
    for path, require in ((plot, require_figure), (sheet, require_png)):
        if path is not None:
            require(path)
            require_folder(path)
