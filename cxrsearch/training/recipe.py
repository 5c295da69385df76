"""A recipe: all settings of a training, as one readable object.

`PAPER` is Wu & Yang's recipe. `MODERN` uses present-day settings. `UNLABELLED` learns from images without labels, and
gives the other two a starting point. A TOML file may change any of them:

    base = "paper"      # or "modern", "unlabelled"; the default is "paper"
    epochs = 3
    lr = 3e-4
"""

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

from cxrsearch.encoder.spec import LAYERS, Architecture
from cxrsearch.errors import UsageError
from cxrsearch.images.preprocess import DISPLAY_SIDE, Preprocess

TIMED_STEPS = 20
"""Number of steps that are timed before a time limit becomes a number of steps."""

Optimiser = Literal["adam", "adamw"]
Schedule = Literal["plateau", "cosine"]
Crop = Literal["none", "random"]
Crops = Literal["one", "five", "ten"]

_CHOICES: dict[str, tuple[str, ...]] = {
    "arch": tuple(LAYERS),
    "optimiser": get_args(Optimiser),
    "schedule": get_args(Schedule),
    "crop": get_args(Crop),
    "evaluation_crops": get_args(Crops),
}
_BOUNDS: dict[str, tuple[float, float]] = {
    "size": (32, 2048),
    "epochs": (1, 10_000),
    "batch_size": (1, 100_000),
    "lr": (1e-12, 100),
    "weight_decay": (0, 100),
    "warmup": (0, 10_000_000),
    "lr_decay": (1e-6, 1),
    "ema": (0, 0.999999),
    "dropout": (0, 0.99),
    "label_smoothing": (0, 0.99),
    "gamma_positive": (0, 10),
    "gamma_negative": (0, 10),
    "margin": (0, 0.99),
    "temperature": (0.01, 10),
    "flip": (0, 1),
    "smallest_area": (0.01, 1),
    "rotation": (0, 180),
    "translation": (0, 0.5),
    "exposure": (0, 1),
}


@dataclass(frozen=True)
class Recipe:
    """The settings of a training. Defaults are the paper's (section 3: DenseNet-169, Adam, batch 16, lr 1e-4, flips).

    Attributes:
        name: name of the recipe, or of its file.
        arch: the network; see `load_encoder`.
        weights: the weights to start from; see `load_encoder`.
        size: side of the network's input, in pixels.
        objective: one of `OBJECTIVES`. `findings` learns the labels. `contrastive` needs none: the network learns to
            match two augmentations of the same image.
        epochs: passes over the training part.
        batch_size: images per step and device.
        optimiser: `adam` or `adamw`, with betas (0.9, 0.999).
        lr: the highest learning rate.
        weight_decay: L2 for `adam`, decoupled for `adamw`. It applies to weights, not to norms and biases.
        schedule: `plateau` multiplies the rate by `lr_decay` after an epoch in which the validation loss does not
            improve. `cosine` lowers it to 0 over all steps.
        lr_decay: the factor of `plateau`.
        warmup: steps over which the rate rises from 0; `cosine` needs at least TIMED_STEPS.
        ema: decay of the moving average of the weights, which is evaluated and saved; 0 for none.
        dropout: share of the values of each layer's new channels that is dropped.
        class_weights: whether the loss weights findings by their prevalence in the training part.
        label_smoothing: s of the loss; see `losses`.
        gamma_positive: g+ of the loss; see `losses`.
        gamma_negative: g- of the loss; see `losses`.
        margin: m of the loss; see `losses`.
        temperature: t of the contrastive loss; see `losses`.
        flip: probability that an image is mirrored.
        crop: `none`: the network sees the whole image. `random`: it learns from a random `size` square of the image
            at 8/7 of that size (256 for 224), and sees the centre when in use.
        smallest_area: random resized crops keep at least this share of the image; 1 for none.
        rotation: largest rotation, in degrees.
        translation: largest shift, as a share of the side.
        exposure: strength of random gamma, contrast and brightness. At 1, gamma varies by up to a factor of e,
            contrast by up to 2, and brightness by up to a third of white.
        evaluation_crops: `one` (whole or centre), `five` (corners and centre) or `ten` (these, and mirrored). Their
            probabilities are averaged. More than one needs `crop` random.

    Raises:
        UsageError: a value of the wrong type or out of bounds, or values that exclude each other.
    """

    name: str = "paper"
    arch: Architecture = "densenet169"
    weights: str = "imagenet"
    size: int = 224
    objective: str = "findings"
    epochs: int = 10
    batch_size: int = 16
    optimiser: Optimiser = "adam"
    lr: float = 1e-4
    weight_decay: float = 0.0
    schedule: Schedule = "plateau"
    lr_decay: float = 0.2
    warmup: int = 0
    ema: float = 0.0
    dropout: float = 0.1
    class_weights: bool = True
    label_smoothing: float = 0.0
    gamma_positive: float = 0.0
    gamma_negative: float = 0.0
    margin: float = 0.0
    temperature: float = 0.15
    flip: float = 0.5
    crop: Crop = "none"
    smallest_area: float = 1.0
    rotation: float = 0.0
    translation: float = 0.0
    exposure: float = 0.0
    evaluation_crops: Crops = "one"

    def __post_init__(self) -> None:
        object.__setattr__(self, "objective", present_objective(self.objective))
        for field in fields(self):
            _require_value(field.name, getattr(self, field.name), type(field.default))
        if self.evaluation_crops != "one" and self.crop == "none":
            raise UsageError(f"{self.evaluation_crops} crops of whole images", 'set crop = "random" as well')
        if self.crop == "random" and self.smallest_area < 1:
            raise UsageError("both random crops and random resized crops", "set one of crop and smallest_area")
        if self.schedule == "cosine" and self.warmup < TIMED_STEPS:
            raise UsageError(f"warmup {self.warmup} with a cosine schedule", f"set warmup >= {TIMED_STEPS}")
        for name in ("gamma_positive", "gamma_negative"):
            if 0 < getattr(self, name) < 1:
                raise UsageError(f"{name} {getattr(self, name)}: its gradient has no bound", "use 0, or at least 1")
        self.objective_kind.check(self)

    @property
    def objective_kind(self) -> "ObjectiveKind":
        """The objective's kind: its module, and what it needs."""
        return OBJECTIVES[self.objective]

    def changed(self, changes: Mapping[str, Any]) -> "Recipe":
        """A copy of the recipe with some values replaced. Integers are accepted for float entries.

        Args:
            changes: new values by name; None keeps a value.

        Raises:
            UsageError: an unknown name, class weights for an objective without findings, or as the constructor.
        """
        wanted: dict[str, Any] = {name: value for name, value in changes.items() if value is not None}
        known = [field.name for field in fields(self)]
        if unknown := [name for name in wanted if name not in known]:
            raise UsageError(f"unknown recipe entry {unknown[0]!r}", f"use {', '.join(known[1:])}")
        floats = {field.name for field in fields(self) if isinstance(field.default, float)}
        wanted |= {name: float(value) for name, value in wanted.items() if name in floats and type(value) is int}
        recipe = replace(self, **wanted)
        if not recipe.objective_kind.needs_labels and recipe.class_weights != self.class_weights:
            raise UsageError(
                f"class_weights {recipe.class_weights} with objective {recipe.objective}, whose loss has no findings",
                "leave class_weights out",
            )
        return recipe

    def preprocess(self, start: Preprocess) -> Preprocess:
        """How images are prepared: as the initial weights need it, at this recipe's size and crop."""
        if self.crop == "none":
            return replace(start, size=self.size, crop="none", pixel_side=max(DISPLAY_SIDE, self.size))
        return replace(start, size=self.size, crop="centre", pixel_side=round(self.size * 8 / 7))

    def to_json(self) -> dict[str, Any]:
        """All entries by name, as a run records them."""
        return asdict(self)


def _require_value(name: str, value: object, kind: type) -> None:
    if type(value) is not kind:
        raise UsageError(f"recipe entry {name} = {value!r}", f"give a value like {kind.__name__}")
    choices = tuple(OBJECTIVES) if name == "objective" else _CHOICES.get(name)
    if choices is not None and value not in choices:
        raise UsageError(f"unknown {name} {value!r}", f"use one of {', '.join(choices)}")
    if name in _BOUNDS and isinstance(value, int | float):
        low, high = _BOUNDS[name]
        if not low <= value <= high:
            raise UsageError(f"recipe entry {name} = {value}", f"give a value from {low:g} to {high:g}")


@dataclass(frozen=True)
class ObjectiveKind:
    """The description of an objective. It does not import torch, so that the CLI can read it quickly.

    Attributes:
        module: the module whose `make(recipe, labels, score, device)` makes the objective; see `objective_of`.
        needs_labels: whether it learns from findings.
        augmentations: number of augmentations of each image in a batch.
        check: raises UsageError for recipes with values that the objective would ignore or cannot learn from.
    """

    module: str
    needs_labels: bool = True
    augmentations: int = 1
    check: Callable[[Recipe], None] = lambda recipe: None


def _require_no_temperature(recipe: Recipe) -> None:
    if recipe.temperature != Recipe.temperature:
        raise UsageError(
            f"temperature {recipe.temperature} with objective findings, whose loss has none",
            f'leave it at {Recipe.temperature}, or set objective = "contrastive"',
        )


def _require_augmentations(recipe: Recipe) -> None:
    """Refuse values that a training without labels would ignore, or that leave it nothing to learn.

    `class_weights` is on by default, so only `Recipe.changed` can notice that somebody set it.
    """
    if recipe.evaluation_crops != "one":
        raise UsageError(f"{recipe.evaluation_crops} crops with objective contrastive, which augments", "use one crop")
    for name in ("label_smoothing", "gamma_positive", "gamma_negative", "margin"):
        if value := getattr(recipe, name):
            raise UsageError(f"{name} {value} with objective contrastive, whose loss has no labels", f"set {name} = 0")
    if recipe.batch_size < 2:
        raise UsageError(
            "batch_size 1 with objective contrastive, which compares the images of a batch",
            "set batch_size >= 2",
        )
    varied = recipe.crop == "random" or recipe.smallest_area < 1 or 0 < recipe.flip < 1
    if not (varied or recipe.rotation or recipe.translation or recipe.exposure):
        names = ("flip", "crop", "smallest_area", "rotation", "translation", "exposure")
        values = ", ".join(f"{name} {getattr(recipe, name)}" for name in names)
        raise UsageError(
            f"objective contrastive without any augmentation ({values}): both copies of an image would be the same",
            "set one of these, as smallest_area = 0.3",
        )


OBJECTIVES: dict[str, ObjectiveKind] = {
    "findings": ObjectiveKind("cxrsearch.training._findings_objective", check=_require_no_temperature),
    "contrastive": ObjectiveKind(
        "cxrsearch.training._contrastive_objective", needs_labels=False, augmentations=2, check=_require_augmentations
    ),
}
"""All objectives, by name."""

_FORMER_NAMES = {"views": "contrastive"}
"""Names in recipes and runs of version 0.1.0, which can still be read."""


def present_objective(name: str) -> str:
    """The present name of an objective; a name of version 0.1.0 is translated."""
    return _FORMER_NAMES.get(name, name)


PAPER = Recipe()
MODERN = Recipe(
    name="modern",
    epochs=20,
    optimiser="adamw",
    lr=3e-4,
    weight_decay=0.05,
    schedule="cosine",
    warmup=50,
    ema=0.998,
    smallest_area=0.6,
    rotation=7.0,
    translation=0.05,
)
UNLABELLED = Recipe(
    name="unlabelled",
    objective="contrastive",
    epochs=20,
    batch_size=64,
    optimiser="adamw",
    lr=1e-3,
    weight_decay=1e-4,
    schedule="cosine",
    warmup=50,
    dropout=0.0,
    smallest_area=0.3,
    rotation=15.0,
    exposure=0.5,
)
RECIPES = {recipe.name: recipe for recipe in (PAPER, MODERN, UNLABELLED)}


def load_recipe(config: str) -> Recipe:
    """Load a recipe.

    Args:
        config: `paper`, `modern`, `unlabelled`, or the path of a TOML file.

    Raises:
        UsageError: no such recipe or file, or the file is not a recipe.
    """
    if config in RECIPES:
        return RECIPES[config]
    if not config.endswith(".toml"):
        raise UsageError(f"unknown recipe {config!r}", f"use {', '.join(RECIPES)} or a file that ends in .toml")
    try:
        entries = tomllib.loads(Path(config).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"cannot read the recipe {config}: {reason}", "name a TOML file") from error
    base = entries.pop("base", "paper")
    if not (isinstance(base, str) and base in RECIPES):
        raise UsageError(f"unknown base {base!r} in {config}", f"use {', '.join(RECIPES)}")
    return RECIPES[base].changed({"name": Path(config).stem} | entries)
