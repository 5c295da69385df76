"""Logistic regression on standardised embeddings, all findings at once, with the penalty that validation prefers.

For each finding, weights w and bias b minimise

    mean_i [log(1 + exp(z_i)) - y_i z_i] + penalty / 2 |w|^2,   z_i = w.x_i + b

which is scikit-learn's `LogisticRegression(C=1 / (n penalty))`. L-BFGS (Liu and Nocedal 1989, Mathematical Programming
45, 503-528) does it in float64 for all findings together, in coordinates in which the second derivative is near the
identity: it is X'DX / n + penalty with D = p (1 - p), and p (1 - p) is near its value c at the prevalence, so w = V s u
with X'X / n = V e V' and s = 1 / sqrt(c e + penalty). That takes about an eighth of the iterations.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from cxrsearch.analysis.models.model import Fitted, Sample, by_finding, learnable, require_alike, selection_score
from cxrsearch.analysis.models.scaling import Scale, blocks, places
from cxrsearch.arrays import Embeddings, Floats, Integers
from cxrsearch.progress import Progress, silent

PENALTIES = (10.0, 1.0, 1e-1, 1e-2, 1e-3, 1e-4)
"""From strong to weak; each is solved roughly, from the solution before, and the one that is chosen then exactly."""
WORSE = 2
"""After so many penalties that validation likes no better than an earlier one, weaker ones are not tried."""
UNCHOSEN = "no finding of the validation part has both positive and negative images: the middle penalty was used"

_ITERATIONS = 300
_GRADIENT = 1e-6
_ROUGH_GRADIENT = 1e-4


@dataclass(frozen=True, eq=False)
class Linear:
    """Scores that are linear in standardised embeddings.

    Attributes:
        scale: how to standardise.
        weights: float64 (dim, m).
        bias: float64 (m,).
    """

    scale: Scale
    weights: Floats
    bias: Floats

    def __call__(self, embeddings: Embeddings) -> Floats:
        """The scores of (n, dim), float64 (n, m)."""
        scores = np.empty((len(embeddings), len(self.bias)))
        for place, block in blocks(embeddings):
            scores[place] = self.scale(block) @ self.weights + self.bias
        return scores

    def plain(self) -> tuple[Floats, Floats]:
        """Weights (dim, m) and bias (m,) of the same scores from embeddings that are not standardised."""
        weights = self.scale.factor[:, None] * self.weights
        return weights, self.bias - self.scale.mean @ weights


@dataclass(frozen=True, eq=False)
class Learned:
    """A fitted regression: scores of the findings that could be learned, int64 (m,), ascending; and how."""

    linear: Linear
    findings: Integers
    penalty: float
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Logistic:
    """See the module. Nothing is random."""

    penalties: tuple[float, ...] = PENALTIES
    progress: Progress = silent

    def fit(self, train: Sample, val: Sample) -> Fitted:
        """Fit with every penalty, and keep the one with the best mean AUROC; see `Model.fit`."""
        learned = self.learn(train, val)
        if learned is None:
            return Fitted(train, {}, lambda sample: by_finding(train, len(sample), {}))

        def score(sample: Sample) -> Floats:
            return _probability(train, learned.findings, learned.linear, sample)

        return Fitted(train, {"penalty": learned.penalty}, score, learned.notes)

    def learn(self, train: Sample, val: Sample) -> "Learned | None":
        """What `fit` rests on; None where no finding can be learned. Errors as of `fit`."""
        require_alike(train, val)
        findings = learnable(train.labels)
        if not len(findings):
            return None
        problem = _Problem(train, findings)
        path, values = self._path(problem, train, val, findings)
        known = not np.isnan(values).all()
        best = int(np.argmax(values)) if known else len(path) // 2
        linear, converged = problem.solve(self.penalties[best], path[best])
        notes = [] if known else [UNCHOSEN]
        if not converged:
            notes.append(f"logistic regression had not converged when it stopped (at most {_ITERATIONS} iterations)")
        return Learned(linear, findings, self.penalties[best], tuple(notes))

    def _path(
        self, problem: "_Problem", train: Sample, val: Sample, findings: Integers
    ) -> tuple[list[Linear], list[float]]:
        """Rough solutions, and their values on validation; no more after two that are no better."""
        share = train.prevalence[findings]
        linear = Linear(problem.scale, np.zeros((train.dim, len(findings))), np.log(share / (1 - share)))
        path: list[Linear] = []
        values: list[float] = []
        for done, penalty in enumerate(self.penalties):
            self.progress("fitting logistic regression", done, len(self.penalties))
            linear, _ = problem.solve(penalty, linear, rough=True)
            path.append(linear)
            values.append(selection_score(val, _probability(train, findings, linear, val)))
            if len(values) > WORSE and max(values[-WORSE:]) <= max(values[:-WORSE]):
                break
        self.progress("fitting logistic regression", len(self.penalties), len(self.penalties))
        return path, values


class _Problem:
    """The objective of one sample, and its spectrum, which all penalties share."""

    def __init__(self, train: Sample, findings: Integers) -> None:
        self.scale = Scale.of(train.embeddings)
        self._embeddings, self._targets = train.embeddings, train.labels[:, findings].astype(np.float64)
        moments = np.zeros((train.dim, train.dim))
        for _, block in blocks(train.embeddings):
            scaled = self.scale(block)
            moments += scaled.T @ scaled / len(train)
        spectrum, self._axes = np.linalg.eigh(moments)
        self._spectrum = np.maximum(spectrum, 0)

    def solve(self, penalty: float, start: Linear, *, rough: bool = False) -> tuple[Linear, bool]:
        """Minimise, and say whether it converged; `rough` is enough to choose the penalty by, and faster."""
        share = self._targets.mean(axis=0)
        curvature = share * (1 - share)
        stretch = 1 / np.sqrt(self._spectrum[:, None] * curvature + penalty)
        unit = np.sqrt(curvature)

        def plain(u: Floats) -> Linear:
            u = u.reshape(-1, len(share))
            return Linear(self.scale, self._axes @ (stretch * u[:-1]), u[-1] / unit)

        def objective(u: Floats) -> tuple[float, Floats]:
            value, by_weights, by_bias = self._objective(plain(u), penalty, np.float32 if rough else np.float64)
            return value, np.vstack([stretch * (self._axes.T @ by_weights), by_bias / unit]).ravel()

        first = np.vstack([self._axes.T @ start.weights / stretch, start.bias * unit]).ravel()
        options = {"maxiter": _ITERATIONS, "gtol": _ROUGH_GRADIENT if rough else _GRADIENT, "ftol": 0.0}
        found = minimize(objective, first, jac=True, method="L-BFGS-B", options=options)
        return plain(found.x), bool(found.success)

    def _objective(
        self, linear: Linear, penalty: float, dtype: type[np.float32] | type[np.float64]
    ) -> tuple[float, Floats, Floats]:
        """What is minimised, summed over findings, and its derivatives by weights and bias; products are of `dtype`."""
        n, scale = len(self._targets), self.scale
        weights, bias = linear.plain()  # standardising the embeddings costs a pass
        value = penalty / 2 * float(np.square(linear.weights).sum())
        by_weights, by_bias = penalty * linear.weights, np.zeros(len(bias))
        for place in places(n):
            block, targets = self._embeddings[place].astype(dtype, copy=False), self._targets[place]
            scores = (block @ weights.astype(dtype)).astype(np.float64) + bias
            value += float((np.logaddexp(0, scores) - targets * scores).sum()) / n
            excess = (expit(scores) - targets) / n
            total = excess.sum(axis=0)
            by_weights += scale.factor[:, None] * (block.T @ excess.astype(dtype) - np.outer(scale.mean, total))
            by_bias += total
        return value, by_weights, by_bias


def _probability(train: Sample, findings: Integers, linear: Linear, sample: Sample) -> Floats:
    probability = expit(linear(sample.embeddings))
    return by_finding(train, len(sample), dict(zip(findings.tolist(), probability.T, strict=True)))
