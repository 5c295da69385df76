"""The request for a training, as one object. `train` takes it, and so does whatever trains many encoders."""

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
"""Entries of a recipe about steps and augmentation. Training the head alone (`freeze`) uses none of them."""

_OFF: dict[str, Any] = {"smallest_area": 1.0, "evaluation_crops": "one"}
"""Values that switch an entry off. Another crop needs them, so they are allowed with `freeze`."""


@dataclass(frozen=True)
class Training:
    """The request for a training. `train` takes one; `tune`, `cross_validate` and `retrain` take one for many runs.

    Attributes:
        config: `paper`, `modern`, `unlabelled`, a TOML file, or a `Recipe`. A file is read once, so every training
            that uses this object or a copy of it follows the same recipe.
        changes: entries that replace those of the recipe, as `{"arch": "densenet121", "epochs": 3}`. Entries that are
            None change nothing.
        split: the definition of a split. The network learns from its `train` part; its `val` part chooses the best
            epoch.
        seed: seed of everything random, at least 0.
        max_minutes: time limit in minutes over all sessions of the run, above 0; None for no limit. See `Task`.
        freeze: train the head alone, on embeddings. Settings about training steps and augmentation are then refused.
        findings: a vocabulary other than NIH's; None: NIH's.
        holdout: a finding to hold out: it and its images are left out of the training; None: none.
        strict: with `holdout`, also leave out every image of the patients who have the finding.
        boxes: NIH's table of boxes. Images of its patients are left out of the training part; None: no table.
        cache: folder of the pixel cache. None: `pixels` in the folder of the run, or of all the runs.
        device: `auto`, `cpu`, `cuda` or `cuda:N`; see `resolve_device`.
        devices: number of processes, each on its own device.
        precision: `fp32`, `bf16` (autocast) or `auto`: bf16 if the hardware computes in it.
        workers: processes per device that prepare images. None: one on a CPU; on GPUs the cores are shared out.
        save_every: steps between saved states, at least 1.
        tensorboard: also write a TensorBoard log, which needs the extra `tensorboard`.

    Raises:
        UsageError: unknown recipe, recipe entry or finding; invalid numbers; values that exclude each other.
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
                f"seed {self.seed}, a saved state every {self.save_every} steps, a limit of {minutes} minutes",
                "use a seed >= 0, steps >= 1 and minutes > 0",
            )
        if workers is not None and workers < 0:
            raise UsageError(f"{workers} workers", "use workers >= 0")
        if self.strict and self.holdout is None:
            raise UsageError("strict without a held-out finding", "name it with --holdout, or leave --strict out")
        if isinstance(self.config, str):
            object.__setattr__(self, "config", load_recipe(self.config))
        recipe = self.recipe()
        if self.freeze:
            self._require_head(recipe)
        self.held_out()

    def _require_head(self, recipe: Recipe) -> None:
        """Refuse settings that training the head alone would ignore."""
        if self.devices > 1 or self.tensorboard:
            raise UsageError("--freeze with several devices or TensorBoard", "leave one of them out")
        if not recipe.objective_kind.needs_labels:
            raise UsageError(
                "--freeze with a recipe that learns without labels", "leave --freeze out, or use another recipe"
            )
        if self.max_minutes is not None:
            raise UsageError(
                f"a limit of {self.max_minutes} minutes with --freeze, which has no steps",
                "leave --freeze or --max-minutes out",
            )
        changed = [name for name in _OF_STEPS if self.changes.get(name) not in (None, _OFF.get(name))]
        if unused := [f"{name} {getattr(recipe, name)}" for name in changed]:
            verb = "has" if len(unused) == 1 else "have"
            raise UsageError(
                f"{', '.join(unused)} {verb} no effect with --freeze, which fits the head to embeddings of unchanged "
                "images",
                "leave --freeze or these out",
            )

    def recipe(self) -> Recipe:
        """The recipe with its changes applied."""
        assert isinstance(self.config, Recipe)
        return self.config.changed(self.changes)

    def require_table(self, labels: Path | None) -> None:
        """Check that a table is given if this training needs one.

        Args:
            labels: the table's path, or None.

        Raises:
            UsageError: no table, although the recipe learns findings or the request names findings or boxes.
        """
        if labels is not None:
            return
        if self.recipe().objective_kind.needs_labels:
            raise UsageError("the findings of these images are not known", "name the table with --labels")
        if self.holdout or self.boxes:
            raise UsageError("images cannot be left out by findings or boxes without a table", "name it with --labels")
        if self.findings:
            raise UsageError(
                f"--findings {','.join(self.findings)} without a table",
                "name it with --labels, or leave --findings out",
            )

    def vocabulary(self) -> Vocabulary:
        """The findings of the table, including a held-out finding."""
        return Vocabulary.of(self.findings)

    def held_out(self) -> Holdout | None:
        """The held-out finding, or None."""
        return None if self.holdout is None else hold_out(self.holdout, self.vocabulary(), strict=self.strict)

    def settled(self, **values: Any) -> "Training":
        """A copy with values that the caller may not choose, as the split of a fold.

        Args:
            values: attributes and their required values.

        Raises:
            UsageError: the caller set one of them to something else.
        """
        defaults = {entry.name: entry.default for entry in fields(self)}
        for name, value in values.items():
            if (current := getattr(self, name)) not in (defaults[name], value):
                raise UsageError(f"{name} {current} cannot be set here: it must be {value}", f"leave {name} out")
        return replace(self, **values)
