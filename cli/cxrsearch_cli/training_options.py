"""Options of the commands that train, and what they mean together."""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cxrsearch.errors import UsageError
from cxrsearch_cli.inputs import find_dataset, require_index, require_one_source, require_split
from cxrsearch_cli.options import (
    COMPUTING,
    DatasetOptions,
    DeviceInPanel,
    EncoderOptions,
    IndexOption,
    LabelsOfImages,
    refuse_ignored,
    select_arguments,
)

if TYPE_CHECKING:
    from cxrsearch.training.request import Training

TRAINING = "Training"

Split = Annotated[
    str,
    typer.Option(
        help="paper[:DIR], official[:DIR], patient-hash:a/b/c (fractions), patient-fold:i/K or column. The training "
        "learns from train and chooses the best epoch by val."
    ),
]
StartingWeights = Annotated[
    str | None,
    typer.Option(
        help="What to start from: a checkpoint, the folder of a run, imagenet or random:SEED. Default: the recipe's.",
        show_default=False,
    ),
]
Seed = Annotated[int, typer.Option(help="Seed of everything random.", min=0, metavar="N")]


@dataclass(frozen=True, kw_only=True)
class RecipeOptions:
    """How to train, how long, and where to."""

    config: Annotated[
        str,
        typer.Option(
            help="The recipe: paper, modern, unlabelled (learns without labels), or a TOML file that changes one of "
            "them.",
            rich_help_panel=TRAINING,
        ),
    ] = "paper"
    epochs: Annotated[
        int | None,
        typer.Option(help="Number of epochs. Default: the recipe's.", show_default=False, rich_help_panel=TRAINING),
    ] = None
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="Change any other entry of the recipe, as lr=3e-4. May be repeated.",
            show_default=False,
            rich_help_panel=TRAINING,
            metavar="NAME=VALUE",
        ),
    ] = None
    max_minutes: Annotated[
        float | None,
        typer.Option(
            help="Stop after about this many minutes, over all sessions of the run.",
            show_default=False,
            rich_help_panel=TRAINING,
        ),
    ] = None
    out: Annotated[
        Path | None,
        typer.Option(
            help="The run's folder. Default: runs/ARCH-CONFIG-SEED.", show_default=False, rich_help_panel=TRAINING
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class ComputeOptions:
    """The device that computes, its precision, and what prepares images for it."""

    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.", rich_help_panel=COMPUTING)] = "auto"
    precision: Annotated[
        Literal["auto", "fp32", "bf16"],
        typer.Option(help="auto is bf16 if the hardware computes in it, else fp32.", rich_help_panel=COMPUTING),
    ] = "auto"
    workers: Annotated[
        int | None,
        typer.Option(
            help="Processes that prepare images. 0: none.",
            min=0,
            metavar="N",
            show_default=False,
            rich_help_panel=COMPUTING,
        ),
    ] = None
    cache: Annotated[
        Path | None,
        typer.Option(
            envvar="CXRSEARCH_CACHE",
            help="Folder of a pixel cache that several runs share. Default: pixels/ in the folder of the run, the "
            "search or --cv.",
            show_default=False,
            rich_help_panel=COMPUTING,
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class TrainingOptions(ComputeOptions, RecipeOptions, EncoderOptions, DatasetOptions):
    """The options of every command that trains."""

    def request(self, *settled: str) -> "Training":
        """The training that these options ask for.

        Args:
            settled: options that share a name with a part of a training but mean something else here.

        Raises:
            UsageError: a --set that is not NAME=VALUE, or as `Training`.
        """
        from cxrsearch.training.request import Training

        named = {"arch": self.arch, "weights": self.weights, "size": self.size, "epochs": self.epochs}
        changes = _parse_entries(self.set_ or ()) | {name: value for name, value in named.items() if value is not None}
        values = select_arguments(Training, self) | {"findings": self.vocabulary()}
        chosen = {name: value for name, value in values.items() if value is not None and name not in settled}
        return Training(changes=changes, **chosen)

    def embedding(self) -> dict[str, Any]:
        """How to embed a folder of images: arguments of `build_index`."""
        groups = (EncoderOptions, ComputeOptions)
        values = {name: value for group in groups for name, value in select_arguments(group, self).items()}
        return values | {"findings": self.vocabulary()}


@dataclass(frozen=True, kw_only=True)
class EvaluationOptions(TrainingOptions):
    """What is evaluated: an index, a folder of images by its encoder, or a training from that folder."""

    labels: LabelsOfImages = None
    index: IndexOption = None
    split: str | None = None
    device: DeviceInPanel = "auto"

    def find_inputs(self, context: typer.Context, trainer: str, *, trains: bool) -> tuple[Path, Path | None]:
        """The images and their table, or the folder of an index and None.

        Args:
            context: the command's, to refuse options that would be ignored.
            trainer, trains: the option that makes the command train; whether it is on.

        Raises:
            UsageError: images and an index, a table or a training beside an index, an option that would be ignored,
                an unknown split or recipe; as `find_training_inputs`.
            StoreError: there is no index.
        """
        require_one_source(self.images, self.index)
        if trains and self.index is not None:
            raise UsageError(
                f"{trainer} with an index, which holds no original images", "name the folder of images and --labels"
            )
        if not trains:
            names = tuple(field.name for field in fields(RecipeOptions))
            refuse_ignored(context, self, names, "without training", f", or add {trainer}")
        if trains or self.images is not None:
            return find_training_inputs(self, self.split)
        refuse_ignored(context, self, _OF_EMBEDDING, "on an index, whose images are already embedded")
        if self.labels is not None:
            raise UsageError(
                "a table beside an index, which contains its labels", "leave --labels out, or name the images"
            )
        require_split(self.split)
        return require_index(self.index), None


_OF_EMBEDDING = ("precision", "arch", "size", "findings", "workers", "cache")


def find_training_inputs(options: TrainingOptions, split: str | None) -> tuple[Path, Path]:
    """The folder and its table, as `find_dataset`, after a check of the split and the recipe.

    Raises:
        UsageError: there is no table, or there are several; an unknown split or recipe.
    """
    from cxrsearch.training.recipe import load_recipe

    folder, table = find_dataset(options.images, options.labels)
    require_split(split)
    load_recipe(options.config)
    if table is None:
        raise UsageError("the findings of these images are not known", "name the table with --labels")
    return folder, table


def _parse_entries(entries: Sequence[str]) -> dict[str, Any]:
    """`lr=3e-4` as TOML reads it; a bare word is a string."""
    values: dict[str, Any] = {}
    for entry in entries:
        name, equals, value = entry.partition("=")
        if not (equals and name.strip().isidentifier()):
            raise UsageError(f"--set {entry!r}", "write --set NAME=VALUE")
        try:
            values[name.strip()] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            values[name.strip()] = value.strip()
    return values
