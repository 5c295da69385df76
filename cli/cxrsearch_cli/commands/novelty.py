"""`cxrsearch novelty`: does a finding that the encoder and the index do not know stand out?"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cxrsearch.errors import UsageError
from cxrsearch_cli import console
from cxrsearch_cli.inputs import read_findings, require_finding, split_names
from cxrsearch_cli.novelty_tables import show_tables, write_figures
from cxrsearch_cli.options import OUTPUT, PaperFormOptions, Replicates, select_arguments, with_options
from cxrsearch_cli.training_options import TRAINING, EvaluationOptions, Seed
from cxrsearch_cli.training_progress import make_report

if TYPE_CHECKING:
    from cxrsearch.novelty.evaluate_novelty import NoveltyQuestion
    from cxrsearch.novelty.novelty_result import NoveltyResult, NoveltyTable


@dataclass(frozen=True, kw_only=True)
class _Options(PaperFormOptions, EvaluationOptions):
    holdout: Annotated[str, typer.Option(help="The finding to hold out, or all: each in turn.")]
    weights: Annotated[
        str | None,
        typer.Option(
            help="With IMAGES: the encoder, such as a run of train --holdout. With --retrain: what to start from.",
            show_default=False,
        ),
    ] = None
    split: Annotated[
        str | None,
        typer.Option(
            help="paper[:DIR], official[:DIR], patient-hash:a/b/c, patient-fold:i/K or column. The train part is "
            "known, the val part chooses settings, the test part is scored. Default: the encoder's split, else the "
            "table's column, else patient-hash:0.7/0.1/0.2.",
            show_default=False,
        ),
    ] = None
    strict: Annotated[
        bool, typer.Option("--strict", help="Hold out all images of patients who have the finding in one image.")
    ] = False
    scores: Annotated[
        str,
        typer.Option(
            help="Scores, as a,b: knn, class-knn, centroid, mahalanobis, relative-mahalanobis, lof, vim, "
            "max-probability, energy, no-finding; and the references view, random, ceiling. Or all."
        ),
    ] = "all"
    shots: Annotated[
        str | None,
        typer.Option(
            help="Also score with this many known patients with the finding, as 0,1,5,20.", show_default=False
        ),
    ] = None
    replicates: Replicates = 2000
    seed: Seed = 0
    retrain: Annotated[
        bool,
        typer.Option(
            "--retrain",
            help="First train an encoder without the finding. Needs IMAGES and --labels.",
        ),
    ] = False
    max_minutes: Annotated[
        float | None,
        typer.Option(
            help="With --retrain: stop each training after about this many minutes.",
            show_default=False,
            rich_help_panel=TRAINING,
        ),
    ] = None
    out: Annotated[
        Path | None,
        typer.Option(
            help="With --retrain: folder of runs and indexes. Default: runs/novelty-CONFIG.",
            show_default=False,
            rich_help_panel=TRAINING,
        ),
    ] = None
    as_csv: Annotated[
        bool,
        typer.Option(
            "--csv", help="Print CSV on stdout, with one line per score and comparison.", rich_help_panel=OUTPUT
        ),
    ] = False
    plot: Annotated[
        Path | None,
        typer.Option(
            help="Also draw the distributions of the scores as PNG or SVG; with --holdout all, the table.",
            metavar="FILE",
            rich_help_panel=OUTPUT,
        ),
    ] = None
    sheet: Annotated[
        Path | None,
        typer.Option(
            help="Also draw the ten most novel images as a PNG.",
            metavar="FILE",
            show_default=False,
            rich_help_panel=OUTPUT,
        ),
    ] = None

    def holds_out_all(self) -> bool:
        """Whether each finding is held out in turn."""
        return self.holdout.lower() == "all"


@with_options
def command(options: _Options, context: typer.Context) -> None:
    """Hold a finding out, and see whether its images stand out from the known images.

    On an index the encoder stays as it is, and the result says whether it has seen the finding. With --retrain an
    encoder is trained without the finding; if interrupted, the same command continues. Intervals are 95% intervals from
    resampling patients.
    """
    form = options.form()
    _require_drawable(options)
    source, table = options.find_inputs(context, "--retrain", trains=options.retrain)
    if not options.holds_out_all():
        require_finding(options.holdout, options.vocabulary() if table else read_findings(source))
    result = _evaluate(_make_question(options), source, table, options)
    console.show(result, form, lambda: show_tables(result))
    write_figures(result, options.plot, options.sheet)
    console.finish(result.refused)


def _make_question(options: _Options) -> "NoveltyQuestion":
    from cxrsearch.novelty.evaluate_novelty import NoveltyQuestion

    values = select_arguments(NoveltyQuestion, options) | {"shots": _parse_numbers(options.shots)}
    if options.scores == "all":
        values.pop("scores")
    else:
        values["scores"] = split_names(options.scores)
    return NoveltyQuestion(**values)


def _parse_numbers(text: str | None) -> tuple[int, ...]:
    try:
        return tuple(int(number) for number in split_names(text))
    except ValueError as error:
        raise UsageError(f"the shots {text!r} are not whole numbers", "use --shots 0,1,5,20") from error


def _evaluate(
    question: "NoveltyQuestion", source: Path, table: Path | None, options: _Options
) -> "NoveltyResult | NoveltyTable":
    """Evaluate a training without the finding, a folder of images, or, without a table, an index."""
    if table is None:
        return _evaluate_index(question, source, options)
    if options.retrain:
        return _retrain(question, source, table, options)
    from cxrsearch.novelty.evaluate_novelty import evaluate_novelty_of_images

    embedding = options.embedding()
    with console.progress() as progress:
        return evaluate_novelty_of_images(source, table, options.holdout, question, progress=progress, **embedding)


def _retrain(
    question: "NoveltyQuestion", folder: Path, table: Path, options: _Options
) -> "NoveltyResult | NoveltyTable":
    from cxrsearch.novelty.retrain import retrain, retrain_every

    request = options.request("holdout", "strict")  # the question says these
    with console.progress() as progress:
        places: dict[str, Any] = {
            "out": options.out or Path("runs") / f"novelty-{options.config}",
            "progress": progress,
            "report": make_report(progress, None),
        }
        if options.holds_out_all():
            return retrain_every(folder, table, question, request, **places)
        return retrain(folder, table, options.holdout, question, request, **places)


def _evaluate_index(question: "NoveltyQuestion", folder: Path, options: _Options) -> "NoveltyResult | NoveltyTable":
    from cxrsearch.novelty.evaluate_novelty import evaluate_every, evaluate_novelty
    from cxrsearch.query.index import open_index

    index = open_index(folder, device=options.device, weights=options.weights)
    with console.progress() as progress:
        if options.holds_out_all():
            return evaluate_every(index, question, progress=progress)
        return evaluate_novelty(index, options.holdout, question, progress=progress)


def _require_drawable(options: _Options) -> None:
    """Refuse figures that cannot be written, before the work."""
    from cxrsearch.files import require_folder
    from cxrsearch.report.contact_sheet import require_png
    from cxrsearch.report.drawing import require_figure

    if options.sheet is not None and options.holds_out_all():
        raise UsageError("one contact sheet of all findings", "hold out a single finding with --sheet")
    for path, require in ((options.plot, require_figure), (options.sheet, require_png)):
        if path is not None:
            require(path)
            require_folder(path)
