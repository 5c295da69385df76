"""Recipes: the paper's values, what may be changed, and what is refused."""

from pathlib import Path
from typing import Any

import pytest

from cxrsearch.errors import UsageError
from cxrsearch.images.preprocess import Preprocess
from cxrsearch.training.recipe import MODERN, PAPER, UNLABELLED, Recipe, load_recipe


def test_the_papers_recipe_is_the_papers() -> None:
    expected = {
        "arch": "densenet169",
        "weights": "imagenet",
        "size": 224,
        "epochs": 10,
        "batch_size": 16,
        "optimiser": "adam",
        "lr": 1e-4,
        "weight_decay": 0.0,
        "schedule": "plateau",
        "lr_decay": 0.2,
        "dropout": 0.1,
        "class_weights": True,
        "flip": 0.5,
        "crop": "none",
        "smallest_area": 1.0,
        "ema": 0.0,
        "label_smoothing": 0.0,
    }
    assert {name: PAPER.to_json()[name] for name in expected} == expected


def test_a_file_changes_its_base(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('base = "modern"\nepochs = 3\nlr = 1\n')
    assert load_recipe(str(path)) == MODERN.changed({"name": "mine", "epochs": 3, "lr": 1.0})
    path.write_text("")
    assert load_recipe(str(path)) == PAPER.changed({"name": "mine"})
    assert load_recipe("modern") is MODERN


def test_none_changes_nothing_and_a_recipe_survives_json() -> None:
    assert PAPER.changed({"arch": None, "epochs": None}) == PAPER
    assert Recipe(**MODERN.to_json()) == MODERN


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"learning_rate": 1e-3}, "unknown recipe entry 'learning_rate'"),
        ({"lr": "fast"}, "lr = 'fast'"),
        ({"lr": 0.0}, "lr = 0"),
        ({"lr": float("nan")}, "lr = nan"),
        ({"epochs": 2.5}, "epochs = 2.5"),
        ({"epochs": True}, "epochs = True"),
        ({"arch": "resnet50"}, "unknown arch 'resnet50'"),
        ({"crop": "centre"}, "unknown crop 'centre'"),
        ({"evaluation_crops": "ten"}, "ten crops of whole images"),
        ({"crop": "random", "smallest_area": 0.5}, "random crops and random resized crops"),
        ({"schedule": "cosine"}, "warmup 0"),
        ({"gamma_negative": 0.5}, "gamma_negative 0.5"),
        ({"temperature": 0.2}, r"temperature 0\.2 with objective findings, .* — leave it at 0\.15, or set objective"),
    ],
)
def test_what_cannot_be_meant_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        PAPER.changed(changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"label_smoothing": 0.1},
            "label_smoothing 0.1 with objective contrastive, whose loss has no labels — set label_",
        ),
        ({"gamma_positive": 1}, "gamma_positive 1.0 with objective contrastive"),
        ({"gamma_negative": 2.0}, "gamma_negative 2.0 with objective contrastive"),
        ({"margin": 0.05}, "margin 0.05 with objective contrastive"),
        (
            {"class_weights": False},
            "class_weights False with objective contrastive, whose loss has no findings — leave",
        ),
        ({"evaluation_crops": "ten", "crop": "random", "smallest_area": 1}, "ten crops with objective contrastive"),
        ({"batch_size": 1}, "batch_size 1 with objective contrastive, .* — set batch_size >= 2"),
        (
            {"flip": 0, "smallest_area": 1, "rotation": 0, "exposure": 0},
            "augmentation .flip 0.0, crop none, smallest_area 1.0, rotation 0.0, translation 0.0, exposure 0.0.: both",
        ),
        ({"flip": 1, "smallest_area": 1, "rotation": 0, "exposure": 0}, "without any augmentation .flip 1.0"),
    ],
)
def test_what_views_would_ignore_or_not_learn_from_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        UNLABELLED.changed(changes)


@pytest.mark.parametrize(
    "varied",
    [
        {"flip": 0.1},
        {"crop": "random"},
        {"smallest_area": 0.9},
        {"rotation": 1},
        {"translation": 0.1},
        {"exposure": 0.1},
    ],
)
def test_one_variation_is_enough_for_views(varied: dict[str, Any]) -> None:
    plain = {"flip": 0, "smallest_area": 1, "rotation": 0, "exposure": 0}
    assert UNLABELLED.changed(plain | varied | {"batch_size": 2}).objective == "contrastive"


def test_any_recipe_may_learn_views_or_findings() -> None:
    """What another recipe says of class weights cannot be told from what it says by default, and is no mistake."""
    for recipe in (PAPER, MODERN, UNLABELLED):
        changes = {"objective": "contrastive", "label_smoothing": 0.0, "temperature": 0.3}
        views = recipe.changed(changes | {"class_weights": recipe.class_weights})
        assert (views.objective, views.class_weights) == ("contrastive", recipe.class_weights)
        assert Recipe(**views.to_json()) == views
        assert recipe.changed({"objective": "findings", "class_weights": True}).class_weights is True


@pytest.mark.parametrize(
    ("text", "message"), [("epochs = ", "cannot read the recipe"), ('base = "old"', "unknown base 'old'")]
)
def test_a_file_that_is_no_recipe_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=message):
        load_recipe(str(path))


@pytest.mark.parametrize("config", ["papers", "absent.toml"])
def test_an_unknown_recipe_is_refused(config: str) -> None:
    with pytest.raises(UsageError, match=config):
        load_recipe(config)


def test_crops_come_from_an_image_of_8_7_of_the_size_and_the_weights_keep_their_normalisation() -> None:
    xrv = Preprocess(normalisation="xrv", channels=1)
    cropped = PAPER.changed({"crop": "random"}).preprocess(xrv)
    assert (cropped.size, cropped.pixel_side, cropped.crop) == (224, 256, "centre")
    assert (cropped.normalisation, cropped.channels) == ("xrv", 1)
    assert PAPER.changed({"size": 320}).preprocess(cropped) == Preprocess(
        size=320, pixel_side=320, normalisation="xrv", channels=1
    )


def test_the_former_name_of_an_objective_is_read(tmp_path: Path) -> None:
    """Version 0.1.0 wrote `views`."""
    assert UNLABELLED.objective == PAPER.changed({"objective": "views"}).objective == "contrastive"
    (tmp_path / "old.toml").write_text('base = "unlabelled"\nobjective = "views"\n')
    assert load_recipe(str(tmp_path / "old.toml")) == UNLABELLED.changed({"name": "old"})
    with pytest.raises(UsageError, match="unknown objective 'view' — use one of findings, contrastive"):
        PAPER.changed({"objective": "view"})
