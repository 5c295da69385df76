"""`cxrsearch evaluate`: how well each finding is told from the embeddings, with intervals."""

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cxrsearch.errors import UsageError
from cxrsearch_cli import console
from cxrsearch_cli.evaluation_tables import show_tables
from cxrsearch_cli.options import (
    AsJson,
    AsLatex,
    Device,
    FindingsOption,
    ImagesArgument,
    IndexOption,
    LabelsOfImages,
    Replicates,
    Weights,
    names,
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

if TYPE_CHECKING:
    from cxrsearch.evaluation.evaluate import Question
    from cxrsearch.evaluation.evaluation_result import EvaluationResult

_Split = Annotated[
    str | None,
    typer.Option(
        help="paper[:DIR], official[:DIR], patient-hash:a/b/c, patient-fold:i/K or column. Default: the split the "
        "encoder was trained on, else the table's column, else patient-hash:0.7/0.1/0.2.",
        show_default=False,
    ),
]
_Part = Annotated[str, typer.Option(help="The part to score: train, val or test.")]
_Models = Annotated[
    str,
    typer.Option(
        help="Second-stage models, as a,b: knn, knn-tuned, mlknn, forest, logistic, forest-one-vs-rest, adaboost, svc, "
        "tree; default, all or none. The network's own head is always there."
    ),
]
_Baselines = Annotated[
    str, typer.Option(help="As a,b: view, histogram (of grey levels), random (an untrained network); all or none.")
]
_FitOn = Annotated[
    Literal["train", "val"],
    typer.Option(help="What second-stage models learn from: train, as in the paper; val, which the network has not."),
]
_AllowSeen = Annotated[
    bool, typer.Option("--allow-seen", help="Score images that the encoder was trained on; the result says so.")
]
_MaxTrain = Annotated[int, typer.Option(help="Most images that adaboost, svc and tree learn from.", min=1)]
_Seed = Annotated[int, typer.Option(help="Of bootstrap, forests and samples.", min=0)]
_Strata = Annotated[bool, typer.Option("--strata", help="Also by view (PA, AP), sex and age band.")]
_Retrieval = Annotated[
    bool, typer.Option("--retrieval", help="Also what the scored images find in the whole index, against chance.")
]
_K = Annotated[int, typer.Option("-k", help="Neighbours that --retrieval looks at.", min=1)]
_Fractions = Annotated[
    str | None,
    typer.Option(
        help="Also the AUROC of kNN votes with fractions of the training part, as 0.01,0.1,1, or: default.",
        show_default=False,
    ),
]
_Report = Annotated[
    Path | None,
    typer.Option(help="Also write one self-contained page of HTML, with plots.", metavar="FILE", show_default=False),
]
_Folds = Annotated[
    int | None,
    typer.Option(
        "--cv",
        help="Cross-validate instead, in so many folds of patients: train an encoder for each (--config, --set, ...).",
        min=2,
        show_default=False,
    ),
]
_Out = Annotated[
    Path | None,
    typer.Option(help="Folder of the runs and indexes of --cv. Default: runs/cv-CONFIG.", show_default=False),
]
_Minutes = Annotated[
    float | None, typer.Option(help="With --cv: stop each training after about so long.", show_default=False)
]
_Csv = Annotated[bool, typer.Option("--csv", help="Print CSV on stdout, a line a finding and model.")]


def command(
    images: ImagesArgument = None,
    index: IndexOption = None,
    labels: LabelsOfImages = None,
    weights: Weights = None,
    split: _Split = None,
    part: _Part = "test",
    models: _Models = "default",
    baselines: _Baselines = "all",
    fit_on: _FitOn = "train",
    allow_seen: _AllowSeen = False,
    max_train: _MaxTrain = 10_000,
    replicates: Replicates = 2000,
    seed: _Seed = 0,
    strata: _Strata = False,
    retrieval: _Retrieval = False,
    k: _K = 20,
    fractions: _Fractions = None,
    report: _Report = None,
    cv: _Folds = None,
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
    as_json: AsJson = False,
    as_csv: _Csv = False,
    as_latex: AsLatex = False,
) -> None:
    """Evaluate an index, a folder of images with --weights, or, with --cv, a recipe: AUROC and more for each finding.

    Intervals are 95%, from resampling patients. A finding with under 10 positive patients has none, and stays out of
    the mean.
    """
    given = dict(locals())  # typer's context holds them unconverted in some versions
    console.require_one_form(as_json, as_csv, as_latex)
    if report is not None:
        from cxrsearch.evaluation.evaluation_report import require_writable, write_report

        require_writable(report)
    source, table = evaluated_inputs(given, trains=cv is not None)
    result = _evaluated(_question(given), source, table, given)
    console.result(result, as_json, as_csv, as_latex, lambda: show_tables(result))
    if report is not None:
        write_report(result, report, shlex.join(["cxrsearch", *sys.argv[1:]]))
    console.refused(result.refused)
    if result.refused:
        raise typer.Exit(3)


_AS_GIVEN = ("split", "part", "fit_on", "allow_seen", "max_train", "replicates", "seed", "strata", "retrieval", "k")


def _question(given: Mapping[str, Any]) -> "Question":
    from cxrsearch.evaluation.evaluate import Question

    return Question(
        models=_names(given["models"], "models"),
        baselines=_names(given["baselines"], "baselines"),
        fractions=_shares(given["fractions"]),
        **{name: given[name] for name in _AS_GIVEN},
    )


def _evaluated(question: "Question", source: Path, table: Path | None, given: Mapping[str, Any]) -> "EvaluationResult":
    """The evaluation of a recipe, a folder of images, or, without a table, of an index."""
    from cxrsearch.evaluation.evaluate import cross_validate, evaluate_images, evaluate_index
    from cxrsearch.query.index import open_index

    with console.progress() as progress:
        if table is None:
            index = open_index(source, device=given["device"], weights=given["weights"])
            return evaluate_index(index, question, progress)
        if given["cv"] is None:
            return evaluate_images(source, table, question, progress=progress, **embedding(given))
        out = given["out"] or Path("runs") / f"cv-{given['config']}"
        return cross_validate(source, table, given["cv"], question, training(given), out=out, progress=progress)


def _names(given: str, what: str) -> tuple[str, ...]:
    from cxrsearch.analysis.models.model_registry import DEFAULT_MODELS, MODELS
    from cxrsearch.evaluation.pixel_baselines import BASELINES

    words = {
        "models": {"default": DEFAULT_MODELS, "all": tuple(MODELS), "none": ()},
        "baselines": {"default": BASELINES, "all": BASELINES, "none": ()},
    }
    return words[what].get(given) if given in words[what] else names(given)  # type: ignore[return-value]


def _shares(given: str | None) -> tuple[float, ...]:
    from cxrsearch.analysis.evaluation.fractions import FRACTIONS

    if given is None or given == "default":
        return FRACTIONS if given else ()
    try:
        return tuple(float(number) for number in names(given))
    except ValueError as error:
        raise UsageError(f"the fractions {given!r} are not numbers", "use --fractions 0.01,0.1,1") from error
