"""Novelty to the letter: an encoder trained without the finding, an index of its embeddings, and the scores.

    <out>/<finding>/run/          what `train` leaves
                    index/        of all images
                    novelty.json  written last

Interrupted, the same call goes on where it was: a queue of findings is a folder each.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cxrsearch.build import build_index
from cxrsearch.encoder.train import Report
from cxrsearch.files import write_json
from cxrsearch.images.catalogue import match_images, read_table
from cxrsearch.images.findings import Vocabulary
from cxrsearch.images.holdout import hold_out
from cxrsearch.novelty import NoveltyQuestion, evaluate_novelty, table_of, with_images
from cxrsearch.novelty_result import NoveltyResult, NoveltyTable
from cxrsearch.progress import Progress, silent
from cxrsearch.query import open_index
from cxrsearch.training import DEFAULT_SPLIT, train

RESULT = "novelty.json"


def retrain(
    images: Path | str,
    labels: Path | str,
    holdout: str,
    question: NoveltyQuestion | None = None,
    *,
    out: Path | str,
    findings: Sequence[str] | None = None,
    cache: Path | str | None = None,
    device: str = "auto",
    precision: str = "auto",
    workers: int | None = None,
    progress: Progress = silent,
    report: Report = lambda _: None,
    **training: Any,
) -> NoveltyResult:
    """Train without a finding, embed everything, and evaluate.

    Args:
        images, labels: a folder of images, and NIH's table or a plain CSV.
        holdout: the finding, in any case.
        question: what to ask; its split is that of the training, too.
        out: the folder that holds a folder a finding.
        findings, cache, device, precision, workers: as of `train` and `build_index`; without a cache of their own all
            findings share one in `out`.
        progress, report: called as work goes on, see `train`.
        training: further arguments of `train`: `config`, `changes`, `max_minutes`.

    Raises:
        VocabularyError: no such finding.
        CxrsearchError: as `train`, `build_index` and `evaluate_novelty`.
    """
    question = question or NoveltyQuestion()
    vocabulary = Vocabulary(tuple(findings)) if findings else Vocabulary()
    held = hold_out(holdout, vocabulary, strict=question.strict)
    split = question.split or _split(Path(labels), vocabulary)
    folder, kept = Path(out) / held.finding, Path(out) / "pixels" if cache is None else cache
    shared: dict[str, Any] = {"findings": findings, "device": device, "precision": precision, "workers": workers}
    shared |= {"cache": kept, "progress": progress}
    training |= {"split": split, "holdout": held.finding, "strict": held.strict, "seed": question.seed}
    train(images, labels, out=folder / "run", report=report, **shared, **training)
    built = build_index(images, labels, index=folder / "index", weights=str(folder / "run"), **shared)
    opened = open_index(built.path, device=device)
    found = evaluate_novelty(opened, held.finding, question, split=split, progress=progress)
    result = replace(found, refused=built.refused)
    write_json(folder / RESULT, result.to_json())
    return result


def retrain_every(
    images: Path | str,
    labels: Path | str,
    question: NoveltyQuestion | None = None,
    *,
    findings: Sequence[str] | None = None,
    **options: Any,
) -> NoveltyTable:
    """`retrain` for every finding that an image in the folder shows, one after the other; arguments as there."""
    vocabulary = Vocabulary(tuple(findings)) if findings else Vocabulary()
    matched = match_images(read_table(Path(labels), vocabulary), Path(images)).catalogue
    shown = with_images(matched)
    results = tuple(retrain(images, labels, name, question, findings=findings, **options) for name in shown)
    found = table_of(results, tuple(name for name in vocabulary.findings if name not in shown))
    return replace(found, refused=results[0].refused)


def _split(labels: Path, vocabulary: Vocabulary) -> str:
    """The table's own column, where it has one; else a patient hash."""
    return "column" if read_table(labels, vocabulary).frame["split"].notna().any() else DEFAULT_SPLIT
