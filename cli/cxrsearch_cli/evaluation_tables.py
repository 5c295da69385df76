"""The tables that `cxrsearch evaluate` prints."""

from typing import TYPE_CHECKING

from cxrsearch.words import counted
from cxrsearch_cli import console

if TYPE_CHECKING:
    from cxrsearch.analysis.evaluation.evaluate_scores import ModelMetrics
    from cxrsearch.analysis.retrieval.retrieval import RetrievalSummary
    from cxrsearch.evaluation.evaluation_result import EvaluationResult


def show_tables(result: "EvaluationResult") -> None:
    """Print what an evaluation came to: each finding, the models side by side, and what else was asked for."""
    from cxrsearch.evaluation.evaluation_result import MEAN

    console.text(f"{result.heading()}\n")
    first = result.reference or next(iter(result.metrics))
    _show_findings(result, first)
    for group in _columns(list(result.metrics)):
        marked = zip((*result.findings, MEAN), result.auroc_cells(lambda cell: f"{cell}*"), strict=True)
        rows = [[name, *[cells[i] for i in group]] for name, cells in marked if name != MEAN or any(cells)]
        heads = {"finding": False} | {list(result.metrics)[i]: True for i in group}
        console.table("AUROC" + (" (* best, and apart from densenet)" if result.reference else ""), heads, rows)
    _show_published(result)
    _show_models(result)
    _show_strata(result)
    _show_retrieval(result)
    _show_fractions(result)


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
    columns = dict.fromkeys(["AUROC", "interval", "AUPRC", "share", "images", "patients"], True)
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
    title = f"{model}, each finding, with 95% intervals (share, images, patients: those that have it)"
    console.table(title, {"finding": False} | columns, rows)


def _show_models(result: "EvaluationResult") -> None:
    columns = dict.fromkeys(["AUROC", "95% interval"], True)
    if result.reference is not None:
        columns |= {"apart": True, "its interval": True}
    rows = [[name, *_mean_cells(metrics, result.reference)] for name, metrics in result.metrics.items()]
    n = next(iter(result.metrics.values())).auroc.mean.findings
    if n:
        title = f"Mean AUROC over {_those(n, len(result.findings))} with 10 positive patients or more"
        title += f" (apart: minus {result.reference})" if result.reference is not None else ""
        console.table(title, {"model": False} | columns, rows)
    else:
        console.text("No mean and no intervals: no finding has 10 positive patients among the scored images\n")
    heads = ["Brier", "ECE", "calibrated Brier", "calibrated ECE"]
    console.table(
        "Calibration, mean over all findings (calibrated on the images that settings are chosen by)",
        {"model": False} | dict.fromkeys(heads, True),
        [[name, *_calibration_cells(metrics)] for name, metrics in result.metrics.items()],
    )


def _those(n: int, findings: int) -> str:
    return f"the {counted(n, 'finding')}" if n == findings else f"the {n} of {findings} findings"


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
    return "" if low != low else f"{low:{sign}.3f}{', ' if sign else '–'}{high:{sign}.3f}"


def _show_published(result: "EvaluationResult") -> None:
    """Our models beside the paper's numbers, where these are of the same images."""
    from cxrsearch.evaluation.evaluation_result import MEAN

    published = result.published()
    if not published:
        return
    ours = dict(zip(result.metrics, zip(*result.auroc_cells(), strict=True), strict=True))
    cells: dict[str, list[str]] = {}
    for model, values in published.items():
        if model in ours:
            cells[model] = list(ours[model])
        cells[f"paper: {model}"] = [_value(value) for value in values]
    for group in _columns(list(cells)):
        heads = [list(cells)[i] for i in group]
        rows = [[name, *[cells[h][f] for h in heads]] for f, name in enumerate((*result.findings, MEAN))]
        title = "AUROC beside the paper's Table 2 (DenseNet-169; its kNN had 1% of the images to vote)"
        console.table(title, {"finding": False} | dict.fromkeys(heads, True), rows)


def _show_strata(result: "EvaluationResult") -> None:
    if not result.strata:
        return
    models = list(result.metrics)
    for group in _columns(models):
        rows = [
            [stratum.name, str(stratum.images), str(stratum.findings)]
            + [_value(stratum.auroc[models[i]].mean.point) for i in group]
            for stratum in result.strata
        ]
        heads = {"stratum": False, "images": True, "of": True} | {models[i]: True for i in group}
        title = "Mean AUROC in strata, over the findings that have 10 positive patients there (of: how many these are)"
        console.table(title, heads, rows)


def _show_retrieval(result: "EvaluationResult") -> None:
    if (quality := result.retrieval) is None:
        return
    k = quality.k
    console.table(
        f"Retrieval, first {k} of the images of other patients; beside each value, what a random order gives",
        {"queries with": False} | dict.fromkeys(["images", f"P@{k}", f"hit@{k}", f"mAP@{k}", f"nDCG@{k}"], True),
        _retrieval_rows(result.findings, quality.others),
    )
    console.table(
        "Retrieval, images of the same patient allowed",
        {"queries with": False} | dict.fromkeys(["images", f"P@{k}", f"hit@{k}", f"mAP@{k}", f"nDCG@{k}"], True),
        _retrieval_rows(result.findings, quality.everyone)[-2:],
    )
    own = quality.own
    rows = [
        [name, str(own.images[g]), *[_value(value) for value in own.point[g]]]
        for g, name in enumerate(("whose patient has another image", "all"))
    ]
    columns = dict.fromkeys(["images", "nearest", f"of first {k}", "by chance"], True)
    console.table("Share that is the same patient's, where it may answer", {"queries": False} | columns, rows)


def _retrieval_rows(findings: tuple[str, ...], summary: "RetrievalSummary") -> list[list[str]]:
    from cxrsearch.evaluation.evaluation_rows import group_names

    values = summary.values
    return [
        [name, str(values.images[g])]
        + [
            f"{_value(value)} {_value(chance).lstrip('0')}" if value == value else ""
            for value, chance in zip(values.point[g], summary.chance[g], strict=True)
        ]
        for g, name in enumerate(group_names(findings))
    ]


def _show_fractions(result: "EvaluationResult") -> None:
    if (curve := result.fractions) is None:
        return
    rows = [
        [f"{fraction:.3g}", f"{images.mean():.0f}", _value(means.mean()), _interval(means.min(), means.max())]
        for fraction, images, means in zip(curve.fractions, curve.images, curve.mean, strict=True)
    ]
    title = (
        f"kNN votes (k = {curve.k}) with fractions of the training part: mean AUROC over {curve.findings} findings, "
        f"{curve.images.shape[1]} draws"
    )
    columns = dict.fromkeys(["fraction", "images", "mean AUROC", "lowest–highest"], True)
    console.table(title, columns, rows)
