"""What a training is asked for, as one object: of `train`, and of what trains many encoders."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from cxrsearch.errors import UsageError
from cxrsearch.images.findings import Vocabulary
from cxrsearch.images.holdout import Holdout, hold_out
from cxrsearch.images.splits import DEFAULT_SPLIT
from cxrsearch.training.recipe import Recipe, load_recipe

_OF_STEPS = (
    *("epochs", "optimiser", "lr", "weight_decay", "schedule", "lr_decay", "warmup", "ema", "dropout"),
    *("flip", "smallest_area", "rotation", "translation", "exposure", "evaluation_crops"),
)
"""What a recipe says of steps and of varied images: a head that is trained alone knows neither."""

_OFF: dict[str, Any] = {"smallest_area": 1.0, "evaluation_crops": "one"}
"""What has to be switched off for another crop; so this may be asked for all the same."""


@dataclass(frozen=True)
class Training:
    """What a training is asked for. `train` takes it; so do `tune`, `cross_validate` and `retrain`, for many.

    Attributes:
        config: `paper`, `modern`, `unlabelled`, a TOML file, or a recipe itself, see `Recipe`; a file is read once, so
            that all trainings asked for by this object, and by copies of it, are by one recipe.
        changes: entries of the recipe that differ: `{"arch": "densenet121", "epochs": 3}`; those that are None do not.
        split: the definition of a split; its `train` is learnt from, its `val` chooses the best epoch.
        seed, max_minutes: of everything random; stop after about so long, over all sessions of the run, see `Task`.
        freeze: train the head alone, on embeddings; what decides the steps of a training cannot be asked for as well.
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

    config: str | Recipe = "paper"
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
        if self.strict and self.holdout is None:
            raise UsageError("strict, without a finding to hold out", "name it with --holdout, or leave --strict out")
        if isinstance(self.config, str):
            object.__setattr__(self, "config", load_recipe(self.config))
        recipe = self.recipe()
        if self.freeze:
            self._require_head(recipe)
        self.held_out()

    def _require_head(self, recipe: Recipe) -> None:
        """Refuse what a head that is trained alone does not use."""
        if self.devices > 1 or self.tensorboard:
            raise UsageError(
                "a head trained alone, on several devices or for TensorBoard", "leave --freeze or these out"
            )
        if not recipe.objective_kind.needs_labels:
            raise UsageError("a head trained alone, without labels", "leave --freeze out, or take another recipe")
        if self.max_minutes is not None:
            raise UsageError(
                f"a limit of {self.max_minutes} minutes for a head trained alone, which has no steps",
                "leave --freeze or --max-minutes out",
            )
        asked = [name for name in _OF_STEPS if self.changes.get(name) not in (None, _OFF.get(name))]
        if unused := [f"{name} {getattr(recipe, name)}" for name in asked]:
            raise UsageError(
                f"{', '.join(unused)} for a head trained alone, which is fitted to embeddings of images as they are",
                "leave --freeze or these out",
            )

    def recipe(self) -> Recipe:
        """How to train."""
        assert isinstance(self.config, Recipe)
        return self.config.changed(self.changes)

    def require_table(self, labels: Path | None) -> None:
        """Check that there is a table where one is needed.

        Raises:
            UsageError: there is none, and findings are to be learnt, or what is asked for is about findings or boxes.
        """
        if labels is not None:
            return
        if self.recipe().objective_kind.needs_labels:
            raise UsageError("the findings of these images are not known", "name the table with --labels")
        if self.holdout or self.boxes:
            raise UsageError(
                "images to be left out by their findings or boxes, without a table", "name it with --labels"
            )
        if self.findings:
            raise UsageError(
                f"the findings {', '.join(self.findings)}, without a table that has them",
                "name it with --labels, or leave --findings out",
            )

    def vocabulary(self) -> Vocabulary:
        """The findings of the table, the one that is held out among them."""
        return Vocabulary.of(self.findings)

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
