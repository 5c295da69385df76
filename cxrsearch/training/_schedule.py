"""The optimiser of a recipe, and its learning rate at every step."""

import math
from collections.abc import Sequence

import torch
from torch import nn

from cxrsearch.training.recipe import Recipe


def make_optimiser(recipe: Recipe, network: nn.Module) -> torch.optim.Optimizer:
    """Adam or AdamW. Weight decay applies to weights only, not to norms and biases (one-dimensional parameters)."""
    parameters = list(network.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    kind = torch.optim.Adam if recipe.optimiser == "adam" else torch.optim.AdamW
    return kind(groups, lr=recipe.lr, betas=(0.9, 0.999), fused=True)


def learning_rate(recipe: Recipe, step: int, total: int, val_losses: Sequence[float]) -> float:
    """The learning rate of a step.

    Args:
        recipe: names the schedule.
        step: number of steps done before.
        total: steps of the whole training. It has no effect during the warm-up.
        val_losses: validation losses of the finished epochs.
    """
    warm = min(1.0, (step + 1) / recipe.warmup) if recipe.warmup else 1.0
    if recipe.schedule == "cosine":
        progress = max(0, step - recipe.warmup) / max(1, total - recipe.warmup)
        return recipe.lr * warm * (1 + math.cos(math.pi * progress)) / 2
    # Recomputed from all losses, so that the schedule has no state of its own to save.
    stalls = sum(loss >= min(val_losses[:i]) for i, loss in enumerate(val_losses) if i)
    return recipe.lr * warm * float(recipe.lr_decay) ** stalls
