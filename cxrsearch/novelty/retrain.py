"""Evaluate novelty with retraining: train an encoder without the finding, index all images with it, and score.

    <out>/<finding>/run/          the folder of the training run
                    index/        the index of all images
                    novelty.json  the result, written last

After an interruption, the same call continues. Each finding has its own folder.
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
    """Train an encoder without a finding, embed all images, and evaluate novelty.

    Args:
        images: a folder of images.
        labels: NIH's table or a plain CSV.
        holdout: the finding, in upper or lower case.
        question: the options of the evaluation. Its split, seed and `strict` also apply to the training.
        training: the request for the training. Without a `cache`, all findings share one in `out`.
        out: the folder that holds one folder per finding.
        progress: called during the work.
        report: called after every step and epoch; see `train`.

    Raises:
        UsageError: no such finding, a training that contradicts the question, or several devices.
        CxrsearchError: as `train`, `build_index` and `evaluate_novelty`.
    """
    question, training = question or NoveltyQuestion(), training or Training()
    held = hold_out(holdout, training.vocabulary(), strict=question.strict)
    split = question.split or choose_split(read_table(Path(labels), training.vocabulary()))
    request = training.settled(split=split, seed=question.seed, holdout=held.finding, strict=held.strict, devices=1)
    request, folder = replace(request, cache=request.cache or Path(out) / "pixels"), Path(out) / held.finding
    where = folder / "run", folder / "index"
    index, built = train_index(images, labels, request, *where, progress=progress, report=report)
    result = evaluate_novelty(index, held.finding, question, split=split, progress=progress)
    result = replace(result, refused=built.refused, warnings=(*built.warnings, *result.warnings))
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
    """Call `retrain` for every finding that an image in the folder shows, one after the other.

    Arguments and errors are those of `retrain`.
    """
    vocabulary = (training or Training()).vocabulary()
    present = with_images(read_images(open_source(images), Path(labels), vocabulary).catalogue)
    one = partial(retrain, question=question, training=training, out=out, progress=progress, report=report)
    results = tuple(one(images, labels, name) for name in present)
    table = table_of(results, tuple(name for name in vocabulary.findings if name not in present))
    return replace(table, refused=results[0].refused)
