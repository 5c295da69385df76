"""Mistakes of users, each told before torch is loaded, whose import takes over a second."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import DataSet

_IMAGES = ("data/images", "--labels", "data/labels.csv")


# A mistake, its exit code, and what is said of it.
_MISTAKES: list[tuple[tuple[str, ...], int, str]] = [
    (("query", "no.png"), 1, "cannot read no.png: No such file"),
    (("query", "data/images/00.png", "--index", "none"), 1, "no index at "),
    (("localise", "no.png"), 1, "cannot read no.png: No such file"),
    (("localise", "data/images/00.png", "--index", "none"), 1, "no index at "),
    (("statistics", "--index", "none"), 1, "no index at "),
    (("map", "--index", "none"), 1, "no index at "),
    (("evaluate", "--index", "none"), 1, "no index at "),
    (("novelty", "--index", "none", "--holdout", "Mass"), 1, "no index at "),
    (("build-index",), 1, "no folder of images at data/images"),
    (("train",), 1, "no folder of images at data/images"),
    *[((name, "none", *_IMAGES[1:]), 1, "no folder of images at none") for name in ("build-index", "train", "tune")],
    *[
        ((*name, "data/images", "--labels", "no.csv"), 1, "cannot read the table no.csv: No such file")
        for name in (("build-index",), ("train",), ("tune",), ("evaluate",), ("novelty", "--holdout", "Mass"))
    ],
    *[
        ((name, "data/images", "--labels", "data/labels.csv", "--split", "odd"), 2, "unknown split 'odd'")
        for name in ("build-index", "train", "tune", "evaluate")
    ],
    (("build-index", *_IMAGES, "--part", "test"), 2, "part 'test' without a split"),
    *[((name, *_IMAGES, "--config", "odd"), 2, "unknown recipe 'odd'") for name in ("train", "tune")],
    *[
        ((*name, "--holdout", "Herna"), 2, "unknown finding 'Herna'; .* did you mean Hernia?")
        for name in (("train", *_IMAGES), ("novelty", *_IMAGES), ("novelty", "--index", "index"))
    ],
    (("evaluate", "--index", "index", "--split", "odd"), 2, "unknown split 'odd'"),
    (("evaluate", "--index", "index", *_IMAGES[1:]), 2, "a table beside an index"),
    (("evaluate", "--index", "index", "--cache", "pixels"), 2, "--cache has no effect on an index"),
    (("evaluate", "--index", "index", "--out", "cv"), 2, "leave --out out, or add --cv"),
    (("novelty", "--index", "index", "--holdout", "Mass", "--set", "lr=1"), 2, "leave --set out, or add --retrain"),
    (("train", *_IMAGES, "--freeze", "--epochs", "3"), 2, "epochs 3 has no effect with --freeze"),
    (("train", *_IMAGES, "--strict"), 2, "strict without a held-out finding"),
    (("train", "data/images", "--config", "unlabelled", "--findings", "Mass"), 2, "--findings Mass without a table"),
    *[
        ((name, *_IMAGES, "--set", "temperature=1"), 2, "temperature 1.0 with objective findings")
        for name in ("train", "tune")
    ],
    (("train", *_IMAGES, "--exclude-boxes", "no.csv"), 1, "cannot read the table no.csv"),
]

_ASKED = """
import json, os, sys

class Refusing:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            raise AssertionError("torch is loaded")

sys.meta_path.insert(0, Refusing())
from cxrsearch_cli.app import app
from typer.testing import CliRunner

def said(arguments):
    os.chdir("with-data" if len(arguments) > 1 else "without")
    result = CliRunner().invoke(app, arguments)
    os.chdir("..")
    return result.exit_code, result.stderr or repr(result.exception)

answers = [said(arguments) for arguments in json.load(sys.stdin)]
assert "torch" not in sys.modules
print(json.dumps(answers))
"""


def environment() -> dict[str, str]:
    """This one, but for what would stand in for options."""
    root = Path(__file__).parents[2]
    plain = {name: value for name, value in os.environ.items() if not name.startswith("CXRSEARCH_")}
    return plain | {"PYTHONPATH": os.pathsep.join(str(root / part) for part in ("", "indexes", "cli"))}


@pytest.fixture(scope="module")
def told(
    data_set: DataSet, small_index: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[str, ...], tuple[int, str]]:
    """Exit code and message of every mistake, made in one fresh process in which torch cannot be loaded."""
    folder = tmp_path_factory.mktemp("mistakes")
    for name in ("with-data", "without"):
        (folder / name).mkdir()
    (folder / "with-data/data").symlink_to(data_set.images.parent)
    (folder / "with-data/index").symlink_to(small_index)
    asked = json.dumps([arguments for arguments, _, _ in _MISTAKES])
    line = [sys.executable, "-c", _ASKED]
    done = subprocess.run(line, input=asked, capture_output=True, text=True, env=environment(), cwd=folder)
    assert done.returncode == 0, done.stderr
    answers = [(code, text) for code, text in json.loads(done.stdout)]
    return dict(zip([arguments for arguments, _, _ in _MISTAKES], answers, strict=True))


@pytest.mark.parametrize(
    ("arguments", "code", "said"), _MISTAKES, ids=lambda value: " ".join(value) if isinstance(value, tuple) else None
)
def test_the_same_mistake_is_told_alike_everywhere(
    told: dict[tuple[str, ...], tuple[int, str]], arguments: tuple[str, ...], code: int, said: str
) -> None:
    got, text = told[arguments]
    assert re.search(said.replace("?", r"\?"), text), text
    assert got == code
