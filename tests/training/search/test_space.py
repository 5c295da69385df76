"""Search spaces: the paper's, those of files, and what is refused."""

from pathlib import Path

import pytest

from cxrsearch.errors import UsageError
from cxrsearch.training.recipe import MODERN, PAPER
from cxrsearch.training.search._space import PAPER_SPACE, Choices, Range, SearchSpace, default_space, load_space


def test_the_papers_space_is_the_papers() -> None:
    assert PAPER_SPACE.entries == {
        "lr": Range(1e-5, 1e-2, log=True),
        "weight_decay": Choices((0.0, 1e-4, 1e-3)),
        "dropout": Choices((0.1, 0.2)),
        "lr_decay": Choices((0.5, 0.2)),
    }
    assert default_space(PAPER) == PAPER_SPACE
    assert set(default_space(MODERN).entries) == {"lr", "weight_decay", "dropout"}
    PAPER_SPACE.require_recipes(PAPER)
    default_space(MODERN).require_recipes(MODERN)


def test_a_file_gives_ranges_and_choices_in_the_types_of_the_recipe(tmp_path: Path) -> None:
    path = tmp_path / "space.toml"
    path.write_text(
        "lr = { low = 1e-4, high = 1, log = true }\nweight_decay = [0, 1e-3]\n"
        'optimiser = ["adam", "adamw"]\nclass_weights = [true, false]\n[batch_size]\nlow = 8\nhigh = 64\n'
    )
    space = load_space(path)
    assert space.entries == {
        "lr": Range(1e-4, 1.0, log=True),
        "weight_decay": Choices((0.0, 1e-3)),
        "optimiser": Choices(("adam", "adamw")),
        "class_weights": Choices((True, False)),
        "batch_size": Range(8, 64),
    }
    entry = space.entries["weight_decay"]
    assert isinstance(entry, Choices)
    assert [type(value) for value in entry.values] == [float, float]
    assert space.to_json()["lr"] == {"low": 1e-4, "high": 1.0, "log": True}
    space.require_recipes(PAPER)


def test_the_recipes_own_values_where_they_could_be_suggested() -> None:
    assert PAPER_SPACE.values_of(PAPER) == {"lr": 1e-4, "weight_decay": 0.0, "dropout": 0.1, "lr_decay": 0.2}
    assert PAPER_SPACE.values_of(PAPER.changed({"dropout": 0.3})) is None
    assert PAPER_SPACE.values_of(PAPER.changed({"lr": 2e-2})) is None


def test_entries_are_left_out_until_none_is_left() -> None:
    assert list(PAPER_SPACE.without(["lr", "dropout", "epochs"]).entries) == ["weight_decay", "lr_decay"]
    with pytest.raises(UsageError, match="nothing to vary"):
        PAPER_SPACE.without(PAPER_SPACE.entries)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "nothing to vary"),
        ("learning_rate = [1, 2]", "unknown recipe entry 'learning_rate'"),
        ('objective = ["findings", "views"]', "a search over objectives: .* — leave objective out"),
        ('name = ["a", "b"]', "unknown recipe entry 'name'"),
        ("lr = 3", "lr = 3 in a search is neither"),
        ("lr = { low = 1 }", "neither a range nor choices"),
        ("lr = { low = 1, high = 2, step = 1 }", "neither a range nor choices"),
        ("lr = { low = 1e-2, high = 1e-5 }", r"from 0\.01 to 1e-05 — give low < high"),
        ("lr = { low = nan, high = 1 }", "give low < high"),
        ("dropout = { low = 0, high = 0.5, log = true }", "give low > 0"),
        ('lr = { low = 1e-5, high = 1e-2, log = "yes" }', "a range of lr"),
        ('lr = { low = "a", high = "b" }', "lr = 'a' in a search"),
        ("epochs = { low = 1.5, high = 3 }", r"epochs = 1\.5 in a search"),
        ('arch = { low = "densenet121", high = "densenet169" }', "a range of arch"),
        ("lr = []", r"the choices \[\] of lr"),
        ("lr = [1e-3]", "at least two"),
        ("dropout = [0, 0.0, 0.1]", "each once"),
        ("dropout = [[0.1], [0.2]]", r"dropout = \[0\.1\] in a search"),
        ("class_weights = [0, 1]", "class_weights = 0 in a search"),
        ("lr = ", "cannot read the search space"),
    ],
)
def test_a_file_that_is_no_search_space_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "space.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=message):
        load_space(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        load_space(tmp_path / "space.toml")


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"lr": Range(1e-5, 1000.0)}, "recipe entry lr = 1000"),
        ({"temperature": Choices((0.15, 0.3))}, "temperature 0.3 with objective findings"),
        ({"arch": Choices(("densenet121", "resnet50"))}, "unknown arch 'resnet50'"),
        ({"schedule": Choices(("plateau", "cosine"))}, "warmup 0 with a cosine schedule"),
        ({"evaluation_crops": Choices(("one", "ten")), "crop": Choices(("none", "random"))}, "ten crops of whole"),
        ({f"{kind}_{n}": Choices(tuple(range(400))) for kind, n in [("batch", "size")]}, "recipe entry batch_size = 0"),
    ],
)
def test_what_could_not_be_trained_is_refused_before_a_search(space: dict[str, Range | Choices], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        SearchSpace(space).require_recipes(PAPER)


def test_excluding_values_are_fine_where_they_never_meet_and_too_many_are_not_tried() -> None:
    crops = SearchSpace({"evaluation_crops": Choices(("one", "ten"))})
    crops.require_recipes(PAPER.changed({"crop": "random"}))
    many = {name: Choices(tuple(i / 100 for i in range(50))) for name in ("dropout", "margin", "label_smoothing")}
    with pytest.raises(UsageError, match="more than 100000 combinations"):
        SearchSpace(many).require_recipes(PAPER)
