"""Options as objects: a command's dataclass becomes its options, and the values arrive in the library."""

import functools
import importlib
import re
import shlex
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner, Result

from cxrsearch.novelty.evaluate_novelty import NoveltyQuestion
from cxrsearch.query.options import QueryOptions
from cxrsearch.store.filtered_search import Filters
from cxrsearch.training.request import Training
from cxrsearch_cli.app import app
from cxrsearch_cli.options import FormOptions, PaperFormOptions, refuse_ignored, select_arguments, unwrap, with_options
from tests.conftest import DataSet


@dataclass(frozen=True, kw_only=True)
class Shared:
    """What two toy commands share."""

    size: Annotated[int, typer.Option(help="A size.", min=1)] = 3
    names: Annotated[list[str] | None, typer.Option("--name", help="A name.", rich_help_panel="More")] = None
    cache: Annotated[Path | None, typer.Option(help="A folder.", envvar="TOY_CACHE")] = None


@dataclass(frozen=True, kw_only=True)
class Toy(Shared):
    """Those of one toy command: a required option, and another help for a shared one."""

    size: Annotated[int, typer.Option(help="Another size.", min=1)] = 5
    word: Annotated[str, typer.Option(help="A word.")]
    flag: Annotated[bool, typer.Option("--flag", help="A flag.")] = False


@pytest.fixture
def toy() -> tuple[typer.Typer, list[Toy]]:
    """A command line of one command, and the options that it received."""
    received: list[Toy] = []
    program = typer.Typer()

    @program.command()
    @with_options
    def command(options: Toy, context: typer.Context) -> None:
        """Do
        nothing."""
        refuse_ignored(context, options, ("size", "names", "cache"), "here", ", or add --flag")
        received.append(options)

    return program, received


def test_each_field_is_an_option_and_the_values_arrive_as_one_object(toy: Any) -> None:
    program, received = toy
    assert CliRunner().invoke(program, ["--word", "a", "--flag"]).exit_code == 0
    assert received == [Toy(word="a", flag=True)]
    assert (received[0].size, received[0].names, received[0].cache) == (5, None, None)
    help_text = CliRunner().invoke(program, ["--help"], env={"COLUMNS": "100"}).stdout
    assert "Do nothing." in help_text
    assert "Another size." in help_text
    flags = re.findall(r"(--\w+) ", help_text[help_text.index("Options ─") :])
    assert flags == ["--size", "--cache", "--word", "--flag", "--help", "--name"]  # the panel comes last


@pytest.mark.parametrize("arguments", [[], ["--word", "a", "--size", "0"], ["--word", "a", "--size", "x"]])
def test_a_wrong_value_is_exit_code_2(toy: Any, arguments: list[str]) -> None:
    assert CliRunner().invoke(toy[0], arguments).exit_code == 2
    assert toy[1] == []


@pytest.mark.parametrize(
    ("arguments", "option"), [(["--size", "4"], "--size"), (["--name", "a"], "--name"), (["--cache", "c"], "--cache")]
)
def test_an_ignored_option_is_refused_if_it_is_on_the_command_line(
    toy: Any, arguments: list[str], option: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_CACHE", "other")
    refused = CliRunner().invoke(toy[0], ["--word", "a", *arguments]).exception
    assert str(refused).startswith(f"{option} has no effect here — leave ")
    assert str(refused).endswith(" out, or add --flag")
    assert toy[1] == []


def test_defaults_and_the_environment_are_not_refused(toy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOY_CACHE", "other")
    assert CliRunner().invoke(toy[0], ["--word", "a", "--size", "5"]).exit_code == 0
    assert toy[1] == [Toy(word="a", cache=Path("other"))]


def test_arguments_are_selected_by_name() -> None:
    def target(size: int, flag: bool, other: int = 1) -> None: ...

    assert select_arguments(target, Toy(word="a", size=7)) == {"size": 7, "flag": False}


def test_paragraphs_are_unwrapped() -> None:
    assert unwrap("One\n    line.\n\n    Two\n    lines.\n    ") == "One line.\n\nTwo lines."


def test_the_form_of_a_result() -> None:
    assert FormOptions().form() == "tables"
    assert FormOptions(as_csv=True).form() == "csv"
    assert PaperFormOptions(as_latex=True).form() == "latex"


def commands() -> dict[str, Any]:
    return dict(typer.main.get_command(app).commands)  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", commands())
@pytest.mark.parametrize("width", [80, 200])
def test_the_help_shows_every_option_with_its_whole_text(name: str, width: int) -> None:
    """Brackets would vanish, as they are markup of rich."""
    shown = CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": str(width)}).stdout
    assert max(map(len, shown.splitlines())) <= width
    words = Counter(re.sub(r"[│╭╮╰╯─*]", " ", shown).split())
    for parameter in commands()[name].params:
        assert not re.search(r"\[[a-z]+\]", parameter.help), parameter.name
        assert not Counter(re.sub(r"[─*]", " ", parameter.help).split()) - words, parameter.name
        assert all(flag in words for flag in parameter.opts if parameter.param_type_name == "option")


class Reached(Exception):  # noqa: N818
    """The library was called: with these arguments."""


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch, data_set: DataSet, tmp_path: Path) -> Any:
    """`library(function, *words)`: the positional and named arguments with which a command calls this function."""
    monkeypatch.chdir(tmp_path)
    for name in ("CXRSEARCH_DATA", "CXRSEARCH_INDEX", "CXRSEARCH_WEIGHTS", "CXRSEARCH_CACHE"):
        monkeypatch.delenv(name, raising=False)

    def call(function: str, command: str, *words: object) -> tuple[tuple[Any, ...], dict[str, Any]]:
        def reached(*arguments: Any, **named: Any) -> None:
            raise Reached(arguments, named)

        module, _, name = function.rpartition(".")
        original = getattr(importlib.import_module(module), name)
        monkeypatch.setattr(function, functools.wraps(original)(reached))
        result: Result = CliRunner().invoke(app, [command, str(data_set.images), *map(str, words)])
        assert isinstance(result.exception, Reached), result.output
        arguments, named = result.exception.args
        return arguments, named

    return call


RECIPE = shlex.split("--arch densenet169 --size 64 --epochs 3 --set lr=1e-3 --set optimiser=adamw --config modern")
COMPUTING = shlex.split("--device cpu --precision fp32 --workers 2 --cache pixels")
CHANGES = {"arch": "densenet169", "size": 64, "epochs": 3, "lr": 1e-3, "optimiser": "adamw"}
COMPUTED: dict[str, Any] = {"device": "cpu", "precision": "fp32", "workers": 2, "cache": Path("pixels")}


def test_the_values_of_build_index_arrive(library: Any, data_set: DataSet) -> None:
    words = "--weights random:1 --arch densenet169 --size 64 --kind faiss-flat --metric cosine --findings Mass,Hernia"
    words += " --split column --part val --patient-pattern (.)_ --batch-size 7 --no-pixels --strict --replace --index i"
    options = ("--labels", data_set.labels, *words.split(), *COMPUTING)
    arguments, named = library("cxrsearch.building.build.build_index", "build-index", *options)
    progress = named.pop("progress")
    assert callable(progress)
    assert arguments == ()
    assert named == COMPUTED | {
        "images": data_set.images,
        "labels": data_set.labels,
        "index": Path("i"),
        "weights": "random:1",
        "arch": "densenet169",
        "size": 64,
        "kind": "faiss-flat",
        "metric": "cosine",
        "findings": ("Mass", "Hernia"),
        "split": "column",
        "part": "val",
        "patient_pattern": "(.)_",
        "batch_size": 7,
        "pixels": False,
        "strict": True,
        "replace_other": True,
    }


def test_the_values_of_train_arrive(library: Any, data_set: DataSet) -> None:
    words = "--weights random:1 --split column --seed 4 --max-minutes 1.5 --findings Mass,Hernia --holdout Hernia"
    words += " --strict --devices 2 --tensorboard --out run"
    options = ("--labels", data_set.labels, *RECIPE, *COMPUTING, *words.split())
    arguments, named = library("cxrsearch.training.train.train", "train", *options)
    assert arguments[:2] == (data_set.images, data_set.labels)
    assert named["out"] == Path("run")
    assert arguments[2] == Training(
        config="modern",
        changes=CHANGES | {"weights": "random:1"},
        split="column",
        seed=4,
        max_minutes=1.5,
        findings=("Mass", "Hernia"),
        holdout="Hernia",
        strict=True,
        devices=2,
        tensorboard=True,
        **COMPUTED,
    )


def test_the_values_of_tune_arrive(library: Any, data_set: DataSet) -> None:
    words = "--split column --seed 4 --max-minutes 1.5 --space s.toml --trials 7 --no-prune --out search"
    options = ("--labels", data_set.labels, *RECIPE, *COMPUTING, *words.split())
    arguments, named = library("cxrsearch.training.tune.tune", "tune", *options)
    request = Training(config="modern", changes=CHANGES, split="column", seed=4, max_minutes=1.5, **COMPUTED)
    assert arguments == (data_set.images, data_set.labels, request)
    expected = {"space": Path("s.toml"), "trials": 7, "prune": False, "out": Path("search")}
    assert expected.items() <= named.items()


def test_the_values_of_evaluate_arrive(library: Any, data_set: DataSet) -> None:
    from cxrsearch.evaluation.evaluate import Question

    words = "--split column --part val --models knn,mlknn --baselines none --fit-on val --allow-seen --max-train 9"
    words += " --replicates 8 --seed 4 --strata --retrieval -k 6 --fractions 0.5,1"
    options = ("--labels", data_set.labels, *COMPUTING, *words.split())
    question = Question("column", "val", ("knn", "mlknn"), (), "val", True, 9, 8, 4, True, True, 6, (0.5, 1.0))
    embedding = ["--weights", "random:1", "--arch", "densenet169", "--size", "64", "--findings", "Mass,Hernia"]
    arguments, named = library("cxrsearch.evaluation.evaluate.evaluate_images", "evaluate", *options, *embedding)
    named.pop("progress")
    assert arguments == (data_set.images, data_set.labels, question)
    encoder = {"weights": "random:1", "arch": "densenet169", "size": 64, "findings": ("Mass", "Hernia")}
    assert named == COMPUTED | encoder
    recipe = (*RECIPE, "--cv", 3, "--max-minutes", 2)
    arguments, named = library("cxrsearch.evaluation.evaluate.cross_validate", "evaluate", *options, *recipe)
    request = Training(config="modern", changes=CHANGES, split="column", seed=4, max_minutes=2.0, **COMPUTED)
    assert arguments == (data_set.images, data_set.labels, 3, question, request)
    assert named["out"] == Path("runs/cv-modern")


def test_the_values_of_novelty_arrive(library: Any, data_set: DataSet) -> None:
    words = "--holdout Mass --split column --strict --scores knn,lof --shots 0,5 --replicates 8 --seed 4"
    options = ("--labels", data_set.labels, *COMPUTING, *words.split())
    question = NoveltyQuestion("column", True, ("knn", "lof"), (0, 5), 8, 4)
    function = "cxrsearch.novelty.evaluate_novelty.evaluate_novelty_of_images"
    arguments, named = library(function, "novelty", *options, "--weights", "random:1")
    named.pop("progress")
    assert arguments == (data_set.images, data_set.labels, "Mass", question)
    assert named == COMPUTED | {"weights": "random:1", "arch": None, "size": None, "findings": None}
    recipe = (*RECIPE, "--retrain", "--out", "o")
    arguments, named = library("cxrsearch.novelty.retrain.retrain", "novelty", *options, *recipe)
    request = Training(config="modern", changes=CHANGES, split="column", seed=4, **COMPUTED)
    assert arguments == (data_set.images, data_set.labels, "Mass", question, request)
    assert named["out"] == Path("o")


def test_the_values_of_query_arrive(monkeypatch: pytest.MonkeyPatch, data_set: DataSet, small_index: Path) -> None:
    def reached(_: object, *arguments: Any, **named: Any) -> None:
        raise Reached(arguments, named)

    monkeypatch.setattr("cxrsearch.query.index.Index.query", reached)
    words = (
        "-k 3 --vote distance --patient p7 --same-patient --view ap --sex f --age 20-60 --with Mass --without Hernia"
    )
    words += " --alarm 0.2 --box 1,2,30,40 --candidates 9 --device cpu"
    image = data_set.images / "00.png"
    result = CliRunner().invoke(app, ["query", str(image), "--index", str(small_index), *words.split()])
    assert isinstance(result.exception, Reached), result.output
    arguments, named = result.exception.args
    assert arguments == (image,)
    assert callable(named.pop("progress"))
    filters = Filters("AP", "F", (20, 60), ("Mass",), ("Hernia",))
    assert QueryOptions(**named) == QueryOptions(3, "distance", "p7", True, filters, 0.2, (1, 2, 30, 40), 9)
