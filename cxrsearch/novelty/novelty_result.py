"""The result of a novelty evaluation, for Python, as JSON, CSV and a table for a paper."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrsearch.analysis.novelty.comparisons import NEGATIVES, Negatives, NoveltyRow, Positives
from cxrsearch.analysis.novelty.shots import ShotsRow
from cxrsearch.arrays import Flags, Floats
from cxrsearch.files import Json
from cxrsearch.images.findings import NO_FINDING
from cxrsearch.images.preprocess import Pixels
from cxrsearch.json_values import refusals
from cxrsearch.protocol.seen import Mode
from cxrsearch.shown import Shown
from cxrsearch.words import images_of


@dataclass(frozen=True)
class Chosen:
    """The score that validation prefers, judged by findings other than the held-out one.

    Attributes:
        score: its name; None if validation cannot tell.
        k: the numbers of neighbours of `knn` and `class-knn`.
        auroc: by name, the mean validation AUROC over these findings; nan is left out.
        findings: the findings that were held out in turn.
    """

    score: str | None
    k: dict[str, int]
    auroc: dict[str, float]
    findings: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class ScoredImages:
    """The m scored images, for figures.

    Attributes:
        rows: int64 (m,), rows of the index.
        labels: bool (m, F).
        scores: by name, float64 (m,), higher is more novel; None for a score that could not be computed.
    """

    rows: NDArray[np.int64]
    labels: Flags
    scores: dict[str, Floats | None]


@dataclass(frozen=True, repr=False)
class NoveltyResult(Shown):
    """How much images of a held-out finding stand out.

    Attributes:
        holdout: the held-out finding.
        mode: `retrain` if the encoder was trained without it, as its provenance proves; else `frozen`.
        seen: one sentence: whether the encoder has seen the finding.
        split: the definition of the split.
        encoder: the encoder's name.
        head: the origin of the head whose outputs some scores use.
        strict: whether all images of patients with the finding were held out.
        findings: the index's vocabulary.
        known: number of images that the scores were fitted on.
        known_patients: number of their patients.
        scored_images: number of scored images.
        scored_patients: number of their patients.
        rows: one row per score and comparison.
        chosen: the score that validation prefers.
        shots: the results with a few known cases.
        most_novel: the ten most novel scored images by the preferred score, else by `knn`.
        replicates: bootstrap replicates.
        seed: seed of everything random.
        warnings: what a reader must know.
        refused: image and reason for every file that could not be embedded.
        most_novel_pixels: the stored pixels of the most novel images, uint8 (side, side); None without pixels.
        scored: the scores themselves.
    """

    holdout: str
    mode: Mode
    seen: str
    split: str
    encoder: str
    head: str
    strict: bool
    findings: tuple[str, ...]
    known: int
    known_patients: int
    scored_images: int
    scored_patients: int
    rows: tuple[NoveltyRow, ...]
    chosen: Chosen
    shots: tuple[ShotsRow, ...]
    most_novel: tuple[Json, ...]
    replicates: int
    seed: int
    warnings: tuple[str, ...]
    refused: tuple[tuple[str, str], ...] = ()
    most_novel_pixels: tuple[Pixels | None, ...] = field(default=(), compare=False, repr=False)
    scored: ScoredImages | None = field(default=None, compare=False, repr=False)

    @property
    def shown_score(self) -> str:
        """The score that chooses the most novel images."""
        return self.chosen.score or "knn"

    def heading(self) -> str:
        """The held-out finding and the numbers of images, in one line."""
        return (
            f"{self.holdout} held out: {images_of(self.known, self.known_patients, 'known image')}, "
            f"{self.scored_images} scored of {self.scored_patients} ({self.split}, part test)"
        )

    def row(self, score: str, positives: Positives, negatives: Negatives) -> NoveltyRow:
        """The row of one score in one comparison. Raises KeyError if there is none."""
        for row in self.rows:
            if (row.score, row.positives, row.negatives) == (score, positives, negatives):
                return row
        raise KeyError((score, positives, negatives))

    def to_frame(self) -> pd.DataFrame:
        """A table with one row per score and comparison; columns as in `NoveltyRow`, null if not computed."""
        return pd.DataFrame([asdict(row) for row in self.rows])

    def to_json(self) -> Json:
        """The object that `cxrsearch novelty --json` prints."""
        return {
            "holdout": self.holdout,
            "mode": self.mode,
            "seen": self.seen,
            "split": self.split,
            "encoder": self.encoder,
            "head": self.head,
            "strict": self.strict,
            "known": {"images": self.known, "patients": self.known_patients},
            "scored": {"images": self.scored_images, "patients": self.scored_patients},
            "rows": [asdict(row) for row in self.rows],
            "chosen": asdict(self.chosen),
            "shots": [asdict(row) for row in self.shots],
            "most_novel": list(self.most_novel),
            "replicates": self.replicates,
            "seed": self.seed,
            "warnings": list(self.warnings),
            "refused": refusals(self.refused),
        }

    def to_latex(self) -> str:
        """A LaTeX table: every score against the three kinds of negatives. Any image with the finding is positive."""
        head = r"Score & against all & against No Finding & against other findings \\"
        lines = (
            " & ".join([name, *(_latex(self.row(name, "any", negatives)) for negatives in NEGATIVES)]) + r" \\"
            for name in dict.fromkeys(row.score for row in self.rows)
        )
        return _tabular("lrrr", head, lines)


@dataclass(frozen=True, repr=False)
class NoveltyTable(Shown):
    """The results of all findings, each held out in turn.

    Attributes:
        results: one result per finding with images, in the order of the vocabulary.
        skipped: findings without images.
        warnings: what a reader must know, each once.
        refused: image and reason for every file that could not be embedded.
    """

    results: tuple[NoveltyResult, ...]
    skipped: tuple[str, ...]
    warnings: tuple[str, ...]
    refused: tuple[tuple[str, str], ...] = ()

    @property
    def mode(self) -> str:
        """The mode of all results; `mixed` if they differ."""
        modes = {result.mode for result in self.results}
        return modes.pop() if len(modes) == 1 else "mixed"

    def heading(self) -> str:
        """The number of held-out findings, in one line."""
        return f"{len(self.results)} findings, each held out in turn"

    def to_frame(self) -> pd.DataFrame:
        """The tables of all results below each other, with `holdout` and `mode` as first columns."""
        frames = [result.to_frame().assign(holdout=result.holdout, mode=result.mode) for result in self.results]
        every = pd.concat(frames, ignore_index=True)
        return every[["holdout", "mode", *[name for name in every if name not in ("holdout", "mode")]]]

    def to_json(self) -> Json:
        """The object that `cxrsearch novelty --holdout all --json` prints."""
        rows = [{"holdout": result.holdout, **asdict(row)} for result in self.results for row in result.rows]
        return {
            "holdout": "all",
            "mode": self.mode,
            "rows": rows,
            "results": [result.to_json() for result in self.results],
            "skipped": list(self.skipped),
            "warnings": list(self.warnings),
        }

    def to_latex(self) -> str:
        """A LaTeX table, one line per finding: its numbers, and the AUROC of some scores against all other images."""
        scores = shown_scores(self.results)
        head = " & ".join(["Finding", "Images", "Patients", *scores]) + r" \\"
        lines = (_latex_line(result, scores) for result in self.results)
        return _tabular("lrr" + "r" * len(scores), head, lines)


def shown_scores(results: Sequence[NoveltyResult]) -> list[str]:
    """The scores in a table of findings: `knn`, `mahalanobis`, `chosen` and `ceiling`, if they were computed."""
    computed = {row.score for result in results for row in result.rows}
    return [name for name in ("knn", "mahalanobis", "chosen", "ceiling") if name in computed or name == "chosen"]


def shown_row(result: NoveltyResult, name: str) -> NoveltyRow | None:
    """The row of a score against all other images. `chosen` means the score that validation chose."""
    score = result.chosen.score if name == "chosen" else name
    return None if score is None else result.row(score, "any", "all")


def findings_of(labels: Flags, findings: Sequence[str]) -> list[str]:
    """The names of the findings in one row of labels, bool (F,), or `No Finding`."""
    return [name for name, present in zip(findings, labels, strict=True) if present] or [NO_FINDING]


def _latex_line(result: NoveltyResult, scores: Sequence[str]) -> str:
    any_all = result.rows[0]
    cells = [result.holdout.replace("_", r"\_"), str(any_all.n_positive), str(any_all.n_patients)]
    return " & ".join(cells + [_latex(shown_row(result, name)) for name in scores]) + r" \\"


def _latex(row: NoveltyRow | None) -> str:
    if row is None or row.auroc is None:
        return "--"
    if row.auroc_low is None:
        return f"{row.auroc:.3f}"
    return f"{row.auroc:.3f} [{row.auroc_low:.3f}, {row.auroc_high:.3f}]"


def _tabular(columns: str, head: str, lines: Iterator[str]) -> str:
    return "\n".join(
        [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", head, r"\midrule", *lines, r"\bottomrule", r"\end{tabular}"]
    )
