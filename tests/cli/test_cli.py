"""The command line: what is printed where, exit codes, defaults, help."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import typer
from typer.testing import CliRunner, Result

import cxrsearch
from cxrsearch.analysis.neighbours.vote import VOTES
from cxrsearch.encoder.embed import PRECISIONS
from cxrsearch_cli.app import app
from cxrsearch_cli.commands import build_index, info, phantom, query
from cxrsearch_indexes import KINDS, METRICS
from tests.conftest import DataSet

SMALL = ["--weights", "random:0", "--size", "32", "--workers", "0", "--device", "cpu"]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def build(data_set: DataSet, index: Path, *more: object) -> Result:
    return run("build-index", data_set.images, "--labels", data_set.labels, "--index", index, *SMALL, *more)


@pytest.fixture(autouse=True)
def _no_defaults(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("CXRSEARCH_DATA", "CXRSEARCH_INDEX", "CXRSEARCH_WEIGHTS", "CXRSEARCH_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def test_build_prints_the_index_and_warns_on_stderr(data_set: DataSet, tmp_path: Path) -> None:
    result = build(data_set, tmp_path / "index")
    assert result.exit_code == 0
    assert result.stdout.startswith(f"{tmp_path / 'index'}: 10 images of 5 patients, ")
    assert "untrained" in result.stderr
    assert "untrained" not in result.stdout


def test_build_as_json(data_set: DataSet, tmp_path: Path) -> None:
    value = json.loads(build(data_set, tmp_path / "index", "--json").stdout)
    assert (value["images"], value["patients"], value["refused"]) == (10, 5, [])


def test_refused_images_make_exit_code_3_and_are_listed(data_set: DataSet, tmp_path: Path) -> None:
    images = tmp_path / "images"
    shutil.copytree(data_set.images, images)
    (images / "03.png").write_bytes(b"text")
    result = run("build-index", images, "--labels", data_set.labels, "--index", "index", *SMALL)
    assert result.exit_code == 3
    assert "1 image refused:\n  03.png: 03.png is neither PNG" in result.stderr
    for name in ("04", "05"):
        (images / f"{name}.png").write_bytes(name.encode())
    shutil.copy(images / "00.png", images / "new.png")
    result = run("build-index", images, "--labels", data_set.labels, "--index", "index", *SMALL)
    assert "4 images refused:\n" in result.stderr
    summary = "by reason:\n  3  is neither PNG, JPEG nor DICOM\n  1  the table has no row for it\n"
    assert result.stderr.endswith(summary)


def test_query_prints_neighbours_and_votes(data_set: DataSet, small_index: Path) -> None:
    result = run("query", data_set.images / "00.png", "--index", small_index, "-k", 3)
    assert result.exit_code == 0
    for expected in ("3 nearest images", "Votes of these neighbours", "Pleural_Thickening", "prevalence", "lift"):
        assert expected in result.stdout
    assert "(2 of patient p0 left out)" in result.stdout
    assert "p0" not in result.stdout.split("left out")[1]


def test_query_json_is_one_object_and_nothing_else(data_set: DataSet, small_index: Path) -> None:
    path = data_set.images / "00.png"
    value = json.loads(run("query", path, "--index", small_index, "-k", 3, "--json").stdout)
    assert value["query"] == str(path)
    assert len(value["neighbours"]) == 3


def test_the_alarm_reaches_the_gate(data_set: DataSet, small_index: Path) -> None:
    """Of ten references nine or more must be nearer at 0.2; at 0.95, none need be."""
    got = {}
    for alarm in (0.2, 0.95):
        options = ("--index", small_index, "-k", 3, "--alarm", alarm, "--json")
        result = run("query", data_set.images / "00.png", *options)
        got[alarm] = json.loads(result.stdout)["typicality"]
        assert ("unlike the index" in result.stderr) == got[alarm]["flagged"]
    assert [(alarm, one["alarm"]) for alarm, one in got.items()] == [(0.2, 0.2), (0.95, 0.95)]
    assert (got[0.2]["flagged"], got[0.95]["flagged"]) == (False, True)
    assert "10 in 11 ordinary images are flagged too" in got[0.95]["warning"]


def test_a_folder_gives_a_line_an_image_in_name_order_and_3_when_one_fails(
    data_set: DataSet, small_index: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "queries"
    folder.mkdir()
    shutil.copy(data_set.images / "02.png", folder / "c.png")
    shutil.copy(data_set.images / "03.png", folder / "a.png")
    (folder / "b.png").write_bytes(b"")
    result = run("query", folder, "--index", small_index, "-k", 1, "--json")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.exit_code == 3
    assert [Path(line["query"]).name for line in lines] == ["a.png", "b.png", "c.png"]
    assert set(lines[1]) == {"query", "error"}
    assert "b.png is empty" in lines[1]["error"]


def test_a_single_image_that_fails_is_exit_code_1_and_one_line(small_index: Path, tmp_path: Path) -> None:
    (tmp_path / "b.png").write_bytes(b"")
    result = run("query", tmp_path / "b.png", "--index", small_index)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("error: b.png is empty — ")


def test_filters_reach_the_search(data_set: DataSet, small_index: Path) -> None:
    options = ("--view", "ap", "--sex", "m", "--age", "44-48", "--without", "Hernia", "--same-patient")
    value = json.loads(run("query", data_set.images / "00.png", "--index", small_index, *options, "--json").stdout)
    assert sorted(n["image"] for n in value["neighbours"]) == ["07.png"]
    value = json.loads(
        run("query", data_set.images / "00.png", "--index", small_index, "--with", "Mass, effusion", "--json").stdout
    )
    assert [n["image"] for n in value["neighbours"]] == ["02.png"]


def test_a_sheet_is_written(data_set: DataSet, small_index: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.png"
    result = run("query", data_set.images / "00.png", "--index", small_index, "-k", 2, "--sheet", sheet)
    assert result.exit_code == 0
    assert sheet.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "arguments",
    [
        ("-k", 0),
        ("-k", "many"),
        ("--vote", "majority"),
        ("--alarm", 0),
        ("--alarm", 1),
        ("--alarm", "often"),
        ("--age", "old"),
        ("--age", "60-40"),
        ("--view", "LL"),
        ("--with", "Flu"),
        ("--device", "tpu"),
        ("--sheet", "sheet.pdf"),
        ("--unheard-of",),
    ],
)
def test_a_call_that_cannot_be_meant_is_exit_code_2(
    data_set: DataSet, small_index: Path, arguments: tuple[object, ...]
) -> None:
    result = run("query", data_set.images / "00.png", "--index", small_index, *arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1


def test_an_empty_folder_of_queries_and_a_sheet_without_a_folder_are_exit_code_1(
    data_set: DataSet, small_index: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    assert run("query", tmp_path / "empty", "--index", small_index).exit_code == 1
    result = run("query", data_set.images / "00.png", "--index", small_index, "--sheet", tmp_path / "no" / "s.png")
    assert (result.exit_code, result.stdout) == (1, "")
    assert run("build-index", data_set.labels, *SMALL).stderr.startswith("error: ")


def test_info_and_verify(small_index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for arguments in ((small_index,), ("--index", small_index)):
        assert "10 of 5 patients" in run("info", *arguments).stdout
        assert "files are as they were written" in run("verify", *arguments).stdout
    value = json.loads(run("info", small_index, "--json").stdout)
    assert (value["n"], value["dim"], value["kind"]) == (10, 1024, "exact")
    assert json.loads(run("verify", small_index, "--json").stdout)["generation"] == value["generation"]
    assert run("info", small_index, "--index", "other").exit_code == 2
    monkeypatch.setenv("CXRSEARCH_INDEX", str(small_index))
    assert "10 of 5 patients" in run("info").stdout


def test_info_names_the_trainings_before_the_last() -> None:
    first = {"split": "patient-hash:0.9/0.1/0", "train_ids_sha256": "b" * 64, "n_train": 1, "before": None}
    last = {"split": "column", "train_ids_sha256": "a" * 64, "n_train": 20, "before": first}
    said = "20 images, split column, ids aaaaaaaaaaaaaaaa; before that, 1 image, split patient-hash:0.9/0.1/0, ids "
    assert info._describe_provenance(last) == said + "b" * 16
    assert info._describe_provenance(last | {"before": {"train_ids_sha256": None}}).endswith("; before that, unknown")


def test_verify_finds_damage_and_strange_files(small_index: Path, tmp_path: Path) -> None:
    copy = tmp_path / "index"
    shutil.copytree(small_index, copy)
    (copy / "notes.txt").touch()
    result = run("verify", copy)
    assert result.exit_code == 1
    assert "not in its manifest: notes.txt" in result.stderr
    (copy / "notes.txt").unlink()
    victim = next(copy.glob("*/embeddings/*.npy"))
    victim.write_bytes(victim.read_bytes()[:-1])
    result = run("verify", copy)
    assert result.exit_code == 1
    assert "bytes instead of" in result.stderr


def test_bare_commands_work_where_a_data_set_lies(data_set: DataSet, tmp_path: Path) -> None:
    shutil.copytree(data_set.images, tmp_path / "data" / "images")
    shutil.copy(data_set.labels, tmp_path / "data" / "Data_Entry_2017_v2020.csv")
    assert run("build-index", *SMALL).exit_code == 0
    result = run("query", data_set.images / "00.png", "--json")
    assert json.loads(result.stdout)["index"]["path"] == str(tmp_path / "cxr-index")
    shutil.copy(data_set.labels, tmp_path / "data" / "Data_Entry_2017.csv")
    result = run("build-index", *SMALL)
    assert result.exit_code == 2
    assert "2 tables in data" in result.stderr


def test_a_folder_that_is_given_is_taken_without_a_table(data_set: DataSet, tmp_path: Path) -> None:
    shutil.copytree(data_set.images, tmp_path / "images")
    shutil.copy(data_set.labels, tmp_path / "Data_Entry_2017.csv")
    result = run("build-index", "images", *SMALL)
    assert result.exit_code == 0
    assert "Data_Entry_2017.csv lies beside the folder" in result.stderr
    assert "findings of the images are unknown" in run("info").stdout


def test_the_choices_are_the_librarys() -> None:
    def choices(command: object, option: str) -> tuple[str, ...]:
        return get_args(get_args(command.__annotations__[option])[0])

    for kind in KINDS:
        assert kind in CliRunner().invoke(app, ["build-index", "--help"], env={"COLUMNS": "200"}).output
    assert choices(build_index.command, "metric") == METRICS
    assert choices(build_index.command, "precision") == PRECISIONS
    assert choices(query.command, "vote") == VOTES


def commands() -> list[str]:
    return sorted(typer.main.get_command(app).commands)  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", commands())
def test_every_command_and_option_has_help_and_is_in_the_guide(name: str) -> None:
    command = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]
    assert command.help
    for parameter in command.params:
        assert parameter.help, f"{name} {parameter.name}"
    assert f"cxrsearch {name}" in (Path(__file__).parents[2] / "docs" / "GUIDE.md").read_text()


def test_help_needs_neither_torch_nor_pandas_nor_faiss() -> None:
    code = (
        "import sys; from cxrsearch_cli.app import app; from typer.testing import CliRunner\n"
        "CliRunner().invoke(app, ['--help']); CliRunner().invoke(app, ['query', '--help'])\n"
        "slow = {'torch', 'numpy', 'pandas', 'faiss', 'scipy', 'sklearn', 'pydicom', 'cxrsearch.building.build'}\n"
        "slow &= set(sys.modules)\n"
        "sys.exit(', '.join(slow) or 0)"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment())
    assert finished.returncode == 0, finished.stderr


def test_ctrl_c_while_modules_are_loaded_is_quiet() -> None:
    code = (
        "import sys\n"
        "class Interrupted:\n"
        "    def find_spec(self, name, *rest):\n"
        "        if name == 'typer': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupted())\n"
        "from cxrsearch_cli import main; main()"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment())
    assert (finished.returncode, finished.stdout, finished.stderr) == (130, "", "")


def test_a_phantom_is_drawn_and_indexed(tmp_path: Path) -> None:
    result = run("phantom", "phantom", "-n", 4, "--size", 64)
    assert result.exit_code == 0
    assert "4 synthetic images" in result.stdout
    assert run("phantom", "phantom").exit_code == 2
    arguments = ("phantom/images", "--labels", "phantom/Data_Entry_2017.csv", "--index", "index")
    assert run("build-index", *arguments, *SMALL).exit_code == 0
    assert phantom.command.__doc__


@pytest.mark.real_data
def test_all_the_real_images_from_the_folder_to_the_contact_sheet(real_data: Path, tmp_path: Path) -> None:
    """What `make demo` does with synthetic images, at a small size, with the 797 real ones and their 14 findings."""
    nih = real_data / "nih"
    options = ["--weights", "random:0", "--size", "64", "--workers", "2", "--device", "cpu"]
    result = run("build-index", nih / "images", "--labels", nih / "Data_Entry_2017.csv", "--index", "index", *options)
    assert result.exit_code == 0, result.stderr
    with (nih / "Data_Entry_2017.csv").open() as file:
        rows = {row["Image Index"]: row for row in csv.DictReader(file)}
    counts = Counter(finding for row in rows.values() for finding in row["Finding Labels"].split("|"))
    summary = json.loads(run("info", "index", "--json").stdout)["summary"]
    assert summary["findings"] == dict(counts)
    assert len(counts) == 15
    query = nih / "images" / "00000013_003.png"
    value = json.loads(run("query", query, "--index", "index", "--json").stdout)
    assert value["query_patient"] == "13"
    assert len(value["neighbours"]) == 20
    for neighbour in value["neighbours"]:
        row = rows[neighbour["image"]]
        assert neighbour["patient"] == row["Patient ID"] != "13"
        assert set(neighbour["findings"]) == set(row["Finding Labels"].split("|"))
    effusion = next(vote for vote in value["votes"] if vote["finding"] == "Effusion")
    assert effusion["probability"] == pytest.approx(np.mean(["Effusion" in n["findings"] for n in value["neighbours"]]))
    assert run("query", query, "--index", "index", "--sheet", "sheet.png").exit_code == 0
    assert run("verify", "index").exit_code == 0


def test_ctrl_c_says_how_to_go_on(data_set: DataSet, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("cxrsearch.building.build.build_index", interrupted)
    result = build(data_set, Path("index"))
    assert result.exit_code == 130
    assert "build-index, train, tune" in result.stderr


def environment() -> dict[str, str]:
    root = Path(__file__).parents[2]
    return os.environ | {"PYTHONPATH": os.pathsep.join(str(root / part) for part in ("", "indexes", "cli"))}


def test_the_version_is_the_packages() -> None:
    assert run("--version").stdout == f"cxrsearch {version('cxrsearch')}\n"
    assert cxrsearch.__version__ == version("cxrsearch")


def test_weights_that_nobody_named_are_named(data_set: DataSet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXRSEARCH_WEIGHTS", "random:3")
    result = run("build-index", data_set.images, "--index", "index", "--size", 32, "--workers", 0)
    assert result.exit_code == 0
    assert "weights: random:3 (no --weights" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["evaluate", "IMAGES", "--index", "i"], "at once — name one of the two"),
        (["evaluate", "nowhere"], "no folder of images at nowhere — check the path"),
        (["build-index", "nowhere", "--weights", "random:0"], "no folder of images at nowhere"),
    ],
)
def test_folders_are_looked_at_before_the_work(data_set: DataSet, arguments: list[str], said: str) -> None:
    result = run(*[data_set.images if word == "IMAGES" else word for word in arguments])
    assert result.exit_code in (1, 2)
    assert said in result.stderr.replace("\n", " ")


@pytest.mark.parametrize("page", ["README.md", "docs/GUIDE.md"])
def test_every_name_of_the_pages_python_is_there(page: str) -> None:
    text = (Path(__file__).parents[2] / page).read_text()
    block = text[text.index("```python") : text.index("```\n", text.index("```python") + 3)]
    names = set(re.findall(r"cxrsearch\.(\w+)", block))
    assert {"train", "build_index", "open_index", "evaluate_novelty"} <= names
    assert all(hasattr(cxrsearch, name) for name in names)
    methods = set(re.findall(r"(?:index|answer)\.(\w+)", block))
    assert all(hasattr(cxrsearch.Index, name) or name in _ANSWER for name in methods)


_ANSWER = {*vars(cxrsearch.QueryResult), *cxrsearch.QueryResult.__dataclass_fields__}
