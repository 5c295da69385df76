"""What a training may be asked for."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cxrsearch.errors import UsageError
from cxrsearch.evaluation.evaluate import cross_validate
from cxrsearch.images.findings import NIH_FINDINGS
from cxrsearch.novelty.evaluate_novelty import NoveltyQuestion
from cxrsearch.novelty.retrain import retrain
from cxrsearch.training.recipe import MODERN, PAPER
from cxrsearch.training.request import Training
from cxrsearch_cli.app import app
from tests.conftest import DataSet


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
        ({"seed": -1}, "seed -1, a saved state every 200 steps, a limit of None minutes"),
        ({"save_every": 0}, "a saved state every 0 steps"),
        ({"max_minutes": 0}, "a limit of 0 minutes"),
        ({"max_minutes": float("inf")}, "a limit of inf minutes"),
        ({"max_minutes": float("nan")}, "a limit of nan minutes"),
        ({"workers": -1}, "-1 workers"),
        ({"freeze": True, "devices": 2}, "--freeze with several devices"),
        ({"freeze": True, "tensorboard": True}, "several devices or TensorBoard"),
        (
            {"freeze": True, "max_minutes": 3},
            "a limit of 3 minutes with --freeze, which has no steps — leave",
        ),
        (
            {"freeze": True, "changes": {"lr": 1e-3, "epochs": 10, "flip": None}},
            r"epochs 10, lr 0\.001 have no effect with --freeze, .* — leave --freeze or these out",
        ),
        ({"freeze": True, "changes": {"smallest_area": 0.9}}, r"smallest_area 0\.9 has no effect with --freeze"),
        ({"strict": True}, "strict without a held-out finding — name it with --holdout, or leave --strict out"),
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
    with pytest.raises(UsageError, match=r"seed 3 cannot be set here: it must be 4 — leave seed out"):
        Training(seed=3).settled(seed=4)


def test_a_head_alone_is_asked_for_what_decides_it(tmp_path: Path) -> None:
    """A crop that the recipe's other variations exclude needs them off; and a file may be for other trainings, too."""
    changes = {"crop": "random", "smallest_area": 1.0, "evaluation_crops": "one", "margin": 0.1, "lr": None}
    assert Training("modern", changes, freeze=True).recipe() == MODERN.changed(changes)
    path = tmp_path / "mine.toml"
    path.write_text("epochs = 3")
    assert Training(str(path), freeze=True).recipe().epochs == 3


def test_a_file_is_read_once_for_all_trainings(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('base = "modern"\nepochs = 3')
    training = Training(str(path))
    expected = MODERN.changed({"name": "mine", "epochs": 3})
    path.write_text("epochs = 4")
    assert training.recipe() == expected
    assert replace(training, seed=1).settled(split="column").recipe() == expected
    assert replace(training, config=str(path)).recipe() == PAPER.changed({"name": "mine", "epochs": 4})
    path.unlink()
    assert replace(training, changes={"lr": 0.1}).recipe() == expected.changed({"lr": 0.1})
    assert Training(expected) == training


def test_a_table_is_needed_by_what_is_about_findings() -> None:
    unlabelled = Training("unlabelled")
    unlabelled.require_table(None)
    for asked, message in (
        (Training(), "the findings of these images are not known — name the table with --labels"),
        (replace(unlabelled, holdout="Mass"), "left out by findings or boxes without a table"),
        (replace(unlabelled, boxes="boxes.csv"), "left out by findings or boxes without a table"),
        (replace(unlabelled, findings=("Lump", "Mass")), "--findings Lump,Mass without a table"),
        (replace(unlabelled, changes={"objective": "findings"}), "the findings of these images are not known"),
    ):
        asked.require_table(Path("table.csv"))
        with pytest.raises(UsageError, match=message):
            asked.require_table(None)


@pytest.mark.parametrize("asked", [{"split": "column"}, {"holdout": "Mass"}, {"devices": 2}])
def test_a_fold_settles_split_and_devices_and_trains_all_findings(asked: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"{next(iter(asked))} .* cannot be set here"):
        cross_validate(tmp_path, tmp_path / "x.csv", 2, training=Training(**asked), out=tmp_path)


@pytest.mark.parametrize(
    "asked",
    [{"split": "paper"}, {"seed": 1}, {"holdout": "Hernia"}, {"strict": True, "holdout": "Mass"}, {"devices": 2}],
)
def test_a_held_out_finding_settles_what_its_question_asks(asked: dict[str, Any], tmp_path: Path) -> None:
    question = NoveltyQuestion(split="column")
    with pytest.raises(UsageError, match=f"{next(iter(asked))} .* cannot be set here"):
        retrain(tmp_path, tmp_path / "x.csv", "Mass", question, Training(**asked), out=tmp_path)


def test_a_held_out_finding_is_strict_by_its_question(data_set: DataSet, split_table: Path, tmp_path: Path) -> None:
    """Patient 3, who validates, has Mass in one image: strictly nobody is left."""
    arguments = (str(data_set.images), "--labels", str(split_table), "--split", "column", "--out", str(tmp_path / "r"))
    options = ("--weights", "random:0", "--arch", "densenet121", "--size", "32", "--device", "cpu", "--workers", "0")
    answer = CliRunner().invoke(app, ["novelty", *arguments, *options, "--holdout", "Mass", "--retrain", "--strict"])
    assert answer.exit_code == 1, answer.output
    assert "part val of split column" in answer.stderr
