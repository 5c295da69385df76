"""The novelty scores by name."""

from collections.abc import Callable

from cxrsearch.analysis.novelty._centroid import Centroid
from cxrsearch.analysis.novelty._gaussian import Mahalanobis, RelativeMahalanobis
from cxrsearch.analysis.novelty._novelty_score import NoveltyScore
from cxrsearch.analysis.novelty._outlier_factor import OutlierFactor
from cxrsearch.analysis.novelty.head_scores import Energy, Head, MaxProbability, NoFinding, ViM
from cxrsearch.analysis.novelty.neighbours import ClassNeighbours, K, KNeighbours

SCORES = (
    "knn",
    "class-knn",
    "centroid",
    "mahalanobis",
    "relative-mahalanobis",
    "lof",
    "vim",
    "max-probability",
    "energy",
    "no-finding",
)
REFERENCES = ("view", "random", "ceiling")

_OF_HEAD: dict[str, Callable[[Head], NoveltyScore]] = {
    "vim": ViM,
    "max-probability": MaxProbability,
    "energy": Energy,
    "no-finding": NoFinding,
}
_PLAIN: dict[str, Callable[[], NoveltyScore]] = {
    "centroid": Centroid,
    "mahalanobis": Mahalanobis,
    "relative-mahalanobis": RelativeMahalanobis,
}


def create(name: str, head: Head, *, k: int = K, seed: int = 0) -> NoveltyScore:
    """Make one of `SCORES`, not yet fitted.

    Args:
        name: one of `SCORES`.
        head: the head of the known findings, for scores that need one.
        k: of `knn` and `class-knn`.
        seed: of the sample of `lof`.
    """
    if name in _OF_HEAD:
        return _OF_HEAD[name](head)
    if name in ("knn", "class-knn"):
        return (KNeighbours if name == "knn" else ClassNeighbours)(k)
    if name == "lof":
        return OutlierFactor(seed=seed)
    return _PLAIN[name]()
