"""Probabilities that mean what they say, and ensembles of models: both learned on the validation part.

Platt's scaling (Platt 1999, Advances in Large Margin Classifiers, 61-74) takes a finding's score x to
expit(a x + b), with a and b of the largest likelihood; its targets (P + 1) / (P + 2) and 1 / (N + 2), instead of 1 and
0 for P positive and N negative images, keep it finite. For probabilities x is their log-odds, so that a = 1, b = 0
leaves them as they are, 1 / a is a temperature, and b alone corrects a wrong prevalence.

    platt     a and b, where there are 10 positive and 10 negative images, and a > 0
    shift     b alone, a = 1: fewer images, equal scores, or scores that run the wrong way (a is never negative, so
              no order of images is turned round)
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
"""Of both kinds; below it, only the shift is learned."""

_SMALLEST = 1e-12


@dataclass(frozen=True, eq=False)
class Platt:
    """The maps of F findings' scores.

    Attributes:
        slope: float64 (F,), a > 0.
        intercept: float64 (F,), b.
        kinds: how each was found.
    """

    slope: Floats
    intercept: Floats
    kinds: tuple[Kind, ...]

    @classmethod
    def fit(cls, labels: Flags, scores: Reals) -> "Platt":
        """From validation images' labels, bool (n, F), and finite scores (n, F), higher is more likely.

        Raises:
            UsageError: arrays that do not fit together, or a score that is not finite.
        """
        check_scores(labels, scores)
        if not np.isfinite(scores).all():
            raise UsageError("scores that are infinite cannot be calibrated", "give probabilities or finite scores")
        fits = [_fit(own, x) for own, x in zip(labels.T, scores.T.astype(np.float64), strict=True)]
        slopes, intercepts, kinds = zip(*fits, strict=True) if fits else ((), (), ())
        return cls(np.array(slopes, dtype=np.float64), np.array(intercepts, dtype=np.float64), kinds)

    def __call__(self, scores: Reals) -> Floats:
        """a x + b, the log-odds of the calibrated probabilities, float64 (n, F)."""
        mapped: Floats = self.slope * scores + self.intercept
        return mapped


@dataclass(frozen=True, eq=False)
class Calibration:
    """Platt's scaling of probabilities. Those of exactly 0 or 1 have no log-odds: they are put inside the bounds.

    Attributes:
        platt: of the log-odds.
        low, high: float64 (F,), bounds. Where a validation image has 0, `low` is half of the smallest above 0,
            otherwise 1e-12; `high` likewise.
    """

    platt: Platt
    low: Floats
    high: Floats

    @classmethod
    def fit(cls, labels: Flags, probability: Reals) -> "Calibration":
        """From validation images' labels, bool (n, F), and probabilities (n, F).

        Raises:
            UsageError: arrays that do not fit together, or values outside [0, 1].
        """
        probability = check_probability(labels, probability)
        low = np.array([_bound(column) for column in probability.T], dtype=np.float64)
        high = 1 - np.array([_bound(1 - column) for column in probability.T], dtype=np.float64)
        return cls(Platt.fit(labels, logit(np.clip(probability, low, high))), low, high)

    def log_odds(self, probability: Reals) -> Floats:
        """The calibrated log-odds of probabilities (n, F), float64 (n, F), finite."""
        return self.platt(logit(np.clip(probability.astype(np.float64), self.low, self.high)))

    def __call__(self, probability: Reals) -> Floats:
        """The calibrated probabilities of (n, F), float64 (n, F)."""
        calibrated: Floats = expit(self.log_odds(probability))
        return calibrated


def mean_probability(members: Sequence[Floats]) -> Floats:
    """The paper's ensemble: the mean of its members' probabilities, (n, F) each.

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
        members: how each is calibrated.
        weights: float64 (M,), not negative, their sum 1, the same for all findings: those of the smallest log-loss on
            the validation part, over the findings of which it has both kinds; equal where it has none.
    """

    members: tuple[Calibration, ...]
    weights: Floats

    @classmethod
    def fit(cls, labels: Flags, members: Sequence[Floats]) -> "Ensemble":
        """From validation images' labels, bool (n, F), and every member's probabilities for them, (n, F) each.

        Raises:
            UsageError: no members, arrays that do not fit together, or values outside [0, 1].
        """
        _check_members(members)
        calibrations = tuple(Calibration.fit(labels, member) for member in members)
        known = learnable(labels)
        log_odds = np.stack([c.log_odds(m)[:, known] for c, m in zip(calibrations, members, strict=True)])
        return cls(calibrations, _weights(labels[:, known], log_odds))

    def __call__(self, members: Sequence[Floats]) -> Floats:
        """The ensemble's probabilities, float64 (n, F), from its members' in the order of the fit.

        Raises:
            UsageError: another number of members, or shapes that differ.
        """
        _check_members(members)
        if len(members) != len(self.members):
            raise UsageError(f"{len(members)} members, {len(self.members)} fitted", "give the members of the fit")
        log_odds = [c.log_odds(m) for c, m in zip(self.members, members, strict=True)]
        probability: Floats = expit(np.tensordot(self.weights, log_odds, axes=1))
        return probability


def _fit(labels: Flags, scores: Floats) -> tuple[float, float, Kind]:
    """Slope, intercept and kind of one finding."""
    positives, negatives = np.count_nonzero(labels), np.count_nonzero(~labels)
    if not positives or not negatives:
        return 1.0, 0.0, "identity"
    targets = np.where(labels, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    centre, spread = float(scores.mean()), float(scores.std())
    if min(positives, negatives) >= MIN_IMAGES and spread > 0:
        slope, intercept = _most_likely((scores - centre) / spread, targets)
        if slope > 0:
            return slope / spread, intercept - slope * centre / spread, "platt"
    return 1.0, _shift(scores, float(targets.mean())), "shift"


def _most_likely(scores: Floats, targets: Floats) -> tuple[float, float]:
    """Slope and intercept of the largest likelihood, for standardised scores (n,)."""

    def loss(line: Floats) -> tuple[float, Floats]:
        x = line[0] * scores + line[1]
        excess = (expit(x) - targets) / len(x)
        return float((np.logaddexp(0, x) - targets * x).mean()), np.array([excess @ scores, excess.sum()])

    slope, intercept = minimize(loss, np.zeros(2), jac=True, method="BFGS", options={"gtol": 1e-9}).x
    return float(slope), float(intercept)


def _shift(scores: Floats, mean: float) -> float:
    """The intercept with which the probabilities have this mean, which is the one of the largest likelihood."""
    furthest = logit(mean) - scores.max() - 1, logit(mean) - scores.min() + 1
    return float(brentq(lambda intercept: expit(scores + intercept).mean() - mean, *furthest))


def _bound(probability: Floats) -> float:
    above = probability[probability > 0]
    return float(above.min()) / 2 if 0 < len(above) < len(probability) else _SMALLEST


def _weights(labels: Flags, log_odds: Floats) -> Floats:
    """The weights on the simplex with the smallest log-loss, of log-odds (M, n, F); the problem is convex."""
    m = len(log_odds)
    equal = np.full(m, 1 / m)
    if not labels.size:
        return equal

    def loss(weights: Floats) -> tuple[float, Floats]:
        x = np.tensordot(weights, log_odds, axes=1)
        slope = (expit(x) - labels) / x.size
        return float((np.logaddexp(0, x) - labels * x).mean()), np.tensordot(log_odds, slope, axes=2)

    sums_to_one = {"type": "eq", "fun": lambda w: w.sum() - 1, "jac": np.ones_like}
    found = minimize(loss, equal, jac=True, method="SLSQP", bounds=[(0, 1)] * m, constraints=sums_to_one)
    weights: Floats = np.clip(found.x, 0, 1) / np.clip(found.x, 0, 1).sum()
    return weights


def _check_members(members: Sequence[Floats]) -> None:
    shapes = {member.shape for member in members}
    if len(shapes) != 1:
        raise UsageError(f"an ensemble of {len(members)} members of shapes {sorted(shapes)}", "give members alike")
