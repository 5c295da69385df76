"""A map by its pixels and its bytes."""

import io
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageColor

from cxrsearch.overview import _scatter as scatter
from cxrsearch.overview._scatter import Scatter, order_of_drawing, scatter_file
from cxrsearch.overview._scatter_colours import QUIET, Colouring
from cxrsearch.report import style

CORNERS = np.array([[0, 0], [8, 0], [0, 8], [8, 8], [4, 4]], dtype=np.float32)
CLASSES = [(f"class {i}", colour, False) for i, colour in enumerate(style.CATEGORIES[:4])] + [("rest", QUIET, True)]
ALPHA = 0.85


def drawing(coordinates: NDArray[np.float32] = CORNERS, **changes: Any) -> Scatter:
    colouring = Colouring.of("finding", "Finding", CLASSES, np.arange(len(coordinates)) % 5)
    values: dict[str, Any] = {
        "coordinates": coordinates,
        "colouring": colouring,
        "title": "5 images of 5 patients",
        "lines": ("By hand.",),
    }
    return Scatter(**values | changes)


def pixels(drawn: bytes) -> NDArray[np.int64]:
    return np.asarray(Image.open(io.BytesIO(drawn)).convert("RGB")).astype(np.int64)


def seen(colour: str, alpha: float = ALPHA) -> NDArray[np.float64]:
    """A dot's colour on the panel."""
    over, under = (np.array(ImageColor.getrgb(name)) for name in (colour, style.PANEL))
    return alpha * over + (1 - alpha) * under


def places(picture: NDArray[np.int64], colour: NDArray[np.float64]) -> NDArray[np.int64]:
    found: NDArray[np.int64] = np.argwhere(np.abs(picture - colour).max(axis=2) <= 2)
    return found


def panel_of(picture: NDArray[np.int64]) -> tuple[int, int, int, int]:
    """Top, left, bottom and right of the square in which the dots lie."""
    panel = (picture == ImageColor.getrgb(style.PANEL)).all(axis=2)
    rows, columns = (np.flatnonzero(panel.mean(axis=axis) > 0.2) for axis in (1, 0))
    return int(rows[0]), int(columns[0]), int(rows[-1]), int(columns[-1])


def test_every_image_is_a_dot_of_its_colour_in_its_place() -> None:
    picture = pixels(scatter_file(drawing(), "png"))
    top, left, bottom, right = panel_of(picture)
    assert bottom - top == pytest.approx(1440, abs=2)
    assert right - left == pytest.approx(1440, abs=2)
    step = 1440 / (8 * 1.06)  # as a margin of 3% of the data is left on each side
    for (x, y), (_, colour, _) in zip(CORNERS, CLASSES, strict=True):
        dot = places(picture[: bottom + 1, : right + 1], seen(colour))
        row, column = dot.mean(axis=0)
        assert column == pytest.approx((left + right) / 2 + (x - 4) * step, abs=3)
        assert row == pytest.approx((top + bottom) / 2 - (y - 4) * step, abs=3)
        assert len(dot) == pytest.approx(np.pi * (7 * 200 / 72 / 2) ** 2, rel=0.2)


def test_title_and_lines_are_above_and_below_the_square() -> None:
    picture = pixels(scatter_file(drawing(lines=("By hand.", "A second line.")), "png"))
    top, _, bottom, right = panel_of(picture)
    title = places(picture[:, : right + 1], np.array(ImageColor.getrgb(style.INK), dtype=np.float64))
    assert 0 < title[:, 0].min() < title[:, 0].max() < top
    below = places(picture[:, : right + 1], np.array(ImageColor.getrgb(style.INK_QUIET), dtype=np.float64))[:, 0]
    lines = np.unique((below - bottom - 2 * style.GAP) // (2 * style.line_height(style.BODY)))
    assert below.min() > bottom
    assert lines.tolist() == [0, 1, 2]  # the two, and the disclaimer


def test_the_legend_shows_every_colour_and_nothing_leaves_the_figure() -> None:
    long = "one two three four five six seven eight nine ten " * 8
    picture = pixels(scatter_file(drawing(title="A title", lines=(long,)), "png"))
    legend = picture[:, picture.shape[1] - 2 * 300 :]
    for _, colour, _ in CLASSES:
        assert 200 < len(places(legend, seen(colour, alpha=1))) < 800
    edge = np.concatenate([picture[:, -8:].reshape(-1, 3), picture[-8:].reshape(-1, 3)])
    assert (edge == ImageColor.getrgb(style.BACKGROUND)).all()


def test_many_dots_are_one_picture_in_an_svg(monkeypatch: pytest.MonkeyPatch) -> None:
    many = np.random.default_rng(0).random((400, 2)).astype(np.float32)
    drawn = scatter_file(drawing(many), "svg").decode()
    assert drawn.count("<image") == 0
    assert drawn.count("<use") > 400
    monkeypatch.setattr(scatter, "_RASTER", 400)
    picture = scatter_file(drawing(many), "svg").decode()
    assert picture.count("<image") == 1
    assert picture.count("<use") < 250


def test_dots_shrink_so_that_they_cover_a_part_of_the_square() -> None:
    points = np.random.default_rng(0).random((3000, 2)).astype(np.float32)
    picture = pixels(scatter_file(drawing(points), "png"))
    top, left, bottom, right = panel_of(picture)
    inside = picture[top : bottom + 1, left : right + 1]
    covered = 1 - (inside == ImageColor.getrgb(style.PANEL)).all(axis=2).mean()
    assert covered == pytest.approx((1 - np.exp(-np.pi / 4 * 0.6)) / 1.06**2, rel=0.15)


@pytest.mark.parametrize("file_format", ["png", "svg"])
def test_the_same_map_gives_the_same_bytes_without_a_date(file_format: Any) -> None:
    one = scatter_file(drawing(), file_format)
    assert scatter_file(drawing(), file_format) == one
    assert scatter_file(drawing(CORNERS[::-1].copy()), file_format) != one
    for word in (b"Date", b"date", b"Software", b"Matplotlib v", b"http://matplotlib"):
        assert word not in one
    if file_format == "png":
        assert set(Image.open(io.BytesIO(one)).info) == {"dpi"}


def test_a_users_own_settings_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    import matplotlib

    one = scatter_file(drawing(), "png")
    with matplotlib.rc_context({"savefig.bbox": "tight", "font.size": 30, "text.usetex": False, "axes.facecolor": "w"}):
        assert scatter_file(drawing(), "png") == one


def test_signs_of_mathematics_are_drawn_as_they_are() -> None:
    plain = scatter_file(drawing(title="Cost $5$ and $x_1"), "png")
    assert plain != scatter_file(drawing(title="Cost 5 and x1"), "png")


def test_quiet_images_lie_under_the_others_and_chance_decides_the_rest() -> None:
    codes = np.array([0] * 50 + [4] * 50 + [1] * 50)
    colouring = Colouring.of("finding", "Finding", CLASSES, codes)
    order = order_of_drawing(colouring)
    assert sorted(order) == list(range(150))
    assert (codes[order[:50]] == 4).all()
    above = codes[order[50:]]
    assert 10 < np.count_nonzero(above[:50] == 0) < 40
