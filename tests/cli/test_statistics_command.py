"""`cxrsearch statistics` at the terminal."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from cxrsearch.building.build import build_index
from cxrsearch.building.imported import import_embeddings
from cxrsearch.images.findings import NIH_FINDINGS
from cxrsearch_cli.app import app
from tests.conftest import SMALL, DataSet

GROUPS = ["Global", *NIH_FINDINGS, "No Finding"]


def run(index: Path, *arguments: object) -> Result:
    call = ["statistics", "--index", index, "--permutations", 19, *arguments]
    return CliRunner().invoke(app, [str(argument) for argument in call])


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 embeddings of 200 patients with all findings but Hernia, of lengths as a network's are."""
    folder = tmp_path_factory.mktemp("command")
    rng = np.random.default_rng(0)
    lines = ["image,patient,findings,view,sex"]
    for i in range(200):
        findings = [name for name in NIH_FINDINGS[:-1] if rng.random() < 0.1]
        lines.append(f"{i}.png,p{i},{'|'.join(findings)},{rng.choice(['PA', 'AP'])},{rng.choice(['F', 'M'])}")
    (folder / "table.csv").write_text("\n".join(lines) + "\n")
    np.save(folder / "embeddings.npy", np.abs(rng.normal(size=(200, 600)).astype(np.float32)) * 1000)
    import_embeddings(folder / "embeddings.npy", folder / "table.csv", index=folder / "index")
    return folder / "index"


def test_the_tables_hold_every_group_and_what_it_means(index: Path) -> None:
    result = run(index, "--stratify", "view,sex", "--reproduce", "--sample", 0.5, "--seed", 3)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    for group, tables in zip(GROUPS, [2] + [4] * 15, strict=True):
        assert sum(line.split("  ")[0].strip() == group for line in lines) == tables
    for expected in ("squared L2", "nearest finding", "95% interval", "p (Holm)", "silhouette", "participation ratio"):
        assert expected in result.stdout
    for expected in (
        "19 permutations of patients, among patients of the same view and sex",
        "The paper's test, unchanged, on 100 images",
        "Check: the global mean squared L2 is 1206.03; for any such data it is 2 D n / (n - 1) = 1206.03.",
        "Band: 2 D -+ 1.60 sqrt(8 D) =",
        "1334.34",
        "nobody's neighbour",
    ):
        assert expected in result.stdout
    assert "warning: no images: Hernia" in result.stderr
    assert "permutations: 20" in result.stderr


@pytest.mark.parametrize("columns", ["80", "200"])
def test_tables_fit_the_terminal_and_fold_no_cell(index: Path, monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    result = run(index, "--reproduce")
    lines = [line.rstrip() for line in result.stdout.splitlines()]
    assert max(map(len, lines)) <= 105
    rows = [line for line in lines if line.startswith(" ")]
    assert max(map(len, rows)) <= 80
    assert len(rows) == 4 * 2 + 16 + 15 + 15 + 16


def test_json_is_one_object(index: Path) -> None:
    result = run(index, "--json", "--space", "raw")
    value = json.loads(result.stdout)
    assert (value["space"], value["permutations"], value["identity"], value["reproduction"]) == ("raw", 19, None, None)
    assert [group["group"] for group in value["groups"]] == GROUPS


def test_csv_and_latex(index: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(run(index, "--csv").stdout)))
    value = json.loads(run(index, "--json").stdout)
    assert [row["group"] for row in rows] == GROUPS
    assert [float(row["mean_l2"] or "nan") for row in rows[:3]] == [group["mean_l2"] for group in value["groups"][:3]]
    assert rows[0]["p_value"] == rows[14]["mean_l2"] == ""
    latex = run(index, "--latex").stdout
    assert latex.startswith(r"\begin{tabular}")
    assert latex.endswith("\\end{tabular}\n")
    assert r"Pleural\_Thickening &" in latex


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--json", "--csv"], "several forms of output"),
        (["--sample", "0.1"], "--sample without --reproduce"),
        (["--reproduce", "--sample", "2"], "a sample is a share of images"),
        (["--stratify", "age"], "cannot stratify by 'age'"),
        (["--seed", "-1"], "a seed from 0 on"),
        (["--permutations", "0"], "needs permutations"),
        (["--space", "cosine"], "cosine"),
    ],
)
def test_a_call_that_cannot_be_meant_is_exit_code_2(index: Path, arguments: list[str], message: str) -> None:
    result = run(index, *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stdout == ""


def test_an_index_without_labels_is_exit_code_1(data_set: DataSet, tmp_path: Path) -> None:
    build_index(data_set.images, index=tmp_path / "bare", **SMALL)
    result = run(tmp_path / "bare")
    assert result.exit_code == 1
    assert "build the index with --labels" in result.stderr
    assert run(tmp_path / "nowhere").exit_code == 1
