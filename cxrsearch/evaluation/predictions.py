"""The predictions of every model for the scored images: the network's head, second-stage models, ensembles, baselines.

embeddings of an index (store) -> head (encoder), models and baselines fitted on its rows (analysis) -> probabilities
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from cxrsearch.analysis.models.baselines import by_view
from cxrsearch.analysis.models.calibration import Calibration, Ensemble, mean_probability
from cxrsearch.analysis.models.model import Sample
from cxrsearch.analysis.models.model_registry import MAX_TRAIN, MODELS, create
from cxrsearch.arrays import Floats, Integers
from cxrsearch.errors import UsageError
from cxrsearch.evaluation.pixel_baselines import BASELINES, baseline_inputs
from cxrsearch.files import Json
from cxrsearch.progress import Progress
from cxrsearch.protocol.rows import Rows
from cxrsearch.protocol.samples import load_head, require_labels, sample
from cxrsearch.query.index import Index

_ON_BASELINES = {"logistic": "", "knn": "-knn"}
"""Models that are fitted on a baseline's embeddings, and the suffix of the baseline's name."""

DENSENET, FOREST, ENSEMBLE, ENSEMBLE_CALIBRATED = "densenet", "forest", "ensemble", "ensemble-calibrated"


@dataclass(frozen=True)
class Wanted:
    """The models and baselines to evaluate, and their options; see `model_registry.create`.

    Attributes:
        models: names of second-stage models.
        baselines: names of pixel baselines.
        seed: seed of forests and samples.
        max_train: classical models learn from at most this many images.
        jobs: number of parallel jobs.

    Raises:
        UsageError: unknown model or baseline.
    """

    models: tuple[str, ...]
    baselines: tuple[str, ...]
    seed: int = 0
    max_train: int = MAX_TRAIN
    jobs: int = field(default_factory=lambda: os.cpu_count() or 1)

    def __post_init__(self) -> None:
        for what, names, known in (("model", self.models, MODELS), ("baseline", self.baselines, BASELINES)):
            if unknown := [name for name in names if name not in known]:
                raise UsageError(f"unknown {what} {unknown[0]!r}", f"choose from {', '.join(known)}")


@dataclass
class Predictions:
    """Probabilities by model name, float64 (n, F) each.

    Attributes:
        chosen: for the images that choose settings.
        scored: for the scored images.
        calibrated: for the scored images, calibrated on the images that choose settings.
        settings: the settings that each model was fitted with.
        warnings: what a reader must know.
    """

    chosen: dict[str, Floats] = field(default_factory=dict)
    scored: dict[str, Floats] = field(default_factory=dict)
    calibrated: dict[str, Floats] = field(default_factory=dict)
    settings: Json = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def predict(index: Index, rows: Rows, wanted: Wanted, progress: Progress, pixels: Index | None = None) -> Predictions:
    """The predictions of every model that can be fitted. A warning names each model that cannot.

    Args:
        index: its embeddings, labels and encoder are used.
        rows: rows of the index to fit, choose and score.
        wanted: the models.
        progress: called while models are fitted.
        pixels: an index of the same images that holds their pixels, for the baselines; None: the index itself.
    """
    predictions = Predictions()
    _add_head(predictions, index, rows)
    if len(rows.fit):
        _add_models(predictions, lambda part: sample(index.stored, part), rows, wanted, wanted.models, progress)
        _add_baselines(predictions, index if pixels is None else pixels, rows, wanted, progress)
    elif wanted.models or wanted.baselines:
        predictions.warnings.append("no images left to fit models on: only the network's head is scored")
    _add_ensembles(predictions, index, rows)
    if len(rows.choose):
        _calibrate(predictions, require_labels(index.stored)[rows.choose])
    return predictions


def _add_head(predictions: Predictions, index: Index, rows: Rows) -> None:
    """Add the network's head. It is applied to the stored embeddings, because these are its input."""
    spec = index.manifest.encoder
    if spec is None or spec["findings"] is None:
        return
    lacking = [name for name in index.manifest.findings if name not in spec["findings"]]
    if lacking:
        predictions.warnings.append(f"the network's head does not predict {', '.join(lacking)}: it is left out")
        return
    head = load_head(index.stored, index.manifest.findings)
    assert head is not None
    weights, bias, _ = head
    for part, scores in ((rows.choose, predictions.chosen), (rows.scored, predictions.scored)):
        scores[DENSENET] = expit(index.stored.vectors.take(part) @ weights + bias)
    predictions.settings[DENSENET] = {"label": spec["label"]}


def _add_models(
    predictions: Predictions,
    sample_of: Callable[[Integers], Sample],
    rows: Rows,
    wanted: Wanted,
    names: Sequence[str],
    progress: Progress,
) -> None:
    """Fit models and add their predictions; `sample_of` makes the sample of some rows."""
    fit, choose, scored = (sample_of(part) for part in (rows.fit, rows.choose, rows.scored))
    models = create(names, seed=wanted.seed, jobs=wanted.jobs, max_train=wanted.max_train, progress=progress)
    for name, model in models.items():
        fitted = model.fit(fit, choose)
        predictions.chosen[name], predictions.scored[name] = fitted.predict(choose), fitted.predict(scored)
        predictions.settings[name] = {"train": len(fitted.train), **fitted.settings}
        predictions.warnings += [f"{name}: {note}" for note in fitted.notes]


def _add_baselines(predictions: Predictions, index: Index, rows: Rows, wanted: Wanted, progress: Progress) -> None:
    if "view" in wanted.baselines:
        _add_view(predictions, index, rows)
    everyone = np.unique(np.concatenate([rows.fit, rows.choose, rows.scored]))
    for baseline in [name for name in wanted.baselines if name != "view"]:
        inputs = baseline_inputs(baseline, index, everyone, wanted.seed, progress)
        if inputs is None:
            predictions.warnings.append(f"no baseline-{baseline}: the index holds no pixels")
            continue
        one = Predictions()
        _add_models(one, inputs, rows, wanted, list(_ON_BASELINES), progress)
        for model, suffix in _ON_BASELINES.items():
            name = f"baseline-{baseline}{suffix}"
            predictions.chosen[name], predictions.scored[name] = one.chosen[model], one.scored[model]
            predictions.settings[name] = one.settings[model] | {"model": model}


def _add_view(predictions: Predictions, index: Index, rows: Rows) -> None:
    views = index.catalogue.frame["view"]
    known = views.iloc[rows.fit], require_labels(index.stored)[rows.fit]
    chosen, scored = (by_view(*known, views.iloc[part]) for part in (rows.choose, rows.scored))
    if chosen is None or scored is None:
        predictions.warnings.append("no baseline-view: no view is known")
        return
    predictions.chosen["baseline-view"], predictions.scored["baseline-view"] = chosen, scored
    predictions.settings["baseline-view"] = {"train": len(rows.fit)}


def _add_ensembles(predictions: Predictions, index: Index, rows: Rows) -> None:
    """Add the paper's mean of network and forest, and the mean of their calibrated log-odds."""
    members = [DENSENET, FOREST]
    if any(name not in predictions.scored for name in members):
        return
    predictions.chosen[ENSEMBLE], predictions.scored[ENSEMBLE] = (
        mean_probability([part[name] for name in members]) for part in (predictions.chosen, predictions.scored)
    )
    fitted = Ensemble.fit(require_labels(index.stored)[rows.choose], [predictions.chosen[name] for name in members])
    predictions.chosen[ENSEMBLE_CALIBRATED], predictions.scored[ENSEMBLE_CALIBRATED] = (
        fitted([part[name] for name in members]) for part in (predictions.chosen, predictions.scored)
    )
    predictions.settings[ENSEMBLE] = {"members": members, "weights": [0.5, 0.5]}
    predictions.settings[ENSEMBLE_CALIBRATED] = {"members": members, "weights": [float(w) for w in fitted.weights]}


def _calibrate(predictions: Predictions, labels: NDArray[np.bool_]) -> None:
    """Calibrate every model on the images that choose settings, never on the scored ones."""
    for name, scores in predictions.chosen.items():
        predictions.calibrated[name] = Calibration.fit(labels, scores)(predictions.scored[name])
