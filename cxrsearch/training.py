"""Training an encoder: a folder of images and a table in, the folder of a run out.

parts of a split (images) -> an encoder to start from -> the trainer (encoder) -> AUROC (analysis) -> curves (report)

    <run>/config.json           every setting; a run of other settings is refused
          best.safetensors      the encoder of the best epoch: what `--weights <run>` means
          last.safetensors      that of the last epoch
          state.safetensors     from where an interrupted run goes on
          log.jsonl  curves.png
          pixels/               the pixel cache, where no other is named
"""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from lightning_fabric import Fabric

from cxrsearch.analysis.metrics import auroc
from cxrsearch.encoder.densenet import Encoder
from cxrsearch.encoder.embed import resolve_device, resolve_precision
from cxrsearch.encoder.recipe import Recipe, load_recipe
from cxrsearch.encoder.spec import Provenance
from cxrsearch.encoder.train import Report, StepReport, Task, Trainer
from cxrsearch.encoder.training.head import train_head, with_head
from cxrsearch.encoder.training.parts import Parts, read_parts
from cxrsearch.encoder.training.run import claimed, require_settings, versions
from cxrsearch.encoder.training.state import EpochRecord, Position
from cxrsearch.encoder.training.tensorboard import tensorboard_report
from cxrsearch.encoder.weights import load_encoder
from cxrsearch.errors import CxrsearchError, UsageError
from cxrsearch.files import Json
from cxrsearch.images.boxes import read_boxes
from cxrsearch.images.findings import Vocabulary
from cxrsearch.images.holdout import Holdout, hold_out
from cxrsearch.progress import Progress, silent
from cxrsearch.report.contact_sheet import save_png
from cxrsearch.report.curves import learning_curves

DEFAULT_SPLIT = "patient-hash:0.7/0.1/0.2"
CURVES = "curves.png"

_Outcome = TypeVar("_Outcome")


@dataclass(frozen=True)
class TrainResult:
    """What a run came to.

    Attributes:
        path: the run's folder, which `--weights` takes.
        findings: what the encoder predicts.
        n_train, n_val: images it was trained and validated on.
        epochs: one record each; where the head alone is trained, one a penalty.
        best: the one that was kept.
        refused: image and reason for every file that could not be used.
        warnings: what a user should know.
        rank: of this process; only rank 0 has written anything.
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
        refused = [{"image": image, "reason": reason} for image, reason in self.refused]
        return {name: value for name, value in asdict(self).items() if name != "rank"} | {
            "path": str(self.path),
            "refused": refused,
        }


def train(
    images: Path | str,
    labels: Path | str,
    *,
    split: str = DEFAULT_SPLIT,
    config: str = "paper",
    changes: Mapping[str, Any] | None = None,
    seed: int = 0,
    max_minutes: float | None = None,
    freeze: bool = False,
    out: Path | str | None = None,
    findings: Sequence[str] | None = None,
    holdout: str | None = None,
    strict: bool = False,
    boxes: Path | str | None = None,
    cache: Path | str | None = None,
    device: str = "auto",
    devices: int = 1,
    precision: str = "auto",
    workers: int | None = None,
    save_every: int = 200,
    tensorboard: bool = False,
    progress: Progress = silent,
    report: Report = lambda _: None,
) -> TrainResult:
    """Train an encoder; interrupted, the same call goes on where it was and ends with the same weights.

    Args:
        images, labels: a folder of images, and NIH's table or a plain CSV.
        split: the definition of a split; its `train` is learnt from, its `val` chooses the best epoch.
        config: `paper`, `modern` or a TOML file, see `Recipe`.
        changes: entries of the recipe that differ, as `{"arch": "densenet121", "epochs": 3}`; None changes nothing.
        seed, max_minutes: of everything random; stop after about so long, over all sessions of the run, see `Task`.
        freeze: train the head alone, on embeddings.
        out, cache: folders of the run, None: `runs/ARCH-CONFIG-SEED`; and of a pixel cache, None: one in the run's.
        findings: another vocabulary than NIH's; holdout, strict: leave out a finding and its images (patients).
        boxes: NIH's table of boxes, whose patients are left out of the training part.
        device, devices: as `resolve_device`; and how many processes, each on a device of its own.
        precision: `fp32`, `bf16` (autocast) or `auto`: bf16 where the hardware computes in it.
        workers: processes a device that prepare images; None: one on a CPU, else the cores, shared out.
        save_every, tensorboard: steps from one saved state to the next; also log for TensorBoard (an extra).
        progress, report: called while images are read and embedded; and after every step and epoch; on rank 0.

    Raises:
        CxrsearchError: any input that cannot be used; see `cxrsearch.errors`.
    """
    _require_meant(seed, max_minutes, save_every, freeze and (devices > 1 or tensorboard))
    recipe = load_recipe(config).changed(changes or {})
    words = _vocabulary(findings, holdout, strict)
    fabric = launched(device, devices, precision)
    given = {"seed": seed, "max_minutes": max_minutes, "freeze": freeze}
    plan = _Plan(Path(images), Path(labels), *words, boxes, split, recipe, (changes or {}).get("arch"), given)
    place = _Place(None if out is None else Path(out), None if cache is None else Path(cache))
    work = partial(train_head, progress=progress) if freeze else partial(_train, report=report, tensorboard=tensorboard)
    with ExitStack() as claims:
        prepare = partial(_prepared, plan, place, fabric, _workers(workers, fabric), save_every, progress, claims)
        encoder, parts, task = _agreed(fabric, prepare)
        end = work(fabric, encoder, task)
    return _result(task.folder, parts, end, fabric.global_rank)


def _vocabulary(findings: Sequence[str] | None, holdout: str | None, strict: bool) -> tuple[Vocabulary, Holdout | None]:
    vocabulary = Vocabulary(tuple(findings)) if findings else Vocabulary()
    return vocabulary, None if holdout is None else hold_out(holdout, vocabulary, strict=strict)


@dataclass(frozen=True)
class _Plan:
    """What to learn, from what and how; `arch` is what was asked for, and `given` what settings record beside it."""

    images: Path
    labels: Path
    vocabulary: Vocabulary
    holdout: Holdout | None
    boxes: Path | str | None
    split: str
    recipe: Recipe
    arch: str | None
    given: Json


@dataclass(frozen=True)
class _Place:
    """The run's folder and that of the pixel cache, where they are named."""

    out: Path | None
    cache: Path | None

    def folder(self, recipe: Recipe, seed: int) -> Path:
        return self.out or Path("runs") / f"{recipe.arch}-{recipe.name}-{seed}"


def _prepared(
    plan: _Plan, place: _Place, fabric: Fabric, workers: int, save_every: int, progress: Progress, claims: ExitStack
) -> tuple[Encoder, Parts, Task]:
    """The encoder to train, its images, and the task, all settings checked; rank 0 claims the run's folder."""
    seed, max_minutes = plan.given["seed"], plan.given["max_minutes"]
    start, recipe = _start(plan.recipe, plan.arch)
    folder = place.folder(recipe, seed)
    if fabric.is_global_zero:
        claims.enter_context(claimed(folder))
    parts = read_parts(
        plan.images,
        plan.labels,
        plan.vocabulary,
        plan.split,
        place.cache or folder / "pixels",
        recipe.preprocess(start.spec.preprocess),
        holdout=plan.holdout,
        boxes=None if plan.boxes is None else read_boxes(Path(plan.boxes)),
        workers=workers,
        progress=progress if fabric.is_global_zero else silent,
    )
    extra = {"settings": _settings(recipe, start, parts, fabric) | plan.given, "versions": versions()}
    require_settings(folder, extra["settings"])
    task = Task(recipe, seed, parts.train, parts.val, auroc, folder, workers, save_every, max_minutes, extra)
    return _encoder(start, parts, task), parts, task


def _require_meant(seed: int, max_minutes: float | None, save_every: int, excluded: bool) -> None:
    if seed < 0 or save_every < 1 or (max_minutes is not None and not 0 < max_minutes < float("inf")):
        raise UsageError(
            f"seed {seed}, a state every {save_every} steps, a limit of {max_minutes} minutes",
            "use a seed >= 0, steps >= 1 and minutes > 0",
        )
    if excluded:
        raise UsageError("a head trained alone, on several devices or for TensorBoard", "leave --freeze or these out")


def _agreed(fabric: Fabric, prepare: Callable[[], _Outcome]) -> _Outcome:
    """What `prepare` gives, on rank 0 first; where it fails there, the other ranks leave without a word."""
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


def launched(device: str, devices: int, precision: str) -> Fabric:
    """Fabric on these devices; with several, the other ranks are processes that run the same command from its start.

    Raises:
        UsageError: no such devices, or an unknown precision.
    """
    logging.getLogger("lightning_fabric").setLevel(logging.ERROR)  # it announces ranks and precision on stderr
    target = resolve_device(device)
    if devices < 1 or (target.type == "cuda" and devices > torch.cuda.device_count()):
        raise UsageError(f"{devices} devices of kind {target.type}", "use a number of devices that are there")
    fabric = Fabric(
        accelerator=target.type,
        devices=[target.index or 0] if target.type == "cuda" and devices == 1 else devices,
        strategy="ddp" if devices > 1 else "auto",
        precision="bf16-mixed" if _precision(precision, target) == "bf16" else "32-true",
    )
    fabric.launch()
    return fabric


def _precision(name: str, device: torch.device) -> str:
    """As `resolve_precision`; but training on a CPU is worth bf16 where the processor computes in it."""
    if name == "auto" and device.type == "cpu":
        return "bf16" if torch.cpu._is_avx512_bf16_supported() else "fp32"
    return resolve_precision(name, device)


def _workers(asked: int | None, fabric: Fabric) -> int:
    if asked is None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return 1 if fabric.device.type == "cpu" else max(1, cores // fabric.world_size)
    if asked < 0:
        raise UsageError(f"{asked} workers", "use workers >= 0")
    return asked


def _start(recipe: Recipe, arch: str | None) -> tuple[Encoder, Recipe]:
    """The encoder to start from; a checkpoint has its own architecture, whatever the recipe says."""
    made = recipe.weights == "imagenet" or recipe.weights.startswith("random:")
    encoder = load_encoder(recipe.weights, arch=recipe.arch if made else arch)
    return encoder, replace(recipe, arch=encoder.spec.architecture)


def _settings(recipe: Recipe, start: Encoder, parts: Parts, fabric: Fabric) -> Json:
    """All that decides the weights a run ends with, on one machine with one number of threads."""
    return parts.settings() | {
        "recipe": recipe.to_json(),
        "start": start.spec.weights_sha256,
        "precision": fabric.strategy.precision.precision,
        "ranks": fabric.world_size,
    }


def _encoder(start: Encoder, parts: Parts, task: Task) -> Encoder:
    """The encoder to train; its label is the run's name."""
    return with_head(
        start,
        parts.findings,
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

    def reported(event: StepReport | EpochRecord) -> None:
        if isinstance(event, EpochRecord):
            _draw_curves(task.folder, trainer.position.history)
        for listener in listeners:
            listener(event)

    return trainer.run(reported)


def _draw_curves(folder: Path, history: Sequence[EpochRecord]) -> None:
    panels: dict[str, dict[str, list[float | None]]] = {
        "Loss": {
            "training": [record.train_loss for record in history],
            "validation": [record.val_loss for record in history],
        },
        "Mean AUROC": {"validation": [record.mean_auroc for record in history]},
    }
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
