"""What `import cxrsearch` offers, and where each name comes from: the one list, read at run time too."""

from .building.build import BuildResult, build_index
from .building.imported import import_embeddings
from .errors import CxrsearchError
from .evaluation.evaluate import Question, cross_validate, evaluate_images, evaluate_index
from .evaluation.evaluation_result import EvaluationResult
from .localisation.evaluate_localisation import LocalisationQuestion, evaluate_localisation
from .localisation.localise import localise_image
from .novelty.evaluate_novelty import NoveltyQuestion, evaluate_novelty
from .overview.index_statistics import embedding_statistics, index_statistics
from .phantom.write import make_phantom
from .query.answer import QueryResult
from .query.index import Index, open_index
from .store.filtered_search import Filters
from .training.request import Training
from .training.train import TrainResult, train
from .training.tune import TuneResult, tune

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

__version__: str
