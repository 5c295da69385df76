"""What a training aims at: to say which findings an image shows, or, without labels, to know an image again."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cxrsearch.encoder.densenet import Encoder
from cxrsearch.files import Json
from cxrsearch.training.losses import FindingLoss, class_weights, view_loss
from cxrsearch.training.recipe import Recipe

HIDDEN, PROJECTED = 512, 128
"""Widths of the projector of `Projected`."""

Score = Callable[[NDArray[np.bool_], NDArray[np.float64]], NDArray[np.float64]]
"""The AUROC of each finding: labels (n, F) and probabilities (n, F) to float64 (F,), nan without both classes."""


class Objective(Protocol):
    """An aim: what is trained for it, its loss, and what it says of the validation part."""

    @property
    def width(self) -> int:
        """How many numbers `answers` gives an image."""

    def network(self, encoder: Encoder, seed: int) -> nn.Module:
        """What is trained: the encoder, or what holds it; takes pixels to embeddings and outputs."""

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """The loss of a batch of b images, a scalar: outputs (b x views, D), the views of an image side by side."""

    def answers(self, outputs: Tensor) -> Tensor:
        """What is kept of validation images: float64 (b, views, D) to (b, width)."""

    def validated(self, labels: NDArray[np.bool_], answers: NDArray[np.float64]) -> Json:
        """What an `EpochRecord` says of the validation part: `val_loss`, `auroc` and `mean_auroc`."""


def objective_of(recipe: Recipe, labels: NDArray[np.bool_], score: Score, device: torch.device) -> Objective:
    """The aim of a recipe; `labels` are those of the whole training part."""
    if recipe.objective == "views":
        return Contrastive(recipe.temperature, recipe.batch_size)
    return Findings(finding_loss(recipe, labels, device), score, labels.shape[1])


@dataclass(frozen=True, eq=False)
class Findings:
    """Predict the findings: the recipe's loss, and the AUROC of each finding."""

    of_findings: FindingLoss
    score: Score
    width: int

    def network(self, encoder: Encoder, seed: int) -> nn.Module:
        """The encoder, whose outputs are the logits of its head."""
        return encoder

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """See `FindingLoss`."""
        return self.of_findings(outputs, labels)

    def answers(self, outputs: Tensor) -> Tensor:
        """Probabilities, averaged over the crops."""
        return torch.sigmoid(outputs).mean(dim=1)

    def validated(self, labels: NDArray[np.bool_], answers: NDArray[np.float64]) -> Json:
        """See `validated`."""
        return validated(self.score, self.of_findings, labels, answers)


@dataclass(frozen=True, eq=False)
class Contrastive:
    """Tell the two views of an image from those of the other images of a batch; see `view_loss`."""

    temperature: float
    batch_size: int
    width: int = 2 * PROJECTED

    def network(self, encoder: Encoder, seed: int) -> nn.Module:
        """The encoder and a projector, whose outputs are compared."""
        return Projected(encoder, seed)

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """See `view_loss`; labels do not matter."""
        return view_loss(outputs, self.temperature)

    def answers(self, outputs: Tensor) -> Tensor:
        """The projections of both views."""
        return outputs.flatten(1)

    def validated(self, labels: NDArray[np.bool_], answers: NDArray[np.float64]) -> Json:
        """The mean loss of batches of the training's size or one less, in the order of the images; no AUROC."""
        outputs = torch.from_numpy(answers).reshape(len(answers), 2, PROJECTED)
        batches = torch.tensor_split(outputs, -(-len(outputs) // self.batch_size))  # few images are easily told apart
        losses = [len(batch) * float(view_loss(batch.flatten(0, 1), self.temperature)) for batch in batches]
        return {"val_loss": sum(losses) / len(answers), "auroc": (), "mean_auroc": None}


class Projected(nn.Module):
    """An encoder whose embeddings are compared through a projector, which learns what the embedding need not forget.

    Args:
        encoder: trained in place; its head, if it has one, is not used.
        seed: of the projector's first weights.
    """

    def __init__(self, encoder: Encoder, seed: int) -> None:
        super().__init__()
        self.encoder = encoder
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(seed)
            self.projector = nn.Sequential(
                nn.Linear(encoder.spec.dim, HIDDEN), nn.BatchNorm1d(HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, PROJECTED)
            )

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Uint8 (b, size, size) to embeddings, float32 (b, dim), and projections, float32 (b, PROJECTED)."""
        embedding, _ = self.encoder(pixels)
        with torch.autocast(embedding.device.type, enabled=False):
            return embedding, self.projector(embedding)


def encoder_in(network: nn.Module) -> Encoder:
    """The encoder that `Objective.network` was given."""
    inner = network.encoder if isinstance(network, Projected) else network
    assert isinstance(inner, Encoder)
    return inner


def finding_loss(recipe: Recipe, labels: NDArray[np.bool_], device: torch.device) -> FindingLoss:
    """The recipe's loss, weighted by the labels of the whole training part where it weights at all."""
    weights = class_weights(labels) if recipe.class_weights else (np.ones(labels.shape[1], np.float32),) * 2
    positive, negative = (torch.from_numpy(weight).to(device) for weight in weights)
    return FindingLoss(
        positive, negative, recipe.gamma_positive, recipe.gamma_negative, recipe.margin, recipe.label_smoothing
    )


def validated(score: Score, loss: FindingLoss, labels: NDArray[np.bool_], probabilities: NDArray[np.float64]) -> Json:
    """What an `EpochRecord` says of the validation part: `val_loss`, `auroc` and `mean_auroc`.

    Args:
        score, loss: what to compute.
        labels, probabilities: (n, F).
    """
    auroc = score(labels, probabilities)
    known = auroc[~np.isnan(auroc)]
    logits = torch.logit(torch.from_numpy(probabilities), eps=1e-12)
    device = loss.positive.device
    return {
        "val_loss": float(loss(logits.to(device), torch.from_numpy(labels).to(device, torch.float64))),
        "auroc": tuple(None if math.isnan(value) else float(value) for value in auroc),
        "mean_auroc": float(known.mean()) if len(known) else None,
    }
