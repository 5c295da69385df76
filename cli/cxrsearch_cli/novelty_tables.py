"""The tables of `cxrsearch novelty`, and its figures."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cxrsearch.words import images_of
from cxrsearch_cli import console

if TYPE_CHECKING:
    from cxrsearch.analysis.novelty.comparisons import NoveltyRow
    from cxrsearch.novelty.novelty_result import NoveltyResult, NoveltyTable

_POSITIVES = {"any": "any image with {}", "only": "images with {} and nothing else"}


def show_tables(result: "NoveltyResult | NoveltyTable") -> None:
    """Print the result of one finding, or the table of all findings."""
    from cxrsearch.novelty.novelty_result import NoveltyTable

    if isinstance(result, NoveltyTable):
        _show_every(result)
    else:
        _show_one(result)


def _show_one(result: "NoveltyResult") -> None:
    console.text(result.heading())
    console.text(f"{result.seen[0].upper()}{result.seen[1:]}.")
    console.text()
    for positives, words in _POSITIVES.items():
        rows = [row for row in result.rows if row.positives == positives]
        title = f"AUROC of {words.format(result.holdout)}: {images_of(rows[0].n_positive, rows[0].n_patients)}"
        console.table(title, _COLUMNS, _format_rows(rows))
    _show_metrics(result)
    _show_chosen(result)
    _show_shots(result)
    _show_most_novel(result)


_COLUMNS = {"score": False, "against all": True, "No Finding": True, "other findings": True}


def _format_rows(rows: Sequence["NoveltyRow"]) -> list[list[str]]:
    by_score: dict[str, list[str]] = {}
    for row in rows:
        by_score.setdefault(row.score, []).append(_format_auroc(row))
    first = [row for row in rows if row.score == rows[0].score]
    return [
        *([name, *cells] for name, cells in by_score.items()),
        ["negatives", *(f"{row.n_negative:,}" for row in first)],
    ]


def _format_auroc(row: "NoveltyRow | None") -> str:
    if row is None or row.auroc is None:
        return "-"
    if row.auroc_low is None or row.auroc_high is None:
        return f"{_format_digits(row.auroc)}"
    return f"{_format_digits(row.auroc)} [{_format_digits(row.auroc_low)},{_format_digits(row.auroc_high)}]"


def _format_digits(value: float) -> str:
    return f"{value:.3f}".removeprefix("0")


def _show_metrics(result: "NoveltyResult") -> None:
    rows = [row for row in result.rows if (row.positives, row.negatives) == ("any", "all")]
    columns = {"score": False, "AUPR": True, "prevalence": True, "FPR at 95% TPR": True}
    cells = (
        [
            row.score,
            *("-" if value is None else _format_digits(value) for value in (row.aupr, row.prevalence, row.fpr95)),
        ]
        for row in rows
    )
    console.table(f"Any image with {result.holdout} against all others", columns, cells)


def _show_chosen(result: "NoveltyResult") -> None:
    chosen = result.chosen
    if chosen.score is None:
        console.text("No score was chosen: the validation part has no other finding to hold out.")
        return
    console.text(f"Chosen on the validation part by holding out {', '.join(chosen.findings)}:")
    console.text(
        f"{chosen.score} (mean AUROC {_format_digits(chosen.auroc[chosen.score])}); k = {chosen.k['knn']} for knn, "
        f"{chosen.k['class-knn']} for class-knn."
    )
    console.text("no-finding separates abnormal from normal images, whether novel or not.")
    console.text()


def _show_shots(result: "NoveltyResult") -> None:
    if not result.shots:
        return
    columns = {"score": False, "known patients": True, "mean AUROC": True, "lowest to highest": True, "draws": True}
    rows = (
        [
            row.score,
            str(row.shots),
            "-" if row.auroc is None else _format_digits(row.auroc),
            ""
            if row.lowest is None or row.highest is None
            else f"{_format_digits(row.lowest)} to {_format_digits(row.highest)}",
            str(row.draws),
        ]
        for row in result.shots
    )
    console.table(f"If a few patients with {result.holdout} are known", columns, rows)


def _show_most_novel(result: "NoveltyResult") -> None:
    columns = {"rank": True, "image": False, "score": True, "findings": False}
    rows = (
        [str(image["rank"]), image["image"], f"{image['score']:.6g}", ", ".join(image["findings"])]
        for image in result.most_novel
    )
    if result.most_novel:
        console.table(f"The most novel images, by {result.shown_score}", columns, rows)


def _show_every(table: "NoveltyTable") -> None:
    for names in (("knn", "mahalanobis"), ("chosen", "ceiling")):
        _show_scores(table, names)
    console.text("chosen: the score that is best for the other findings on the validation part.")
    console.text("ceiling: a classifier that was allowed to learn the finding.")
    console.text("--json prints every score and comparison.")
    for seen in dict.fromkeys(result.seen.replace(result.holdout, "the finding") for result in table.results):
        console.text(f"{seen[0].upper()}{seen[1:]}.")


def _show_scores(table: "NoveltyTable", names: tuple[str, ...]) -> None:
    """One line per finding: the AUROC of some scores, and which score validation chose."""
    from cxrsearch.novelty.novelty_result import shown_row, shown_scores

    present = [name for name in names if name in shown_scores(table.results)]
    counted, chosen = "knn" in names, "chosen" in present
    columns = {"held out": False} | dict.fromkeys(("images", "patients") if counted else (), True)
    columns |= dict.fromkeys(present, True) | ({"which": False} if chosen else {})
    rows = (
        [
            result.holdout,
            *([f"{result.rows[0].n_positive:,}", f"{result.rows[0].n_patients:,}"] if counted else []),
            *(_format_auroc(shown_row(result, name)) for name in present),
            *([result.chosen.score or "-"] if chosen else []),
        ]
        for result in table.results
    )
    if present:
        console.table("AUROC of any image with the held-out finding, against all others", columns, rows)


def write_figures(result: "NoveltyResult | NoveltyTable", plot: Path | None, sheet: Path | None) -> None:
    """Draw the figures whose paths are not None, and name them on stderr."""
    if plot is None and sheet is None:
        return
    from cxrsearch.novelty.novelty_figures import novel_sheet, save_figure
    from cxrsearch.novelty.novelty_result import NoveltyTable
    from cxrsearch.report.contact_sheet import save_png

    if plot is not None:
        save_figure(result, plot)
        console.note(f"figure: {plot}")
    if sheet is not None and not isinstance(result, NoveltyTable):
        save_png(novel_sheet(result), sheet)
        console.note(f"contact sheet: {sheet}")
