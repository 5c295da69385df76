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
    from cxrsearch.answer import QueryResult
    from cxrsearch.build import BuildResult, build_index
    from cxrsearch.errors import CxrsearchError
    from cxrsearch.evaluate import Question, cross_validate, evaluate_images, evaluate_index
    from cxrsearch.evaluation_result import EvaluationResult
    from cxrsearch.images.phantom import make_phantom
    from cxrsearch.importing import import_embeddings
    from cxrsearch.localisation import LocalisationQuestion, evaluate_localisation
    from cxrsearch.localise import localise_image
    from cxrsearch.novelty import NoveltyQuestion, evaluate_novelty
    from cxrsearch.query import Index, open_index
    from cxrsearch.statistics import embedding_statistics, index_statistics
    from cxrsearch.store.search import Filters
    from cxrsearch.training import TrainResult, train
    from cxrsearch.training_request import Training
    from cxrsearch.tuning import TuneResult, tune

_HOME = {
    "BuildResult": "cxrsearch.build",
    "CxrsearchError": "cxrsearch.errors",
    "EvaluationResult": "cxrsearch.evaluation_result",
    "Filters": "cxrsearch.store.search",
    "Index": "cxrsearch.query",
    "LocalisationQuestion": "cxrsearch.localisation",
    "NoveltyQuestion": "cxrsearch.novelty",
    "QueryResult": "cxrsearch.answer",
    "Question": "cxrsearch.evaluate",
    "TrainResult": "cxrsearch.training",
    "Training": "cxrsearch.training_request",
    "TuneResult": "cxrsearch.tuning",
    "build_index": "cxrsearch.build",
    "cross_validate": "cxrsearch.evaluate",
    "embedding_statistics": "cxrsearch.statistics",
    "evaluate_images": "cxrsearch.evaluate",
    "evaluate_index": "cxrsearch.evaluate",
    "evaluate_localisation": "cxrsearch.localisation",
    "evaluate_novelty": "cxrsearch.novelty",
    "import_embeddings": "cxrsearch.importing",
    "index_statistics": "cxrsearch.statistics",
    "localise_image": "cxrsearch.localise",
    "make_phantom": "cxrsearch.images.phantom",
    "open_index": "cxrsearch.query",
    "train": "cxrsearch.training",
    "tune": "cxrsearch.tuning",
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
