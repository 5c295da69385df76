"""What a training is asked for, as one object: of `train`, and of what trains many encoders."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from cxrsearch.encoder.recipe import Recipe, load_recipe
from cxrsearch.errors import UsageError
from cxrsearch.images.findings import Vocabulary
from cxrsearch.images.holdout import Holdout, hold_out

DEFAULT_SPLIT = "patient-hash:0.7/0.1/0.2"


@dataclass(frozen=True)
class Training:
    """What a training is asked for. `train` takes it; so do `tune`, `cross_validate` and `retrain`, for many.

    Attributes:
        config: `paper`, `modern`, `unlabelled` or a TOML file, see `Recipe`.
        changes: entries of the recipe that differ: `{"arch": "densenet121", "epochs": 3}`; those that are None do not.
        split: the definition of a split; its `train` is learnt from, its `val` chooses the best epoch.
        seed, max_minutes: of everything random; stop after about so long, over all sessions of the run, see `Task`.
        freeze: train the head alone, on embeddings.
        findings: another vocabulary than NIH's.
        holdout, strict: leave out a finding and its images; and all images of the patients who have it.
        boxes: NIH's table of boxes, whose patients are left out of the training part.
        cache: folder of a pixel cache, None: `pixels` in the folder of the run, or in that of all the runs.
        device, devices: as `resolve_device`; and how many processes, each on a device of its own.
        precision: `fp32`, `bf16` (autocast) or `auto`: bf16 where the hardware computes in it.
        workers: processes a device that prepare images; None: one on a CPU, else the cores, shared out.
        save_every, tensorboard: steps from one saved state to the next; also log for TensorBoard (an extra).

    Raises:
        UsageError: no such recipe or entry of one, no such finding to hold out, numbers that cannot be meant, values
            that exclude each other.
    """

    config: str = "paper"
    changes: Mapping[str, Any] = field(default_factory=dict)
    split: str = DEFAULT_SPLIT
    seed: int = 0
    max_minutes: float | None = None
    freeze: bool = False
    findings: Sequence[str] | None = None
    holdout: str | None = None
    strict: bool = False
    boxes: Path | str | None = None
    cache: Path | str | None = None
    device: str = "auto"
    devices: int = 1
    precision: str = "auto"
    workers: int | None = None
    save_every: int = 200
    tensorboard: bool = False

    def __post_init__(self) -> None:
        minutes, workers = self.max_minutes, self.workers
        if self.seed < 0 or self.save_every < 1 or (minutes is not None and not 0 < minutes < float("inf")):
            raise UsageError(
                f"seed {self.seed}, a state every {self.save_every} steps, a limit of {minutes} minutes",
                "use a seed >= 0, steps >= 1 and minutes > 0",
            )
        if workers is not None and workers < 0:
            raise UsageError(f"{workers} workers", "use workers >= 0")
        if self.freeze and (self.devices > 1 or self.tensorboard):
            raise UsageError(
                "a head trained alone, on several devices or for TensorBoard", "leave --freeze or these out"
            )
        if self.recipe().objective == "views" and self.freeze:
            raise UsageError("a head trained alone, without labels", "leave --freeze out, or take another recipe")
        self.held_out()

    def recipe(self) -> Recipe:
        """How to train."""
        return load_recipe(self.config).changed(self.changes)

    def vocabulary(self) -> Vocabulary:
        """The findings of the table, the one that is held out among them."""
        return Vocabulary(tuple(self.findings)) if self.findings else Vocabulary()

    def held_out(self) -> Holdout | None:
        """The finding that is left out."""
        return None if self.holdout is None else hold_out(self.holdout, self.vocabulary(), strict=self.strict)

    def settled(self, **values: Any) -> "Training":
        """The same with values that are not up to the caller, as the split of a fold.

        Raises:
            UsageError: the caller set one of them to something else.
        """
        usual = {entry.name: entry.default for entry in fields(self)}
        for name, value in values.items():
            if (own := getattr(self, name)) not in (usual[name], value):
                raise UsageError(f"a training with {name} {own}, which has to be {value} here", f"leave {name} out")
        return replace(self, **values)
