"""Options of the commands that train, and what they mean together."""

import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cxrsearch.errors import UsageError
from cxrsearch_cli.options import inputs, names, present_index, require_one_source, require_split

if TYPE_CHECKING:
    from cxrsearch.training.request import Training

Split = Annotated[
    str,
    typer.Option(
        help="paper[:DIR], official[:DIR], patient-hash:a/b/c (fractions), patient-fold:i/K or column; train and val "
        "count."
    ),
]
Config = Annotated[
    str,
    typer.Option(
        help="The recipe: paper, modern, unlabelled (learns without labels), or a TOML file that changes one of them."
    ),
]
Arch = Annotated[
    str | None,
    typer.Option(help="densenet121, 169 or 201. Default: the recipe's, or that of the weights.", show_default=False),
]
Start = Annotated[
    str | None,
    typer.Option(
        help="What to start from: a checkpoint, a run's folder, imagenet or random:SEED. Default: the recipe's.",
        show_default=False,
    ),
]
Size = Annotated[int | None, typer.Option(help="Side of the input. Default: the recipe's.", show_default=False)]
Epochs = Annotated[int | None, typer.Option(help="Default: the recipe's.", show_default=False)]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", help="Any other entry of the recipe, as lr=3e-4; several times.", show_default=False),
]
Seed = Annotated[int, typer.Option(help="Of everything random.", min=0)]
_CACHE = "CXRSEARCH_CACHE"
Cache = Annotated[
    Path | None,
    typer.Option(
        envvar=_CACHE,
        help="Folder of a pixel cache, for several runs. Default: pixels/ in the folder of the run, study or --cv.",
        show_default=False,
    ),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
Precision = Annotated[
    Literal["auto", "fp32", "bf16"], typer.Option(help="auto is bf16 where the hardware computes in it, else fp32.")
]
Workers = Annotated[int | None, typer.Option(help="Processes that prepare images; 0: none.", min=0, show_default=False)]


def training_inputs(
    images: Path | None, labels: Path | None, split: str | None = None, config: str = "paper"
) -> tuple[Path, Path]:
    """The folder and the table, as `inputs`, the split and the recipe being some; a table there must be.

    To be asked before torch is imported, which takes over a second.

    Raises:
        UsageError: there is no table, or there are several; no such split or recipe.
    """
    from cxrsearch.training.recipe import load_recipe

    folder, table = inputs(images, labels)
    require_split(split)
    load_recipe(config)
    if table is None:
        raise UsageError("the findings of these images are not known", "name the table with --labels")
    return folder, table


_OF_TRAINING: dict[str, Any] = {"config": "paper", "epochs": None, "set_": None, "max_minutes": None, "out": None}
_OF_FOLDER: dict[str, Any] = {"precision": "auto"} | dict.fromkeys(("arch", "size", "findings", "workers", "cache"))


def _require_unset(given: Mapping[str, Any], usual: Mapping[str, Any], where: str, instead: str = "") -> None:
    for name, value in usual.items():
        if given[name] != value and given[name] != []:
            option = "--" + name.rstrip("_").replace("_", "-")
            raise UsageError(f"{option} means nothing {where}", f"leave {option} out{instead}")


def _from_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """What options say: a cache that the environment names, for every command, is not asked of this one."""
    named = os.environ.get(_CACHE)
    return dict(given) | ({"cache": None} if named and given["cache"] == Path(named) else {})


def evaluated_inputs(given: Mapping[str, Any], *, trains: bool) -> tuple[Path, Path | None]:
    """The images and their table, or an index's folder and None, as a command's options name them, and a split.

    Raises:
        UsageError: images and an index, a table or a training beside an index, an option that would be ignored, no
            such split or recipe; as `training_inputs`.
        StoreError: there is no index.
    """
    require_one_source(given["images"], given["index"])
    trainer = "--cv" if "cv" in given else "--retrain"
    if trains and given["index"] is not None:
        raise UsageError(f"{trainer} of an index, which holds no originals", "name the folder of images and --labels")
    if not trains:
        _require_unset(given, _OF_TRAINING, "where nothing is trained", f", or add {trainer}")
    if not trains and given["images"] is None:
        _require_unset(_from_options(given), _OF_FOLDER, "for an index, whose images are embedded already")
    if trains or given["images"] is not None:
        return training_inputs(given["images"], given["labels"], given["split"], given["config"])
    if given["labels"] is not None:
        raise UsageError("a table beside an index, which has its own", "leave --labels out, or name the images")
    require_split(given["split"])
    return present_index(None, given["index"]), None


def training(given: Mapping[str, Any]) -> "Training":
    """What the options of a command, by name, ask of a training; an option that is not given has the usual value.

    Raises:
        UsageError: a --set that is not NAME=VALUE, or as `Training`.
    """
    from cxrsearch.training.request import Training

    own = ("arch", "weights", "size", "epochs")
    changes = _parsed(given["set_"] or ()) | {name: given[name] for name in own if given[name] is not None}
    named = {entry.name for entry in fields(Training)} - {"findings"}
    asked = {name: value for name, value in given.items() if name in named and value is not None}
    return Training(changes=changes, findings=names(given["findings"]) or None, **asked)


def embedding(given: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a command, by name, that say how a folder is embedded, as `build_index` takes them."""
    own = ("weights", "arch", "size", "cache", "device", "precision", "workers")
    return {name: given[name] for name in own} | {"findings": names(given["findings"]) or None}


def _parsed(entries: Sequence[str]) -> dict[str, Any]:
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
