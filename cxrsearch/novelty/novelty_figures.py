"""Draw a novelty evaluation: distributions of the scores, the chart of all findings, the most novel images."""

from pathlib import Path

import numpy as np
from PIL import Image

from cxrsearch.analysis.novelty.comparisons import NoveltyRow
from cxrsearch.arrays import Flags
from cxrsearch.images.findings import NO_FINDING
from cxrsearch.novelty._score_distributions import ScorePanel, save_distributions
from cxrsearch.novelty.novelty_result import NoveltyResult, NoveltyTable, shown_row, shown_scores
from cxrsearch.report import style
from cxrsearch.report.contact_sheet import Tile, contact_sheet
from cxrsearch.report.findings_chart import FindingLine, save_findings


def save_figure(result: NoveltyResult | NoveltyTable, path: Path) -> None:
    """Draw the distributions of one finding's scores, or the chart of several findings, as PNG or SVG.

    Raises:
        UsageError: the file is neither PNG nor SVG.
        WriteError: the file cannot be written.
    """
    if isinstance(result, NoveltyTable):
        _save_chart(result, path)
    else:
        _save_distributions(result, path)


def novel_sheet(result: NoveltyResult) -> Image.Image:
    """Draw the most novel images with their findings. A line under an image says if it shows the held-out finding."""
    tiles = []
    for image, pixels in zip(result.most_novel, result.most_novel_pixels, strict=True):
        shows = result.holdout in image["findings"]
        findings = ", ".join(image["findings"]).replace("_", " ")
        lines = [f"{result.shown_score} {image['score']:.4g}", f"shows {result.holdout}" if shows else "", findings]
        tiles.append(Tile(pixels, f"{image['rank']} · {image['image']}", [line for line in lines if line]))
    title = f"{result.holdout} held out: the most novel images by {result.shown_score}"
    seen = f"{result.seen[0].upper()}{result.seen[1:]}"
    return contact_sheet(tiles, title=title, footer=f"{seen}. {style.DISCLAIMER}")


def _save_distributions(result: NoveltyResult, path: Path) -> None:
    scored = result.scored
    assert scored is not None
    held: Flags = scored.labels[:, result.findings.index(result.holdout)]
    any_finding = np.array([row.any() for row in scored.labels])
    groups = {"other findings": ~held & any_finding, NO_FINDING: ~any_finding, f"{result.holdout}, held out": held}
    named = {f"{name} ({int(flags.sum()):,})": flags for name, flags in groups.items()}
    panels = [
        ScorePanel(name, values, f"AUROC {_auroc(result.row(name, 'any', 'all'))}")
        for name, values in scored.scores.items()
    ]
    save_distributions(
        path,
        f"{result.holdout} held out: novelty of {len(held):,} images",
        panels,
        named,
        f"{result.seen[0].upper()}{result.seen[1:]}",
    )


def _save_chart(table: NoveltyTable, path: Path) -> None:
    lines = []
    for result in table.results:
        rows = {name: shown_row(result, name) for name in shown_scores(table.results)}
        points = {name: _point(row) for name, row in rows.items() if row is not None}
        lines.append(FindingLine(result.holdout, points, result.rows[0].n_positive, result.rows[0].n_patients))
    save_findings(path, f"Findings held out one by one, {table.mode} encoder", lines)


def _point(row: NoveltyRow) -> tuple[float, float, float]:
    auroc, low, high = (np.nan if value is None else value for value in (row.auroc, row.auroc_low, row.auroc_high))
    return auroc, low, high


def _auroc(row: NoveltyRow) -> str:
    if row.auroc is None:
        return "not known"
    interval = "" if row.auroc_low is None else f" [{row.auroc_low:.2f}, {row.auroc_high:.2f}]"
    return f"{row.auroc:.2f}{interval} against all"
