"""Objective `contrastive`: match two augmentations of the same image, without labels; see `losses.contrastive_loss`."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cxrsearch.arrays import Flags, Floats
from cxrsearch.encoder.densenet import Encoder
from cxrsearch.files import Json
from cxrsearch.training._objective import Score
from cxrsearch.training.losses import contrastive_loss
from cxrsearch.training.recipe import Recipe

HIDDEN, PROJECTED = 512, 128
"""Widths of the hidden and the last layer of the projector in `Projected`."""


def make(recipe: Recipe, labels: Flags, score: Score, device: torch.device) -> "Contrastive":
    """The objective of a recipe; see `objective_of`. Labels, score and device are ignored."""
    return Contrastive(recipe.temperature, recipe.batch_size)


@dataclass(frozen=True, eq=False)
class Contrastive:
    """Match the two augmentations of an image among all images of a batch; see `contrastive_loss`."""

    temperature: float
    batch_size: int
    width: int = 2 * PROJECTED

    def network(self, encoder: Encoder, seed: int) -> nn.Module:
        """The encoder and a projector; the projector's outputs are compared."""
        return Projected(encoder, seed)

    def encoder_in(self, network: nn.Module) -> Encoder:
        """The encoder before the projector."""
        assert isinstance(network, Projected)
        return network.encoder

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """See `contrastive_loss`; labels are ignored."""
        return contrastive_loss(outputs, self.temperature)

    def answers(self, outputs: Tensor) -> Tensor:
        """The projections of both augmentations: (b, 2, PROJECTED) to (b, width)."""
        return outputs.flatten(1)

    def validate(self, labels: Flags, answers: Floats) -> Json:
        """The mean loss over batches in the order of the images; no AUROC.

        All batches have about the training's size, because a smaller batch has a lower loss: fewer images are easier
        to tell apart.
        """
        outputs = torch.from_numpy(answers).reshape(len(answers), 2, PROJECTED)
        batches = torch.tensor_split(outputs, -(-len(outputs) // self.batch_size))
        losses = [len(batch) * float(contrastive_loss(batch.flatten(0, 1), self.temperature)) for batch in batches]
        return {"val_loss": sum(losses) / len(answers), "auroc": (), "mean_auroc": None}


class Projected(nn.Module):
    """An encoder with a projector. The loss compares the projector's outputs, not the embeddings.

    So the projector may drop information that the embedding keeps.

    Args:
        encoder: trained in place; its head is not used.
        seed: seed of the projector's initial weights.
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
