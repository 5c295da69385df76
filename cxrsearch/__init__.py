"""Search and understand chest X-ray collections by their DenseNet embeddings.

    import cxrsearch

    cxrsearch.build_index("images", "Data_Entry_2017.csv", index="cxr-index", weights="imagenet")
    answer = cxrsearch.open_index("cxr-index").query("image.png", k=20)
    answer.to_frame()

Names are imported when they are first used, so that `import cxrsearch` loads neither torch nor FAISS.
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cxrsearch.building.build import BuildResult, build_index
    from cxrsearch.building.imported import import_embeddings
    from cxrsearch.errors import CxrsearchError
    from cxrsearch.evaluation.evaluate import Question, cross_validate, evaluate_images, evaluate_index
    from cxrsearch.evaluation.evaluation_result import EvaluationResult
    from cxrsearch.localisation.evaluate_localisation import LocalisationQuestion, evaluate_localisation
    from cxrsearch.localisation.localise import localise_image
    from cxrsearch.novelty.evaluate_novelty import NoveltyQuestion, evaluate_novelty
    from cxrsearch.overview.index_statistics import embedding_statistics, index_statistics
    from cxrsearch.phantom.write import make_phantom
    from cxrsearch.query.answer import QueryResult
    from cxrsearch.query.index import Index, open_index
    from cxrsearch.store.filtered_search import Filters
    from cxrsearch.training.request import Training
    from cxrsearch.training.train import TrainResult, train
    from cxrsearch.training.tune import TuneResult, tune

_HOME = {
    "BuildResult": "cxrsearch.building.build",
    "CxrsearchError": "cxrsearch.errors",
    "EvaluationResult": "cxrsearch.evaluation.evaluation_result",
    "Filters": "cxrsearch.store.filtered_search",
    "Index": "cxrsearch.query.index",
    "LocalisationQuestion": "cxrsearch.localisation.evaluate_localisation",
    "NoveltyQuestion": "cxrsearch.novelty.evaluate_novelty",
    "QueryResult": "cxrsearch.query.answer",
    "Question": "cxrsearch.evaluation.evaluate",
    "TrainResult": "cxrsearch.training.train",
    "Training": "cxrsearch.training.request",
    "TuneResult": "cxrsearch.training.tune",
    "build_index": "cxrsearch.building.build",
    "cross_validate": "cxrsearch.evaluation.evaluate",
    "embedding_statistics": "cxrsearch.overview.index_statistics",
    "evaluate_images": "cxrsearch.evaluation.evaluate",
    "evaluate_index": "cxrsearch.evaluation.evaluate",
    "evaluate_localisation": "cxrsearch.localisation.evaluate_localisation",
    "evaluate_novelty": "cxrsearch.novelty.evaluate_novelty",
    "import_embeddings": "cxrsearch.building.imported",
    "index_statistics": "cxrsearch.overview.index_statistics",
    "localise_image": "cxrsearch.localisation.localise",
    "make_phantom": "cxrsearch.phantom.write",
    "open_index": "cxrsearch.query.index",
    "train": "cxrsearch.training.train",
    "tune": "cxrsearch.training.tune",
}

__all__ = [
    "BuildResult",
    "CxrsearchError",
    "EvaluationResult",
    "Filters",
    "Index",
    "LocalisationQuestion",
    "NoveltyQuestion",
    "QueryResult",
    "Question",
    "TrainResult",
    "Training",
    "TuneResult",
    "build_index",
    "cross_validate",
    "embedding_statistics",
    "evaluate_images",
    "evaluate_index",
    "evaluate_localisation",
    "evaluate_novelty",
    "import_embeddings",
    "index_statistics",
    "localise_image",
    "make_phantom",
    "open_index",
    "train",
    "tune",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return version("cxrsearch")
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return __all__
