"""Figures of novelty: what is drawn is what was measured."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cxrsearch.report import style
from cxrsearch.report.novelty_charts import FindingLine, ScorePanel, distributions, findings_chart, histogram


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


def marks(image: Image.Image, colour: str) -> list[tuple[int, int]]:
    pixels = np.asarray(image)
    same = (pixels == np.frombuffer(bytes.fromhex(colour[1:]), np.uint8)).all(axis=2)
    same[:110] = False  # title and legend
    return list(zip(*np.nonzero(same), strict=True))


def test_marks_lie_where_the_auroc_is() -> None:
    nan = float("nan")
    lines = [
        FindingLine("Mass", {"knn": (0.2, nan, nan), "ceiling": (0.9, 0.85, 0.95)}, 3, 2),
        FindingLine("Hernia", {"knn": (0.6, nan, nan)}, 1, 1),
    ]
    image = findings_chart(lines, title="t")
    left, right = 210, image.width - 230
    knn = np.array(marks(image, style.CATEGORIES[0]))
    ceiling = np.array(marks(image, style.CATEGORIES[1]))
    upper, lower = knn[knn[:, 0] < knn[:, 0].mean()], knn[knn[:, 0] > knn[:, 0].mean()]
    for mark, value in ((upper, 0.2), (lower, 0.6)):
        assert abs((mark[:, 1].min() + mark[:, 1].max()) / 2 - (left + value * (right - left))) < 3
    width = ceiling[:, 1].max() - ceiling[:, 1].min()
    assert abs(width - 0.1 * (right - left)) < 5
