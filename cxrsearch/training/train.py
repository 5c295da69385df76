"""Train an encoder: a folder of images and a table go in, the folder of a run comes out.

parts of a split (images) -> an encoder to start from -> the trainer (encoder) -> AUROC (analysis) -> curves (report)

    <run>/config.json           every setting; a run with other settings is refused
          best.safetensors      the encoder of the best epoch; `--weights <run>` loads it
          last.safetensors      the encoder of the last epoch
          state.safetensors     where an interrupted run continues
          log.jsonl  curves.png
          pixels/               the pixel cache, by default
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import torch
from lightning_fabric import Fabric

from cxrsearch.analysis.measures.metrics import auroc
from cxrsearch.encoder.densenet import Encoder
from cxrsearch.encoder.embed import cores, resolve_device, resolve_precision
from cxrsearch.encoder.spec import Provenance
from cxrsearch.encoder.weights import load_encoder
from cxrsearch.errors import CxrsearchError, UsageError
from cxrsearch.files import Json
from cxrsearch.images.boxes import read_boxes
from cxrsearch.images.preprocess import Preprocess
from cxrsearch.images.sources.source_registry import Location, open_source
from cxrsearch.images.splits import sketch_ids
from cxrsearch.json_values import refusals
from cxrsearch.progress import Progress, silent
from cxrsearch.report.contact_sheet import save_png
from cxrsearch.training._head import train_head, with_head
from cxrsearch.training._learning_curves import learning_curves
from cxrsearch.training._parts import Parts, read_parts
from cxrsearch.training._run_folder import claim, require_settings, versions
from cxrsearch.training._tensorboard import tensorboard_report
from cxrsearch.training.recipe import Recipe
from cxrsearch.training.request import Training
from cxrsearch.training.state import EpochRecord, Position
from cxrsearch.training.trainer import Report, StepReport, Task, Trainer

CURVES = "curves.png"

_Outcome = TypeVar("_Outcome")


@dataclass(frozen=True)
class TrainResult:
    """The result of a training run.

    Attributes:
        path: the run's folder, which `--weights` takes.
        findings: the findings that the encoder predicts.
        n_train: number of training images.
        n_val: number of validation images.
        epochs: one record per epoch; with `freeze`, one per penalty.
        best: the record of the epoch that was kept.
        refused: image and reason for every file that could not be used.
        warnings: what a user should know.
        rank: the rank of this process; only rank 0 writes files.
    """

    path: Path
    findings: tuple[str, ...]
    n_train: int
    n_val: int
    epochs: tuple[EpochRecord, ...]
    best: EpochRecord
    refused: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]
    rank: int

    def to_json(self) -> Json:
        """The object that `cxrsearch train --json` prints."""
        return {name: value for name, value in asdict(self).items() if name != "rank"} | {
            "path": str(self.path),
            "refused": refusals(self.refused),
        }


def train(
    images: Location,
    labels: Path | str | None,
    training: Training | None = None,
    *,
    out: Path | str | None = None,
    progress: Progress = silent,
    report: Report = lambda _: None,
) -> TrainResult:
    """Train an encoder. After an interruption, the same call continues and ends with the same weights.

    Args:
        images: a folder of images.
        labels: NIH's table or a plain CSV. None is allowed if the recipe needs no labels (`unlabelled`). Patients are
            then known from DICOM only; any other file counts as its own patient.
        training: the request; None: the paper's recipe.
        out: the run's folder; None: `runs/ARCH-CONFIG-SEED`.
        progress: called while images are read and embedded, on rank 0.
        report: called after every step and epoch, on rank 0.

    Returns:
        The run's folder, its epochs, and what a user should know.

    Raises:
        CxrsearchError: an input cannot be used; see `cxrsearch.errors`.
    """
    training = training or Training()
    fabric = launch(training)
    with ExitStack() as claims:
        table = None if labels is None else Path(labels)
        prepare = partial(_prepare, training, images, table, out, fabric, progress, claims)
        encoder, parts, task = _run_rank_0_first(fabric, prepare)
        if training.freeze:
            end = train_head(fabric, encoder, task, progress)
        else:
            end = _train(fabric, encoder, task, report, training.tensorboard)
    return _result(task.folder, parts, end, fabric.global_rank)


def _prepare(
    training: Training,
    images: Location,
    labels: Path | None,
    out: Path | str | None,
    fabric: Fabric,
    progress: Progress,
    claims: ExitStack,
) -> tuple[Encoder, Parts, Task]:
    """The encoder to train, its images and the task, with all settings checked. Rank 0 locks the run's folder."""
    start, recipe = _start(training)
    folder = Path("runs") / f"{recipe.arch}-{recipe.name}-{training.seed}" if out is None else Path(out)
    if fabric.is_global_zero:
        claims.enter_context(claim(folder))
    workers = _workers(training.workers, fabric)
    rank_progress = progress if fabric.is_global_zero else silent
    settled = replace(training, cache=training.cache or folder / "pixels", workers=workers)
    parts = parts_of(settled, images, labels, recipe.preprocess(start.spec.preprocess), rank_progress)
    limits = {name: getattr(training, name) for name in ("seed", "max_minutes", "freeze")}
    extra = {"settings": _settings(recipe, start, parts, fabric) | limits, "versions": versions()}
    require_settings(folder, extra["settings"])
    task = Task(
        recipe=recipe,
        seed=training.seed,
        train=parts.train,
        val=parts.val,
        score=auroc,
        folder=folder,
        workers=workers,
        save_every=training.save_every,
        max_minutes=training.max_minutes,
        extra=extra,
    )
    return _encoder(start, parts, task), parts, task


def parts_of(
    training: Training, images: Location, labels: Path | None, preprocess: Preprocess, progress: Progress
) -> Parts:
    """Read the training and the validation part of a training; its `cache` must be set.

    Raises:
        UsageError: as `Training.require_table`.
        CxrsearchError: as `read_parts` and `read_boxes`.
    """
    assert training.cache is not None
    training.require_table(labels)
    parts = read_parts(
        open_source(images),
        labels,
        training.vocabulary(),
        training.split,
        Path(training.cache),
        preprocess,
        holdout=training.held_out(),
        boxes=None if training.boxes is None else read_boxes(Path(training.boxes)),
        workers=1 if training.workers is None else training.workers,
        progress=progress,
    )
    return parts if training.recipe().objective_kind.needs_labels else parts.without_labels()


def _run_rank_0_first(fabric: Fabric, prepare: Callable[[], _Outcome]) -> _Outcome:
    """Run `prepare` on rank 0, then on the others. If rank 0 fails, the other ranks exit silently.

    Rank 0 decodes images into the cache and writes the settings; the other ranks then only read them.
    """
    outcome, problem = None, None
    if fabric.is_global_zero:
        try:
            outcome = prepare()
        except CxrsearchError as error:
            problem = error
    problem = fabric.broadcast(problem)
    if problem is not None:
        raise problem if fabric.is_global_zero else SystemExit(0)
    return prepare() if outcome is None else outcome


def launch(training: Training) -> Fabric:
    """Launch Fabric on a training's devices. With several devices, the other ranks are processes of the same command.

    Raises:
        UsageError: no such devices, or an unknown precision.
    """
    logging.getLogger("lightning_fabric").setLevel(logging.ERROR)  # else it prints ranks and precision on stderr
    target, devices = resolve_device(training.device), training.devices
    if devices < 1 or (target.type == "cuda" and devices > torch.cuda.device_count()):
        raise UsageError(f"{devices} devices of kind {target.type}", "use as many devices as this machine has")
    fabric = Fabric(
        accelerator=target.type,
        devices=[target.index or 0] if target.type == "cuda" and devices == 1 else devices,
        strategy="ddp" if devices > 1 else "auto",
        precision="bf16-mixed" if _precision(training.precision, target) == "bf16" else "32-true",
    )
    fabric.launch()
    return fabric


def _precision(name: str, device: torch.device) -> str:
    """As `resolve_precision`, except that `auto` on a CPU is bf16 if the processor computes in it."""
    if name == "auto" and device.type == "cpu":
        return "bf16" if torch.cpu._is_avx512_bf16_supported() else "fp32"
    return resolve_precision(name, device)


def _workers(workers: int | None, fabric: Fabric) -> int:
    if workers is not None:
        return workers
    return 1 if fabric.device.type == "cpu" else max(1, cores() // fabric.world_size)


def _start(training: Training) -> tuple[Encoder, Recipe]:
    """The encoder to start from, and the recipe with its architecture.

    A checkpoint decides the architecture, not the recipe. An explicit `arch` in the changes is passed on, so that a
    contradiction is refused.
    """
    recipe = training.recipe()
    any_architecture = recipe.weights == "imagenet" or recipe.weights.startswith("random:")
    encoder = load_encoder(recipe.weights, arch=recipe.arch if any_architecture else training.changes.get("arch"))
    return encoder, replace(recipe, arch=encoder.spec.architecture)


def _settings(recipe: Recipe, start: Encoder, parts: Parts, fabric: Fabric) -> Json:
    """All settings that decide a run's final weights, on one machine with one number of threads."""
    return parts.settings() | {
        "recipe": recipe.to_json(),
        "start": start.spec.weights_sha256,
        "precision": fabric.strategy.precision.precision,
        "ranks": fabric.world_size,
    }


def _encoder(start: Encoder, parts: Parts, task: Task) -> Encoder:
    """The encoder to train. Its label is the name of the run's folder."""
    return with_head(
        start,
        parts.findings or None,
        task.recipe.preprocess(start.spec.preprocess),
        seed=task.seed,
        label=task.folder.resolve().name,
        provenance=Provenance(
            parts.split,
            parts.settings()["train_ids_sha256"],
            len(parts.train),
            start.spec.seen_before,
            None if parts.holdout is None else parts.holdout.finding,
            parts.holdout is not None and parts.holdout.strict,
            None if parts.boxes is None else parts.boxes.sha256,
            parts.from_table,
            "" if parts.from_table else sketch_ids(parts.ids["train"]),
        ),
    )


def _train(fabric: Fabric, encoder: Encoder, task: Task, report: Report, tensorboard: bool) -> Position:
    trainer = Trainer(fabric, encoder, task)
    if not fabric.is_global_zero:
        return trainer.run()
    listeners = [report]
    if tensorboard:
        findings = encoder.spec.findings or ()
        listeners.append(tensorboard_report(task.folder, findings, trainer.position.step))

    def notify(event: StepReport | EpochRecord) -> None:
        if isinstance(event, EpochRecord):
            _draw_curves(task.folder, trainer.position.history)
        for listener in listeners:
            listener(event)

    return trainer.run(notify)


def _draw_curves(folder: Path, history: Sequence[EpochRecord]) -> None:
    """Draw the losses, and the mean AUROC if an epoch has one, to `curves.png`."""
    panels: dict[str, dict[str, list[float | None]]] = {
        "Loss": {
            "training": [record.train_loss for record in history],
            "validation": [record.val_loss for record in history],
        }
    }
    if any(record.mean_auroc is not None for record in history):
        panels["Mean AUROC"] = {"validation": [record.mean_auroc for record in history]}
    save_png(learning_curves(panels, title=f"Training of {folder.resolve().name}"), folder / CURVES)


def _result(folder: Path, parts: Parts, position: Position, rank: int) -> TrainResult:
    best = position.best
    assert best is not None
    return TrainResult(
        path=folder,
        findings=parts.findings,
        n_train=len(parts.train),
        n_val=len(parts.val),
        epochs=tuple(position.history),
        best=best,
        refused=parts.refused,
        warnings=tuple(parts.warnings()),
        rank=rank,
    )
