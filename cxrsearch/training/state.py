"""What a training has come to, and its file: tensors and JSON in one safetensors file, replaced in one step.

There are no random-number states to save: whatever is random is a function of seed and position.
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
    """What an epoch came to. None stands for what cannot be computed: a finding without both classes.

    Attributes:
        epoch: counted from 1.
        step: steps done at its end.
        train_loss: mean over the epoch's steps and all ranks.
        val_loss: of the whole validation part: images as they are, or, of `views`, two variations of each that are the
            same in every epoch.
        auroc: of each finding on the validation part, in the vocabulary's order.
        mean_auroc: over the findings that can be scored.
        lr: at the end; of a head that is trained alone, the penalty.
        images_per_second: while training, over all ranks.
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
        """By mean AUROC, or, where no finding can be scored, by validation loss; the earlier of equals is the best."""
        if other is None:
            return True
        if self.mean_auroc is None or other.mean_auroc is None:
            return self.val_loss < other.val_loss
        return self.mean_auroc > other.mean_auroc


@dataclass
class Position:
    """How far a training is.

    Attributes:
        step: steps done.
        loss_sum: of the steps of the epoch that has begun.
        budget: steps that a time limit allows; None before it is known, or without a limit.
        seconds: spent so far.
        history: the finished epochs.
    """

    step: int = 0
    loss_sum: float = 0.0
    budget: int | None = None
    seconds: float = 0.0
    history: list[EpochRecord] = field(default_factory=list)

    @property
    def best(self) -> EpochRecord | None:
        """The best epoch so far."""
        best = None
        for record in self.history:
            best = record if record.better_than(best) else best
        return best


def save_state(
    path: Path, position: Position, modules: Mapping[str, nn.Module], optimiser: torch.optim.Optimizer
) -> None:
    """Write the position, the modules' and the optimiser's tensors, atomically.

    Raises:
        WriteError: the file cannot be written.
    """
    tensors = {name: value.detach().cpu().contiguous() for name, value in _live(modules, optimiser).items()}
    header = canonical_json(asdict(position) | {"tensors": _digest(tensors)})
    write_bytes(path, safetensors.torch.save(tensors, {_KEY: header.decode()}))


def restore_state(path: Path, modules: Mapping[str, nn.Module], optimiser: torch.optim.Optimizer) -> Position:
    """Bring modules and optimiser to what `save_state` wrote, and return the position.

    Raises:
        CheckpointError: the file is damaged, or of another network.
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
        raise CheckpointError(f"{path} is damaged, or of another network", "train into another --out")
    with torch.no_grad():
        for name, value in live.items():
            value.copy_(tensors[name])
    return position


def _digest(tensors: Mapping[str, Tensor]) -> str:
    return digest_bytes("".join(digest_bytes(tensors[name].numpy().tobytes()) for name in sorted(tensors)).encode())


def _live(modules: Mapping[str, nn.Module], optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Every tensor that goes on changing, by a name."""
    tensors = {f"{prefix}.{name}": value for prefix, m in modules.items() for name, value in m.state_dict().items()}
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    for i, parameter in enumerate(parameters):
        for name, value in optimiser.state[parameter].items():
            tensors[f"optimiser.{i}.{name}"] = value
    return tensors


def _prime(optimiser: torch.optim.Optimizer) -> None:
    """Give a fresh optimiser the tensors that its first step would, in the parameters' memory layout."""
    for group in optimiser.param_groups:
        for parameter in group["params"]:
            moments = {name: torch.zeros_like(parameter) for name in _MOMENTS}
            step = torch.zeros((), dtype=torch.float32, device=parameter.device)
            optimiser.state[parameter].update({"step": step} | moments)
