"""Search over recipes: train with suggested values, and find the trial with the best validation AUROC.

suggested values (search) -> a training with them (train) -> its AUROC goes back to the search -> a plot (report)

    <search>/config.json        every setting; a search with other settings is refused
             study.log          the finished trials, an Optuna journal
             best.toml          the best trial's recipe, for `cxrsearch train --config`
             study.png          the plot
             trials/NNN/        the run of trial NNN, which `--weights` takes, and trial.json: its values
             pixels/            the pixel cache of all trials, by default
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
from cxrsearch.training._run_folder import CONFIG, claim, require_settings
from cxrsearch.training.recipe import Recipe
from cxrsearch.training.request import Training
from cxrsearch.training.search._search_figure import search_plot
from cxrsearch.training.search._space import SearchSpace, default_space, load_space
from cxrsearch.training.search.trial import Trial, best_of, rank_trials
from cxrsearch.training.state import EpochRecord
from cxrsearch.training.train import TrainResult, launch, parts_of, train
from cxrsearch.training.trainer import STATE, StepReport

if TYPE_CHECKING:
    from cxrsearch.training.search._suggest import Suggester

TRIALS, JOURNAL, BEST_RECIPE, PLOT = "trials", "study.log", "best.toml", "study.png"
_TRIAL = "trial.json"

TuneReport = Callable[[Trial, StepReport | EpochRecord | None], None]
"""Called with a trial and its latest step or epoch; with None when the trial begins, continues or ends."""


@dataclass(frozen=True)
class TuneResult:
    """The result of a hyper-parameter search.

    Attributes:
        path: the search's folder.
        n_train: number of training images, the same for all trials.
        n_val: number of validation images, the same for all trials.
        trials: the finished trials, the best first.
        best: the complete trial with the highest mean validation AUROC.
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
        """The folder of the best trial's run, which `--weights` takes."""
        return self.path / TRIALS / self.best.folder

    @property
    def best_recipe(self) -> Path:
        """The file of the best trial's recipe, which `cxrsearch train --config` takes."""
        return self.path / BEST_RECIPE

    @property
    def plot(self) -> Path:
        """The search's figure, a PNG file."""
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
    """Search for the recipe with the highest mean validation AUROC.

    After an interruption, the same call continues. Trial 0 is the recipe as it is, if the space contains it. All
    trials share one seed, so they differ only in the values that are searched. A suggestion depends on the seed and on
    the finished trials. A larger `trials` continues an earlier search.

    Args:
        images: a folder of images.
        labels: NIH's table or a plain CSV.
        training: the request for each trial, on one device. Its seed is also the seed of the search. If `workers` is
            None, one process decodes the images before the first trial.
        space: the entries to vary, or a TOML file of them. None: the entries that the paper searched, except those
            in `training.changes`.
        trials: total number of trials, including earlier, pruned and failed ones.
        prune: stop a trial that is behind the others; see `Suggester.is_behind`.
        out: the search's folder; None: `studies/ARCH-CONFIG-SEED`.
        progress: called while images are read.
        report: called as trials begin, advance and end; see `TuneReport`.

    Returns:
        The finished trials and the best one.

    Raises:
        MissingDependencyError: Optuna is not installed.
        UsageError: invalid trials, training or space, or a search with other settings.
        SplitError: no finding is both present and absent in the validation part.
        CxrsearchError: no trial was completed; or as `train`, unless the training itself fails.
    """
    if trials < 1:
        raise UsageError(f"{trials} trials", "use trials >= 1")
    suggester_class = _suggester_class()
    training = (training or Training()).settled(devices=1, freeze=False)
    recipe = training.recipe()
    if not recipe.objective_kind.needs_labels:
        raise UsageError(f"a search by AUROC with recipe {recipe.name}, which learns no findings", "use another recipe")
    chosen = _choose_space(space, recipe, training.changes)
    fabric = launch(training)
    folder = Path("studies") / f"{recipe.arch}-{recipe.name}-{training.seed}" if out is None else Path(out)
    training = replace(training, cache=training.cache or folder / "pixels")
    with claim(folder):
        parts = _read_parts(training, images, Path(labels), progress)
        options = {"seed": training.seed, "prune": prune, "max_minutes": training.max_minutes}
        _require_settings(folder, _settings(parts, recipe, chosen, fabric) | options)
        suggester = suggester_class(folder / JOURNAL, chosen, training.seed, chosen.values_of(recipe))
        train_trial = partial(train, images, labels, progress=progress)
        _Search(folder, training, chosen, suggester, prune, train_trial, report).run(trials)
    return _result(folder, parts, suggester.finished)


def _suggester_class() -> "type[Suggester]":
    try:
        from cxrsearch.training.search._suggest import Suggester
    except ModuleNotFoundError as error:
        raise MissingDependencyError(f"a search needs Optuna: {error}", "pip install 'cxrsearch[tune]'") from error
    return Suggester


def _choose_space(space: SearchSpace | Path | str | None, recipe: Recipe, changes: Mapping[str, Any]) -> SearchSpace:
    """The entries to vary, checked against the recipe."""
    fixed = [name for name, value in changes.items() if value is not None]
    if space is None:
        chosen = default_space(recipe).without(fixed)
    else:
        chosen = space if isinstance(space, SearchSpace) else load_space(Path(space))
        if both := [name for name in chosen.entries if name in fixed]:
            raise UsageError(f"{both[0]} is both set and searched", "leave one of the two out")
    chosen.require_recipes(recipe)
    return chosen


def _read_parts(training: Training, images: Location, labels: Path, progress: Progress) -> Parts:
    """Read the images that all trials share, so that a problem with them stops the search before any training."""
    preprocess = training.recipe().preprocess(Preprocess())  # stored pixels do not depend on the weights
    parts = parts_of(training, images, labels, preprocess, progress)
    present = parts.val.labels
    if not (present.any(axis=0) & ~present.all(axis=0)).any():
        raise SplitError(
            "no finding is both present and absent in the validation part: no trial would have an AUROC",
            "use another split",
        )
    return parts


def _settings(parts: Parts, recipe: Recipe, space: SearchSpace, fabric: Fabric) -> Json:
    """All settings that decide the suggestions and the trainings, except the plain options of `tune`."""
    entries = {f"space.{name}": entry for name, entry in space.to_json().items()}
    return parts.settings() | entries | {"recipe": recipe.to_json(), "precision": fabric.strategy.precision.precision}


def _require_settings(folder: Path, settings: Json) -> None:
    """Check the settings against an earlier session. Before the first training, they may still be changed."""
    if (folder / TRIALS).is_dir() and not any(folder.glob(f"{TRIALS}/*/{CONFIG}")):
        (folder / CONFIG).unlink(missing_ok=True)
    require_settings(folder, settings)


@dataclass(frozen=True)
class _Search:
    """A running search. `train` holds every argument of a training except those that differ between trials."""

    folder: Path
    training: Training
    space: SearchSpace
    suggester: "Suggester"
    prune: bool
    train: Callable[..., TrainResult]
    report: TuneReport

    def run(self, trials: int) -> None:
        """Run trials until this many are finished."""
        self._draw()
        while len(self.suggester.finished) < trials:
            trial = self._begin()
            self.report(trial, None)
            finished = self._train_trial(trial) if trial.state == "running" else trial
            write_json(self._run_folder(trial) / _TRIAL, finished.to_json())
            self.suggester.add(finished)
            (self._run_folder(trial) / STATE).unlink(missing_ok=True)  # three times the size of the weights
            self._draw()
            self.report(finished, None)

    def _run_folder(self, trial: Trial) -> Path:
        return self.folder / TRIALS / trial.folder

    def _begin(self) -> Trial:
        """The interrupted trial, or else a new one."""
        fresh = self.suggester.suggest()
        folder = self._run_folder(fresh)
        if (folder / CONFIG).exists():
            return _read_trial(folder / _TRIAL, list(self.space.entries))
        with translated("make the run", folder):
            folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / _TRIAL, fresh.to_json())
        return fresh

    def _train_trial(self, trial: Trial) -> Trial:
        """Train a trial and return it finished. A training that fails is a result; any other error stops the search."""
        folder, latest = self._run_folder(trial), trial

        def notify(event: StepReport | EpochRecord) -> None:
            nonlocal latest
            if isinstance(event, EpochRecord):
                assert event.mean_auroc is not None
                latest = latest.after(event.epoch, event.mean_auroc)
                write_json(folder / _TRIAL, latest.to_json())
            self.report(latest, event)
            if isinstance(event, EpochRecord) and self._is_hopeless(latest):
                raise _HopelessError

        try:
            result = self.train(self._training_of(trial), out=folder, report=notify)
        except _HopelessError:
            return replace(latest, state="pruned")
        except CxrsearchError as error:
            if type(error) is not CxrsearchError:  # subclasses are about the input or the set-up, not this trial
                raise
            return replace(latest, state="failed", reason=error.problem)
        return replace(latest, state="complete", auroc=tuple(record.mean_auroc or 0.0 for record in result.epochs))

    def _training_of(self, trial: Trial) -> Training:
        return replace(self.training, changes={**self.training.changes, **trial.values})

    def _is_hopeless(self, trial: Trial) -> bool:
        epochs = self._training_of(trial).recipe().epochs
        return self.prune and len(trial.auroc) < epochs and self.suggester.is_behind(trial)

    def _draw(self) -> None:
        """Write the plot and the best recipe of the trials that are finished so far."""
        trials, best = self.suggester.finished, best_of(self.suggester.finished)
        title = f"Search {self.folder.resolve().name}"
        if trials:
            save_png(search_plot(trials, self.space, title=title), self.folder / PLOT)
        if best is not None:
            comment = f"{title}: trial {best.number}, mean validation AUROC {best.best:.4f}, the best of {len(trials)}"
            write_bytes(self.folder / BEST_RECIPE, _recipe_file(self._training_of(best).recipe(), comment).encode())


class _HopelessError(Exception):
    """Stops the training of a pruned trial. Its run looks as if the process had been killed after that epoch."""


def _read_trial(path: Path, names: Sequence[str]) -> Trial:
    """Read a trial from its file, with its values in the order of the search space."""
    try:
        trial = Trial.from_json(json.loads(path.read_text(encoding="utf-8")))
        return replace(trial, values={name: trial.values[name] for name in names})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"cannot read {path}: {error}", "search into another --out") from error


def _recipe_file(recipe: Recipe, comment: str) -> str:
    """The text of a recipe file for `load_recipe`. The name is left out, because the file's name replaces it."""
    entries = {name: value for name, value in recipe.to_json().items() if name != "name"}
    lines = (f"{name} = {json.dumps(value, ensure_ascii=False)}\n" for name, value in entries.items())
    return f"# {comment}\n" + "".join(lines)


def _result(folder: Path, parts: Parts, trials: Sequence[Trial]) -> TuneResult:
    best = best_of(trials)
    if best is None or best.best is None:
        raise CxrsearchError(
            f"none of the {len(trials)} trials in {folder} was completed; the last: {trials[-1].reason}",
            "search lower learning rates or smaller batches, in another --out",
        )
    complete = sum(trial.state == "complete" for trial in trials)
    optimistic = (
        f"mean AUROC {best.best:.3f} is optimistic: it is the best of {complete} complete trials, on the "
        f"{len(parts.val)} validation images that chose it. Evaluate it on the test part, with cxrsearch evaluate "
        f"--weights {folder / TRIALS / best.folder} --part test"
    )
    warnings = (*parts.warnings(), optimistic)
    ranked = tuple(rank_trials(trials))
    return TuneResult(folder, len(parts.train), len(parts.val), ranked, best, parts.refused, warnings)
