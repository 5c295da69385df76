import io
from collections.abc import Sequence
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageColor

from cxrsearch.errors import UsageError, WriteError
from cxrsearch.report import style
from cxrsearch.report._sheet_layout import Box, Placed, Text, arrange
from cxrsearch.report.contact_sheet import Tile, contact_sheet, save_png
from cxrsearch.report.style import ACCENT, BACKGROUND, BODY, INK_QUIET, LINE, PANEL, font

NIH_NAME = "00000001_000.png"
LONG_NAME = "study_2017_hospital_of_the_north_patient_000123_img_0001.png"
ALL_FINDINGS = (
    "Atelectasis, Cardiomegaly, Effusion, Infiltration, Mass, Nodule, Pneumonia, Pneumothorax, Consolidation, Edema, "
    "Emphysema, Fibrosis, Pleural Thickening, Hernia"
)
TEXTS = st.sampled_from(["", NIH_NAME, LONG_NAME, "胸部_1.png", "patient 1 · PA · distance 7.137", ALL_FINDINGS])
TILES = st.lists(st.builds(Tile, st.none(), TEXTS, st.lists(TEXTS, max_size=3), emphasised=st.booleans()), max_size=17)


def noise(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)


def query_and(k: int) -> list[Tile]:
    query = Tile(noise(256, 256), NIH_NAME, ["patient 1"], emphasised=True)
    return [query, *(Tile(noise(256, 256, i), f"{i} · {NIH_NAME}", ["PA", "Mass"]) for i in range(1, k + 1))]


def placed(tiles: Sequence[Tile]) -> tuple[Placed, ...]:
    return arrange(tiles, title="t", columns=5, footer="f").tiles


def apart(one: Box, other: Box) -> bool:
    return one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]


def colour_at(image: Image.Image, x: int, y: int) -> str:
    pixel = image.getpixel((x, y))
    assert isinstance(pixel, tuple)
    return "#{:02x}{:02x}{:02x}".format(*pixel)


def ink(text: Text) -> Box:
    """The box of a line of text, with the pixel that smoothed letters may take before it."""
    return text.left - 1, text.top, text.left + round(font(text.size).getlength(text.text)) + 1, text.bottom


@settings(deadline=None)
@given(TILES, st.integers(1, 6), TEXTS, TEXTS)
def test_nothing_overlaps_and_all_is_inside(tiles: list[Tile], columns: int, title: str, footer: str) -> None:
    sheet = arrange(tiles, title=title, columns=columns, footer=footer)
    boxes = [tile.box for tile in sheet.tiles] + [ink(text) for text in sheet.texts]
    assert all(apart(one, other) for one, other in combinations(boxes, 2))
    for left, top, right, bottom in boxes:
        assert min(left, top, sheet.size[0] - right, sheet.size[1] - bottom) >= style.WIDE - style.FRAME
    assert sorted(map(id, tiles)) == sorted(id(tile.tile) for tile in sheet.tiles)


@given(TILES)
@settings(deadline=None)
def test_the_text_of_a_tile_is_below_its_picture_and_no_wider(tiles: list[Tile]) -> None:
    for tile in placed(tiles):
        assert tile.texts[0].top > tile.picture[3] + style.FRAME
        assert all(above.bottom == below.top for above, below in pairwise(tile.texts))
        assert all(ink(text)[2] <= tile.picture[2] + 1 for text in tile.texts)


@settings(deadline=None, max_examples=5)
@given(TILES)
def test_all_that_is_drawn_is_inside_the_boxes(tiles: list[Tile]) -> None:
    """Painting over the boxes leaves nothing but background."""
    sheet = arrange(tiles, title=LONG_NAME, columns=4, footer="footer")
    image = contact_sheet(tiles, title=LONG_NAME, columns=4, footer="footer")
    for box in [tile.box for tile in sheet.tiles] + [ink(text) for text in sheet.texts]:
        image.paste(BACKGROUND, box)
    assert ImageChops.difference(image, Image.new("RGB", image.size, BACKGROUND)).getbbox() is None


def test_query_and_neighbours_are_labelled_only_where_there_is_a_query() -> None:
    def words(tiles: list[Tile]) -> list[str]:
        return [text.text for text in arrange(tiles, title="t", columns=5, footer="f").texts]

    assert words(query_and(2)) == ["t", "query", "neighbours, nearest first", "f"]
    assert words(query_and(0)) == ["t", "query", "f"]
    assert words(query_and(2)[1:]) == words([]) == ["t", "f"]


def test_the_query_is_at_the_left_and_rows_are_aligned() -> None:
    query, *others = placed(query_and(12))
    assert [tile.texts[0].text for tile in others] == [f"{i} · {NIH_NAME}" for i in range(1, 13)]
    assert all(query.box[2] + style.GAP < tile.picture[0] for tile in others)
    rows = [others[:5], others[5:10], others[10:]]
    assert [len({tile.picture[1] for tile in row}) for row in rows] == [1, 1, 1]
    assert query.picture[1] == rows[0][0].picture[1]
    assert all(above[0].box[3] < below[0].box[1] for above, below in pairwise(rows))
    assert [tile.picture[0] for tile in rows[1]] == [tile.picture[0] for tile in rows[0]]


def test_pictures_are_shown_one_to_one() -> None:
    tiles = query_and(6)
    image = contact_sheet(tiles, title="t")
    for tile in placed(tiles):
        assert tile.tile.pixels is not None
        shown = np.asarray(image.crop(tile.picture))
        np.testing.assert_array_equal(shown, np.repeat(tile.tile.pixels[:, :, None], 3, axis=2))


@pytest.mark.parametrize(
    ("shape", "inside"),
    [
        ((512, 512), (0, 0, 256, 256)),
        ((64, 64), (0, 0, 256, 256)),
        ((1000, 500), (64, 0, 192, 256)),
        ((500, 1000), (0, 64, 256, 192)),
        ((2, 4000), (0, 127, 256, 128)),
    ],
)
def test_other_sizes_are_fitted_whole_and_centred(shape: tuple[int, int], inside: Box) -> None:
    tile = Tile(noise(*shape), "a", [])
    shown = contact_sheet([tile], title="t").crop(placed([tile])[0].picture)
    left, top, right, bottom = inside
    expected = Image.fromarray(noise(*shape)).resize((right - left, bottom - top), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(np.asarray(shown.crop(inside)), np.asarray(expected.convert("RGB")))
    shown.paste(PANEL, inside)
    assert shown.getcolors() == [(256 * 256, ImageColor.getrgb(PANEL))]


def test_only_the_query_has_the_accent() -> None:
    tiles = query_and(2)
    image = contact_sheet(tiles, title="t")
    query, first, second = placed(tiles)
    left, top, right, bottom = query.picture
    for x, y in ((left - 1, top - 1), (left - 3, bottom + 2), (right, top), (right + 2, bottom + 2)):
        assert colour_at(image, x, y) == ACCENT
    assert colour_at(image, right + 3, top) == BACKGROUND
    for tile in (first, second):
        assert colour_at(image, tile.picture[0] - 1, tile.picture[1] - 1) == LINE
        assert colour_at(image, tile.picture[0] - 2, tile.picture[1] - 2) == BACKGROUND


def test_a_missing_picture_is_said_in_its_place() -> None:
    tile = Tile(None, NIH_NAME, [])
    shown = contact_sheet([tile], title="t").crop(placed([tile])[0].picture)
    left, top, right, bottom = ImageChops.difference(shown, Image.new("RGB", shown.size, PANEL)).getbbox() or (0,) * 4
    assert right - left == pytest.approx(font(BODY).getlength("image not available"), abs=4)
    assert abs((left + right) / 2 - 128) <= 2
    assert abs((top + bottom) / 2 - 128) <= 4
    colours = {colour for _, colour in shown.getcolors() or []}
    assert ImageColor.getrgb(INK_QUIET) in colours


def test_long_text_is_wrapped_or_shortened_and_no_finding_is_lost() -> None:
    (tile,) = placed([Tile(None, f"12 · {LONG_NAME}", ["patient 1 · PA", "", ALL_FINDINGS])])
    heading, patient, gap, *findings = (text.text for text in tile.texts)
    assert heading.startswith("12 · study")
    assert "…" in heading
    assert heading.endswith("0001.png")
    assert (patient, gap) == ("patient 1 · PA", "")
    assert " ".join(findings) == ALL_FINDINGS


def test_the_sheet_is_no_wider_than_its_tiles_need() -> None:
    widths = {k: arrange(query_and(k), title="t", columns=5, footer="f").size[0] for k in (0, 1, 2, 5, 20)}
    assert widths == {0: 320, 1: 608, 2: 880, 5: 1696, 20: 1696}


def test_same_tiles_same_bytes(tmp_path: Path) -> None:
    paths = [tmp_path / "one.png", tmp_path / "two.PNG"]
    for path in paths:
        save_png(contact_sheet(query_and(3), title="same"), path)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    with Image.open(io.BytesIO(paths[0].read_bytes())) as read:
        assert read.format == "PNG"
        assert ImageChops.difference(read, contact_sheet(query_and(3), title="same")).getbbox() is None


def test_a_sheet_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    image = contact_sheet([], title="nothing")
    (tmp_path / "folder.png").mkdir()
    for path in (tmp_path / "absent" / "sheet.png", tmp_path / "folder.png", tmp_path / f"{'x' * 300}.png"):
        with pytest.raises(WriteError, match=path.name):
            save_png(image, path)
    assert [path.name for path in tmp_path.iterdir()] == ["folder.png"]


@pytest.mark.parametrize("name", ["sheet.jpg", "sheet", ".png"])
def test_a_name_that_is_not_png_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=r"ends in \.png"):
        save_png(contact_sheet([], title="t"), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_too_many_tiles_or_no_column_are_refused() -> None:
    tile = Tile(None, "a", [])
    with pytest.raises(UsageError, match="501 images"):
        contact_sheet([tile] * 501, title="t")
    with pytest.raises(UsageError, match="0 columns"):
        contact_sheet([tile], title="t", columns=0)
