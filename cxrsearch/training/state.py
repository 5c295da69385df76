"""The state of a training, and its file: tensors and JSON in one safetensors file, replaced atomically.

No random-number state is saved, because everything random is a function of seed and position.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from cxrsearch.errors import CheckpointError
from cxrsearch.files import canonical_json, digest_bytes, write_bytes

_KEY = "cxrsearch-training"
_MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass(frozen=True)
class EpochRecord:
    """The result of one epoch.

    Attributes:
        epoch: counted from 1.
        step: total steps done at its end.
        train_loss: mean over the epoch's steps and all ranks.
        val_loss: loss over the whole validation part, without augmentation. The objective `contrastive` uses two
            augmentations per image that are the same in every epoch.
        auroc: AUROC of each finding on the validation part, in the vocabulary's order; None for a finding without
            both classes.
        mean_auroc: mean over the findings that have an AUROC; None if there is none.
        lr: learning rate at the end; for a head that is trained alone, the penalty.
        images_per_second: training speed over all ranks.
        waiting: share of the training time that rank 0 waited for images.
    """

    epoch: int
    step: int
    train_loss: float
    val_loss: float
    auroc: tuple[float | None, ...]
    mean_auroc: float | None
    lr: float
    images_per_second: float
    waiting: float

    def better_than(self, other: "EpochRecord | None") -> bool:
        """Whether this epoch is better: by mean AUROC, or by validation loss if there is none. A tie is not better."""
        if other is None:
            return True
        if self.mean_auroc is None or other.mean_auroc is None:
            return self.val_loss < other.val_loss
        return self.mean_auroc > other.mean_auroc


@dataclass
class Position:
    """The progress of a training.

    Attributes:
        step: number of steps done.
        loss_sum: sum of the losses of the current epoch's steps.
        budget: total steps that the time limit allows; None before it is known, or without a limit.
        seconds: time spent so far, over all sessions.
        history: the records of the finished epochs.
    """

    step: int = 0
    loss_sum: float = 0.0
    budget: int | None = None
    seconds: float = 0.0
    history: list[EpochRecord] = field(default_factory=list)

    @property
    def best(self) -> EpochRecord | None:
        """The best epoch so far; None before the first epoch ends."""
        best = None
        for record in self.history:
            best = record if record.better_than(best) else best
        return best


def save_state(
    path: Path, position: Position, modules: Mapping[str, nn.Module], optimiser: torch.optim.Optimizer
) -> None:
    """Write the position and the tensors of the modules and the optimiser, atomically.

    Raises:
        WriteError: the file cannot be written.
    """
    tensors = {name: value.detach().cpu().contiguous() for name, value in _live(modules, optimiser).items()}
    header = canonical_json(asdict(position) | {"tensors": _digest(tensors)})
    write_bytes(path, safetensors.torch.save(tensors, {_KEY: header.decode()}))


def restore_state(path: Path, modules: Mapping[str, nn.Module], optimiser: torch.optim.Optimizer) -> Position:
    """Load into modules and optimiser what `save_state` wrote, and return the position.

    Raises:
        CheckpointError: the file is damaged, or belongs to another network.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            saved = json.loads(file.metadata()[_KEY])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (it is no mapping)
        intact = _digest(tensors) == saved.pop("tensors")
        saved["history"] = [EpochRecord(**{**epoch, "auroc": tuple(epoch["auroc"])}) for epoch in saved["history"]]
        position = Position(**saved)
    except (OSError, safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"cannot read {path}: {error}", "train into another --out") from error
    _prime(optimiser)
    live = _live(modules, optimiser)
    if not intact or {n: t.shape for n, t in live.items()} != {n: t.shape for n, t in tensors.items()}:
        raise CheckpointError(f"{path} is damaged, or belongs to another network", "train into another --out")
    with torch.no_grad():
        for name, value in live.items():
            value.copy_(tensors[name])
    return position


def _digest(tensors: Mapping[str, Tensor]) -> str:
    return digest_bytes("".join(digest_bytes(tensors[name].numpy().tobytes()) for name in sorted(tensors)).encode())


def _live(modules: Mapping[str, nn.Module], optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Every tensor of the modules and the optimiser, by name."""
    tensors = {f"{prefix}.{name}": value for prefix, m in modules.items() for name, value in m.state_dict().items()}
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    for i, parameter in enumerate(parameters):
        for name, value in optimiser.state[parameter].items():
            tensors[f"optimiser.{i}.{name}"] = value
    return tensors


def _prime(optimiser: torch.optim.Optimizer) -> None:
    """Give a new optimiser the tensors that its first step would make, in the parameters' memory layout.

    torch makes them only in that step, but `restore_state` copies into tensors that already exist.
    """
    for group in optimiser.param_groups:
        for parameter in group["params"]:
            moments = {name: torch.zeros_like(parameter) for name in _MOMENTS}
            step = torch.zeros((), dtype=torch.float32, device=parameter.device)
            optimiser.state[parameter].update({"step": step} | moments)
