"""Evaluate how well embeddings predict the findings: the network's head, votes, forests and more, with intervals.

index -> rows to fit, choose and score (images) -> probabilities of every model (scoring) -> metrics (analysis)
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd

from cxrsearch.analysis.evaluation.evaluate_scores import Scored, evaluate_scores
from cxrsearch.analysis.measures.bootstrap import REPLICATES
from cxrsearch.analysis.models.knn_model import PAPER_K
from cxrsearch.analysis.models.model_registry import DEFAULT_MODELS, MAX_TRAIN
from cxrsearch.building.build import build_index
from cxrsearch.building.trained_index import train_index
from cxrsearch.errors import CatalogueError, UsageError
from cxrsearch.evaluation._breakdowns import in_strata, retrieve, vote_with_fractions
from cxrsearch.evaluation.evaluation_result import EvaluationResult
from cxrsearch.evaluation.pixel_baselines import BASELINES
from cxrsearch.evaluation.predictions import DENSENET, Predictions, Wanted, predict
from cxrsearch.images.sources.source_registry import Location
from cxrsearch.images.tables import PARTS
from cxrsearch.progress import Progress, silent
from cxrsearch.protocol.rows import FitOn, Rows, choose_split, divide
from cxrsearch.protocol.seen import find_seen, require_unseen, warn_of_fitted
from cxrsearch.query.index import Index, open_index
from cxrsearch.training.request import Training
from cxrsearch.training.trainer import Report


@dataclass(frozen=True)
class Question:
    """The options of an evaluation.

    Attributes:
        split: the definition of the split. None: that of the encoder's training, else the table's column, else a
            patient hash.
        part: the part to score.
        models: names of second-stage models; see `cxrsearch.analysis.models.model_registry`.
        baselines: names of pixel baselines; see `BASELINES`.
        fit_on: the part that second-stage models learn from. `train` is the paper's choice, although the network has
            learned from these images too. The network has not learned from `val`: half of its patients fit the
            models, the other half choose their settings.
        allow_seen: also score images that the encoder was trained on; the result says so.
        max_train: classical models learn from at most this many images, at least 1.
        replicates: bootstrap replicates, at least 1.
        seed: seed of the bootstrap, of forests and of samples, at least 0.
        strata: also evaluate by view, sex and age band.
        retrieval: also evaluate the neighbours of the scored images in the whole index.
        k: number of neighbours for retrieval, at least 1.
        fractions: also vote with these fractions, in (0, 1], of the images that models are fitted on.

    Raises:
        UsageError: unknown part, model or baseline, or invalid numbers.
    """

    split: str | None = None
    part: str = "test"
    models: tuple[str, ...] = DEFAULT_MODELS
    baselines: tuple[str, ...] = BASELINES
    fit_on: FitOn = "train"
    allow_seen: bool = False
    max_train: int = MAX_TRAIN
    replicates: int = REPLICATES
    seed: int = 0
    strata: bool = False
    retrieval: bool = False
    k: int = PAPER_K
    fractions: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.part not in PARTS:
            raise UsageError(f"unknown part {self.part!r}", f"use one of {', '.join(PARTS)}")
        if self.fit_on not in ("train", "val"):
            raise UsageError(f"models fitted on {self.fit_on!r}", "use train or val")
        if self.replicates < 1 or self.seed < 0 or self.max_train < 1:
            got = f"{self.replicates} replicates, seed {self.seed}, at most {self.max_train} training images"
            raise UsageError(got, "use numbers of at least 1, and a seed of at least 0")
        if self.k < 1 or not all(0 < fraction <= 1 for fraction in self.fractions):
            got = f"k = {self.k}, fractions {list(self.fractions)}"
            raise UsageError(got, "use k of at least 1, and fractions above 0 and up to 1")
        self.wanted()

    def wanted(self) -> Wanted:
        """The models and baselines to evaluate, with their options."""
        return Wanted(self.models, self.baselines, self.seed, self.max_train)


@dataclass(frozen=True, eq=False)
class _Fold:
    """One fold: an index, its rows, the predictions for them, and warnings."""

    index: Index
    rows: Rows
    predictions: Predictions
    warnings: tuple[str, ...]


def evaluate_index(index: Index, question: Question | None = None, progress: Progress = silent) -> EvaluationResult:
    """Evaluate the images of an index.

    Args:
        index: an open index whose images' findings are known.
        question: the options; None: the defaults.
        progress: called during the work.

    Returns:
        The metrics of every model, with intervals.

    Raises:
        UsageError: invalid options, or no model to evaluate.
        CatalogueError: the findings are not known, or the part is empty.
        CxrsearchError: the encoder was trained on images that would be scored.
    """
    question = question or Question()
    definition = question.split or choose_split(
        index.catalogue, index.manifest.encoder, index.manifest.split_definition
    )
    fold = _fold(index, question, definition, progress)
    result = _result(question, definition, [fold])
    drawn = (question.replicates, question.seed, progress)
    return replace(
        result,
        retrieval=retrieve(index, fold.rows, question.k, *drawn) if question.retrieval else None,
        fractions=vote_with_fractions(index, fold.rows, question.fractions, question.seed, progress)
        if question.fractions
        else None,
    )


def evaluate_images(
    images: Location,
    labels: Path | str,
    question: Question | None = None,
    *,
    progress: Progress = silent,
    **options: Any,
) -> EvaluationResult:
    """Build a temporary index of a folder of images, and evaluate it.

    Args:
        images: a folder of images.
        labels: NIH's table or a plain CSV.
        question: the options; None: the defaults.
        progress: called during the work.
        options: options of `build_index`: `weights`, `arch`, `size`, `findings`, `cache`, `device`, `precision`,
            `workers` ...

    Returns:
        The metrics of every model, with intervals.

    Raises:
        CxrsearchError: as `build_index` and `evaluate_index`.
    """
    with TemporaryDirectory(prefix="cxrsearch-") as temporary:
        built = build_index(images, labels, index=Path(temporary) / "index", progress=progress, **options)
        result = evaluate_index(open_index(built.path), question, progress)
        return replace(result, refused=built.refused, warnings=(*built.warnings, *result.warnings))


def cross_validate(
    images: Location,
    labels: Path | str,
    folds: int,
    question: Question | None = None,
    training: Training | None = None,
    *,
    out: Path | str,
    progress: Progress = silent,
    report: Report = lambda _: None,
) -> EvaluationResult:
    """Train an encoder for each fold, evaluate it on patients it has not seen, and pool the folds.

    After an interruption, the same call continues. Each fold has a run, `out`/fold-i, and an index, `out`/index-i.

    Args:
        images: a folder of images.
        labels: NIH's table or a plain CSV.
        folds: number of folds K, at least 2; the splits are `patient-fold:i/K`.
        question: the options of the evaluation. The folds set its split and part.
        training: the request for each training. The folds set its split.
        out: folder of the runs and indexes.
        progress: called during the work.
        report: called after every step and epoch; see `train`.

    Returns:
        The metrics of every model over all folds, with intervals.

    Raises:
        UsageError: fewer than two folds; options with a split, retrieval or fractions; a training with a split,
            several devices or a held-out finding.
        CxrsearchError: as `train`, `build_index` and `evaluate_index`.
    """
    question = question or Question()
    if folds < 2 or question.split is not None or question.part != "test":
        raise UsageError(f"{folds} folds, split {question.split}, part {question.part}", "use --cv K alone, K >= 2")
    if question.retrieval or question.fractions:
        raise UsageError("retrieval and fractions are not supported with --cv", "evaluate one index with --index")
    training = (training or Training()).settled(devices=1, holdout=None)
    training, done = replace(training, cache=training.cache or Path(out) / "pixels"), list[_Fold]()
    for fold in range(1, folds + 1):
        split, where = f"patient-fold:{fold}/{folds}", (Path(out) / f"fold-{fold}", Path(out) / f"index-{fold}")
        request = training.settled(split=split)
        # The folds hold the same images, so only the first index keeps their pixels.
        index, built = train_index(images, labels, request, *where, pixels=fold == 1, progress=progress, report=report)
        done.append(_fold(index, question, split, progress, done[0].index if done else None))
    result = _result(question, f"patient-fold:1..{folds}/{folds}", done)
    return replace(result, refused=built.refused, warnings=(*built.warnings, *result.warnings))


def _fold(index: Index, question: Question, definition: str, progress: Progress, pixels: Index | None = None) -> _Fold:
    if index.catalogue.labels is None:
        raise CatalogueError(
            "the findings of this index's images are not known", "build it with --labels to evaluate them"
        )
    rows, warnings = divide(index.catalogue, definition, question.part, question.fit_on)
    seen = find_seen(index.manifest.encoder, index.catalogue)
    warnings += require_unseen(seen, rows.scored, allowed=question.allow_seen) + warn_of_fitted(seen, rows.fit)
    predictions = predict(index, rows, question.wanted(), progress, pixels)
    if not predictions.scored:
        raise UsageError(
            "nothing to evaluate: no trained head, and no model was chosen or could be fitted",
            "name --models, or an index of an encoder with a trained head",
        )
    return _Fold(index, rows, predictions, tuple(warnings + predictions.warnings))


def _result(question: Question, definition: str, folds: Sequence[_Fold]) -> EvaluationResult:
    first, *_ = folds
    common = [name for name in first.predictions.scored if all(name in fold.predictions.scored for fold in folds)]
    ordered = [name for name in common if not name.startswith("baseline-")]
    ordered += [name for name in common if name.startswith("baseline-")]
    catalogues = [fold.index.catalogue.take(fold.rows.scored) for fold in folds]
    groups = pd.factorize(np.concatenate([catalogue.patients for catalogue in catalogues]))[0].astype(np.int64)
    scored = Scored(
        labels=np.concatenate([catalogue.labels for catalogue in catalogues if catalogue.labels is not None]),
        patients=groups,
        scores={name: np.concatenate([fold.predictions.scored[name] for fold in folds]) for name in ordered},
        calibrated={
            name: np.concatenate([fold.predictions.calibrated[name] for fold in folds])
            for name in ordered
            if all(name in fold.predictions.calibrated for fold in folds)
        },
        folds=np.repeat(np.arange(len(folds)), [len(fold.rows.scored) for fold in folds]),
    )
    reference = DENSENET if DENSENET in scored.scores else None
    return EvaluationResult(
        split=definition,
        part=question.part,
        encoder=", ".join(dict.fromkeys(fold.index.manifest.encoder_label for fold in folds)),
        images=len(groups),
        patients=len(np.unique(groups)),
        findings=folds[0].index.manifest.findings,
        reference=reference,
        metrics=evaluate_scores(scored, reference, replicates=question.replicates, seed=question.seed),
        replicates=question.replicates,
        seed=question.seed,
        settings={name: [fold.predictions.settings.get(name) for fold in folds] for name in ordered},
        warnings=tuple(_pool([fold.warnings for fold in folds])),
        folds=len(folds),
        scored=scored,
        strata=in_strata(scored, catalogues, question.replicates, question.seed) if question.strata else (),
        image_ids=tuple(image for catalogue in catalogues for image in catalogue.ids),
    )


def _pool(warnings: Sequence[Sequence[str]]) -> list[str]:
    """The warnings of all folds, each once. A warning that not all folds have names its folds."""
    if len(warnings) == 1:
        return list(warnings[0])
    every = dict.fromkeys(text for fold in warnings for text in fold)
    folds = {text: [str(i) for i, fold in enumerate(warnings, 1) if text in fold] for text in every}
    return [text if len(ids) == len(warnings) else f"fold {', '.join(ids)}: {text}" for text, ids in folds.items()]
