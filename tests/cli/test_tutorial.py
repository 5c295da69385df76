"""Every command of the tutorial runs, in the order of the page, and leaves what the page says it leaves."""

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

import cxrsearch
from cxrsearch_cli.app import app

PAGE = (Path(__file__).parents[2] / "docs" / "TUTORIAL.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^    \$ cxrsearch (.*)$", PAGE, re.MULTILINE)


def test_every_command_of_the_tutorial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert len(COMMANDS) >= 10
    for line in COMMANDS:
        result = CliRunner().invoke(app, shlex.split(line))
        assert result.exit_code == 0, f"{line}\n{result.output}"
        assert result.output.strip(), line
    assert (tmp_path / "lesson" / "sheet.png").stat().st_size > 10_000
    answer = cxrsearch.open_index("lesson/index").query("lesson/images/00000003_000.png", k=10)
    assert answer.query_patient == "3"
    assert len(answer.votes_frame()) == 14
    assert "3" not in set(answer.neighbours.patient), "the query's own patient may not answer"
