"""The other classifiers of the paper's code, one per finding, on embeddings: AdaBoost, a linear SVC, a decision tree.

All are scikit-learn's: `AdaBoostClassifier(100)`, `LinearSVC()` on standardised embeddings, `DecisionTreeClassifier()`.
They learn slowly, so they get at most `max_train` images, those of patients drawn at random. The result says so. A
linear SVC has no probabilities, so Platt scaling, fitted on the validation part, provides them.
"""

import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy.special import expit
from sklearn.ensemble import AdaBoostClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

from cxrsearch.analysis.models.calibration import Platt
from cxrsearch.analysis.models.model import Fitted, Sample, by_finding, learnable, require_alike, sample_patients
from cxrsearch.analysis.models.scaling import Scale
from cxrsearch.arrays import Embeddings, Flags, Floats
from cxrsearch.progress import Progress, silent
from cxrsearch.words import counted

Kind = Literal["adaboost", "svc", "tree"]

ROUNDS = 100

_MAKERS: dict[Kind, Callable[[int], Any]] = {
    "adaboost": lambda seed: AdaBoostClassifier(n_estimators=ROUNDS, random_state=seed),
    "svc": lambda seed: LinearSVC(dual="auto", random_state=seed),
    "tree": lambda seed: DecisionTreeClassifier(random_state=seed),
}


@dataclass(frozen=True)
class Classical:
    """One classifier for each finding.

    Attributes:
        kind: the kind of classifier.
        max_train: the most images that are learned from.
        seed: of the classifier, and of the patients drawn.
        jobs: the number of threads, each with its own finding; the result does not depend on it.
        progress: called as findings are learned.
    """

    kind: Kind
    max_train: int
    seed: int = 0
    jobs: int = 2
    progress: Progress = silent

    def fit(self, train: Sample, val: Sample) -> Fitted:
        """Learn from whole patients; only a linear SVC uses `val`. See `Model.fit`."""
        require_alike(train, val)
        part = sample_patients(train, self.max_train, self.seed)
        findings = learnable(part.labels)
        inputs = Scale.of(part.embeddings) if self.kind == "svc" else np.asarray
        classifiers = self._learn(inputs(part.embeddings), part.labels[:, findings])

        def answers(sample: Sample) -> Floats:
            x = inputs(sample.embeddings)
            columns = [c.decision_function(x) if self.kind == "svc" else c.predict_proba(x)[:, 1] for c in classifiers]
            return np.stack(columns, axis=1).astype(np.float64) if columns else np.empty((len(x), 0))

        platt = Platt.fit(val.labels[:, findings], answers(val)) if self.kind == "svc" else None

        def score(sample: Sample) -> Floats:
            probability = answers(sample) if platt is None else expit(platt(answers(sample)))
            return by_finding(part, len(sample), dict(zip(findings.tolist(), probability.T, strict=True)))

        settings = {"max_train": self.max_train, "seed": self.seed}
        return Fitted(part, settings, score, (*_sample_notes(train, part), *_convergence_notes(classifiers)))

    def _learn(self, embeddings: Embeddings | Floats, labels: Flags) -> list[Any]:
        """Fit a classifier for each column of labels, bool (n, m)."""

        def learn(labels: Flags) -> Any:
            return _MAKERS[self.kind](self.seed).fit(embeddings, labels)

        learned, stage = [], f"fitting {self.kind}"
        with ThreadPoolExecutor(self.jobs) as pool, warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a note of the result says so
            for done, classifier in enumerate(pool.map(learn, labels.T)):
                self.progress(stage, done, labels.shape[1])
                learned.append(classifier)
        self.progress(stage, labels.shape[1], labels.shape[1])
        return learned


def _sample_notes(train: Sample, part: Sample) -> list[str]:
    if part is train:
        return []
    patients = len(np.unique(part.patients))
    return [f"fitted on {len(part)} of {len(train)} images, those of {counted(patients, 'patient')} drawn at random"]


def _convergence_notes(classifiers: list[Any]) -> list[str]:
    svcs = [c for c in classifiers if isinstance(c, LinearSVC)]
    unfinished = sum(c.n_iter_ >= c.max_iter for c in svcs)
    return [f"the linear SVC had not converged for {unfinished} of {len(svcs)} findings"] if unfinished else []
