"""Random forests of shallow trees on embeddings (Breiman 2001, Machine Learning 45, 5-32), as in the paper.

They are scikit-learn's `RandomForestClassifier` with 100 trees of depth 5, and give its probabilities to the last bit.
`Forest` is one forest whose trees split for all findings at once. `ForestOneVsRest` has one forest per finding, as in
the paper; it is `OneVsRestClassifier`. Trees are grown ten at a time to report progress; they are the same trees.
"""

from dataclasses import dataclass

import numpy as np
from sklearn.ensemble import RandomForestClassifier

from cxrsearch.analysis.models.model import Fitted, Sample, by_finding, learnable, require_alike
from cxrsearch.arrays import Embeddings, Flags, Floats
from cxrsearch.progress import Progress, silent

TREES = 100
DEPTH = 5

_AT_ONCE = 10


@dataclass(frozen=True)
class Forest:
    """One forest for all findings.

    Attributes:
        seed: of the bootstrap and of the features tried.
        jobs: the number of threads; the result does not depend on it.
        trees: the number of trees.
        depth: the largest depth of a tree.
        progress: called as trees are grown.
    """

    seed: int = 0
    jobs: int = 2
    trees: int = TREES
    depth: int = DEPTH
    progress: Progress = silent

    def fit(self, train: Sample, val: Sample) -> Fitted:
        """Grow the forest; nothing is chosen on `val`. See `Model.fit`."""
        require_alike(train, val)
        findings = learnable(train.labels)
        if not len(findings):
            return Fitted(train, self.settings, lambda sample: by_finding(train, len(sample), {}))
        forest = self.grow(train.embeddings, train.labels[:, findings], "growing a forest")

        def score(sample: Sample) -> Floats:
            shares = positive_share(forest, sample.embeddings)
            return by_finding(train, len(sample), dict(zip(findings.tolist(), shares, strict=True)))

        return Fitted(train, self.settings, score)

    @property
    def settings(self) -> dict[str, int]:
        """The settings that a result reports."""
        return {"trees": self.trees, "depth": self.depth, "seed": self.seed}

    def grow(self, embeddings: Embeddings, labels: Flags, stage: str) -> RandomForestClassifier:
        """Grow a forest for labels, bool (n, m); each column has both positive and negative images."""
        settings = {"max_depth": self.depth, "random_state": self.seed, "n_jobs": self.jobs}
        forest = RandomForestClassifier(0, warm_start=True, **settings)
        targets = labels[:, 0] if labels.shape[1] == 1 else labels
        for grown in range(0, self.trees, _AT_ONCE):
            self.progress(stage, grown, self.trees)
            forest.set_params(n_estimators=min(grown + _AT_ONCE, self.trees)).fit(embeddings, targets)
        self.progress(stage, self.trees, self.trees)
        # Threads would add up the trees' answers in any order, which does not give the same bytes each time.
        return forest.set_params(n_jobs=1)


@dataclass(frozen=True)
class ForestOneVsRest(Forest):
    """A forest for each finding."""

    def fit(self, train: Sample, val: Sample) -> Fitted:
        """Grow the forests one after the other; nothing is chosen on `val`. See `Model.fit`."""
        require_alike(train, val)
        findings = learnable(train.labels)
        forests = {
            f: self.grow(train.embeddings, train.labels[:, [f]], f"growing forest {number} of {len(findings)}")
            for number, f in enumerate(findings.tolist(), 1)
        }

        def score(sample: Sample) -> Floats:
            scored = {f: positive_share(forest, sample.embeddings)[0] for f, forest in forests.items()}
            return by_finding(train, len(sample), scored)

        return Fitted(train, self.settings, score)


def positive_share(forest: RandomForestClassifier, embeddings: Embeddings) -> list[Floats]:
    """The probability that each label is true, one float64 (n,) per label."""
    shares = forest.predict_proba(embeddings)
    outputs = shares if isinstance(shares, list) else [shares]
    return [np.asarray(output[:, 1], dtype=np.float64) for output in outputs]
