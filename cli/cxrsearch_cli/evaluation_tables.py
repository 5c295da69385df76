"""The tables that `cxrsearch evaluate` prints."""

from typing import TYPE_CHECKING

from cxrsearch.words import counted
from cxrsearch_cli import console

if TYPE_CHECKING:
    from cxrsearch.analysis.evaluation.evaluate_scores import ModelMetrics
    from cxrsearch.analysis.retrieval.retrieval import RetrievalSummary
    from cxrsearch.evaluation.evaluation_result import EvaluationResult


def show_tables(result: "EvaluationResult") -> None:
    """Print an evaluation: each finding, the models side by side, and the optional analyses that were asked for."""
    from cxrsearch.evaluation.evaluation_result import MEAN

    console.text(f"{result.heading()}\n")
    first = result.reference or next(iter(result.metrics))
    _show_findings(result, first)
    for group in _fit_columns(list(result.metrics)):
        marked = zip((*result.findings, MEAN), result.auroc_cells(lambda cell: f"{cell}*"), strict=True)
        rows = [[name, *[cells[i] for i in group]] for name, cells in marked if name != MEAN or any(cells)]
        heads = {"finding": False} | {list(result.metrics)[i]: True for i in group}
        console.table(f"AUROC{_explain_mark(result.reference)}", heads, rows)
    _show_published(result)
    _show_models(result)
    _show_strata(result)
    _show_retrieval(result)
    _show_fractions(result)


def _explain_mark(reference: str | None) -> str:
    return "" if reference is None else f" (*: the best, and the interval of its difference to {reference} excludes 0)"


def _fit_columns(models: list[str]) -> list[list[int]]:
    """The positions of the models, in groups that fit beside each other on the terminal."""
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
    columns = dict.fromkeys(["AUROC", "interval", "AUPRC", "share", "images", "patients"], True)
    rows = [
        [
            finding,
            _format_value(metrics.auroc.point[f]),
            _format_interval(metrics.auroc.low[f], metrics.auroc.high[f]),
            _format_value(metrics.auprc.point[f]),
            f"{metrics.auroc.prevalence[f]:.1%}",
            str(metrics.auroc.positives[f]),
            str(metrics.auroc.positive_patients[f]),
        ]
        for f, finding in enumerate(result.findings)
    ]
    title = f"{model}: each finding, with 95% intervals (share, images and patients with the finding)"
    console.table(title, {"finding": False} | columns, rows)


def _show_models(result: "EvaluationResult") -> None:
    columns = dict.fromkeys(["AUROC", "95% interval"], True)
    if result.reference is not None:
        columns |= {"difference": True, "its interval": True}
    rows = [[name, *_format_mean(metrics, result.reference)] for name, metrics in result.metrics.items()]
    n = next(iter(result.metrics.values())).auroc.mean.findings
    if n:
        title = f"Mean AUROC over {_name_those(n, len(result.findings))} with at least 10 positive patients"
        title += f" (difference: to {result.reference})" if result.reference is not None else ""
        console.table(title, {"model": False} | columns, rows)
    else:
        console.text("No mean and no intervals: no finding has 10 positive patients among the scored images\n")
    heads = ["Brier", "ECE", "calibrated Brier", "calibrated ECE"]
    console.table(
        "Calibration, mean over all findings (calibrated on the images that choose settings)",
        {"model": False} | dict.fromkeys(heads, True),
        [[name, *_format_calibration(metrics)] for name, metrics in result.metrics.items()],
    )


def _name_those(n: int, findings: int) -> str:
    return f"the {counted(n, 'finding')}" if n == findings else f"the {n} of {findings} findings"


def _format_mean(metrics: "ModelMetrics", reference: str | None) -> list[str]:
    mean = metrics.auroc.mean
    cells = [_format_value(mean.point), _format_interval(mean.low, mean.high)]
    if reference is not None:
        difference = None if metrics.difference is None else metrics.difference.mean
        cells += (
            ["", ""]
            if difference is None
            else [_format_value(difference.point, "+"), _format_interval(difference.low, difference.high, "+")]
        )
    return cells


def _format_calibration(metrics: "ModelMetrics") -> list[str]:
    return [
        cell
        for errors in (metrics.before, metrics.after)
        for cell in (
            ("", "") if errors is None else (_format_value(errors.brier.mean()), _format_value(errors.ece.mean()))
        )
    ]


def _format_value(value: float, sign: str = "") -> str:
    return "" if value != value else f"{value:{sign}.3f}"


def _format_interval(low: float, high: float, sign: str = "") -> str:
    return "" if low != low else f"{low:{sign}.3f}{', ' if sign else '–'}{high:{sign}.3f}"


def _show_published(result: "EvaluationResult") -> None:
    """Our models beside the paper's numbers, if these are for the same images."""
    from cxrsearch.evaluation.evaluation_result import MEAN

    published = result.published()
    if not published:
        return
    ours = dict(zip(result.metrics, zip(*result.auroc_cells(), strict=True), strict=True))
    cells: dict[str, list[str]] = {}
    for model, values in published.items():
        if model in ours:
            cells[model] = list(ours[model])
        cells[f"paper: {model}"] = [_format_value(value) for value in values]
    for group in _fit_columns(list(cells)):
        heads = [list(cells)[i] for i in group]
        rows = [[name, *[cells[h][f] for h in heads]] for f, name in enumerate((*result.findings, MEAN))]
        title = "AUROC beside the paper's Table 2 (DenseNet-169; 1% of the images voted in its kNN)"
        console.table(title, {"finding": False} | dict.fromkeys(heads, True), rows)


def _show_strata(result: "EvaluationResult") -> None:
    if not result.strata:
        return
    models = list(result.metrics)
    for group in _fit_columns(models):
        rows = [
            [stratum.name, str(stratum.images), str(stratum.findings)]
            + [_format_value(stratum.auroc[models[i]].mean.point) for i in group]
            for stratum in result.strata
        ]
        heads = {"stratum": False, "images": True, "of": True} | {models[i]: True for i in group}
        title = "Mean AUROC per stratum, over findings with at least 10 positive patients in it (of: number)"
        console.table(title, heads, rows)


def _show_retrieval(result: "EvaluationResult") -> None:
    if (quality := result.retrieval) is None:
        return
    k = quality.k
    console.table(
        f"Retrieval: the first {k} images of other patients (second value: in a random order)",
        {"queries with": False} | dict.fromkeys(["images", f"P@{k}", f"hit@{k}", f"mAP@{k}", f"nDCG@{k}"], True),
        _format_retrieval(result.findings, quality.others),
    )
    console.table(
        "Retrieval, with images of the same patient allowed",
        {"queries with": False} | dict.fromkeys(["images", f"P@{k}", f"hit@{k}", f"mAP@{k}", f"nDCG@{k}"], True),
        _format_retrieval(result.findings, quality.everyone)[-2:],
    )
    same = quality.own
    rows = [
        [name, str(same.images[g]), *[_format_value(value) for value in same.point[g]]]
        for g, name in enumerate(("whose patient has another image", "all"))
    ]
    columns = dict.fromkeys(["images", "nearest", f"of first {k}", "by chance"], True)
    console.table("Share of images of the same patient, if these are allowed", {"queries": False} | columns, rows)


def _format_retrieval(findings: tuple[str, ...], summary: "RetrievalSummary") -> list[list[str]]:
    from cxrsearch.evaluation.evaluation_rows import group_names

    values = summary.values
    return [
        [name, str(values.images[g])]
        + [
            f"{_format_value(value)} {_format_value(chance).lstrip('0')}" if value == value else ""
            for value, chance in zip(values.point[g], summary.chance[g], strict=True)
        ]
        for g, name in enumerate(group_names(findings))
    ]


def _show_fractions(result: "EvaluationResult") -> None:
    if (curve := result.fractions) is None:
        return
    rows = [
        [
            f"{fraction:.3g}",
            f"{images.mean():.0f}",
            _format_value(means.mean()),
            _format_interval(means.min(), means.max()),
        ]
        for fraction, images, means in zip(curve.fractions, curve.images, curve.mean, strict=True)
    ]
    title = (
        f"kNN votes (k = {curve.k}) with fractions of the training part: mean AUROC over {curve.findings} findings, "
        f"{curve.images.shape[1]} draws"
    )
    columns = dict.fromkeys(["fraction", "images", "mean AUROC", "lowest–highest"], True)
    console.table(title, columns, rows)
