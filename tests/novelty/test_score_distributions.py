"""Figures of novelty: what is drawn is what was measured."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cxrsearch.arrays import Flags
from cxrsearch.novelty._score_distributions import ScorePanel, distributions, histogram, save_distributions
from cxrsearch.report import style
from tests.report.svg_parts import boxes, lines, marks, texts

PLOT = 150
"""Height of a panel."""


def colours(image: Image.Image) -> dict[str, int]:
    """How many pixels have each colour of the house."""
    pixels = np.asarray(image).reshape(-1, 3)
    named = [style.ACCENT, *style.CATEGORIES]
    return {name: int((pixels == np.frombuffer(bytes.fromhex(name[1:]), np.uint8)).all(axis=1).sum()) for name in named}


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=60), st.integers(0, 9))
def test_a_histogram_holds_every_image_of_the_group(values: list[float], seed: int) -> None:
    scores = np.array(values)
    group = np.random.default_rng(seed).random(len(scores)) < 0.6
    edges, shares = histogram(scores, group)
    assert len(edges) == len(shares) + 1
    assert np.isclose(shares.sum(), 1.0 if group.any() else 0.0)


def test_a_histogram_by_value() -> None:
    values = np.concatenate([np.linspace(0, 1, 1000), [1e6]])
    edges, shares = histogram(values, np.arange(1001) < 500)
    assert edges[-1] < 2  # one outlier does not squeeze the rest
    inside = (values[:500] >= edges[2]) & (values[:500] < edges[3])
    assert np.isclose(shares[2], inside.mean(), atol=0.003)
    assert shares[-1] == 0.0
    assert histogram(values, np.arange(1001) == 1000)[1][-1] == 1.0


def panels() -> tuple[list[ScorePanel], dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    group = np.repeat([0, 1, 2], [60, 40, 20])
    scores = [ScorePanel(name, rng.normal(size=120) + group, "AUROC") for name in "abcde"]
    scores += [ScorePanel("none", None, ""), ScorePanel("constant", np.ones(120), "")]
    return scores, {"known": group == 0, "No Finding": group == 1, "Hernia": group == 2}


def test_the_held_out_group_has_the_accent_and_the_others_colours_of_their_own() -> None:
    drawn, groups = panels()
    found = colours(distributions(drawn, groups, title="t"))
    assert {name for name, count in found.items() if count > 50} == {style.ACCENT, *style.CATEGORIES[:2]}
    groups["Hernia"] = np.zeros(120, dtype=np.bool_)
    without = colours(distributions(drawn, groups, title="t"))
    assert without[style.ACCENT] < found[style.ACCENT] / 5  # its line in the legend alone


def test_a_figure_is_a_function_of_its_values() -> None:
    drawn, groups = panels()
    first, second = (distributions(drawn, groups, title="t").tobytes() for _ in range(2))
    assert first == second


def drawn(folder: Path, shown: list[ScorePanel], groups: dict[str, Flags], note: str = "") -> str:
    save_distributions(folder / "x.svg", "A title", shown, groups, note)
    return (folder / "x.svg").read_text()


def steps(svg: str, colour: str, width: float) -> list[np.ndarray]:
    """The heights of each histogram of a colour, in parts of the highest step of its panel, and None of the legend."""
    found = [line for line in lines(svg, colour, width) if len(line) > 4]
    below = [min((box[3] for box in boxes(svg) if box[3] > line[:, 1].min()), default=0.0) for line in found]
    return [(bottom - line[1:-1:2, 1]) / (PLOT / 1.08) for bottom, line in zip(below, found, strict=True)]


def test_steps_are_as_high_as_the_shares_that_numpy_counts(tmp_path: Path) -> None:
    values = np.random.default_rng(1).normal(size=3000)
    group = np.arange(3000) % 3
    groups = {"known": group == 0, "No Finding": group == 1, "Hernia": group == 2}
    svg = drawn(tmp_path, [ScorePanel("knn", values, "c")], groups)
    low, high = np.percentile(values, (0.5, 99.5))
    counts = [np.histogram(np.clip(values[own], low, high), 20, (low, high))[0] for own in groups.values()]
    shares = np.array(counts) / 1000
    looks = ((style.CATEGORIES[0], 1.5), (style.CATEGORIES[1], 1.5), (style.ACCENT, 2.2))
    for own, (colour, width) in zip(shares, looks, strict=True):
        (heights,) = steps(svg, colour, width)
        assert np.allclose(heights, own / shares.max(), atol=1e-3)
    (held,) = [line for line in lines(svg, style.ACCENT, 2.2) if len(line) > 4]
    left, _, right, _ = boxes(svg)[0]
    ends = [left + (right - left) * part / 1.04 for part in (0.02, 1.02)]  # a margin of 2% of the scores at each side
    assert np.allclose([held[:, 0].min(), held[:, 0].max()], ends, atol=0.01)
    assert "10%" in texts(svg)
    assert "at most 30 of 3,000 images" in " ".join(texts(svg))


def test_the_images_of_a_small_group_are_ticks_where_their_scores_are(tmp_path: Path) -> None:
    values = np.append(np.linspace(0, 1, 101), [0.25, 0.5, 1e9])
    groups = {"known": np.arange(104) < 101, "none": np.zeros(104, dtype=np.bool_), "Hernia": np.arange(104) > 100}
    svg = drawn(tmp_path, [ScorePanel("knn", values, "c")], groups)
    low, high = np.percentile(values, (0.5, 99.5))
    left, _, right, _ = boxes(svg)[0]
    parts = (np.array([0.25, 0.5, high]) - low) / (high - low)  # the outlier is at the edge
    ticks = [x for x, *_ in marks(svg, style.ACCENT)]
    assert np.allclose(ticks, left + (right - left) * (parts + 0.02) / 1.04, atol=0.01)
    assert steps(svg, style.ACCENT, 2.2) == []
    assert "each is a tick" in " ".join(texts(svg))


def test_what_cannot_be_drawn_is_said(tmp_path: Path) -> None:
    shown, groups = panels()
    some = np.where(np.arange(120) % 2, np.linspace(0, 1, 120), np.nan)
    odd = [
        ScorePanel("nan", np.full(120, np.nan), ""),
        ScorePanel("some", some, ""),
        ScorePanel("inf", np.where(some > 0.5, np.inf, some), ""),
    ]
    found = texts(drawn(tmp_path, [*shown, *odd], groups, "A note"))
    assert found.count("not computed") == 2
    assert found.count("the same for every image: 1") == 1
    assert [found.count(text) for text in ("a", "none", "constant", "some", "AUROC")] == [1, 1, 1, 1, 5]
    assert [found.count(name) for name in groups] == [1, 1, 1]
    assert f"A note. {style.DISCLAIMER}." in " ".join(found)


def test_nan_counts_in_no_group() -> None:
    values = np.array([0.0, 1.0, np.nan, 2.0])
    edges, shares = histogram(values, np.array([True, True, True, False]))
    assert np.isclose(edges[0], 0.01)
    assert shares[[0, 10]].tolist() == [0.5, 0.5]
    assert np.isclose(histogram(np.full(3, 1e300), np.ones(3, dtype=np.bool_))[1].sum(), 1)


def test_thirteen_panels_are_four_side_by_side_and_do_not_overlap(tmp_path: Path) -> None:
    shown, groups = panels()
    found = boxes(drawn(tmp_path, [ScorePanel(f"s{i}", shown[0].values, "c" * 99) for i in range(13)], groups))
    assert len(found) == 13
    assert [sum(np.isclose(box[1], top) for box in found) for top in sorted({box[1] for box in found})] == [4, 4, 4, 1]
    for one, other in combinations(found, 2):
        assert one[2] < other[0] or other[2] < one[0] or one[3] < other[1] or other[3] < one[1]


@pytest.mark.parametrize(
    ("scale", "shift", "expected"),
    [(1, 0, ["0", "0.5", "1.0"]), (1e5, -4e6, ["−4.00e6", "−3.95e6", "−3.90e6"]), (1e-5, 0, ["0", "5e−6", "1e−5"])],
)
def test_scales_have_short_numbers(tmp_path: Path, scale: float, shift: float, expected: list[str]) -> None:
    values = np.linspace(-0.01, 1.01, 120) * scale + shift
    svg = drawn(tmp_path, [ScorePanel("s", values, "")], panels()[1])
    assert [text for text in texts(svg) if text in expected] == expected
