"""The models of an evaluation, by the names used in its result."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from cxrsearch.analysis.models._classical import Classical
from cxrsearch.analysis.models._forest import Forest, ForestOneVsRest
from cxrsearch.analysis.models.knn_model import Knn, MLkNNModel, Searches, TunedKnn
from cxrsearch.analysis.models.logistic import Logistic
from cxrsearch.analysis.models.model import Model
from cxrsearch.errors import UsageError
from cxrsearch.progress import Progress, silent
from cxrsearch_indexes import Metric

MAX_TRAIN = 10_000
"""The classical models learn from at most this many images, those of patients drawn at random."""


@dataclass(frozen=True)
class ModelOptions:
    """The options from which models are made.

    Attributes:
        searches: shared by the models that need neighbours.
        seed: of forests, trees and samples.
        jobs: the number of threads.
        max_train: the most training images of the classical models.
        progress: called as models are fitted.
    """

    searches: Searches
    seed: int
    jobs: int
    max_train: int
    progress: Progress


MODELS: dict[str, Callable[[ModelOptions], Model]] = {
    "knn": lambda c: Knn(c.searches),
    "knn-tuned": lambda c: TunedKnn(c.searches),
    "mlknn": lambda c: MLkNNModel(c.searches),
    "forest": lambda c: Forest(c.seed, c.jobs, progress=c.progress),
    "logistic": lambda c: Logistic(progress=c.progress),
    "forest-one-vs-rest": lambda c: ForestOneVsRest(c.seed, c.jobs, progress=c.progress),
    "adaboost": lambda c: Classical("adaboost", c.max_train, c.seed, c.jobs, c.progress),
    "svc": lambda c: Classical("svc", c.max_train, c.seed, c.jobs, c.progress),
    "tree": lambda c: Classical("tree", c.max_train, c.seed, c.jobs, c.progress),
}
"""How each model is made, by name."""

DEFAULT_MODELS = ("knn", "knn-tuned", "mlknn", "forest", "logistic")


def create(
    names: Iterable[str] = DEFAULT_MODELS,
    *,
    seed: int = 0,
    jobs: int = 2,
    max_train: int = MAX_TRAIN,
    metric: Metric = "l2",
    progress: Progress = silent,
) -> dict[str, Model]:
    """Make models to fit, by name, in the order of the names.

    Args:
        names: some of `MODELS`.
        seed: the random seed.
        jobs: the number of threads.
        max_train: the most training images for `adaboost`, `svc` and `tree`.
        metric: of the neighbours' distances.
        progress: called as models are fitted.

    Raises:
        UsageError: an unknown name, or `max_train` below 1.
    """
    if max_train < 1:
        raise UsageError(f"models of at most {max_train} training images", "allow one or more")
    options = ModelOptions(Searches(metric, progress=progress), seed, jobs, max_train, progress)
    models = {}
    for name in names:
        if name not in MODELS:
            raise UsageError(f"unknown model {name!r}", f"choose from {', '.join(MODELS)}")
        models[name] = MODELS[name](options)
    return models
