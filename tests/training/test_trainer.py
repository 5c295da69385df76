"""The trainer: its steps, its order, its evaluation; interrupted, and on two ranks."""

import json
import math
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from cxrsearch.encoder.checkpoint import load_checkpoint, read_header
from cxrsearch.encoder.densenet import DenseLayer, Encoder
from cxrsearch.encoder.embed import Embedder
from cxrsearch.errors import CheckpointError, CxrsearchError, UsageError
from cxrsearch.images.preprocess import Preprocess
from cxrsearch.training._augment import step_seed
from cxrsearch.training._batches import BatchOrder, epoch_batches, training_batches
from cxrsearch.training._clock import Clock
from cxrsearch.training._findings_objective import finding_loss, validate
from cxrsearch.training._schedule import learning_rate
from cxrsearch.training.recipe import MODERN, PAPER
from cxrsearch.training.state import EpochRecord
from cxrsearch.training.trainer import STATE, StepReport, Trainer
from tests.training import small_training as small

ROOT = Path(__file__).parents[2]


def start(*arguments: object) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "indexes")])}
    command = [sys.executable, str(ROOT / "tests/training/small_training.py"), *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


# The order of images


def test_no_image_is_seen_twice_an_epoch_and_another_remainder_is_dropped() -> None:
    dropped = set()
    for epoch in range(8):
        batches = epoch_batches(11, 2, 2, seed=3, epoch=epoch)
        assert batches.shape == (2, 2, 2)
        assert len(set(batches.ravel())) == 8
        dropped.add(frozenset(range(11)) - set(batches.ravel()))
    assert len(dropped) > 1
    assert np.array_equal(epoch_batches(11, 2, 2, 3, 5), epoch_batches(11, 2, 2, 3, 5))
    assert not np.array_equal(epoch_batches(11, 2, 2, 3, 5), epoch_batches(11, 2, 2, 4, 5))


@pytest.mark.parametrize("begin", range(7))
def test_an_order_goes_on_where_it_was(begin: int) -> None:
    whole = list(BatchOrder(11, 2, 2, rank=1, seed=3, start=0, epochs=3))
    assert len(whole) == 6
    assert list(BatchOrder(11, 2, 2, rank=1, seed=3, start=begin, epochs=3)) == whole[begin:]
    assert [place[0] for batch in whole for place in batch] == [0] * 4 + [1] * 4 + [2] * 4


def test_workers_make_the_same_batches(tmp_path: Path) -> None:
    work = small.task(tmp_path, MODERN.changed({"size": 32, "batch_size": 4}))
    order = BatchOrder(11, 4, 1, 0, seed=5, start=1, epochs=2)
    arguments = work.train, work.recipe.preprocess(Preprocess()), work.recipe, order
    for (one, labels), (other, more) in zip(
        training_batches(*arguments, workers=0), training_batches(*arguments, workers=2), strict=True
    ):
        assert torch.equal(one, other)
        assert torch.equal(labels, more)


# The learning rate


def test_the_plateau_is_fed_the_validation_loss() -> None:
    """Against torch's own scheduler, with no patience and no threshold."""
    losses = [1.0, 0.9, 0.95, 0.9, 0.8, 0.8, 0.7]
    optimiser = torch.optim.SGD([torch.zeros(1)], lr=PAPER.lr)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimiser, factor=0.2, patience=0, threshold=0, eps=0)
    for done in range(len(losses)):
        assert learning_rate(PAPER, 7, 100, losses[:done]) == pytest.approx(optimiser.param_groups[0]["lr"])
        scheduler.step(losses[done])


def test_the_cosine_rises_and_falls_to_nothing() -> None:
    recipe = MODERN.changed({"warmup": 20, "lr": 1.0})
    rates = [learning_rate(recipe, step, 120, [5.0, 6.0]) for step in range(121)]
    assert rates[:20] == pytest.approx([(i + 1) / 20 for i in range(20)])
    assert rates[45] == pytest.approx((1 + math.cos(math.pi / 4)) / 2)
    assert rates[70] == pytest.approx(0.5)
    assert rates[120] == pytest.approx(0, abs=1e-15)
    assert rates[:20] == [learning_rate(recipe, step, 50, []) for step in range(20)]


# Dropout


def test_dropout_drops_in_training_only_and_changes_no_name() -> None:
    encoder = small.encoder()
    names = list(encoder.tensors())
    encoder.set_dropout(0.25)
    assert list(encoder.tensors()) == names
    layer = next(module for module in encoder.modules() if isinstance(module, DenseLayer))
    x = torch.randn(4, layer.norm1.num_features, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.manual_seed(0)
        dropped = layer.train()(x)[:, -32:]
        layer.dropout = 0.0
        plain = layer(x)[:, -32:]
        kept = dropped != 0
        assert 0.24 < 1 - kept.float().mean() < 0.26
        torch.testing.assert_close(dropped[kept], plain[kept] / 0.75)
        without = layer.eval()(x)
        layer.dropout = 0.25
        assert torch.equal(layer(x), without)


def test_a_trainer_lets_the_process_keep_what_it_freed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[bool] = []
    monkeypatch.setattr("cxrsearch.training.trainer.keep_freed_memory", lambda: kept.append(True))
    Trainer(small.fabric(), small.encoder(), small.task(tmp_path))
    assert kept == [True]


# Evaluation


def test_evaluation_is_without_variation_and_averages_ten_crops(tmp_path: Path) -> None:
    recipe = small.RECIPE.changed({"size": 56, "crop": "random", "evaluation_crops": "ten", "dropout": 0.5})
    work, encoder = small.task(tmp_path, recipe), small.encoder(recipe)
    found = Trainer(small.fabric(), encoder, work).evaluate()
    embedder = Embedder(encoder, "cpu", "fp32")
    for row in range(7):
        stored = work.val.stored(row)
        squares = [stored[t : t + 56, lft : lft + 56] for t, lft in ((4, 4), (0, 0), (0, 8), (8, 0), (8, 8))]
        views = np.stack(squares + [square[:, ::-1] for square in squares])
        logits = embedder(views)[1]
        assert logits is not None
        assert found[row] == pytest.approx((1 / (1 + np.exp(-logits.astype(float)))).mean(axis=0), rel=1e-4)


def test_a_finding_without_both_classes_stays_out_of_the_mean() -> None:
    labels = np.array([[1, 1, 0], [0, 0, 0], [1, 0, 0], [0, 0, 0]], dtype=bool)
    probabilities = np.array([[0.9, 0.2, 0.5], [0.1, 0.5, 0.5], [0.05, 0.1, 0.5], [0.2, 0.3, 0.5]])
    loss = finding_loss(PAPER, labels, torch.device("cpu"))
    known = validate(small.auroc, loss, labels, probabilities)
    assert known["auroc"] == (pytest.approx(0.5), pytest.approx(1 / 3), None)
    assert known["mean_auroc"] == pytest.approx(5 / 12)
    positive, negative = np.array([0.5, 0.75, 1]), np.array([0.5, 0.25, 0])
    terms = np.where(labels, positive * np.log(probabilities), negative * np.log(1 - probabilities))
    assert known["val_loss"] == pytest.approx(-terms.sum() / 4, rel=1e-6)


def record(auroc: float | None, loss: float, epoch: int = 1) -> EpochRecord:
    return EpochRecord(epoch, epoch, 1.0, loss, (auroc,), auroc, 1e-4, 1.0, 0.0)


def test_the_best_epoch_has_the_highest_auroc_or_without_one_the_lowest_loss() -> None:
    assert record(0.7, 9.0).better_than(record(0.6, 1.0))
    assert not record(0.6, 1.0).better_than(record(0.6, 2.0))
    assert record(None, 1.0).better_than(record(None, 2.0))
    assert not record(None, 2.0).better_than(record(None, 2.0))


# A run


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Any]]:
    """A run that nothing interrupted, and what it reported."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    events: list[Any] = []
    Trainer(small.fabric(), small.encoder(), small.task(folder, extra={"seed": 5})).run(events.append)
    return folder, events


def test_steps_epochs_log_and_checkpoints_tell_one_story(finished: tuple[Path, list[Any]]) -> None:
    folder, events = finished
    steps = [event for event in events if isinstance(event, StepReport)]
    epochs = [event for event in events if isinstance(event, EpochRecord)]
    assert [(s.epoch, s.step, s.total) for s in steps] == [(1, 1, 4), (1, 2, 4), (2, 3, 4), (2, 4, 4)]
    assert [e.train_loss for e in epochs] == pytest.approx([sum(s.loss for s in steps[i : i + 2]) / 2 for i in (0, 2)])
    assert all(0 < s.waiting < 1 and s.images_per_second > 0 for s in steps)
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert [(line["kind"], line["step"]) for line in log] == [("step", 2), ("epoch", 2), ("step", 4), ("epoch", 4)]
    assert log[1]["mean_auroc"] == epochs[0].mean_auroc
    header = read_header(folder / "last.safetensors")
    assert [epoch["val_loss"] for epoch in header.extra["epochs"]] == [epoch.val_loss for epoch in epochs]
    assert header.extra["seed"] == 5
    assert (header.spec.findings, header.spec.provenance.n_train) == (small.FINDINGS, 11)


def test_the_kept_encoder_is_that_of_the_best_epoch(finished: tuple[Path, list[Any]], tmp_path: Path) -> None:
    folder, events = finished
    epochs = [event for event in events if isinstance(event, EpochRecord)]
    best = max(epochs, key=lambda epoch: (epoch.mean_auroc or 0, -epoch.epoch))
    assert read_header(folder / "best.safetensors").extra["best_epoch"] == best.epoch
    work = small.task(tmp_path)
    probabilities = Trainer(small.fabric(), load_checkpoint(folder / "best.safetensors"), work).evaluate()
    known = validate(
        small.auroc, finding_loss(work.recipe, work.train.labels, torch.device("cpu")), work.val.labels, probabilities
    )
    assert known["auroc"] == best.auroc
    assert known["val_loss"] == pytest.approx(best.val_loss, rel=1e-5)


def test_killed_a_run_ends_with_the_same_weights(finished: tuple[Path, list[Any]], tmp_path: Path) -> None:
    folder = tmp_path / "run"
    killed = start(folder, "kill", 3)  # before the third state is saved: one step is done again
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    events: list[Any] = []
    Trainer(small.fabric(), small.encoder(), small.task(folder, save_every=1, extra={"seed": 5})).run(events.append)
    assert [event.step for event in events if isinstance(event, StepReport)] == [3, 4]
    for name in ("last.safetensors", "best.safetensors"):
        one, other = (load_file(where / name) for where in (folder, finished[0]))
        assert all(torch.equal(one[key], other[key]) for key in other)
    one, other = load_file(folder / STATE), load_file(finished[0] / STATE)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in other)
    again = Trainer(small.fabric(), small.encoder(), small.task(folder)).run()
    assert again.step == 4


def test_averaged_weights_go_on_as_they_were(tmp_path: Path) -> None:
    stop = 3
    recipe = MODERN.changed({"size": 32, "batch_size": 4, "epochs": 2, "dropout": 0.1})

    class StoppedError(Exception):
        pass

    def stopping(event: object) -> None:
        if isinstance(event, StepReport) and event.step == stop + 1:
            raise StoppedError

    whole = Trainer(small.fabric(), small.encoder(recipe), small.task(tmp_path / "whole", recipe))
    whole.run()
    with pytest.raises(StoppedError):
        Trainer(small.fabric(), small.encoder(recipe), small.task(tmp_path / "cut", recipe, save_every=1)).run(stopping)
    resumed = Trainer(small.fabric(), small.encoder(recipe), small.task(tmp_path / "cut", recipe, save_every=1))
    assert resumed.position.step == stop
    resumed.run()
    for one, other in ((whole.encoder, resumed.encoder), (whole.averaged, resumed.averaged)):
        pairs = zip(one.tensors().values(), other.tensors().values(), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)
    assert not torch.equal(whole.averaged.tensors()["classifier.weight"], whole.encoder.tensors()["classifier.weight"])


def test_the_average_forgets_slowly_and_takes_the_buffers(tmp_path: Path) -> None:
    recipe = MODERN.changed({"size": 32, "batch_size": 4, "epochs": 1})
    trainer = Trainer(small.fabric(), small.encoder(recipe), small.task(tmp_path, recipe))
    mean = trainer.encoder.tensors()["classifier.weight"].clone().double()
    clock = Clock(4)
    for step, batch in enumerate(trainer.batches()):
        trainer.step(batch, clock)
        decay = (1 + step) / (10 + step)
        mean = decay * mean + (1 - decay) * trainer.encoder.tensors()["classifier.weight"].double()
    torch.testing.assert_close(trainer.averaged.tensors()["classifier.weight"].double(), mean, rtol=1e-5, atol=1e-8)
    trainer.evaluate()
    name = "features.norm5.running_mean"
    assert torch.equal(trainer.averaged.tensors()[name], trainer.encoder.tensors()[name])


def test_a_time_limit_becomes_a_number_of_steps_that_a_resumed_run_keeps(tmp_path: Path) -> None:
    recipe = small.RECIPE.changed({"epochs": 1000, "batch_size": 2})
    work = small.task(tmp_path, recipe, max_minutes=1e-6)
    position = Trainer(small.fabric(), small.encoder(recipe), work).run()
    assert (position.step, position.budget, len(position.history)) == (20, 20, 4)
    assert Trainer(small.fabric(), small.encoder(recipe), replace(work, max_minutes=99.0)).run().step == 20


# What goes wrong


def test_a_loss_that_is_not_finite_stops_and_keeps_what_was_saved(tmp_path: Path) -> None:
    trainer = Trainer(small.fabric(), small.encoder(), small.task(tmp_path))

    def poison(event: object) -> None:
        if isinstance(event, EpochRecord):
            next(iter(trainer.encoder.parameters())).data.fill_(float("nan"))

    with pytest.raises(CxrsearchError, match=r"the loss is nan in step 3; epoch 1 is kept in .* lower lr"):
        trainer.run(poison)
    assert all(
        torch.isfinite(value).all() for value in load_checkpoint(tmp_path / "best.safetensors").tensors().values()
    )


def test_weights_that_are_not_finite_after_an_epoch_stop_too(tmp_path: Path) -> None:
    trainer = Trainer(small.fabric(), small.encoder(), small.task(tmp_path))

    def poison(event: object) -> None:
        if isinstance(event, StepReport) and event.step == 2:
            next(iter(trainer.encoder.parameters())).data.fill_(float("nan"))

    with pytest.raises(CxrsearchError, match=r"not finite after step 2; no epoch is finished yet"):
        trainer.run(poison)
    assert not (tmp_path / STATE).exists()


def test_memory_that_does_not_suffice_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = Trainer(small.fabric(), small.encoder(), small.task(tmp_path))

    def full(_: Tensor) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(trainer, "module", full)
    with pytest.raises(CxrsearchError, match="a training step of 4 images does not fit in the memory of cpu"):
        trainer.run()


def test_less_than_a_batch_is_refused(tmp_path: Path) -> None:
    recipe = small.RECIPE.changed({"batch_size": 12})
    with pytest.raises(UsageError, match="11 training images are fewer than one batch of 12"):
        Trainer(small.fabric(), small.encoder(recipe), small.task(tmp_path, recipe))


@pytest.mark.parametrize("damage", ["truncate", "flip"])
def test_a_damaged_state_is_refused(finished: tuple[Path, list[Any]], tmp_path: Path, damage: str) -> None:
    work = small.task(tmp_path)
    data = bytearray((finished[0] / STATE).read_bytes())
    if damage == "flip":
        data[-5] ^= 1
    (tmp_path / STATE).write_bytes(bytes(data[:-9] if damage == "truncate" else data))
    with pytest.raises(CheckpointError, match=r"state\.safetensors"):
        Trainer(small.fabric(), small.encoder(), work)


# Two ranks


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Tensor]]:
    """What two ranks wrote: 11 images, batches of 4, so one step an epoch, two epochs."""
    folder = tmp_path_factory.mktemp("ranks")
    finished = start(folder, "ranks")
    assert finished.returncode == 0, finished.stderr
    return [load_file(folder / f"{rank}.safetensors") for rank in range(2)]


def own_gradient(encoder: Encoder, before: dict[str, Tensor], folder: Path, rank: int, step: int) -> dict[str, Tensor]:
    """The gradient of one rank's batch, by plain autograd in this process."""
    work = small.task(folder)
    state = encoder.state_dict()
    encoder.load_state_dict(state | before)
    encoder.set_dropout(work.recipe.dropout)
    encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload, unused-ignore]
    encoder.train().zero_grad()
    order = BatchOrder(11, 4, 2, rank, work.seed, step, 2)
    pixels, labels = next(training_batches(work.train, encoder.spec.preprocess, work.recipe, order, 0))
    torch.manual_seed(step_seed(work.seed, step, rank))
    loss = finding_loss(work.recipe, work.train.labels, torch.device("cpu"))(encoder(pixels)[1], labels)
    loss.backward()  # type: ignore[no-untyped-call]
    return {n: p.grad.clone() for n, p in encoder.named_parameters() if p.grad is not None} | {"loss": loss.detach()}


@pytest.mark.parametrize("step", [0, 1])
def test_the_gradient_is_the_mean_of_the_ranks_own(ranks: list[dict[str, Tensor]], tmp_path: Path, step: int) -> None:
    before = {n.removeprefix(f"{step}.before."): v for n, v in ranks[0].items() if n.startswith(f"{step}.before.")}
    own = [own_gradient(small.encoder(), before, tmp_path, rank, step) for rank in range(2)]
    assert float(ranks[0][f"{step}.loss"]) == pytest.approx(float(own[0]["loss"] + own[1]["loss"]) / 2, rel=1e-5)
    for name, _ in small.encoder().named_parameters():
        mean = (own[0][name] + own[1][name]) / 2
        for rank in ranks:
            torch.testing.assert_close(
                rank[f"{step}.gradient.{name}"], mean, rtol=0, atol=1e-4 * float(mean.abs().max())
            )


def test_the_ranks_end_equal_and_share_the_images(ranks: list[dict[str, Tensor]]) -> None:
    after = [name for name in ranks[0] if name.startswith("after.")]
    assert all(torch.equal(ranks[0][name], ranks[1][name]) for name in after)
    assert torch.equal(ranks[0]["1.loss"], ranks[1]["1.loss"])
    for epoch in range(2):
        seen = [int(row) for rank in ranks for row in rank["seen"][4 * epoch : 4 * epoch + 4]]
        assert len(set(seen)) == 8


def test_every_image_is_evaluated_once_and_by_all_ranks_together(
    ranks: list[dict[str, Tensor]], tmp_path: Path
) -> None:
    assert sorted(int(row) for rank in ranks for row in rank["evaluated"]) == list(range(7))
    assert torch.equal(ranks[0]["probabilities"], ranks[1]["probabilities"])
    encoder = small.encoder()
    after = {n.removeprefix("after."): v for n, v in ranks[0].items() if n.startswith("after.")}
    encoder.load_state_dict(encoder.state_dict() | after)
    alone = Trainer(small.fabric(), encoder, small.task(tmp_path)).evaluate()
    assert ranks[0]["probabilities"].numpy() == pytest.approx(alone, rel=1e-4)
