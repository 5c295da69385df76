"""Training without labels: two views of an image, told from those of others."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cxrsearch.encoder.checkpoint import load_checkpoint
from cxrsearch.training._augment import augmentations, image_rng
from cxrsearch.training._batches import BatchOrder, training_batches
from cxrsearch.training._contrastive_objective import PROJECTED, Contrastive, Projected
from cxrsearch.training.losses import contrastive_loss
from cxrsearch.training.recipe import UNLABELLED
from cxrsearch.training.state import EpochRecord
from cxrsearch.training.trainer import StepReport, Trainer
from tests.training import small_training as small

RECIPE = UNLABELLED.changed({"arch": "densenet121", "size": 32, "batch_size": 4, "epochs": 2, "ema": 0.9})


def trainer(folder: Path, **fields: Any) -> Trainer:
    return Trainer(small.fabric(), small.encoder(RECIPE, findings=None), small.task(folder, RECIPE, **fields))


def test_a_batch_holds_augmentations_of_every_image(tmp_path: Path) -> None:
    work = small.task(tmp_path, RECIPE)
    preprocess = RECIPE.preprocess(small.encoder().spec.preprocess)
    order = BatchOrder(11, 4, 1, 0, seed=5, start=3, epochs=2)
    pixels, _ = next(training_batches(work.train, preprocess, RECIPE, order, workers=0))
    assert pixels.shape == (4, 2, 32, 32)
    for views, (epoch, row) in zip(pixels, next(iter(order)), strict=True):
        expected = augmentations(work.train.stored(row), preprocess, RECIPE, image_rng(5, epoch, row), 2)
        assert np.array_equal(views, expected)


def test_the_validation_loss_is_that_of_batches_in_order() -> None:
    answers = np.random.default_rng(1).normal(size=(7, 2 * PROJECTED))
    found = Contrastive(temperature=0.2, batch_size=3).validate(np.zeros((7, 0), bool), answers)
    rows = torch.from_numpy(answers.reshape(14, PROJECTED))
    three, *two = (float(contrastive_loss(part, 0.2)) for part in (rows[:6], rows[6:10], rows[10:]))
    expected = (3 * three + 2 * sum(two)) / 7
    assert found == {"val_loss": pytest.approx(expected, rel=1e-12), "auroc": (), "mean_auroc": None}


def test_what_is_evaluated_are_projections_of_views_that_never_change(tmp_path: Path) -> None:
    made = trainer(tmp_path)
    network = made.averaging
    assert isinstance(network, Projected)
    found = made.evaluate()
    for row in range(7):
        views = augmentations(made.task.val.stored(row), made.encoder.spec.preprocess, RECIPE, image_rng(0, 0, row), 2)
        with torch.inference_mode():
            projections = network.eval()(torch.from_numpy(views))[1]
        assert found[row] == pytest.approx(projections.flatten().double().numpy(), rel=1e-3, abs=1e-5)


def test_the_encoder_learns_and_is_kept_without_head_or_projector(tmp_path: Path) -> None:
    events: list[Any] = []
    made = trainer(tmp_path)
    before = {name: value.clone() for name, value in made.encoder.tensors().items()}
    made.run(events.append)
    records = [event for event in events if isinstance(event, EpochRecord)]
    assert [record.auroc for record in records] == [(), ()]
    assert [record.mean_auroc for record in records] == [None, None]
    best = load_checkpoint(tmp_path / "best.safetensors")
    assert best.spec.findings is None
    assert best.tensors().keys() == before.keys()
    moved = [name for name, value in best.tensors().items() if not torch.equal(value, before[name])]
    assert {"features.conv0.weight", "features.norm5.weight"} <= set(moved)


def test_interrupted_it_ends_with_the_same_weights(tmp_path: Path) -> None:
    class StoppedError(Exception):
        pass

    def stopping(event: object) -> None:
        if isinstance(event, StepReport) and event.step == 3:
            raise StoppedError

    whole = trainer(tmp_path / "whole")
    whole.run()
    with pytest.raises(StoppedError):
        trainer(tmp_path / "cut", save_every=1).run(stopping)
    resumed = trainer(tmp_path / "cut", save_every=1)
    assert resumed.position.step == 2
    resumed.run()
    for one, other in ((whole.network, resumed.network), (whole.averaging, resumed.averaging)):
        pairs = zip(one.state_dict().items(), other.state_dict().values(), strict=True)
        differing = [name for (name, a), b in pairs if not torch.equal(a, b)]
        assert [name for name in differing if not name.endswith("num_batches_tracked")] == []


def test_the_first_projector_depends_on_the_seed_and_leaves_the_generator_alone() -> None:
    encoder = small.encoder(RECIPE, findings=None)
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    projectors = [Projected(encoder, seed).projector.state_dict()["0.weight"] for seed in (0, 0, 1)]
    assert torch.equal(projectors[0], projectors[1])
    assert not torch.equal(projectors[0], projectors[2])
    assert torch.equal(torch.rand(3), expected)
