"""Novelty to the letter: an encoder trained without the finding, an index of its embeddings, and the scores.

    <out>/<finding>/run/          what `train` leaves
                    index/        of all images
                    novelty.json  written last

Interrupted, the same call goes on where it was: a queue of findings is a folder each.
"""

from dataclasses import replace
from functools import partial
from pathlib import Path

from cxrsearch.building.trained_index import train_index
from cxrsearch.files import write_json
from cxrsearch.images.formats.format_registry import read_table
from cxrsearch.images.holdout import hold_out
from cxrsearch.images.matching import read_images
from cxrsearch.images.sources.source_registry import Location, open_source
from cxrsearch.novelty.evaluate_novelty import NoveltyQuestion, evaluate_novelty, table_of, with_images
from cxrsearch.novelty.novelty_result import NoveltyResult, NoveltyTable
from cxrsearch.progress import Progress, silent
from cxrsearch.protocol.rows import choose_split
from cxrsearch.training.request import Training
from cxrsearch.training.trainer import Report

RESULT = "novelty.json"


def retrain(
    images: Location,
    labels: Path | str,
    holdout: str,
    question: NoveltyQuestion | None = None,
    training: Training | None = None,
    *,
    out: Path | str,
    progress: Progress = silent,
    report: Report = lambda _: None,
) -> NoveltyResult:
    """Train without a finding, embed everything, and evaluate.

    Args:
        images, labels: a folder of images, and NIH's table or a plain CSV.
        holdout: the finding, in any case.
        question: what to ask; its split, seed and strictness are those of the training, too.
        training: what the training is asked for; without a cache of their own all findings share one in `out`.
        out: the folder that holds a folder a finding.
        progress, report: called as work goes on, see `train`.

    Raises:
        UsageError: no such finding, a training that contradicts the question, or on several devices.
        CxrsearchError: as `train`, `build_index` and `evaluate_novelty`.
    """
    question, training = question or NoveltyQuestion(), training or Training()
    held = hold_out(holdout, training.vocabulary(), strict=question.strict)
    split = question.split or choose_split(read_table(Path(labels), training.vocabulary()))
    asked = training.settled(split=split, seed=question.seed, holdout=held.finding, strict=held.strict, devices=1)
    asked, folder = replace(asked, cache=asked.cache or Path(out) / "pixels"), Path(out) / held.finding
    where = folder / "run", folder / "index"
    index, built = train_index(images, labels, asked, *where, progress=progress, report=report)
    found = evaluate_novelty(index, held.finding, question, split=split, progress=progress)
    result = replace(found, refused=built.refused, warnings=(*built.warnings, *found.warnings))
    write_json(folder / RESULT, result.to_json())
    return result


def retrain_every(
    images: Location,
    labels: Path | str,
    question: NoveltyQuestion | None = None,
    training: Training | None = None,
    *,
    out: Path | str,
    progress: Progress = silent,
    report: Report = lambda _: None,
) -> NoveltyTable:
    """`retrain` for every finding that an image in the folder shows, one after the other; arguments as there."""
    vocabulary = (training or Training()).vocabulary()
    shown = with_images(read_images(open_source(images), Path(labels), vocabulary).catalogue)
    one = partial(retrain, question=question, training=training, out=out, progress=progress, report=report)
    results = tuple(one(images, labels, name) for name in shown)
    found = table_of(results, tuple(name for name in vocabulary.findings if name not in shown))
    return replace(found, refused=results[0].refused)
