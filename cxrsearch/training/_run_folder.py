"""The folder of a run: one trainer at a time, and settings that never change."""

import json
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from cxrsearch.errors import CheckpointError, LockedError, UsageError
from cxrsearch.files import Json, translated, write_json
from cxrsearch.training.recipe import Recipe, present_objective

CONFIG = "config.json"
_LOCK = "train.lock"


@contextmanager
def claim(folder: Path) -> Iterator[None]:
    """Lock the run's folder, so that no other trainer works in it. The folder is made if missing.

    Raises:
        LockedError: another process trains in it.
        WriteError: the folder cannot be made.
    """
    with translated("make the run", folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / _LOCK, timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise LockedError(
                f"{folder} is being trained by another process", "wait for it, or name another --out"
            ) from None
    try:
        yield
    finally:
        lock.release()


def versions() -> dict[str, str]:
    """The versions of Python and of the packages that affect a training's numbers."""
    packages = ("cxrsearch", "torch", "lightning-fabric", "numpy", "pillow")
    return {"python": platform.python_version()} | {name: version(name) for name in packages}


def require_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    """Record the settings of a new run, or check that a continued run has the same settings.

    An earlier version may have recorded fewer recipe entries; the missing ones count as their defaults.

    Raises:
        UsageError: the run has other settings; the message names them.
        CheckpointError: the record cannot be read.
    """
    path = folder / CONFIG
    if not path.exists():
        write_json(path, {"settings": settings, "versions": versions()})
        return
    try:
        recorded: Json = json.loads(path.read_text(encoding="utf-8"))["settings"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"cannot read {path}: {error}", "train into another --out") from error
    before, now = _flatten(_upgrade(recorded)), _flatten(settings)
    differing = [name for name in sorted(before | now) if before.get(name) != now.get(name)]
    if differing:
        differences = ", ".join(f"{name} is {before.get(name)}, asked for {now.get(name)}" for name in differing)
        raise UsageError(
            f"the run {folder} has other settings: {differences}",
            "continue with the run's settings, or name another --out",
        )


def _upgrade(recorded: Json) -> Json:
    """The settings of an earlier version with all present recipe entries, under their present names.

    An entry that did not exist then gets its default.
    """
    if not isinstance(recipe := recorded.get("recipe"), dict):
        return recorded
    entries = Recipe().to_json() | recipe
    return recorded | {"recipe": entries | {"objective": present_objective(entries["objective"])}}


def _flatten(settings: Mapping[str, Any]) -> Json:
    """The settings after a JSON round trip, with the recipe's entries as `recipe.NAME`."""
    plain: Json = json.loads(json.dumps(settings))
    recipe = plain.pop("recipe", {})
    return {f"recipe.{name}": value for name, value in recipe.items()} | plain
