"""The page of an evaluation: the numbers it shows, what it needs, and that nothing in it is taken for markup."""

import base64
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from typer.testing import CliRunner

from cxrsearch.analysis.evaluation.evaluate_scores import Scored, evaluate_scores
from cxrsearch.analysis.evaluation.fractions import FractionCurve
from cxrsearch.analysis.evaluation.published import OTHER_SPLIT
from cxrsearch.analysis.evaluation.stratified import stratify
from cxrsearch.analysis.measures.roc import GRID, RocCurve
from cxrsearch.analysis.retrieval.search_quality import all_but_itself, others_only, search_quality
from cxrsearch.errors import UsageError, WriteError
from cxrsearch.evaluation._evaluation_charts import calibration_chart, roc_chart
from cxrsearch.evaluation._evaluation_page import evaluation_page
from cxrsearch.evaluation.evaluation_report import require_writable
from cxrsearch.evaluation.evaluation_result import EvaluationResult
from cxrsearch.report import style
from cxrsearch_cli.app import app
from cxrsearch_indexes import build
from tests.report.test_style import contrast

FINDINGS = ("Mass", "Pleural_Thickening", "Hernia")


def scored() -> Scored:
    """90 images of 45 patients; three findings, of which nobody has the last."""
    rng = np.random.default_rng(0)
    labels = rng.random((90, 3)) < [0.5, 0.4, 0]
    scores = {
        name: np.clip(rng.random((90, 3)) * 0.6 + shift * labels, 0, 1) for name, shift in (("a", 0.1), ("b", 0.4))
    }
    return Scored(labels, np.repeat(np.arange(45), 2), scores, {"a": scores["a"] / 2}, np.zeros(90, np.int64))


FACTS = [("Command", "cxrsearch evaluate --index 'a & b'")]


@pytest.fixture(scope="module")
def result() -> EvaluationResult:
    known = scored()
    x = np.random.default_rng(1).standard_normal((90, 3)).astype(np.float32)
    index, rows = build("exact", [x], "l2"), np.arange(90)
    near = [index.search(x, 4, r) for r in (others_only(rows, known.patients), all_but_itself(rows, 90))]
    auroc = np.array([[[0.5, 0.6, np.nan]] * 2, [[0.7, 0.8, np.nan]] * 2])
    return EvaluationResult(
        split="column",
        part="test",
        encoder="<run>",
        images=90,
        patients=45,
        findings=FINDINGS,
        reference="a",
        metrics=evaluate_scores(known, "a", replicates=20),
        replicates=20,
        seed=0,
        settings={},
        warnings=("the <encoder> is untrained",),
        folds=1,
        image_ids=tuple(f"{row}.png" for row in range(90)),
        scored=known,
        strata=stratify(known, {"view PA": np.arange(90) < 50, "view AP": np.arange(90) >= 50}, replicates=5),
        retrieval=search_quality(near[0], near[1], rows, known.labels, known.patients, 4, replicates=5),
        fractions=FractionCurve(np.array([0.1, 1]), np.full((2, 2), 9), auroc, auroc[..., :2].mean(axis=2), 2, 20),
    )


def page_of(result: EvaluationResult) -> str:
    return evaluation_page(result, FACTS).decode()


@pytest.fixture(scope="module")
def made(result: EvaluationResult) -> str:
    return page_of(result)


class Checked(HTMLParser):
    """Collects what a page refers to, its images without words, header cells without scope, and unclosed elements."""

    def __init__(self) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.faults: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.sources += [str(given[name]) for name in ("src", "href") if name in given]
        if (tag == "img" and not given.get("alt")) or (tag == "th" and "scope" not in given):
            self.faults.append(tag)
        if tag not in ("meta", "link", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self.open.pop() != tag:
            self.faults.append(f"/{tag}")


def cells(made: str, row: str, heading: str) -> list[str]:
    """The text of a table's row, by the section's heading."""
    section = made[made.index(f"<h2>{heading}</h2>") :]
    found = re.search(rf'<th scope="row">{row}</th>(.*?)</tr>', section)
    assert found
    return [re.sub("<.*?>", " ", cell).split()[0] for cell in re.findall("<td[^>]*>(.+?)</td>", found[1])]


def test_it_needs_nothing_and_says_everything_in_words(made: str) -> None:
    checked = Checked()
    checked.feed(made)
    assert checked.faults == []
    assert checked.open == []
    assert all(source.startswith("data:") for source in checked.sources)
    assert "<script" not in made
    assert style.DISCLAIMER in made


def test_every_number_of_the_table_is_the_metric(made: str, result: EvaluationResult) -> None:
    for f, finding in enumerate(("Mass", "Pleural Thickening")):
        points = [f"{metrics.auroc.point[f]:.3f}" for metrics in result.metrics.values()]
        assert cells(made, finding, "AUROC of every model") == points
    assert cells(made, "Mean", "AUROC of every model") == [f"{m.auroc.mean.point:.3f}" for m in result.metrics.values()]
    low, high = result.metrics["b"].auroc.low[0], result.metrics["b"].auroc.high[0]
    assert f"<strong>{result.metrics['b'].auroc.point[0]:.3f}</strong><small>{low:.3f}–{high:.3f}</small>" in made
    stressed = result.stressed()
    assert stressed[0] == stressed[-1] == {"b"}
    assert made.count("<strong>") == sum(map(len, stressed)) + 1  # and the disclaimer
    before = result.metrics["a"].before
    assert before is not None
    assert f"{before.brier[0]:.3f}" in cells(made, "Mass", "Every finding, by a")


def test_parts_show_their_numbers(made: str, result: EvaluationResult) -> None:
    mean = result.strata[1].auroc["b"].mean.point
    assert cells(made, "view AP", "By view, sex and age")[:3] == ["40", "20", str(result.strata[1].findings)]
    assert cells(made, "view AP", "By view, sex and age")[-1] == f"{mean:.3f}"
    assert cells(made, "0.1", "What a fraction of the images is worth") == ["9", "0.550"]
    assert result.retrieval is not None
    assert cells(made, "all", "Retrieval")[1] == f"{result.retrieval.others.values.point[4, 0]:.3f}"
    assert f"{result.retrieval.own.point[0, 0]:.1%} find it first" in made


def test_one_of_a_kind_is_no_plural(result: EvaluationResult) -> None:
    assert result.retrieval is not None
    assert result.fractions is not None
    own = result.retrieval.own
    alone = replace(result.retrieval, k=1, queries=1, own=replace(own, images=np.ones_like(own.images)))
    curve = replace(result.fractions, images=result.fractions.images[:, :1], findings=1, k=1)
    made = page_of(replace(result, retrieval=alone, fractions=curve))
    assert not re.findall(r"\b1 (?:[a-z]+ )?(?:images|queries|draws|findings|times)\b", made)
    assert "Of the 1 query whose patient has another image" in made
    assert "Votes of the 1 nearest image of other patients" in made


def test_parts_that_were_not_asked_for_are_not_there(result: EvaluationResult) -> None:
    bare = page_of(replace(result, strata=(), retrieval=None, fractions=None, warnings=()))
    for heading in ("By view", "What a fraction", "Retrieval", "What to know"):
        assert f"<h2>{heading}" not in bare


def test_no_plot_of_means_that_nobody_has(result: EvaluationResult, made: str) -> None:
    assert result.fractions is not None
    few = stratify(result.scored, {"sex F": np.arange(90) < 4}, replicates=2)
    empty = page_of(replace(result, strata=few, fractions=replace(result.fractions, findings=0)))
    assert (made.count("<figure><img"), empty.count("<figure><img")) == (2, 0)
    assert empty.count("No plot: no finding has 10 positive patients") == 2


def test_what_others_wrote_is_text(made: str) -> None:
    assert "90 images of 45 patients, part test of split column, encoder &lt;run&gt;." in made
    assert "The &lt;encoder&gt; is untrained." in made
    assert "&#x27;a &amp; b&#x27;" in made


def test_a_curve_for_every_finding_that_can_have_one(made: str) -> None:
    assert len(re.findall('alt="ROC curve of', made)) == 2
    assert len(re.findall('alt="Predicted against observed', made)) == 2
    assert 'alt="ROC curve of Pleural Thickening by a: AUROC' in made


def test_the_papers_column_or_why_it_is_not_there(result: EvaluationResult, made: str) -> None:
    assert OTHER_SPLIT.replace("'", "&#x27;") in made
    named = {name: "densenet" if name == "a" else name for name in result.metrics}
    metrics = {named[name]: values for name, values in result.metrics.items()}
    scores = {named[name]: values for name, values in result.scored.scores.items()}
    alike = replace(result.scored, scores=scores, calibrated={})
    beside = page_of(replace(result, split="paper", reference="densenet", metrics=metrics, scored=alike, strata=()))
    assert OTHER_SPLIT.replace("'", "&#x27;") not in beside
    assert cells(beside, "Hernia", "AUROC of every model") == ["0.890", "0.916", "0.845", "0.612", "0.871"]  # no ours
    assert cells(beside, "Mass", "AUROC of every model")[1] == "0.852"


def test_the_same_evaluation_gives_the_same_bytes(result: EvaluationResult, made: str) -> None:
    assert page_of(result) == made
    for source in re.findall(r'src="data:image/svg\+xml;base64,(.*?)"', made)[:2]:
        text = base64.b64decode(source).decode()
        assert ElementTree.fromstring(text).tag.endswith("svg")
        assert "date" not in text
        assert "Matplotlib" not in text


def test_charts_follow_their_values() -> None:
    flat, steep = (RocCurve(GRID**power, GRID, GRID) for power in (1.0, 0.5))
    assert roc_chart(flat) != roc_chart(steep)
    pair = np.array([0.1, 0.2]), np.array([0.1, 0.3])
    assert calibration_chart(pair, None) != calibration_chart(None, pair)


@pytest.mark.parametrize("surface", [style.PAPER, style.PAPER_PANEL])
def test_ink_on_paper_is_legible(surface: str) -> None:
    for ink in (style.PAPER_INK, style.PAPER_INK_QUIET, style.PAPER_ACCENT):
        assert contrast(ink, surface) >= 4.5
    assert all(contrast(colour, surface) >= 3 for colour in style.PAPER_CATEGORIES)


def test_a_report_that_cannot_be_written_is_refused_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="ends in"):
        require_writable(tmp_path / "report.pdf")
    with pytest.raises(WriteError, match="no folder"):
        require_writable(tmp_path / "none" / "report.html")
    answer = CliRunner().invoke(app, ["evaluate", "--index", str(tmp_path), "--report", "report.pdf"])
    assert answer.exit_code == 2
    assert "ends in .html" in answer.output
