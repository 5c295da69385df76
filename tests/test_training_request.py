"""What a training may be asked for."""

from pathlib import Path
from typing import Any

import pytest

from cxrsearch.encoder.recipe import MODERN, PAPER
from cxrsearch.errors import UsageError
from cxrsearch.evaluate import cross_validate
from cxrsearch.images.findings import NIH_FINDINGS
from cxrsearch.novelty import NoveltyQuestion
from cxrsearch.novelty_retrain import retrain
from cxrsearch.training_request import Training


def test_nothing_asked_for_is_the_papers_recipe() -> None:
    assert Training().recipe() == PAPER
    assert Training().vocabulary().findings == NIH_FINDINGS
    assert Training().held_out() is None


def test_what_it_stands_for() -> None:
    training = Training("modern", {"epochs": 3, "lr": None}, findings=("Lump", "Mass"), holdout="lump", strict=True)
    assert training.recipe() == MODERN.changed({"epochs": 3})
    held = training.held_out()
    assert held is not None
    assert (held.finding, held.strict, held.rest(training.vocabulary()).findings) == ("Lump", True, ("Mass",))


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"seed": -1}, "seed -1, a state every 200 steps, a limit of None minutes"),
        ({"save_every": 0}, "a state every 0 steps"),
        ({"max_minutes": 0}, "a limit of 0 minutes"),
        ({"max_minutes": float("inf")}, "a limit of inf minutes"),
        ({"max_minutes": float("nan")}, "a limit of nan minutes"),
        ({"workers": -1}, "-1 workers"),
        ({"freeze": True, "devices": 2}, "on several devices"),
        ({"freeze": True, "tensorboard": True}, "for TensorBoard"),
        ({"config": "best"}, "unknown recipe 'best'"),
        ({"changes": {"speed": 1}}, "unknown recipe entry 'speed'"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_any_work(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Training(**asked)


def test_an_unknown_finding_cannot_be_held_out() -> None:
    with pytest.raises(UsageError, match="did you mean Hernia"):
        Training(holdout="Hernja")


def test_what_is_settled_is_not_contradicted() -> None:
    assert Training(seed=3).settled(split="column", seed=3) == Training(split="column", seed=3)
    with pytest.raises(UsageError, match=r"a training with seed 3, which has to be 4 here — leave seed out"):
        Training(seed=3).settled(seed=4)


@pytest.mark.parametrize("asked", [{"split": "column"}, {"holdout": "Mass"}, {"devices": 2}])
def test_a_fold_settles_split_and_devices_and_trains_all_findings(asked: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"a training with {next(iter(asked))}"):
        cross_validate(tmp_path, tmp_path / "x.csv", 2, training=Training(**asked), out=tmp_path)


@pytest.mark.parametrize(
    "asked", [{"split": "paper"}, {"seed": 1}, {"holdout": "Hernia"}, {"strict": True}, {"devices": 2}]
)
def test_a_held_out_finding_settles_what_its_question_asks(asked: dict[str, Any], tmp_path: Path) -> None:
    question = NoveltyQuestion(split="column")
    with pytest.raises(UsageError, match=f"a training with {next(iter(asked))}"):
        retrain(tmp_path, tmp_path / "x.csv", "Mass", question, Training(**asked), out=tmp_path)
