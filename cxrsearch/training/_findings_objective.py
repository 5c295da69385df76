"""Objective `findings`: predict the labels with weighted cross-entropy or a related loss; see `losses.FindingLoss`."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from cxrsearch.arrays import Flags, Floats
from cxrsearch.encoder.densenet import Encoder
from cxrsearch.files import Json
from cxrsearch.training._objective import Score
from cxrsearch.training.losses import FindingLoss, class_weights
from cxrsearch.training.recipe import Recipe


def make(recipe: Recipe, labels: Flags, score: Score, device: torch.device) -> "Findings":
    """The objective of a recipe; see `objective_of`."""
    return Findings(finding_loss(recipe, labels, device), score, labels.shape[1])


@dataclass(frozen=True, eq=False)
class Findings:
    """Predict the findings: train with the recipe's loss, validate by the AUROC of each finding."""

    of_findings: FindingLoss
    score: Score
    width: int

    def network(self, encoder: Encoder, seed: int) -> nn.Module:
        """The encoder; its outputs are the logits of its head."""
        return encoder

    def encoder_in(self, network: nn.Module) -> Encoder:
        """The network itself."""
        assert isinstance(network, Encoder)
        return network

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """See `FindingLoss`."""
        return self.of_findings(outputs, labels)

    def answers(self, outputs: Tensor) -> Tensor:
        """Probabilities, averaged over the crops: (b, crops, F) to (b, F)."""
        return torch.sigmoid(outputs).mean(dim=1)

    def validate(self, labels: Flags, answers: Floats) -> Json:
        """The entries of an `EpochRecord`; see the function `validate`."""
        return validate(self.score, self.of_findings, labels, answers)


def finding_loss(recipe: Recipe, labels: Flags, device: torch.device) -> FindingLoss:
    """The recipe's loss. With `class_weights`, the labels of the training part set its weights; else they are 1."""
    weights = class_weights(labels) if recipe.class_weights else (np.ones(labels.shape[1], np.float32),) * 2
    positive, negative = (torch.from_numpy(weight).to(device) for weight in weights)
    return FindingLoss(
        positive, negative, recipe.gamma_positive, recipe.gamma_negative, recipe.margin, recipe.label_smoothing
    )


def validate(score: Score, loss: FindingLoss, labels: Flags, probabilities: Floats) -> Json:
    """The entries of an `EpochRecord` on the validation part: `val_loss`, `auroc` and `mean_auroc`.

    Args:
        score: computes the AUROC of each finding.
        loss: the training's loss.
        labels: bool (n, F).
        probabilities: float64 (n, F).
    """
    auroc = score(labels, probabilities)
    defined = auroc[~np.isnan(auroc)]
    logits = torch.logit(torch.from_numpy(probabilities), eps=1e-12)
    device = loss.positive.device
    return {
        "val_loss": float(loss(logits.to(device), torch.from_numpy(labels).to(device, torch.float64))),
        "auroc": tuple(None if math.isnan(value) else float(value) for value in auroc),
        "mean_auroc": float(defined.mean()) if len(defined) else None,
    }
