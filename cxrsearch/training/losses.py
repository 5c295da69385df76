"""The loss of findings, and the contrastive loss.

The loss of findings is a weighted binary cross-entropy, summed over findings. It includes two other losses:

    L = - sum over findings of  w+ t (1 - p)^g+ log p  +  w- (1 - t) q^g- log(1 - q),   q = max(p - m, 0)

with p = sigmoid(logit) and the target t. With g+ = g- = m = 0 it is the paper's weighted cross-entropy. With g+ = g- it
is the focal loss (Lin et al., ICCV 2017, https://arxiv.org/abs/1708.02002). With g- > g+ and m > 0 it is the asymmetric
loss (Ridnik et al., ICCV 2021, https://arxiv.org/abs/2009.14119).

The contrastive loss needs no labels. It is NT-Xent of Chen et al., A Simple Framework for Contrastive Learning of
Visual Representations, ICML 2020, equation 1 (https://arxiv.org/abs/2002.05709).
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy, logsigmoid, normalize


def class_weights(labels: NDArray[np.bool_]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The weights of a finding's positives and negatives, over the whole training part (the paper, section 3).

    Args:
        labels: bool (n, F), n >= 1.

    Returns:
        w+ = |N| / (|P| + |N|) and w- = |P| / (|P| + |N|), float32 (F,). A finding without positives gets 1 and 0. Its
        output then receives no gradient and stays as it was; it does not learn to predict "no".
    """
    prevalence = labels.mean(axis=0, dtype=np.float64)
    return (1 - prevalence).astype(np.float32), prevalence.astype(np.float32)


@dataclass(frozen=True, eq=False)
class FindingLoss:
    """The loss above, on the device of its weights.

    Attributes:
        positive: w+, float32 (F,).
        negative: w-, float32 (F,).
        gamma_positive: g+, 0 or at least 1.
        gamma_negative: g-, 0 or at least 1.
        margin: m, 0 <= m < 1.
        label_smoothing: s; a label y becomes the target y (1 - s) + s / 2.
    """

    positive: Tensor
    negative: Tensor
    gamma_positive: float = 0.0
    gamma_negative: float = 0.0
    margin: float = 0.0
    label_smoothing: float = 0.0

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The loss, a scalar: summed over findings, mean over images.

        Args:
            logits: float (b, F).
            labels: of the same dtype and shape, 0 or 1.
        """
        targets = labels * (1 - self.label_smoothing) + self.label_smoothing / 2
        gain_positive, gain_negative = logsigmoid(logits), self._log_of_no(logits)
        if self.gamma_positive:
            gain_positive = gain_positive * torch.sigmoid(-logits) ** self.gamma_positive
        if self.gamma_negative:
            gain_negative = gain_negative * self._shifted(logits) ** self.gamma_negative
        gain = self.positive * targets * gain_positive + self.negative * (1 - targets) * gain_negative
        return -gain.sum(dim=1).mean()

    def _shifted(self, logits: Tensor) -> Tensor:
        return (torch.sigmoid(logits) - self.margin).clamp(min=0)

    def _log_of_no(self, logits: Tensor) -> Tensor:
        """log(1 - q). Without a margin, log-sigmoid is used because it stays finite for every logit."""
        return torch.log1p(-self._shifted(logits)) if self.margin else logsigmoid(-logits)


def contrastive_loss(projections: Tensor, temperature: float) -> Tensor:
    """The loss of matching the two augmentations of each image among those of all images, a scalar.

        L = mean over augmentations i of  - log( exp(s(i, i') / t) / sum over k != i of exp(s(i, k) / t) )

    with s the cosine, i' the other augmentation of the same image and t the temperature.

    Args:
        projections: float (2 b, D); rows 2 j and 2 j + 1 are the augmentations of image j.
        temperature: > 0.
    """
    units = normalize(projections, dim=1)
    similarities = (units @ units.T / temperature).fill_diagonal_(-torch.inf)
    partners = torch.arange(len(units), device=units.device) ^ 1  # flips the last bit: rows 2 j and 2 j + 1 swap
    return cross_entropy(similarities, partners)
