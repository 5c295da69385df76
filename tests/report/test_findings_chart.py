"""The chart of all findings: marks and intervals lie where the AUROC is."""

from pathlib import Path

import numpy as np
import pytest

from cxrsearch.report import style
from cxrsearch.report.findings_chart import FindingLine, findings_chart, save_findings
from tests.report.svg_parts import boxes, lines, marks, texts

NAN = float("nan")
LINES = [
    FindingLine("Mass", {"knn": (0.72, 0.65, 0.8), "ceiling": (0.9, 0.85, 0.95)}, 1234, 567),
    FindingLine("Pleural_Thickening", {"knn": (0.55, NAN, NAN), "ceiling": (NAN, NAN, NAN)}, 3, 2),
    FindingLine("Hernia", {"ceiling": (1.0, 0.9, 1.0)}, 1, 1),
]


def drawn(folder: Path, rows: list[FindingLine] = LINES, note: str = "") -> str:
    save_findings(folder / "x.svg", "Held out", rows, note)
    return (folder / "x.svg").read_text()


def at(svg: str, auroc: float, lowest: float = 0.4) -> float:
    """The pixel of an AUROC, on a scale from `lowest` to 1."""
    (left, _, right, _) = boxes(svg)[0]
    return left + (right - left) * (auroc - lowest) / (1 - lowest)


def in_plot(svg: str, colour: str) -> list[tuple[float, float, bool]]:
    top = boxes(svg)[0][1]
    return [mark for mark in marks(svg, colour) if mark[1] > top]  # the legend is above


def test_marks_lie_where_the_auroc_is_and_are_hollow_without_an_interval(tmp_path: Path) -> None:
    svg = drawn(tmp_path)
    knn, ceiling = (in_plot(svg, colour) for colour in style.CATEGORIES[:2])
    assert np.allclose([x for x, *_ in knn], [at(svg, 0.72), at(svg, 0.55)], atol=0.01)
    assert np.allclose([x for x, *_ in ceiling], [at(svg, 0.9), at(svg, 1)], atol=0.01)  # and none for nan
    assert [filled for *_, filled in knn] == [True, False]
    (_, top, _, bottom) = boxes(svg)[0]
    rows = [int((y - top) // ((bottom - top) / 3)) for _, y, _ in (*knn, *ceiling)]
    assert rows == [0, 1, 0, 2]
    assert knn[0][1] < ceiling[0][1]  # side by side in their row, in the order of the legend


def test_intervals_end_where_they_should(tmp_path: Path) -> None:
    svg = drawn(tmp_path)
    thin = {colour: lines(svg, colour, 1.5) for colour in style.CATEGORIES[:2]}
    (knn,) = [line for line in thin[style.CATEGORIES[0]] if len(line) == 2]
    assert np.allclose(knn[:, 0], [at(svg, 0.65), at(svg, 0.8)], atol=0.01)
    ceiling = [line[:, 0] for line in thin[style.CATEGORIES[1]]]
    expected = [[at(svg, 0.85), at(svg, 0.95)], [at(svg, 0.9), at(svg, 1)]]
    assert np.allclose(ceiling, expected, atol=0.01)
    (chance,) = [line for line in lines(svg, style.INK_QUIET, 1) if len(line) == 2]
    assert np.allclose(chance[:, 0], at(svg, 0.5), atol=0.01)


@pytest.mark.parametrize(("low", "lowest"), [(0.47, 0.4), (0.31, 0.3), (0.0, 0.0)])
def test_the_scale_begins_at_a_tenth_below_all(tmp_path: Path, low: float, lowest: float) -> None:
    svg = drawn(tmp_path, [FindingLine("Mass", {"knn": (0.6, low, 0.7)}, 9, 9)])
    ((x, _, _),) = in_plot(svg, style.CATEGORIES[0])
    assert x == pytest.approx(at(svg, 0.6, lowest), abs=0.01)


def test_names_numbers_and_notes_are_written(tmp_path: Path) -> None:
    found = texts(drawn(tmp_path, note="A note"))
    for text in ("Mass", "Pleural Thickening", "Hernia", "knn", "ceiling", "Held out", "AUROC", "chance"):
        assert text in found
    for text in ("1,234 images, 567 patients", "3 images, 2 patients", "1 image, 1 patient"):
        assert text in found
    notes = " ".join(found)
    assert "Hollow marks have none" in notes
    assert "no mark, there is no AUROC" in notes
    assert f"A note. {style.DISCLAIMER}" in notes
    assert "ollow" not in " ".join(texts(drawn(tmp_path, LINES[:1])))


def test_long_names_are_cut_four_scores_are_shown_and_nothing_leaves_the_figure(tmp_path: Path) -> None:
    many = {f"score {i}": (0.5, 0.4, 0.6) for i in range(5)}
    rows = [FindingLine("A_finding_whose_name_is_far_too_long_" * 3, many, 112_120, 30_805)] * 14
    found = texts(drawn(tmp_path, rows))
    assert sum("…" in text for text in found) == 14
    assert [text for text in found if text.startswith("score")] == [f"score {i}" for i in range(4)]
    image = np.asarray(findings_chart(rows, title="t"))
    background = [int(style.BACKGROUND[i : i + 2], 16) for i in (1, 3, 5)]
    for edge in (image[:, :16], image[:, -16:]):
        assert (edge == background).all()


def test_no_finding_is_an_empty_chart(tmp_path: Path) -> None:
    assert in_plot(drawn(tmp_path, []), style.CATEGORIES[0]) == []
