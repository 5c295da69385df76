"""The frame around plots: where things lie, what is cut, and that the same drawing gives the same bytes."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.lines import Line2D
from PIL import Image

from cxrsearch.errors import UsageError, WriteError
from cxrsearch.report import style
from cxrsearch.report.drawing import Drawing, PixelFigure, fit_text
from tests.report.svg_parts import boxes, texts


def drawing(title: str = "A title", notes: tuple[str, ...] = ("A note",), legend: int = 2) -> Drawing:
    def draw(sheet: PixelFigure, top: int) -> None:
        sheet.axes(100, top + 10, 300, 120)

    handles = [Line2D([], [], color=style.CATEGORIES[i % 6], label=f"group {i}") for i in range(legend)]
    return Drawing((600, 150), title, handles, notes, draw)


def svg(drawn: Drawing, folder: Path) -> str:
    drawn.save(folder / "x.svg")
    return (folder / "x.svg").read_text()


def test_axes_lie_where_pixels_say(tmp_path: Path) -> None:
    ((left, top, right, bottom),) = boxes(svg(drawing(), tmp_path))
    head = style.GAP + style.line_height(style.TITLE) + style.TIGHT + style.line_height(style.BODY) + style.GAP
    assert np.allclose([left, top, right, bottom], [100, head + 10, 400, head + 130], atol=0.01)
    more_legend, without = (svg(drawing(legend=n), tmp_path) for n in (5, 0))
    assert boxes(more_legend)[0][1] - top == pytest.approx(style.line_height(style.BODY), abs=0.01)
    assert top - boxes(without)[0][1] == pytest.approx(style.line_height(style.BODY), abs=0.01)


def test_notes_are_wrapped_above_the_disclaimer_and_a_long_title_is_cut(tmp_path: Path) -> None:
    drawn = drawing("A very long title " * 10, ("one two three four five " * 6 + "six", "seven"))
    found = texts(svg(drawn, tmp_path))
    title = next(text for text in found if text.startswith("A very"))
    assert "…" in title
    under = found[found.index(title) + 1 : -2]
    assert len(under) > 2
    assert " ".join(under).endswith(f"five six. seven. {style.DISCLAIMER}.")
    assert found[-2:] == ["group 0", "group 1"]
    edge = np.asarray(drawn.image())[:, -16:]
    assert (edge == [int(style.BACKGROUND[i : i + 2], 16) for i in (1, 3, 5)]).all()
    assert drawn.image().height - drawing().image().height == (len(under) - 1) * style.line_height(style.BODY)


@pytest.mark.parametrize("name", ["x.png", "x.SVG"])
def test_the_same_drawing_gives_the_same_bytes_without_a_date(tmp_path: Path, name: str) -> None:
    drawing().save(tmp_path / name)
    first = (tmp_path / name).read_bytes()
    drawing().save(tmp_path / name)
    assert (tmp_path / name).read_bytes() == first
    assert not any(word in first for word in (b"<dc:date>", b"Software", b"Matplotlib v"))
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_file_and_image_show_the_same(tmp_path: Path) -> None:
    drawing().save(tmp_path / "x.png")
    with Image.open(tmp_path / "x.png") as file:
        assert np.array_equal(np.asarray(file.convert("RGB")), np.asarray(drawing().image()))


def test_other_names_and_missing_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"PNG or SVG file: got the name 'x\.pdf'"):
        drawing().save(tmp_path / "x.pdf")
    with pytest.raises(WriteError):
        drawing().save(tmp_path / "none" / "x.png")
    assert list(tmp_path.iterdir()) == []


def test_a_text_is_cut_to_its_room() -> None:
    assert fit_text("Mass", style.BODY, 200) == "Mass"
    assert "…" in fit_text("A finding whose name is far too long for it", style.BODY, 200)
