"""Calibrated probabilities, and ensembles of models. Both are learned on the validation part.

Platt scaling (Platt 1999, Advances in Large Margin Classifiers, 61-74) maps a finding's score x to expit(a x + b), with
a and b of maximum likelihood. For P positive and N negative images, the targets are (P + 1) / (P + 2) and 1 / (N + 2)
instead of 1 and 0, which keeps a and b finite. For probabilities, x is the log-odds. Then a = 1, b = 0 changes nothing,
1 / a is a temperature, and b alone corrects a wrong prevalence.

    platt     a and b, if there are at least 10 positive and 10 negative images, and a > 0
    shift     b alone, a = 1: fewer images, equal scores, or scores that run the wrong way (a is never negative, so
              the order of images is never reversed)
    identity  a = 1, b = 0: no positive image, or no negative one
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.optimize import brentq, minimize
from scipy.special import expit, logit

from cxrsearch.analysis.measures.metrics import check_probability, check_scores
from cxrsearch.analysis.models.model import learnable
from cxrsearch.arrays import Flags, Floats, Reals
from cxrsearch.errors import UsageError

Kind = Literal["platt", "shift", "identity"]

MIN_IMAGES = 10
"""The fewest positive and the fewest negative images; with fewer, only the shift is learned."""

_SMALLEST = 1e-12


@dataclass(frozen=True, eq=False)
class Platt:
    """Platt scaling of the scores of F findings.

    Attributes:
        slope: float64 (F,), a > 0.
        intercept: float64 (F,), b.
        kinds: how each finding's a and b were determined; see the module.
    """

    slope: Floats
    intercept: Floats
    kinds: tuple[Kind, ...]

    @classmethod
    def fit(cls, labels: Flags, scores: Reals) -> "Platt":
        """Fit on validation images: labels, bool (n, F), and finite scores (n, F), higher is more likely.

        Raises:
            UsageError: arrays that do not fit together, or a score that is not finite.
        """
        check_scores(labels, scores)
        if not np.isfinite(scores).all():
            raise UsageError("infinite scores cannot be calibrated", "give probabilities or finite scores")
        fits = [_fit(positive, x) for positive, x in zip(labels.T, scores.T.astype(np.float64), strict=True)]
        slopes, intercepts, kinds = zip(*fits, strict=True) if fits else ((), (), ())
        return cls(np.array(slopes, dtype=np.float64), np.array(intercepts, dtype=np.float64), kinds)

    def __call__(self, scores: Reals) -> Floats:
        """a x + b, the log-odds of the calibrated probabilities, float64 (n, F)."""
        log_odds: Floats = self.slope * scores + self.intercept
        return log_odds


@dataclass(frozen=True, eq=False)
class Calibration:
    """Platt scaling of probabilities. Probabilities of 0 and 1 have infinite log-odds, so they are clipped to bounds.

    Attributes:
        platt: the scaling of the log-odds.
        low, high: float64 (F,), bounds. If a validation image has probability 0, `low` is half of the smallest
            probability above 0; otherwise it is 1e-12. `high` likewise.
    """

    platt: Platt
    low: Floats
    high: Floats

    @classmethod
    def fit(cls, labels: Flags, probability: Reals) -> "Calibration":
        """Fit on validation images: labels, bool (n, F), and probabilities (n, F).

        Raises:
            UsageError: arrays that do not fit together, or values outside [0, 1].
        """
        probability = check_probability(labels, probability)
        low = np.array([_bound(column) for column in probability.T], dtype=np.float64)
        high = 1 - np.array([_bound(1 - column) for column in probability.T], dtype=np.float64)
        return cls(Platt.fit(labels, logit(np.clip(probability, low, high))), low, high)

    def log_odds(self, probability: Reals) -> Floats:
        """The calibrated log-odds of probabilities (n, F): float64 (n, F), finite."""
        return self.platt(logit(np.clip(probability.astype(np.float64), self.low, self.high)))

    def __call__(self, probability: Reals) -> Floats:
        """The calibrated probabilities of probabilities (n, F): float64 (n, F)."""
        calibrated: Floats = expit(self.log_odds(probability))
        return calibrated


def mean_probability(members: Sequence[Floats]) -> Floats:
    """The paper's ensemble: the mean of its members' probabilities, float64 (n, F) each.

    Raises:
        UsageError: no members, or shapes that differ.
    """
    _check_members(members)
    mean: Floats = np.mean(members, axis=0)
    return mean


@dataclass(frozen=True, eq=False)
class Ensemble:
    """The weighted mean of its members' calibrated log-odds.

    Attributes:
        members: the calibration of each member.
        weights: float64 (M,), not negative, with sum 1, the same for all findings. They minimise the log-loss on the
            validation part over the findings with both positive and negative images; equal if there are none.
    """

    members: tuple[Calibration, ...]
    weights: Floats

    @classmethod
    def fit(cls, labels: Flags, members: Sequence[Floats]) -> "Ensemble":
        """Fit on validation images: labels, bool (n, F), and every member's probabilities, (n, F) each.

        Raises:
            UsageError: no members, arrays that do not fit together, or values outside [0, 1].
        """
        _check_members(members)
        calibrations = tuple(Calibration.fit(labels, member) for member in members)
        findings = learnable(labels)
        log_odds = np.stack([c.log_odds(m)[:, findings] for c, m in zip(calibrations, members, strict=True)])
        return cls(calibrations, _weights(labels[:, findings], log_odds))

    def __call__(self, members: Sequence[Floats]) -> Floats:
        """The ensemble's probabilities, float64 (n, F), from the members' probabilities in the order of the fit.

        Raises:
            UsageError: another number of members than in the fit, or shapes that differ.
        """
        _check_members(members)
        if len(members) != len(self.members):
            raise UsageError(f"{len(members)} members, {len(self.members)} fitted", "give the members of the fit")
        log_odds = [c.log_odds(m) for c, m in zip(self.members, members, strict=True)]
        probability: Floats = expit(np.tensordot(self.weights, log_odds, axes=1))
        return probability


def _fit(labels: Flags, scores: Floats) -> tuple[float, float, Kind]:
    """Fit one finding: slope, intercept and kind."""
    positives, negatives = np.count_nonzero(labels), np.count_nonzero(~labels)
    if not positives or not negatives:
        return 1.0, 0.0, "identity"
    targets = np.where(labels, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    centre, spread = float(scores.mean()), float(scores.std())
    if min(positives, negatives) >= MIN_IMAGES and spread > 0:
        slope, intercept = _maximise_likelihood((scores - centre) / spread, targets)
        if slope > 0:
            return slope / spread, intercept - slope * centre / spread, "platt"
    return 1.0, _shift(scores, float(targets.mean())), "shift"


def _maximise_likelihood(scores: Floats, targets: Floats) -> tuple[float, float]:
    """The slope and intercept of maximum likelihood, for standardised scores (n,)."""

    def loss(line: Floats) -> tuple[float, Floats]:
        x = line[0] * scores + line[1]
        excess = (expit(x) - targets) / len(x)
        return float((np.logaddexp(0, x) - targets * x).mean()), np.array([excess @ scores, excess.sum()])

    slope, intercept = minimize(loss, np.zeros(2), jac=True, method="BFGS", options={"gtol": 1e-9}).x
    return float(slope), float(intercept)


def _shift(scores: Floats, mean: float) -> float:
    """The intercept at which the probabilities have this mean; it is the one of maximum likelihood."""
    # At the first bound every shifted score is below logit(mean), at the second above it: the root lies between.
    furthest = logit(mean) - scores.max() - 1, logit(mean) - scores.min() + 1
    return float(brentq(lambda intercept: expit(scores + intercept).mean() - mean, *furthest))


def _bound(probability: Floats) -> float:
    above = probability[probability > 0]
    return float(above.min()) / 2 if 0 < len(above) < len(probability) else _SMALLEST


def _weights(labels: Flags, log_odds: Floats) -> Floats:
    """The weights on the simplex with the smallest log-loss, for log-odds (M, n, F); the problem is convex."""
    m = len(log_odds)
    equal = np.full(m, 1 / m)
    if not labels.size:
        return equal

    def loss(weights: Floats) -> tuple[float, Floats]:
        x = np.tensordot(weights, log_odds, axes=1)
        slope = (expit(x) - labels) / x.size
        return float((np.logaddexp(0, x) - labels * x).mean()), np.tensordot(log_odds, slope, axes=2)

    sums_to_one = {"type": "eq", "fun": lambda w: w.sum() - 1, "jac": np.ones_like}
    solution = minimize(loss, equal, jac=True, method="SLSQP", bounds=[(0, 1)] * m, constraints=sums_to_one).x
    # SLSQP meets bounds and constraint only up to rounding.
    weights: Floats = np.clip(solution, 0, 1) / np.clip(solution, 0, 1).sum()
    return weights


def _check_members(members: Sequence[Floats]) -> None:
    shapes = {member.shape for member in members}
    if len(shapes) != 1:
        raise UsageError(
            f"an ensemble of {len(members)} members of shapes {sorted(shapes)}", "give members of one shape"
        )
