"""Logistic regression on standardised embeddings, for all findings at once; validation chooses the penalty.

For each finding, weights w and bias b minimise

    mean_i [log(1 + exp(z_i)) - y_i z_i] + penalty / 2 |w|^2,   z_i = w.x_i + b

which is scikit-learn's `LogisticRegression(C=1 / (n penalty))`. L-BFGS (Liu and Nocedal 1989, Mathematical Programming
45, 503-528) solves it in float64 for all findings together, in coordinates in which the second derivative is close to
the identity. The second derivative is X'DX / n + penalty with D = p (1 - p). Its p (1 - p) is close to the value c at
the prevalence. So w = V s u, with X'X / n = V e V' and s = 1 / sqrt(c e + penalty). This takes about an eighth of the
iterations.
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
"""From strong to weak. Each is solved roughly, from the previous solution; the chosen one is then solved exactly."""
WORSE = 2
"""After this many penalties without a better validation score, weaker penalties are not tried."""
UNCHOSEN = "no finding of the validation part has both positive and negative images: the middle penalty was used"

_ITERATIONS = 300
_GRADIENT = 1e-6
_ROUGH_GRADIENT = 1e-4


@dataclass(frozen=True, eq=False)
class Linear:
    """Scores that are linear in standardised embeddings.

    Attributes:
        scale: how embeddings are standardised.
        weights: float64 (dim, m), for standardised embeddings.
        bias: float64 (m,).
    """

    scale: Scale
    weights: Floats
    bias: Floats

    def __call__(self, embeddings: Embeddings) -> Floats:
        """The scores (log-odds) of embeddings, float32 (n, dim): float64 (n, m)."""
        scores = np.empty((len(embeddings), len(self.bias)))
        for place, block in blocks(embeddings):
            scores[place] = self.scale(block) @ self.weights + self.bias
        return scores

    def plain(self) -> tuple[Floats, Floats]:
        """The weights (dim, m) and bias (m,) that give the same scores from embeddings that are not standardised."""
        weights = self.scale.factor[:, None] * self.weights
        return weights, self.bias - self.scale.mean @ weights


@dataclass(frozen=True, eq=False)
class Learned:
    """A fitted regression of the m findings that could be learned.

    Attributes:
        linear: the scores.
        findings: int64 (m,), the columns of these findings, ascending.
        penalty: the chosen penalty.
        notes: sentences for the reader of a result.
    """

    linear: Linear
    findings: Integers
    penalty: float
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Logistic:
    """Logistic regression as the module describes it. Nothing is random."""

    penalties: tuple[float, ...] = PENALTIES
    progress: Progress = silent

    def fit(self, train: Sample, val: Sample) -> Fitted:
        """Fit with each penalty, and keep the one with the best mean AUROC on `val`; see `Model.fit`."""
        learned = self.learn(train, val)
        if learned is None:
            return Fitted(train, {}, lambda sample: by_finding(train, len(sample), {}))

        def score(sample: Sample) -> Floats:
            return _probability(train, learned.findings, learned.linear, sample)

        return Fitted(train, {"penalty": learned.penalty}, score, learned.notes)

    def learn(self, train: Sample, val: Sample) -> "Learned | None":
        """Learn the regression behind `fit`; None if no finding can be learned. Errors as for `fit`."""
        require_alike(train, val)
        findings = learnable(train.labels)
        if not len(findings):
            return None
        problem = _Problem(train, findings)
        path, values = self._path(problem, train, val, findings)
        defined = not np.isnan(values).all()
        best = int(np.argmax(values)) if defined else len(path) // 2
        linear, converged = problem.solve(self.penalties[best], path[best])
        notes = [] if defined else [UNCHOSEN]
        if not converged:
            notes.append(f"logistic regression had not converged when it stopped (at most {_ITERATIONS} iterations)")
        return Learned(linear, findings, self.penalties[best], tuple(notes))

    def _path(
        self, problem: "_Problem", train: Sample, val: Sample, findings: Integers
    ) -> tuple[list[Linear], list[float]]:
        """Rough solutions along the penalties, and their validation scores; stops after `WORSE` without improvement."""
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
    """The objective on one sample, and the spectrum of its embeddings, which all penalties share."""

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
        """Minimise, and say whether it converged. `rough` is faster, and good enough for choosing the penalty."""
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
        solution = minimize(objective, first, jac=True, method="L-BFGS-B", options=options)
        return plain(solution.x), bool(solution.success)

    def _objective(
        self, linear: Linear, penalty: float, dtype: type[np.float32] | type[np.float64]
    ) -> tuple[float, Floats, Floats]:
        """The objective summed over findings, and its derivatives by weights and bias; products are of `dtype`."""
        n, scale = len(self._targets), self.scale
        weights, bias = linear.plain()  # plain weights save standardising every block in every iteration
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
