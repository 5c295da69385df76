"""What every model says of the scored images: the network's head, second-stage models, ensembles, baselines.

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
"""What is fitted on a baseline's embeddings, and what that adds to its name."""

DENSENET, FOREST, ENSEMBLE, ENSEMBLE_CALIBRATED = "densenet", "forest", "ensemble", "ensemble-calibrated"


@dataclass(frozen=True)
class Wanted:
    """Which models to ask, by name, and what they need to know; see `registry.create`."""

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
    """Probabilities by model: of the images that settings are chosen by, and of the scored ones, float64 (n, F) each.

    Attributes:
        chosen, scored: by the model's name.
        calibrated: of the scored images, calibrated on the others.
        settings: what each model was fitted with.
        warnings: what a reader must know.
    """

    chosen: dict[str, Floats] = field(default_factory=dict)
    scored: dict[str, Floats] = field(default_factory=dict)
    calibrated: dict[str, Floats] = field(default_factory=dict)
    settings: Json = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def predict(index: Index, rows: Rows, wanted: Wanted, progress: Progress, pixels: Index | None = None) -> Predictions:
    """The predictions of every model that can be had; what cannot is said in a warning.

    Args:
        index: its embeddings, labels and encoder are used.
        rows: of the index.
        wanted: which models.
        progress: called as models are fitted.
        pixels: an index of the same images that holds their pixels, for the baselines; None: the index itself.
    """
    found = Predictions()
    _add_head(found, index, rows)
    if len(rows.fit):
        _add_models(found, lambda part: sample(index.stored, part), rows, wanted, wanted.models, progress)
        _add_baselines(found, index if pixels is None else pixels, rows, wanted, progress)
    elif wanted.models or wanted.baselines:
        found.warnings.append("no image is left to fit models on: the network's own head alone is scored")
    _add_ensembles(found, index, rows)
    if len(rows.choose):
        _calibrate(found, require_labels(index.stored)[rows.choose])
    return found


def _add_head(found: Predictions, index: Index, rows: Rows) -> None:
    """The network's own head, applied to the stored embeddings, which are its input."""
    spec = index.manifest.encoder
    if spec is None or spec["findings"] is None:
        return
    lacking = [name for name in index.manifest.findings if name not in spec["findings"]]
    if lacking:
        found.warnings.append(f"the network's head does not predict {', '.join(lacking)}: it is left out")
        return
    own = load_head(index.stored, index.manifest.findings)
    assert own is not None
    weights, bias, _ = own
    for part, kept in ((rows.choose, found.chosen), (rows.scored, found.scored)):
        kept[DENSENET] = expit(index.stored.vectors.take(part) @ weights + bias)
    found.settings[DENSENET] = {"label": spec["label"]}


def _add_models(
    found: Predictions,
    sampled: Callable[[Integers], Sample],
    rows: Rows,
    wanted: Wanted,
    names: Sequence[str],
    progress: Progress,
) -> None:
    """Fit models on samples, and let them predict."""
    fit, choose, scored = (sampled(part) for part in (rows.fit, rows.choose, rows.scored))
    models = create(names, seed=wanted.seed, jobs=wanted.jobs, max_train=wanted.max_train, progress=progress)
    for name, model in models.items():
        fitted = model.fit(fit, choose)
        found.chosen[name], found.scored[name] = fitted.predict(choose), fitted.predict(scored)
        found.settings[name] = {"train": len(fitted.train), **fitted.settings}
        found.warnings += [f"{name}: {note}" for note in fitted.notes]


def _add_baselines(found: Predictions, index: Index, rows: Rows, wanted: Wanted, progress: Progress) -> None:
    if "view" in wanted.baselines:
        _add_view(found, index, rows)
    everyone = np.unique(np.concatenate([rows.fit, rows.choose, rows.scored]))
    for baseline in [name for name in wanted.baselines if name != "view"]:
        inputs = baseline_inputs(baseline, index, everyone, wanted.seed, progress)
        if inputs is None:
            found.warnings.append(f"no baseline-{baseline}: the index holds no pixels")
            continue
        one = Predictions()
        _add_models(one, inputs, rows, wanted, list(_ON_BASELINES), progress)
        for model, suffix in _ON_BASELINES.items():
            name = f"baseline-{baseline}{suffix}"
            found.chosen[name], found.scored[name] = one.chosen[model], one.scored[model]
            found.settings[name] = one.settings[model] | {"model": model}


def _add_view(found: Predictions, index: Index, rows: Rows) -> None:
    views = index.catalogue.frame["view"]
    known = views.iloc[rows.fit], require_labels(index.stored)[rows.fit]
    chosen, scored = (by_view(*known, views.iloc[part]) for part in (rows.choose, rows.scored))
    if chosen is None or scored is None:
        found.warnings.append("no baseline-view: no view is known")
        return
    found.chosen["baseline-view"], found.scored["baseline-view"] = chosen, scored
    found.settings["baseline-view"] = {"train": len(rows.fit)}


def _add_ensembles(found: Predictions, index: Index, rows: Rows) -> None:
    """The paper's mean of network and forest, and that of their calibrated log-odds."""
    members = [DENSENET, FOREST]
    if any(name not in found.scored for name in members):
        return
    found.chosen[ENSEMBLE], found.scored[ENSEMBLE] = (
        mean_probability([part[name] for name in members]) for part in (found.chosen, found.scored)
    )
    fitted = Ensemble.fit(require_labels(index.stored)[rows.choose], [found.chosen[name] for name in members])
    found.chosen[ENSEMBLE_CALIBRATED], found.scored[ENSEMBLE_CALIBRATED] = (
        fitted([part[name] for name in members]) for part in (found.chosen, found.scored)
    )
    found.settings[ENSEMBLE] = {"members": members, "weights": [0.5, 0.5]}
    found.settings[ENSEMBLE_CALIBRATED] = {"members": members, "weights": [float(w) for w in fitted.weights]}


def _calibrate(found: Predictions, labels: NDArray[np.bool_]) -> None:
    for name, scores in found.chosen.items():
        found.calibrated[name] = Calibration.fit(labels, scores)(found.scored[name])
