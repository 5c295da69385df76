"""`cxrsearch evaluate`: how well each finding is told from the embeddings, with intervals."""

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cxrsearch.errors import UsageError
from cxrsearch_cli import console
from cxrsearch_cli.evaluation_tables import show_tables
from cxrsearch_cli.inputs import split_names
from cxrsearch_cli.options import OUTPUT, AllowSeen, PaperFormOptions, Replicates, select_arguments, with_options
from cxrsearch_cli.training_options import TRAINING, EvaluationOptions

if TYPE_CHECKING:
    from cxrsearch.evaluation.evaluate import Question
    from cxrsearch.evaluation.evaluation_result import EvaluationResult


@dataclass(frozen=True, kw_only=True)
class _Options(PaperFormOptions, EvaluationOptions):
    split: Annotated[
        str | None,
        typer.Option(
            help="paper[:DIR], official[:DIR], patient-hash:a/b/c, patient-fold:i/K or column. Default: the split the "
            "encoder was trained on, else the table's column, else patient-hash:0.7/0.1/0.2.",
            show_default=False,
        ),
    ] = None
    part: Annotated[str, typer.Option(help="The part to score: train, val or test.")] = "test"
    models: Annotated[
        str,
        typer.Option(
            help="Second-stage models, as a,b: knn, knn-tuned, mlknn, forest, logistic, forest-one-vs-rest, adaboost, "
            "svc, tree. Or default, all or none. The network's own head is always included."
        ),
    ] = "default"
    baselines: Annotated[
        str,
        typer.Option(
            help="Baselines, as a,b: view, histogram (of grey levels), random (an untrained network). Or all or none."
        ),
    ] = "all"
    fit_on: Annotated[
        Literal["train", "val"],
        typer.Option(
            help="What second-stage models learn from: train, as in the paper, or val, which the network has not "
            "learned from."
        ),
    ] = "train"
    allow_seen: AllowSeen = False
    max_train: Annotated[
        int, typer.Option(help="Maximum number of images that adaboost, svc and tree learn from.", min=1, metavar="N")
    ] = 10_000
    replicates: Replicates = 2000
    seed: Annotated[int, typer.Option(help="Seed of bootstrap, forests and samples.", min=0, metavar="N")] = 0
    strata: Annotated[bool, typer.Option("--strata", help="Also score by view (PA, AP), sex and age band.")] = False
    retrieval: Annotated[
        bool,
        typer.Option(
            "--retrieval", help="Also compare what the scored images find in the whole index with a random order."
        ),
    ] = False
    k: Annotated[int, typer.Option("-k", help="Number of neighbours for --retrieval.", min=1, metavar="N")] = 20
    fractions: Annotated[
        str | None,
        typer.Option(
            help="Also give the AUROC of kNN votes with fractions of the training part, as 0.01,0.1,1, or: default.",
            show_default=False,
        ),
    ] = None
    cv: Annotated[
        int | None,
        typer.Option(
            "--cv",
            help="Cross-validate instead, with this many folds of patients. An encoder is trained for each fold.",
            min=2,
            metavar="N",
            show_default=False,
        ),
    ] = None
    max_minutes: Annotated[
        float | None,
        typer.Option(
            help="With --cv: stop each training after about this many minutes.",
            show_default=False,
            rich_help_panel=TRAINING,
        ),
    ] = None
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the runs and indexes of --cv. Default: runs/cv-CONFIG.",
            show_default=False,
            rich_help_panel=TRAINING,
        ),
    ] = None
    as_csv: Annotated[
        bool,
        typer.Option("--csv", help="Print CSV on stdout, with one line per finding and model.", rich_help_panel=OUTPUT),
    ] = False
    report: Annotated[
        Path | None,
        typer.Option(
            help="Also write one self-contained HTML page with plots.",
            metavar="FILE",
            show_default=False,
            rich_help_panel=OUTPUT,
        ),
    ] = None


@with_options
def command(options: _Options, context: typer.Context) -> None:
    """Evaluate an index, a folder of images, or, with --cv, a recipe: AUROC and more for each finding.

    A folder of images is embedded by the encoder in --weights. Intervals are 95% intervals from resampling patients. A
    finding with fewer than 10 positive patients has no interval and is not part of the mean.
    """
    form = options.form()
    if options.report is not None:
        from cxrsearch.evaluation.evaluation_report import require_writable, write_report

        require_writable(options.report)
    source, table = options.find_inputs(context, "--cv", trains=options.cv is not None)
    result = _evaluate(_make_question(options), source, table, options)
    console.show(result, form, lambda: show_tables(result))
    if options.report is not None:
        write_report(result, options.report, shlex.join(["cxrsearch", *sys.argv[1:]]))
    console.finish(result.refused)


def _make_question(options: _Options) -> "Question":
    from cxrsearch.analysis.models.model_registry import DEFAULT_MODELS, MODELS
    from cxrsearch.evaluation.evaluate import Question
    from cxrsearch.evaluation.pixel_baselines import BASELINES

    models = {"default": DEFAULT_MODELS, "all": tuple(MODELS), "none": ()}
    baselines = {"default": BASELINES, "all": BASELINES, "none": ()}
    parsed = {
        "models": models.get(options.models, split_names(options.models)),
        "baselines": baselines.get(options.baselines, split_names(options.baselines)),
        "fractions": _parse_fractions(options.fractions),
    }
    return Question(**select_arguments(Question, options) | parsed)


def _evaluate(question: "Question", source: Path, table: Path | None, options: _Options) -> "EvaluationResult":
    """Evaluate a recipe, a folder of images, or, without a table, an index."""
    from cxrsearch.evaluation.evaluate import cross_validate, evaluate_images, evaluate_index
    from cxrsearch.query.index import open_index

    with console.progress() as progress:
        if table is None:
            index = open_index(source, device=options.device, weights=options.weights)
            return evaluate_index(index, question, progress)
        if options.cv is None:
            return evaluate_images(source, table, question, progress=progress, **options.embedding())
        out = options.out or Path("runs") / f"cv-{options.config}"
        return cross_validate(source, table, options.cv, question, options.request(), out=out, progress=progress)


def _parse_fractions(text: str | None) -> tuple[float, ...]:
    from cxrsearch.analysis.evaluation.fractions import FRACTIONS

    if text is None or text == "default":
        return FRACTIONS if text else ()
    try:
        return tuple(float(number) for number in split_names(text))
    except ValueError as error:
        raise UsageError(f"the fractions {text!r} are not numbers", "use --fractions 0.01,0.1,1") from error
