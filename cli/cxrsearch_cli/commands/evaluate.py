"""`cxrsearch evaluate`: how well each finding is told from the embeddings, with intervals."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cxrsearch.errors import UsageError
from cxrsearch_cli import console
from cxrsearch_cli.options import (
    AsJson,
    Device,
    FindingsOption,
    ImagesArgument,
    IndexOption,
    LabelsOption,
    Weights,
    index_folder,
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
    changes,
    training_inputs,
)

if TYPE_CHECKING:
    from cxrsearch.analysis.evaluation import ModelMetrics
    from cxrsearch.evaluate import Question
    from cxrsearch.evaluation_result import EvaluationResult

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
_Replicates = Annotated[int, typer.Option(help="Of the patient bootstrap.", min=1)]
_Seed = Annotated[int, typer.Option(help="Of bootstrap, forests and samples.", min=0)]
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
_Latex = Annotated[bool, typer.Option("--latex", help="Print a LaTeX table on stdout.")]


def command(
    images: ImagesArgument = None,
    index: IndexOption = None,
    labels: LabelsOption = None,
    weights: Weights = None,
    split: _Split = None,
    part: _Part = "test",
    models: _Models = "default",
    baselines: _Baselines = "all",
    fit_on: _FitOn = "train",
    allow_seen: _AllowSeen = False,
    max_train: _MaxTrain = 10_000,
    replicates: _Replicates = 2000,
    seed: _Seed = 0,
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
    as_latex: _Latex = False,
) -> None:
    """Evaluate an index, a folder of images with --weights, or, with --cv, a recipe: AUROC and more for each finding.

    Intervals are 95%, from resampling patients. A finding with under 10 positive patients has none, and stays out of
    the mean.
    """
    if as_json + as_csv + as_latex > 1:
        raise UsageError("several forms of output", "give one of --json, --csv and --latex")
    from cxrsearch.evaluate import Question

    question = Question(
        split=split,
        part=part,
        models=_names(models, "models"),
        baselines=_names(baselines, "baselines"),
        fit_on=fit_on,
        allow_seen=allow_seen,
        max_train=max_train,
        replicates=replicates,
        seed=seed,
    )
    shared: dict[str, Any] = {"findings": names(findings) or None, "cache": cache, "device": device}
    shared |= {"precision": precision, "workers": workers}
    if cv is not None:
        entries = changes(set_, arch=arch, weights=weights, size=size, epochs=epochs)
        training = {"config": config, "changes": entries, "seed": seed, "max_minutes": max_minutes}
        result = _cross_validated(images, labels, cv, question, out or Path("runs") / f"cv-{config}", shared | training)
    elif images is not None:
        result = _of_images(images, labels, question, shared | {"weights": weights, "arch": arch, "size": size})
    else:
        result = _of_index(index, weights, labels, question, device)
    _show(result, as_json, as_csv, as_latex)
    if result.refused:
        raise typer.Exit(3)


def _names(given: str, what: str) -> tuple[str, ...]:
    from cxrsearch.analysis.registry import ALL_MODELS, DEFAULT_MODELS
    from cxrsearch.baselines import BASELINES

    words = {
        "models": {"default": DEFAULT_MODELS, "all": ALL_MODELS, "none": ()},
        "baselines": {"default": BASELINES, "all": BASELINES, "none": ()},
    }
    return words[what].get(given) if given in words[what] else names(given)  # type: ignore[return-value]


def _cross_validated(
    images: Path | None, labels: Path | None, folds: int, question: "Question", out: Path, options: dict[str, Any]
) -> "EvaluationResult":
    from cxrsearch.evaluate import cross_validate

    folder, table = training_inputs(images, labels)
    with console.progress() as progress:
        return cross_validate(folder, table, folds, question, out=out, progress=progress, **options)


def _of_images(images: Path, labels: Path | None, question: "Question", options: dict[str, Any]) -> "EvaluationResult":
    from cxrsearch.evaluate import evaluate_images

    folder, table = training_inputs(images, labels)
    with console.progress() as progress:
        return evaluate_images(folder, table, question, progress=progress, **options)


def _of_index(
    index: Path | None, weights: str | None, labels: Path | None, question: "Question", device: str
) -> "EvaluationResult":
    from cxrsearch.evaluate import evaluate_index
    from cxrsearch.query import open_index

    if labels is not None:
        raise UsageError("a table beside an index, which has its own", "leave --labels out, or name the images")
    with console.progress() as progress:
        return evaluate_index(open_index(index_folder(None, index), device=device, weights=weights), question, progress)


def _show(result: "EvaluationResult", as_json: bool, as_csv: bool, as_latex: bool) -> None:
    for warning in result.warnings:
        console.warn(warning)
    if as_json:
        console.json_line(result.to_json())
    elif as_csv:
        console.text(result.to_frame().to_csv(index=False).rstrip("\n"))
    elif as_latex:
        console.text(result.to_latex())
    else:
        _show_tables(result)
    console.refused(result.refused)


def _show_tables(result: "EvaluationResult") -> None:
    from cxrsearch.evaluation_result import MEAN

    console.text(f"{result.heading()}\n")
    first = result.reference or next(iter(result.metrics))
    _show_findings(result, first)
    for group in _columns(list(result.metrics)):
        rows = [
            [name, *[cells[i] for i in group]]
            for name, cells in zip((*result.findings, MEAN), result.auroc_cells(lambda cell: f"{cell}*"), strict=True)
        ]
        heads = {"finding": False} | {list(result.metrics)[i]: True for i in group}
        console.table("AUROC" + ("; * best, and apart from densenet" if result.reference else ""), heads, rows)
    _show_models(result)


def _columns(models: list[str]) -> list[list[int]]:
    """The models in groups that fit beside each other on the terminal, the first one narrow enough for 80 columns."""
    import shutil

    width, groups, used = shutil.get_terminal_size().columns, [[]], 22  # type: ignore[var-annotated]
    for i, name in enumerate(models):
        if used + max(len(name), 6) + 3 > width and groups[-1]:
            groups.append([])
            used = 22
        groups[-1].append(i)
        used += max(len(name), 6) + 3
    return groups


def _show_findings(result: "EvaluationResult", model: str) -> None:
    metrics = result.metrics[model]
    columns = dict.fromkeys(["AUROC", "95% interval", "AUPRC", "prevalence", "positive", "patients"], True)
    rows = [
        [
            finding,
            _value(metrics.auroc.point[f]),
            _interval(metrics.auroc.low[f], metrics.auroc.high[f]),
            _value(metrics.auprc.point[f]),
            f"{metrics.auroc.prevalence[f]:.1%}",
            str(metrics.auroc.positives[f]),
            str(metrics.auroc.positive_patients[f]),
        ]
        for f, finding in enumerate(result.findings)
    ]
    console.table(f"{model}, each finding", {"finding": False} | columns, rows)


def _show_models(result: "EvaluationResult") -> None:
    columns = dict.fromkeys(["mean AUROC", "95% interval"], True)
    if result.reference is not None:
        columns |= {f"minus {result.reference}": True, "its interval": True}
    rows = [[name, *_mean_cells(metrics, result.reference)] for name, metrics in result.metrics.items()]
    n = next(iter(result.metrics.values())).auroc.mean.findings
    out = len(result.findings) - n
    title = f"Mean over the {n} findings with 10 positive patients or more" + (f"; {out} left out" if out else "")
    console.table(title, {"model": False} | columns, rows)
    heads = ["Brier", "ECE", "calibrated Brier", "calibrated ECE"]
    console.table(
        "Calibration, mean over all findings; calibrated on the images that settings are chosen by",
        {"model": False} | dict.fromkeys(heads, True),
        [[name, *_calibration_cells(metrics)] for name, metrics in result.metrics.items()],
    )


def _mean_cells(metrics: "ModelMetrics", reference: str | None) -> list[str]:
    mean = metrics.auroc.mean
    cells = [_value(mean.point), _interval(mean.low, mean.high)]
    if reference is not None:
        apart = None if metrics.difference is None else metrics.difference.mean
        cells += ["", ""] if apart is None else [_value(apart.point, "+"), _interval(apart.low, apart.high, "+")]
    return cells


def _calibration_cells(metrics: "ModelMetrics") -> list[str]:
    found = (metrics.before, metrics.after)
    return [
        cell
        for one in found
        for cell in (("", "") if one is None else (_value(one.brier.mean()), _value(one.ece.mean())))
    ]


def _value(value: float, sign: str = "") -> str:
    return "" if value != value else f"{value:{sign}.3f}"


def _interval(low: float, high: float, sign: str = "") -> str:
    return "" if low != low else f"{low:{sign}.3f}{' to ' if sign else '–'}{high:{sign}.3f}"
