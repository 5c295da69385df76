"""What a prompt and a notebook show of a result: one line and its table, never the arrays."""

from pathlib import Path

import pytest

from cxrsearch.building.build import build_index
from cxrsearch.evaluation.evaluate import Question, evaluate_index
from cxrsearch.overview.index_statistics import index_statistics
from cxrsearch.query.index import Index, open_index
from tests.conftest import SMALL, DataSet


@pytest.fixture
def index(data_set: DataSet, tmp_path: Path) -> Index:
    build_index(data_set.images, data_set.labels, index=tmp_path / "index", **SMALL)
    return open_index(tmp_path / "index")


def test_an_index_says_what_it_holds(index: Index) -> None:
    folder = index.stored.folder
    assert repr(index) == f"<Index of {len(index)} images in {folder}, encoder random:0 (untrained)>"


def test_an_answer_shows_its_heading_and_its_neighbours(index: Index, data_set: DataSet) -> None:
    answer = index.query(min(data_set.images.glob("*.png")), k=3)
    assert repr(answer) == f"<QueryResult: {answer.heading()}>"
    page = answer._repr_html_()
    assert page.startswith(f"<p>{answer.heading()}</p><table")
    assert all(image in page for image in answer.neighbours.image)


def test_statistics_and_evaluations_show_their_headings(index: Index) -> None:
    statistics = index_statistics(index, permutations=10)
    assert repr(statistics) == (
        f"<StatisticsResult: {len(index)} embeddings of {statistics.dim} numbers, standardised space, 10 permutations>"
    )
    question = Question(split="patient-hash:0.5/0.2/0.3", models=("knn",), baselines=(), replicates=10)
    result = evaluate_index(index, question)
    assert repr(result) == f"<EvaluationResult: {result.heading()}>"
    assert "array" not in repr(result)
