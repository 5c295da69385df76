"""Searching over recipes: trainings with suggested values, and which of them validates best.

a study suggests values (encoder) -> a training with them (train) -> its AUROC goes to the study -> a plot (report)

    <study>/config.json         every setting; a study of other settings is refused
            study.log           the finished trials, an Optuna journal
            best.toml           the best trial's recipe, for `cxrsearch train --config`
            study.png
            trials/NNN/         the run of trial NNN, which `--weights` takes, and trial.json: its values
            pixels/             the pixel cache of all trials, where no other is named
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_fabric import Fabric

from cxrsearch.errors import CheckpointError, CxrsearchError, MissingDependencyError, SplitError, UsageError
from cxrsearch.files import Json, translated, write_bytes, write_json
from cxrsearch.images.preprocess import Preprocess
from cxrsearch.images.sources.source_registry import Location
from cxrsearch.json_values import refusals
from cxrsearch.progress import Progress, silent
from cxrsearch.report.contact_sheet import save_png
from cxrsearch.training._parts import Parts
from cxrsearch.training._run_folder import CONFIG, claimed, require_settings
from cxrsearch.training.recipe import Recipe
from cxrsearch.training.request import Training
from cxrsearch.training.search._search_figure import study_plot
from cxrsearch.training.search._space import SearchSpace, default_space, load_space
from cxrsearch.training.search.trial import Trial, best_of, ranked
from cxrsearch.training.state import EpochRecord
from cxrsearch.training.train import TrainResult, launched, parts_of, train
from cxrsearch.training.trainer import STATE, StepReport

if TYPE_CHECKING:
    from cxrsearch.training.search._suggest import Study

TRIALS, JOURNAL, BEST_RECIPE, PLOT = "trials", "study.log", "best.toml", "study.png"
_TRIAL = "trial.json"

TuneReport = Callable[[Trial, StepReport | EpochRecord | None], None]
"""Called with a trial as it stands, and its latest step or epoch; None when it begins or goes on, and at its end."""


@dataclass(frozen=True)
class TuneResult:
    """What a search came to.

    Attributes:
        path: the study's folder.
        n_train, n_val: images that the trials are trained and validated on.
        trials: the finished ones, the best first.
        best: the complete one with the highest mean validation AUROC.
        refused: image and reason for every file that could not be used.
        warnings: what a user should know.
    """

    path: Path
    n_train: int
    n_val: int
    trials: tuple[Trial, ...]
    best: Trial
    refused: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]

    @property
    def best_run(self) -> Path:
        """The best trial's run, which `--weights` takes."""
        return self.path / TRIALS / self.best.folder

    @property
    def best_recipe(self) -> Path:
        """The file of the best trial's recipe, which `cxrsearch train --config` takes."""
        return self.path / BEST_RECIPE

    @property
    def plot(self) -> Path:
        """The figure."""
        return self.path / PLOT

    def to_json(self) -> Json:
        """The object that `cxrsearch tune --json` prints."""
        return {
            "path": str(self.path),
            "n_train": self.n_train,
            "n_val": self.n_val,
            "best": self.best.to_json(),
            "best_run": str(self.best_run),
            "best_recipe": str(self.best_recipe),
            "plot": str(self.plot),
            "trials": [trial.to_json() for trial in self.trials],
            "refused": refusals(self.refused),
            "warnings": list(self.warnings),
        }


def tune(
    images: Location,
    labels: Path | str,
    training: Training | None = None,
    *,
    space: SearchSpace | Path | str | None = None,
    trials: int = 20,
    prune: bool = True,
    out: Path | str | None = None,
    progress: Progress = silent,
    report: TuneReport = lambda trial, event: None,
) -> TuneResult:
    """Search for the recipe with the highest mean validation AUROC; interrupted, the same call goes on where it was.

    Trial 0 is the recipe as it is, where the space holds it; all trials have one seed, so they differ by their values
    alone. What is suggested depends on the seed and the finished trials; more `trials` continue a study.

    Args:
        images, labels: as of `train`.
        training: what each trial is asked for, on one device; its seed is the search's, too; before the first trial,
            one process decodes where `workers` is None.
        space: what is varied, or a TOML file that says it; None: what the paper searched, but for the `changes`.
        trials: how many the study is to have, earlier ones, pruned and failed ones included.
        prune: stop a trial that is behind the others, see `Study.is_behind`.
        out: the study's folder, None: `studies/ARCH-CONFIG-SEED`.
        progress, report: called while images are read; and as `TuneReport` says.

    Raises:
        MissingDependencyError: Optuna is not installed.
        UsageError: trials, a training or a space that cannot be meant, a study of other settings.
        SplitError: no finding is both present and absent in the validation part.
        CxrsearchError: no trial could be completed; or as `train`, where it is not the training itself that fails.
    """
    if trials < 1:
        raise UsageError(f"{trials} trials", "use trials >= 1")
    study_class = _study_class()
    training = (training or Training()).settled(devices=1, freeze=False)
    recipe = training.recipe()
    if not recipe.objective_kind.needs_labels:
        raise UsageError(f"a search by AUROC with the recipe {recipe.name}, which learns no finding", "use another")
    searched = _searched(space, recipe, training.changes)
    fabric = launched(training)
    folder = Path("studies") / f"{recipe.arch}-{recipe.name}-{training.seed}" if out is None else Path(out)
    training = replace(training, cache=training.cache or folder / "pixels")
    with claimed(folder):
        parts = _read_parts(training, images, Path(labels), progress)
        given = {"seed": training.seed, "prune": prune, "max_minutes": training.max_minutes}
        _require_settings(folder, _settings(parts, recipe, searched, fabric) | given)
        study = study_class(folder / JOURNAL, searched, training.seed, searched.values_of(recipe))
        trained = partial(train, images, labels, progress=progress)
        _Search(folder, training, searched, study, prune, trained, report).run(trials)
    return _result(folder, parts, study.finished)


def _study_class() -> "type[Study]":
    try:
        from cxrsearch.training.search._suggest import Study
    except ModuleNotFoundError as error:
        raise MissingDependencyError(f"a search needs Optuna: {error}", "pip install 'cxrsearch[tune]'") from error
    return Study


def _searched(space: SearchSpace | Path | str | None, recipe: Recipe, changes: Mapping[str, Any]) -> SearchSpace:
    """What is to be varied, checked against the recipe."""
    fixed = [name for name, value in changes.items() if value is not None]
    if space is None:
        chosen = default_space(recipe).without(fixed)
    else:
        chosen = space if isinstance(space, SearchSpace) else load_space(Path(space))
        if both := [name for name in chosen.entries if name in fixed]:
            raise UsageError(f"{both[0]} is set and searched at once", "leave it out of one of the two")
    chosen.require_recipes(recipe)
    return chosen


def _read_parts(training: Training, images: Location, labels: Path, progress: Progress) -> Parts:
    """The images that all trials share, decoded into the cache; what is wrong with them is said before any training."""
    preprocess = training.recipe().preprocess(Preprocess())  # its stored pixels are those of any weights
    parts = parts_of(training, images, labels, preprocess, progress)
    shown = parts.val.labels
    if not (shown.any(axis=0) & ~shown.all(axis=0)).any():
        raise SplitError(
            "no finding is both present and absent in the validation part: no trial would have an AUROC",
            "use another split",
        )
    return parts


def _settings(parts: Parts, recipe: Recipe, space: SearchSpace, fabric: Fabric) -> Json:
    """All that decides what is suggested and trained, but for what the caller gave as it is."""
    entries = {f"space.{name}": entry for name, entry in space.to_json().items()}
    return parts.settings() | entries | {"recipe": recipe.to_json(), "precision": fabric.strategy.precision.precision}


def _require_settings(folder: Path, settings: Json) -> None:
    """Settings are for good from the first training on; before it, a mistake in them may be corrected."""
    if (folder / TRIALS).is_dir() and not any(folder.glob(f"{TRIALS}/*/{CONFIG}")):
        (folder / CONFIG).unlink(missing_ok=True)
    require_settings(folder, settings)


@dataclass(frozen=True)
class _Search:
    """A search at work; `train` is told everything but what a trial decides."""

    folder: Path
    training: Training
    space: SearchSpace
    study: "Study"
    prune: bool
    train: Callable[..., TrainResult]
    report: TuneReport

    def run(self, trials: int) -> None:
        """Run trials until there are so many."""
        self._draw()
        while len(self.study.finished) < trials:
            trial = self._begun()
            self.report(trial, None)
            finished = self._trained(trial) if trial.state == "running" else trial
            write_json(self._run_folder(trial) / _TRIAL, finished.to_json())
            self.study.add(finished)
            (self._run_folder(trial) / STATE).unlink(missing_ok=True)  # three times the size of the weights
            self._draw()
            self.report(finished, None)

    def _run_folder(self, trial: Trial) -> Path:
        return self.folder / TRIALS / trial.folder

    def _begun(self) -> Trial:
        """The trial that was interrupted, or else a new one."""
        fresh = self.study.suggest()
        folder = self._run_folder(fresh)
        if (folder / CONFIG).exists():
            return _read_trial(folder / _TRIAL, list(self.space.entries))
        with translated("make the run", folder):
            folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / _TRIAL, fresh.to_json())
        return fresh

    def _trained(self, trial: Trial) -> Trial:
        """The trial when it is finished; that a training fails by itself is a result, other errors are not."""
        folder, latest = self._run_folder(trial), trial

        def reported(event: StepReport | EpochRecord) -> None:
            nonlocal latest
            if isinstance(event, EpochRecord):
                assert event.mean_auroc is not None
                latest = latest.after(event.epoch, event.mean_auroc)
                write_json(folder / _TRIAL, latest.to_json())
            self.report(latest, event)
            if isinstance(event, EpochRecord) and self._is_hopeless(latest):
                raise _HopelessError

        try:
            result = self.train(self._asked(trial), out=folder, report=reported)
        except _HopelessError:
            return replace(latest, state="pruned")
        except CxrsearchError as error:
            if type(error) is not CxrsearchError:  # its kinds are about the input or the set-up
                raise
            return replace(latest, state="failed", reason=error.problem)
        return replace(latest, state="complete", auroc=tuple(record.mean_auroc or 0.0 for record in result.epochs))

    def _asked(self, trial: Trial) -> Training:
        return replace(self.training, changes={**self.training.changes, **trial.values})

    def _is_hopeless(self, trial: Trial) -> bool:
        epochs = self._asked(trial).recipe().epochs
        return self.prune and len(trial.auroc) < epochs and self.study.is_behind(trial)

    def _draw(self) -> None:
        """Write the figure and the best recipe, as far as the study has come."""
        trials, best = self.study.finished, best_of(self.study.finished)
        title = f"Search {self.folder.resolve().name}"
        if trials:
            save_png(study_plot(trials, self.space, title=title), self.folder / PLOT)
        if best is not None:
            comment = f"{title}: trial {best.number}, mean validation AUROC {best.best:.4f}, the best of {len(trials)}"
            write_bytes(self.folder / BEST_RECIPE, _recipe_file(self._asked(best).recipe(), comment).encode())


class _HopelessError(Exception):
    """Ends the training of a trial that is pruned. Its run is as if the process had been killed after that epoch."""


def _read_trial(path: Path, names: Sequence[str]) -> Trial:
    """A trial that has begun, its values in the order of their names in the space."""
    try:
        trial = Trial.from_json(json.loads(path.read_text(encoding="utf-8")))
        return replace(trial, values={name: trial.values[name] for name in names})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"cannot read {path}: {error}", "search into another --out") from error


def _recipe_file(recipe: Recipe, comment: str) -> str:
    """A recipe as `load_recipe` reads it; its name will be the file's."""
    entries = {name: value for name, value in recipe.to_json().items() if name != "name"}
    lines = (f"{name} = {json.dumps(value, ensure_ascii=False)}\n" for name, value in entries.items())
    return f"# {comment}\n" + "".join(lines)


def _result(folder: Path, parts: Parts, trials: Sequence[Trial]) -> TuneResult:
    best = best_of(trials)
    if best is None or best.best is None:
        raise CxrsearchError(
            f"none of the {len(trials)} trials in {folder} could be completed; the last: {trials[-1].reason}",
            "search lower learning rates or smaller batches, in another --out",
        )
    complete = sum(trial.state == "complete" for trial in trials)
    optimistic = (
        f"mean AUROC {best.best:.3f} is optimistic: the best of {complete} complete trials, on the {len(parts.val)} "
        f"validation images that it was chosen by. Judge it on the test part, with cxrsearch evaluate --weights "
        f"{folder / TRIALS / best.folder} --part test"
    )
    warnings = (*parts.warnings(), optimistic)
    return TuneResult(folder, len(parts.train), len(parts.val), tuple(ranked(trials)), best, parts.refused, warnings)
