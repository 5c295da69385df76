"""Evaluate novelty: do images of a held-out finding stand out from the known images?

index -> known images without the finding, images to choose by and to score (rows) -> scores (_novelty_setup)
      -> AUROC against three kinds of others, with intervals (analysis) -> NoveltyResult
"""

from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from cxrsearch.analysis.measures.bootstrap import MIN_POSITIVE_PATIENTS, REPLICATES
from cxrsearch.analysis.novelty.comparisons import rows as compare
from cxrsearch.analysis.novelty.score_registry import REFERENCES, SCORES
from cxrsearch.analysis.novelty.selection import Choice
from cxrsearch.analysis.novelty.shots import ShotsRow, few_shots
from cxrsearch.arrays import Floats
from cxrsearch.building.build import build_index
from cxrsearch.errors import CatalogueError, UsageError
from cxrsearch.files import Json
from cxrsearch.images.catalogue import Catalogue
from cxrsearch.images.holdout import hold_out
from cxrsearch.images.sources.source_registry import Location
from cxrsearch.novelty._novelty_setup import NoveltySetup
from cxrsearch.novelty.novelty_result import Chosen, NoveltyResult, NoveltyTable, ScoredImages, findings_of
from cxrsearch.progress import Progress, silent
from cxrsearch.protocol.rows import choose_split, divide
from cxrsearch.protocol.seen import Knowledge, assess_knowledge, find_seen, require_unseen
from cxrsearch.query.index import Index, open_index
from cxrsearch.words import counted

MOST_NOVEL = 10


@dataclass(frozen=True)
class NoveltyQuestion:
    """The options of a novelty evaluation.

    Attributes:
        split: the definition of the split; None: the default of an evaluation (`choose_split`). The train part is
            known, the val part chooses the score, and the test part is scored.
        strict: also hold out every image of the patients who have the finding in any image.
        scores: names of `SCORES` and `REFERENCES`.
        shots: numbers of patients with the finding that are known after all, each at least 0.
        replicates: bootstrap replicates, at least 1.
        seed: seed of the bootstrap, of samples and of draws, at least 0.

    Raises:
        UsageError: unknown score, no score, or invalid numbers.
    """

    split: str | None = None
    strict: bool = False
    scores: tuple[str, ...] = (*SCORES, *REFERENCES)
    shots: tuple[int, ...] = ()
    replicates: int = REPLICATES
    seed: int = 0

    def __post_init__(self) -> None:
        unknown = [name for name in self.scores if name not in (*SCORES, *REFERENCES)]
        if unknown or not self.scores:
            got = f"unknown score {unknown[0]!r}" if unknown else "no score"
            raise UsageError(got, f"choose from {', '.join((*SCORES, *REFERENCES))}")
        if self.replicates < 1 or self.seed < 0 or any(n < 0 for n in self.shots):
            got = f"{self.replicates} replicates, seed {self.seed}, shots {list(self.shots)}"
            raise UsageError(got, "use at least 1 replicate, and a seed and shots of at least 0")


def evaluate_novelty(
    index: Index | Path | str,
    holdout: str,
    question: NoveltyQuestion | None = None,
    *,
    progress: Progress = silent,
    **asked: Any,
) -> NoveltyResult:
    """Hold one finding out of an index, and measure whether its images stand out.

    Args:
        index: an open index, or its folder.
        holdout: the finding, in upper or lower case.
        question: the options; None: the defaults.
        progress: called during the work.
        asked: attributes of the question as keywords, as `seed=1`; they replace those of `question`.

    Returns:
        The AUROC of every score, with intervals.

    Raises:
        UsageError: invalid options, or no such finding.
        CatalogueError: the findings are not known, the split cannot be applied, or no image without the finding is
            left.
        StoreError: the index cannot be opened.
    """
    question, index = replace(question or NoveltyQuestion(), **asked), _open(index)
    held = hold_out(holdout, index.catalogue.vocabulary, strict=question.strict)
    definition = question.split or choose_split(
        index.catalogue, index.manifest.encoder, index.manifest.split_definition
    )
    parts, warnings = divide(index.catalogue, definition)
    knowledge = assess_knowledge(index.manifest.encoder, held)
    trial = NoveltySetup.of(index, held, parts, question.seed, progress)
    trial.warnings.extend(warnings + _about(trial, knowledge))
    return _evaluate(trial, question, definition, knowledge, progress)


def _evaluate(
    trial: NoveltySetup, question: NoveltyQuestion, definition: str, knowledge: Knowledge, progress: Progress
) -> NoveltyResult:
    """Choose a score on validation, score the images, and compare them with the other images."""
    index, scored = trial.index, trial.rows.scored
    choice = trial.choose([name for name in question.scores if name in SCORES], progress)
    scores = trial.scores(question.scores, choice, index.stored.vectors.take(scored), progress)
    progress("drawing patients for intervals", 0, 1)
    bootstrap = {"replicates": question.replicates, "seed": question.seed}
    compared = compare(trial.labels, trial.finding, trial.patients, scores, **bootstrap)
    progress("drawing patients for intervals", 1, 1)
    shots = _shots(trial, question, choice) if question.shots else []
    chosen = _chosen(index, choice)
    most_novel = _most_novel(trial, scores.get(chosen.score or "knn"))
    return NoveltyResult(
        holdout=trial.held.finding,
        mode=knowledge.mode,
        seen=knowledge.sentence,
        split=definition,
        encoder=index.manifest.encoder_label,
        head=trial.whose,
        strict=question.strict,
        findings=index.manifest.findings,
        known=len(trial.known),
        known_patients=len(np.unique(trial.known.patients)),
        scored_images=len(scored),
        scored_patients=len(np.unique(trial.patients)),
        rows=tuple(compared),
        chosen=chosen,
        shots=tuple(shots),
        most_novel=tuple(most_novel),
        replicates=question.replicates,
        seed=question.seed,
        warnings=tuple(trial.warnings),
        most_novel_pixels=tuple(index.stored_pixels(image["row"]) for image in most_novel),
        scored=ScoredImages(scored, trial.labels, scores),
    )


def evaluate_every(
    index: Index | Path | str,
    question: NoveltyQuestion | None = None,
    *,
    progress: Progress = silent,
    **asked: Any,
) -> NoveltyTable:
    """Hold every finding out in turn. Findings without images are skipped.

    Arguments and errors are those of `evaluate_novelty`.
    """
    question, index = replace(question or NoveltyQuestion(), **asked), _open(index)
    present = with_images(index.catalogue)
    results = tuple(evaluate_novelty(index, finding, question, progress=progress) for finding in present)
    return table_of(results, tuple(name for name in index.manifest.findings if name not in present))


def with_images(catalogue: Catalogue) -> list[str]:
    """The findings that at least one image shows, in the order of the vocabulary. Labels must be known."""
    assert catalogue.labels is not None
    present = [column.any() for column in catalogue.labels.T]
    return [name for name, some in zip(catalogue.vocabulary.findings, present, strict=True) if some]


def table_of(results: tuple[NoveltyResult, ...], skipped: tuple[str, ...]) -> NoveltyTable:
    """The table of several findings. Each warning appears once; one that not all findings have names its findings.

    Args:
        results: the results, one per finding.
        skipped: the findings without images.

    Raises:
        CatalogueError: there is no result.
    """
    if not results:
        raise CatalogueError("no image shows any finding: nothing can be held out", "use images with findings")
    every: dict[str, list[str]] = {}
    for result in results:
        for warning in result.warnings:
            words = warning.replace(result.holdout, "the held-out finding") if warning == result.seen else warning
            every.setdefault(words, []).append(result.holdout)
    warnings = [text if len(names) == len(results) else f"{', '.join(names)}: {text}" for text, names in every.items()]
    if skipped:
        warnings.append(f"no image shows {', '.join(skipped)}: skipped")
    return NoveltyTable(results, skipped, tuple(warnings))


def evaluate_novelty_of_images(
    images: Location,
    labels: Path | str,
    holdout: str,
    question: NoveltyQuestion | None = None,
    *,
    progress: Progress = silent,
    **options: Any,
) -> NoveltyResult | NoveltyTable:
    """Build a temporary index of a folder of images, and evaluate novelty with it.

    Args:
        images: a folder of images.
        labels: NIH's table or a plain CSV.
        holdout: the finding, or `all`.
        question: the options; None: the defaults.
        progress: called during the work.
        options: options of `build_index`: `weights`, such as a run that was trained without the finding, and others.

    Raises:
        CxrsearchError: as `build_index` and `evaluate_novelty`.
    """
    with TemporaryDirectory(prefix="cxrsearch-") as temporary:
        built = build_index(images, labels, index=Path(temporary) / "index", progress=progress, **options)
        index = open_index(built.path)
        result = (
            evaluate_every(index, question, progress=progress)
            if holdout.lower() == "all"
            else evaluate_novelty(index, holdout, question, progress=progress)
        )
        return replace(result, refused=built.refused, warnings=(*built.warnings, *result.warnings))


def _open(index: Index | Path | str) -> Index:
    """Open the index, and require that its findings are known."""
    opened = index if isinstance(index, Index) else open_index(index)
    if opened.catalogue.labels is None:
        raise CatalogueError(
            "the findings of this index's images are not known: nothing can be held out",
            "build it with --labels",
        )
    return opened


def _about(trial: NoveltySetup, knowledge: Knowledge) -> list[str]:
    """Warnings about the encoder and about small numbers of patients."""
    warnings = [] if knowledge.clean else [knowledge.sentence]
    seen = find_seen(trial.index.manifest.encoder, trial.index.catalogue)
    warnings += require_unseen(seen, trial.rows.scored, allowed=True)
    positive = trial.labels[:, trial.finding]
    patients = len(np.unique(trial.patients[positive]))
    if not positive.any():
        warnings.append(f"no scored image shows {trial.held.finding}: nothing can be computed")
    elif patients < MIN_POSITIVE_PATIENTS:
        warnings.append(
            f"{trial.held.finding} is shown by {counted(patients, 'scored patient')}: under 10 there is no interval"
        )
    return warnings


def _chosen(index: Index, choice: Choice) -> Chosen:
    names = index.manifest.findings
    return Chosen(choice.score, choice.k, choice.auroc, tuple(names[column] for column in choice.findings))


def _shots(trial: NoveltySetup, question: NoveltyQuestion, choice: Choice) -> list[ShotsRow]:
    embeddings = trial.index.stored.vectors.take(trial.rows.scored)
    positive = trial.labels[:, trial.finding]
    options = {"k": choice.k["knn"], "seed": question.seed}
    shots = few_shots(trial.known, trial.cases, embeddings, positive, question.shots, **options)
    available = 0 if trial.cases is None else len(np.unique(trial.cases.patients))
    if max(question.shots) > available:
        trial.warnings.append(
            f"only {counted(available, 'patient')} with {trial.held.finding} for few shots: no larger number is scored"
        )
    return shots


def _most_novel(trial: NoveltySetup, score: Floats | None) -> list[Json]:
    """The ten scored images with the highest scores; ties in the order of the index."""
    if score is None:
        return []
    frame, findings = trial.index.catalogue.frame, trial.index.manifest.findings
    order = np.argsort(-score, kind="stable")[:MOST_NOVEL]
    return [
        {
            "rank": rank,
            "image": str(frame["id"].iloc[trial.rows.scored[place]]),
            "row": int(trial.rows.scored[place]),
            "score": float(score[place]),
            "findings": findings_of(trial.labels[place], findings),
        }
        for rank, place in enumerate(order, 1)
    ]
