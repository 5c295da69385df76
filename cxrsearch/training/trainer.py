"""The trainer: images go in, the encoder of the best epoch comes out. It can be interrupted at any step and continued.

Every rank (process) has the whole network and its share of each batch. Gradients are averaged, so the ranks stay equal.
Batch norms see the images of their own rank; evaluation uses rank 0's running averages everywhere.

Everything random is a function of the seed and the position; see `augment`. So only the position, the weights and the
optimiser's moments are saved. On one machine with one number of threads, the same call ends with the same bytes.
"""

import copy
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import cast

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from cxrsearch.encoder.checkpoint import BEST, save_checkpoint
from cxrsearch.encoder.densenet import Encoder
from cxrsearch.encoder.heap import keep_freed_memory
from cxrsearch.errors import CxrsearchError, UsageError
from cxrsearch.files import Json
from cxrsearch.training._augment import step_seed
from cxrsearch.training._batches import (
    Batch,
    BatchOrder,
    Examples,
    evaluation_batches,
    steps_per_epoch,
    training_batches,
)
from cxrsearch.training._clock import Clock
from cxrsearch.training._log import Log
from cxrsearch.training._objective import Score, objective_of
from cxrsearch.training._schedule import learning_rate, make_optimiser
from cxrsearch.training.recipe import TIMED_STEPS, Recipe
from cxrsearch.training.state import EpochRecord, Position, restore_state, save_state

LAST, STATE, LOG = "last.safetensors", "state.safetensors", "log.jsonl"

_LOGGED = 10
"""Steps per line of the log."""


@dataclass(frozen=True)
class StepReport:
    """The result of one step.

    Attributes:
        epoch: counted from 1.
        step: counted from 1.
        total: steps of the whole training, as known so far.
        loss: mean over the ranks.
        lr: learning rate of this step.
        images_per_second: speed in the epoch so far, over all ranks.
        waiting: share of the epoch's time so far that was spent waiting for images.
    """

    epoch: int
    step: int
    total: int
    loss: float
    lr: float
    images_per_second: float
    waiting: float


Report = Callable[[StepReport | EpochRecord], None]


@dataclass(frozen=True, eq=False)
class Task:
    """Everything a trainer needs, apart from the network.

    Attributes:
        recipe: the settings of the training.
        seed: seed of everything random.
        train: the training images.
        val: the validation images.
        score: computes the AUROC, whose mean chooses the best epoch. The objective `contrastive` ignores it: the
            validation loss chooses.
        folder: the run's folder; the caller makes it.
        workers: processes per rank that prepare images; 0 for none.
        save_every: steps between saved states.
        max_minutes: time limit in minutes over all sessions of the run. It becomes a number of steps after 20 steps.
        extra: what checkpoints hold besides the metrics.
    """

    recipe: Recipe
    seed: int
    train: Examples
    val: Examples
    score: Score
    folder: Path
    workers: int = 0
    save_every: int = 200
    max_minutes: float | None = None
    extra: Json = field(default_factory=dict)


class Trainer:
    """Trains an encoder. It continues from the state in the run's folder, if there is one.

    Args:
        fabric: already launched; sets devices and precision.
        encoder: trained in place. The objective `findings` needs a head for the findings of the labels.
        task: everything else.

    Raises:
        UsageError: the training part holds fewer images than one batch per rank.
        CheckpointError: the state of an earlier session cannot be read.
    """

    def __init__(self, fabric: Fabric, encoder: Encoder, task: Task) -> None:
        recipe, self.fabric, self.task = task.recipe, fabric, task
        self.steps = steps_per_epoch(len(task.train), recipe.batch_size, fabric.world_size)
        if not self.steps:
            raise UsageError(
                f"{len(task.train)} training images are fewer than one batch of {recipe.batch_size} on each of "
                f"{fabric.world_size} devices",
                "use a smaller batch_size",
            )
        if fabric.device.type == "cpu":
            keep_freed_memory()
        encoder.set_dropout(recipe.dropout)
        encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload, unused-ignore]  # the stubs do not know it
        self.encoder = encoder.to(fabric.device)
        self.objective = objective_of(recipe, task.train.labels, task.score, fabric.device)
        self.network = self.objective.network(encoder, task.seed).to(fabric.device)
        self.averaging = copy.deepcopy(self.network).eval() if recipe.ema else self.network
        self.optimiser = make_optimiser(recipe, self.network)
        self.position = Position()
        if (state := task.folder / STATE).exists():
            self.position = restore_state(state, self._modules(), self.optimiser)
        self.module = fabric.setup_module(self.network)

    @property
    def averaged(self) -> Encoder:
        """The encoder that is evaluated and saved: the moving average of the weights, if the recipe has one."""
        return self.objective.encoder_in(self.averaging)

    @property
    def total(self) -> int:
        """Steps of the whole training. A time limit may still lower it."""
        planned = self.task.recipe.epochs * self.steps
        return planned if self.position.budget is None else min(planned, self.position.budget)

    def run(self, report: Report = lambda _: None) -> Position:
        """Train to the end, from where an earlier session stopped.

        Args:
            report: called after every step and epoch.

        Raises:
            CxrsearchError: the loss is not finite, or memory runs out. Saved files stay.
        """
        began = time.perf_counter() - self.position.seconds
        log = Log(self.task.folder / LOG, self.position.step) if self.fabric.is_global_zero else None
        clock = Clock(self.task.recipe.batch_size * self.fabric.world_size)
        for batch in clock.time_batches(self.batches()):
            step = self.step(batch, clock)
            self.position.seconds = time.perf_counter() - began
            self._set_budget(clock)
            epoch_ends = step.step % self.steps == 0 or step.step >= self.total
            if log and (step.step % _LOGGED == 0 or epoch_ends):
                log.add({"kind": "step"} | asdict(step))
            report(step)
            if epoch_ends:
                report(self._finish_epoch(step, log))
            if self.fabric.is_global_zero and (epoch_ends or step.step % self.task.save_every == 0):
                save_state(self.task.folder / STATE, self.position, self._modules(), self.optimiser)
            if epoch_ends:
                clock.restart()
            if step.step >= self.total:
                break
        self.fabric.barrier()
        return self.position

    def _finish_epoch(self, step: StepReport, log: Log | None) -> EpochRecord:
        """Evaluate, save the checkpoint and log.

        This runs before the state is saved, so an interruption in between repeats all of it.
        """
        record = self.end_epoch(step)
        if log:
            self._keep(record)
            log.add({"kind": "epoch"} | asdict(record))
        return record

    def batches(self) -> Iterator[Batch]:
        """This rank's batches, from the position to the end."""
        task, fabric, start = self.task, self.fabric, self.position.step
        if start >= self.total:
            return iter(())
        ranks, rank = fabric.world_size, fabric.global_rank
        recipe = task.recipe
        order = BatchOrder(len(task.train), recipe.batch_size, ranks, rank, task.seed, start, recipe.epochs)
        return training_batches(task.train, self.encoder.spec.preprocess, recipe, order, task.workers)

    def step(self, batch: Batch, clock: Clock) -> StepReport:
        """Do one step: loss, gradient, optimiser, moving average. The gradient stays readable afterwards."""
        position, recipe = self.position, self.task.recipe
        torch.manual_seed(step_seed(self.task.seed, position.step, self.fabric.global_rank))
        lr = learning_rate(recipe, position.step, self.total, [record.val_loss for record in position.history])
        for group in self.optimiser.param_groups:
            group["lr"] = lr
        with _enough_memory(self.fabric.device, recipe.batch_size):
            loss = self._backward(batch)
            self.optimiser.step()
        self._average()
        position.step += 1
        position.loss_sum += loss
        epoch = (position.step - 1) // self.steps + 1
        clock.count()
        return StepReport(epoch, position.step, self.total, loss, lr, clock.rate, clock.waiting)

    def _backward(self, batch: Batch) -> float:
        """Compute the gradient of the mean loss over all ranks' batches, and return that loss."""
        pixels, labels = (tensor.to(self.fabric.device, non_blocking=True) for tensor in batch)
        self.network.train()
        self.optimiser.zero_grad()
        _, outputs = self.module(pixels.flatten(0, -3))
        loss = self.objective.loss(outputs.float(), labels)
        self.fabric.backward(loss)
        mean = float(cast(Tensor, self.fabric.all_reduce(loss.detach(), reduce_op="mean")))
        if not math.isfinite(mean):
            raise self._divergence(f"the loss is {mean} in step {self.position.step + 1}")
        return mean

    def _divergence(self, what: str) -> CxrsearchError:
        best = self.position.best
        kept = f"epoch {best.epoch} is kept in {self.task.folder}" if best else "no epoch is finished yet"
        return CxrsearchError(f"the training diverged: {what}; {kept}", "train with a lower lr into another --out")

    def _average(self) -> None:
        """Update the moving average. It forgets faster in the first steps, so that the untrained weights leave it."""
        if self.averaging is not self.network:
            decay = min(self.task.recipe.ema, (1 + self.position.step) / (10 + self.position.step))
            move = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
            move(list(self.averaging.parameters()), list(self.network.parameters()), None)

    def evaluate(self) -> NDArray[np.float64]:
        """The objective's answers for the validation images, float64 (n, width). One rank computes each image."""
        task, fabric = self.task, self.fabric
        self._share_buffers()
        self.averaging.eval()
        rows = range(fabric.global_rank, len(task.val), fabric.world_size)
        shares = torch.zeros((len(task.val), self.objective.width), dtype=torch.float64, device=fabric.device)
        batches = evaluation_batches(task.val, self.encoder.spec.preprocess, task.recipe, rows, task.workers)
        done = 0
        with torch.inference_mode(), fabric.autocast():
            for crops, _ in batches:
                at = rows[done : done + len(crops)]
                shares[list(at)] = self._answers(crops.to(fabric.device))
                done += len(crops)
        # Each row is zero on all ranks but one, so the sum gathers the rows.
        answers = cast(Tensor, fabric.all_reduce(shares, reduce_op="sum"))
        return cast(NDArray[np.float64], answers.cpu().numpy())

    def _answers(self, crops: Tensor) -> Tensor:
        """The objective's answers: uint8 (b, crops or augmentations, size, size) to float64 (b, width)."""
        _, outputs = self.averaging(crops.flatten(0, 1))
        return self.objective.answers(outputs.double().reshape(*crops.shape[:2], -1))

    def end_epoch(self, step: StepReport) -> EpochRecord:
        """Evaluate, record the epoch, and begin the next one.

        Args:
            step: the epoch's last step.

        Raises:
            CxrsearchError: an answer is not finite.
        """
        position, answers = self.position, self.evaluate()
        if not np.isfinite(answers).all():
            raise self._divergence(f"answers are not finite after step {step.step}")
        record = EpochRecord(
            epoch=step.epoch,
            step=step.step,
            train_loss=position.loss_sum / ((step.step - 1) % self.steps + 1),
            lr=step.lr,
            images_per_second=step.images_per_second,
            waiting=step.waiting,
            **self.objective.validate(self.task.val.labels, answers),
        )
        position.history.append(record)
        position.loss_sum = 0.0
        return record

    def _keep(self, record: EpochRecord) -> None:
        """Save the epoch's checkpoint as the last one, and also as the best one if it is."""
        epochs = [asdict(epoch) for epoch in self.position.history]
        best = self.position.best
        extra = self.task.extra | {"epochs": epochs, "best_epoch": best.epoch if best else None}
        save_checkpoint(self.task.folder / LAST, self.averaged, extra)
        if best is record:
            save_checkpoint(self.task.folder / BEST, self.averaged, extra)

    def _modules(self) -> dict[str, nn.Module]:
        modules = {"encoder": self.network}
        return modules if self.averaging is self.network else modules | {"averaged": self.averaging}

    def _share_buffers(self) -> None:
        """Copy rank 0's current batch-norm averages to the network that every rank evaluates."""
        for kept, buffer in zip(self.averaging.buffers(), self.network.buffers(), strict=True):
            if kept is not buffer:
                kept.copy_(buffer)
            if self.fabric.world_size > 1:
                torch.distributed.broadcast(kept, 0)

    def _set_budget(self, clock: Clock) -> None:
        """After 20 timed steps, turn the time limit into a number of steps.

        Evaluation is included: an evaluated image counts as a third of a trained one. The median duration is used,
        because the first steps are slow.
        """
        task, position = self.task, self.position
        if task.max_minutes is None or position.budget is not None or len(clock.durations) < TIMED_STEPS:
            return
        crops = len(task.val) * {"one": 1, "five": 5, "ten": 10}[task.recipe.evaluation_crops]
        evaluation = crops / (3 * task.recipe.batch_size * self.fabric.world_size * self.steps)
        step_seconds = float(np.median(clock.durations)) * (1 + evaluation)
        left = int((60 * task.max_minutes - position.seconds) / step_seconds)
        position.budget = position.step + max(0, int(self.fabric.broadcast(left)))


@contextmanager
def _enough_memory(device: torch.device, batch_size: int) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, torch.OutOfMemoryError) and "can't allocate memory" not in str(error):
            raise
        raise CxrsearchError(
            f"a training step of {batch_size} images does not fit in the memory of {device}",
            "use a smaller batch_size or size, into another --out",
        ) from error
