"""The objective of a training: the protocol that every objective follows, and the objective of a recipe."""

from collections.abc import Callable
from importlib import import_module
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from cxrsearch.arrays import Flags, Floats
from cxrsearch.encoder.densenet import Encoder
from cxrsearch.files import Json
from cxrsearch.training.recipe import OBJECTIVES, Recipe

Score = Callable[[Flags, Floats], Floats]
"""The AUROC of each finding, from labels (n, F) and probabilities (n, F): float64 (F,), nan without both classes."""


class Objective(Protocol):
    """An objective: the network that is trained for it, its loss, and how it is validated."""

    @property
    def width(self) -> int:
        """The number of values that `answers` keeps per image."""

    def network(self, encoder: Encoder, seed: int) -> nn.Module:
        """The module to train: the encoder, or a module that holds it. It maps pixels to embeddings and outputs."""

    def encoder_in(self, network: nn.Module) -> Encoder:
        """The encoder inside what `network` returned."""

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """The loss of a batch, a scalar.

        Args:
            outputs: (b x a, D), the outputs of the a augmentations of an image one after the other.
            labels: (b, F), 0 or 1.
        """

    def answers(self, outputs: Tensor) -> Tensor:
        """The values to keep of validation images: float64 (b, crops or augmentations, D) to (b, width)."""

    def validate(self, labels: Flags, answers: Floats) -> Json:
        """The entries of an `EpochRecord` on the validation part: `val_loss`, `auroc` and `mean_auroc`."""


def objective_of(recipe: Recipe, labels: Flags, score: Score, device: torch.device) -> Objective:
    """The objective of a recipe.

    Args:
        recipe: names the objective.
        labels: bool (n, F), of the whole training part.
        score: computes the AUROC of the validation part.
        device: where the loss is computed.
    """
    module = import_module(OBJECTIVES[recipe.objective].module)
    return cast(Objective, module.make(recipe, labels, score, device))
