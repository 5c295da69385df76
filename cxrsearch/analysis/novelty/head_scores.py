"""Novelty from a head's outputs for the known findings: max probability, energy, 1 - P(No Finding), and ViM.

A head is linear in the embedding, with one output (logit) per finding; p is the sigmoid of an output. The findings are
not exclusive, so an image with several findings has several high outputs.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.linalg import eigh
from scipy.special import expit

from cxrsearch.analysis.models.scaling import blocks
from cxrsearch.analysis.novelty._novelty_score import classes
from cxrsearch.arrays import Embeddings, Flags, Floats
from cxrsearch.errors import UsageError


@dataclass(frozen=True, eq=False)
class Head:
    """A linear layer with one output for each of m known findings.

    Attributes:
        weights: float64 (dim, m), m >= 1.
        bias: float64 (m,).
    """

    weights: Floats
    bias: Floats

    def __call__(self, embeddings: Embeddings) -> Floats:
        """The outputs (logits) of embeddings, float32 (n, dim): float64 (n, m)."""
        outputs = np.empty((len(embeddings), len(self.bias)))
        for place, block in blocks(embeddings):
            outputs[place] = block @ self.weights + self.bias
        return outputs

    def without(self, column: int) -> "Head":
        """The head without one finding's output."""
        return Head(np.delete(self.weights, column, axis=1), np.delete(self.bias, column))


class _OfHead:
    def __init__(self, head: Head) -> None:
        self.head = head

    def fit(self, embeddings: Embeddings, labels: Flags) -> Self:
        """Nothing to fit, the head is trained; see `NoveltyScore.fit`. Raises UsageError for a head without outputs."""
        classes(embeddings, labels)
        if not len(self.head.bias):
            raise UsageError("a head without outputs of known findings", "use scores that need no head")
        return self


class MaxProbability(_OfHead):
    """-max p: an image is novel if no known finding is likely; so a No Finding image looks rather novel too.

    Hendrycks and Gimpel 2017, ICLR, arXiv:1610.02136, adapted to several findings.
    """

    def score(self, embeddings: Embeddings) -> Floats:
        """See `NoveltyScore.score`; from -1 to 0."""
        highest: Floats = expit(self.head(embeddings)).max(axis=1)
        return -highest


class Energy(_OfHead):
    """-sum log(1 + exp(output)): JointEnergy of Wang et al. 2021, NeurIPS, arXiv:2111.14559."""

    def score(self, embeddings: Embeddings) -> Floats:
        """See `NoveltyScore.score`; always below 0."""
        return -joint_energy(self.head(embeddings))


class NoFinding(_OfHead):
    """1 - P(No Finding) = 1 - prod(1 - p), assuming independent findings. It measures abnormality, not novelty."""

    def score(self, embeddings: Embeddings) -> Floats:
        """See `NoveltyScore.score`; from 0 to 1."""
        # prod(1 - p) = exp(-energy), so no product of many factors is needed; expm1 keeps small values exact.
        return -np.expm1(-joint_energy(self.head(embeddings)))


class ViM(_OfHead):
    """The scaled length of the part outside the principal space of the known images, minus the energy.

    Wang et al. 2022, ViM: out-of-distribution with virtual-logit matching, CVPR, arXiv:2203.10807. The origin is
    o = -W^+ b; the known images give the principal space of (x - o) and the residual r outside it.

    Two things are changed for heads of independent findings, whose outputs are mostly negative. The energy is
    JointEnergy. The scale is mean energy over mean residual; the paper's mean highest output over mean residual would
    reverse the sign of the residual.

    The principal space has 512 dimensions (1,000 if dim is 1,500 or more), but at most half of min(images, dim). Each
    known image counts once.
    """

    def fit(self, embeddings: Embeddings, labels: Flags) -> Self:
        """Find the space and the scale; see `NoveltyScore.fit`. Raises UsageError if nothing lies outside the space."""
        super().fit(embeddings, labels)
        n, dim = embeddings.shape
        origin = -np.linalg.pinv(self.head.weights.T) @ self.head.bias
        moments = sum((block - origin).T @ (block - origin) for _, block in blocks(embeddings))
        kept = min(1000 if dim >= 1500 else 512, min(n, dim) // 2)
        outside = eigh(np.asarray(moments) / n, subset_by_index=[0, dim - kept - 1])[1]
        residual = _lengths(embeddings, origin, outside).mean()
        if not residual > 0:
            raise UsageError("known images fill no more than their principal space", "use scores other than vim")
        self._origin, self._outside = origin, outside
        self.scale = float(joint_energy(self.head(embeddings)).mean() / residual)
        return self

    def score(self, embeddings: Embeddings) -> Floats:
        """See `NoveltyScore.score`; of any sign."""
        outside = _lengths(embeddings, self._origin, self._outside)
        score: Floats = self.scale * outside - joint_energy(self.head(embeddings))
        return score


def joint_energy(outputs: Floats) -> Floats:
    """sum log(1 + exp(output)) over the m findings of outputs (n, m): float64 (n,)."""
    energy: Floats = np.logaddexp(0, outputs).sum(axis=1)
    return energy


def _lengths(embeddings: Embeddings, origin: Floats, axes: Floats) -> Floats:
    lengths = np.empty(len(embeddings))
    for place, block in blocks(embeddings):
        lengths[place] = np.linalg.norm((block - origin) @ axes, axis=1)
    return lengths
