"""An evaluation as a page for a paper's supplement: one HTML file that loads nothing and works offline."""

import html
from collections.abc import Sequence

import numpy as np

from cxrsearch.analysis.evaluation.evaluate_scores import ModelMetrics, make_comparable
from cxrsearch.analysis.evaluation.published import OTHER_SPLIT
from cxrsearch.analysis.measures.roc import reliability, roc_curve
from cxrsearch.analysis.retrieval.retrieval import RetrievalSummary
from cxrsearch.arrays import Floats
from cxrsearch.evaluation._evaluation_charts import calibration_chart, fraction_chart, roc_chart, strata_chart
from cxrsearch.evaluation.evaluation_result import MEAN, EvaluationResult
from cxrsearch.images.findings import NO_FINDING
from cxrsearch.report import style
from cxrsearch.report.template import fill_template, read_asset
from cxrsearch.words import counted

_CHART_MODELS = 6
_NO_MEAN = "<p><strong>No plot: no finding has 10 positive patients, so there is no mean.</strong></p>"


def evaluation_page(result: EvaluationResult, facts: Sequence[tuple[str, str]]) -> bytes:
    """Make the page. The same evaluation gives the same bytes.

    Args:
        result: the result of an evaluation.
        facts: names and values that a reader needs to reproduce the numbers.
    """
    sections = [_warnings(result), _table_2(result), _details(result), _roc(result), _calibration(result)]
    sections += [_strata(result), _fractions(result), _retrieval(result), _facts(facts)]
    parts = {
        "title": "Evaluation of findings from embeddings",
        "heading": _text(f"{result.heading()}."),
        "disclaimer": _text(style.DISCLAIMER),
        "style": _properties(),
        "body": "\n".join(section for section in sections if section),
    }
    return fill_template(read_asset("cxrsearch.evaluation", "evaluation_page.html"), parts).encode()


def _properties() -> str:
    values = {"paper": style.PAPER, "panel": style.PAPER_PANEL, "line": style.PAPER_LINE, "ink": style.PAPER_INK}
    values |= {"quiet": style.PAPER_INK_QUIET, "accent": style.PAPER_ACCENT}
    sizes = {"title": style.TITLE, "heading": style.HEADING, "body": style.BODY}
    sizes |= {"tight": style.TIGHT, "gap": style.GAP, "wide": style.WIDE}
    values |= {name: f"{size}px" for name, size in sizes.items()}
    return " ".join(f"--{name}: {value};" for name, value in values.items())


def _warnings(result: EvaluationResult) -> str:
    if not result.warnings:
        return ""
    items = "".join(f"<li>{_text(f'{warning[:1].upper()}{warning[1:]}.')}</li>" for warning in result.warnings)
    return f'<section class="warnings"><h2>What to know first</h2><ul>{items}</ul></section>'


def _table_2(result: EvaluationResult) -> str:
    published, stressed = result.published(), result.stressed()
    heads = ["Finding"]
    for model in result.metrics:
        heads += [model, *([f"{model}, paper"] if model in published else [])]
    alone = [model for model in published if model not in result.metrics]
    heads += [f"{model}, paper" for model in alone]
    rows = []
    for f, finding in enumerate([*result.findings, MEAN]):
        cells = [_readable(finding)]
        for model, metrics in result.metrics.items():
            cells.append(_auroc(metrics, f if f < len(result.findings) else None, model in stressed[f]))
            cells += [_value(published[model][f])] if model in published else []
        rows.append(cells + [_value(published[model][f]) for model in alone])
    n = next(iter(result.metrics.values())).auroc.mean.findings
    caption = (
        f"AUROC with 95% patient-bootstrap intervals ({result.replicates:,} replicates). Under 10 positive patients "
        f"there is no interval, and the finding stays out of the mean, which is over {n} of {len(result.findings)}. "
        "Bold: the best of its row, if its difference to the reference excludes 0."
    )
    beside = "Grey columns: what the paper printed in its Table 2 (DenseNet-169; its kNN had 1% of the images to vote)."
    note = f"<p>{_text(beside if published else OTHER_SPLIT)}</p>"
    return _section("AUROC of every model", note + _table(caption, heads, rows, last=True))


def _auroc(metrics: ModelMetrics, finding: int | None, stressed: bool) -> str:
    auroc = metrics.auroc
    values = (
        (auroc.mean.point, auroc.mean.low, auroc.mean.high)
        if finding is None
        else (auroc.point[finding], auroc.low[finding], auroc.high[finding])
    )
    text = _value(values[0])
    return (f"<strong>{text}</strong>" if stressed else text) + _range(values[1], values[2])


def _details(result: EvaluationResult) -> str:
    metrics = result.metrics[result.drawn_model]
    heads = ["Finding", "positive images", "patients", "prevalence", "AUPRC", "Brier", "Brier, calibrated"]
    heads += ["ECE", "ECE, calibrated"]
    rows = []
    for f, finding in enumerate(result.findings):
        auprc = metrics.auprc
        cells = [_readable(finding), f"{auprc.positives[f]:,}", f"{auprc.positive_patients[f]:,}"]
        cells += [f"{auprc.prevalence[f]:.1%}", _value(auprc.point[f]) + _range(auprc.low[f], auprc.high[f])]
        kinds = (metrics.before, metrics.after)
        cells += ["" if kind is None else _value(kind.brier[f]) for kind in kinds]
        rows.append(cells + ["" if kind is None else _value(kind.ece[f]) for kind in kinds])
    caption = "AUPRC by chance is the prevalence. ECE: expected calibration error over 15 bins of equal mass."
    return _section(f"Every finding, by {result.drawn_model}", _table(caption, heads, rows))


def _roc(result: EvaluationResult) -> str:
    scores = make_comparable(result.scored.scores[result.drawn_model], result.scored.folds)
    panels = []
    for f, finding in enumerate(result.findings):
        labels = result.scored.labels[:, f]
        auroc = result.metrics[result.drawn_model].auroc
        if labels.all() or not labels.any():
            continue
        curve = roc_curve(labels, scores[:, f], result.scored.patients, replicates=result.replicates, seed=result.seed)
        text = f"{auroc.point[f]:.3f}" + (f" ({auroc.low[f]:.3f}–{auroc.high[f]:.3f})" if auroc.usable[f] else "")
        alt = f"ROC curve of {_plain(finding)} by {result.drawn_model}: AUROC {text}"
        panels.append(_panel(finding, text, roc_chart(curve), alt))
    text = (
        "Below each curve its AUROC. Shaded: pointwise 95% band from resampled patients; none under 10 positive "
        "patients. Dotted: chance."
    )
    return _section(f"ROC curves of {result.drawn_model}", f"<p>{text}</p>{_panels(panels)}")


def _calibration(result: EvaluationResult) -> str:
    metrics, panels = result.metrics[result.drawn_model], []
    if metrics.before is None:
        return ""
    raw, calibrated = result.scored.scores[result.drawn_model], result.scored.calibrated.get(result.drawn_model)
    for f, finding in enumerate(result.findings):
        labels = result.scored.labels[:, f]
        if not labels.any():
            continue
        before = reliability(labels, raw[:, f])
        after = None if calibrated is None else reliability(labels, calibrated[:, f])
        text = f"ECE {metrics.before.ece[f]:.3f}"
        text += "" if metrics.after is None else f" → {metrics.after.ece[f]:.3f}"
        alt = f"Predicted against observed share of {_plain(finding)} by {result.drawn_model}: {text}"
        panels.append(_panel(finding, text, calibration_chart(before, after), alt))
    text = (
        "Orange squares: as predicted. Blue circles: calibrated on the images that choose settings. A mark is a bin of "
        "equally many images. Below: ECE before → after. Dotted: perfect. The axes end at the last mark."
    )
    return _section(f"Calibration of {result.drawn_model}", f"<p>{text}</p>{_panels(panels)}")


def _strata(result: EvaluationResult) -> str:
    if not result.strata:
        return ""
    means = {model: [stratum.auroc[model].mean for stratum in result.strata] for model in result.metrics}
    # The plot has room for six models: the first five, and the baseline that uses the view alone.
    names = [*[m for m in means if m != "baseline-view"][: _CHART_MODELS - 1], "baseline-view"]
    drawn = {model: means[model] for model in names if model in means}
    rows = [
        [_text(s.name), f"{s.images:,}", f"{s.patients:,}", str(s.findings)]
        + [_value(mean[i].point) + _range(mean[i].low, mean[i].high) for mean in means.values()]
        for i, s in enumerate(result.strata)
    ]
    text = (
        "Means over the findings with at least 10 positive patients in the stratum. These findings differ, so compare "
        "models within a stratum, not strata with each other."
    )
    alt = f"Mean AUROC with 95% intervals of {', '.join(drawn)} by stratum; the table below has the numbers"
    known = any(stratum.findings for stratum in result.strata)
    chart = _figure(strata_chart([stratum.name for stratum in result.strata], drawn), alt) if known else _NO_MEAN
    table = _table("Mean AUROC by stratum", ["Stratum", "images", "patients", "findings", *means], rows)
    return _section("By view, sex and age", f"<p>{text}</p>{chart}{table}")


def _fractions(result: EvaluationResult) -> str:
    if (curve := result.fractions) is None:
        return ""
    rows = [
        [f"{fraction:.3g}", f"{images.mean():,.0f}", _value(means.mean()) + _range(means.min(), means.max())]
        for fraction, images, means in zip(curve.fractions, curve.images, curve.mean, strict=True)
    ]
    draws, findings = curve.images.shape[1], counted(curve.findings, "finding")
    caption = f"Mean AUROC over {findings}; below it, the lowest and the highest of {counted(draws, 'draw')}"
    table = _table(caption, ["Fraction", "images", "mean AUROC"], rows)
    alt = "Mean AUROC of kNN votes by fraction; the table below has the numbers"
    chart = _figure(fraction_chart(curve), alt) if curve.findings else _NO_MEAN
    text = (
        f"Votes of the {counted(curve.k, 'nearest image')} of other patients, with a part of the training patients, "
        f"drawn {counted(draws, 'time')}. Shaded: the range of the draws."
    )
    return _section("What a fraction of the images is worth", f"<p>{text}</p>{chart}{table}")


def _retrieval(result: EvaluationResult) -> str:
    if (quality := result.retrieval) is None:
        return ""
    k, first, groups = quality.k, counted(quality.k, "image"), [*result.findings, NO_FINDING, "all", "with findings"]
    heads = ["Queries with", "images", f"P@{k}", f"hit@{k}", f"mAP@{k}", f"nDCG@{k}"]
    others = _table(
        f"The first {first} of other patients, by {counted(quality.queries, 'query', 'queries')}; below a value its "
        "interval, in brackets the value of a random order",
        heads,
        [_retrieval_row(name, quality.others, g) for g, name in enumerate(groups)],
    )
    everyone = _table(
        "The same, with images of the query's own patient allowed",
        heads,
        [_retrieval_row(name, quality.everyone, g) for g, name in list(enumerate(groups))[-2:]],
    )
    same = quality.own
    text = (
        f"Of the {counted(same.images[0], 'query', 'queries')} whose patient has another image, "
        f"{same.point[0, 0]:.1%} find it first (by chance {same.point[0, 2]:.2%}); of the first {first} that all "
        f"queries find, {same.point[1, 1]:.1%} are the same patient's."
        if same.images[0]
        else "No query's patient has another image."
    )
    return _section("Retrieval", f"{others}<p>{_text(text)}</p>{everyone}")


def _retrieval_row(name: str, summary: RetrievalSummary, group: int) -> list[str]:
    values, chance = summary.values, summary.chance
    return [_readable(name), f"{values.images[group]:,}"] + [
        ""
        if np.isnan(values.point[group, i])
        else f"{_value(values.point[group, i])} ({_value(chance[group, i])})"
        + _range(values.low[group, i], values.high[group, i])
        for i in range(4)
    ]


def _facts(facts: Sequence[tuple[str, str]]) -> str:
    items = "".join(f"<dt>{_text(name)}</dt><dd>{_text(value)}</dd>" for name, value in facts)
    return _section("How to reproduce these numbers", f"<dl>{items}</dl>")


def _section(title: str, body: str) -> str:
    return f"<section><h2>{_text(title)}</h2>{body}</section>"


def _table(caption: str, heads: Sequence[str], rows: Sequence[Sequence[str]], *, last: bool = False) -> str:
    """A table whose cells are already HTML. The first column names the rows; `last` sets the last row apart."""
    grey = [' class="paper"' if head.endswith(", paper") else "" for head in heads]
    head = "".join(f'<th scope="col"{mark}>{_text(name)}</th>' for name, mark in zip(heads, grey, strict=True))
    body = []
    for i, cells in enumerate(rows):
        first, *others = cells
        rest = "".join(f"<td{mark}>{cell}</td>" for cell, mark in zip(others, grey[1:], strict=True))
        mark = ' class="last"' if last and i == len(rows) - 1 else ""
        body.append(f'<tr{mark}><th scope="row">{first}</th>{rest}</tr>')
    label = _text(caption)
    return (
        f'<p>{label}</p><div class="scroll" tabindex="0" role="region" aria-label="{label}">'
        f'<table aria-label="{label}">'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
    )


def _panels(panels: Sequence[str]) -> str:
    return f'<div class="panels">{"".join(panels)}</div>'


def _panel(finding: str, text: str, source: str, alt: str) -> str:
    return f"<figure><h3>{_readable(finding)}</h3>{_image(source, alt)}<figcaption>{_text(text)}</figcaption></figure>"


def _figure(source: str, alt: str) -> str:
    return f"<figure>{_image(source, alt)}</figure>"


def _image(source: str, alt: str) -> str:
    return f'<img src="{source}" alt="{_text(alt)}">'


def _plain(name: str) -> str:
    return name.replace("_", " ")


def _readable(name: str) -> str:
    return _text(_plain(name))


def _text(text: str) -> str:
    return html.escape(text)


def _value(value: float | Floats) -> str:
    return "" if value != value else f"{value:.3f}"


def _range(low: float | Floats, high: float | Floats) -> str:
    return "" if low != low else f"<small>{low:.3f}–{high:.3f}</small>"
