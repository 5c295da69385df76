"""The sheet of the most novel images, by its tiles and its pixels."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cxrsearch.importing import import_embeddings
from cxrsearch.novel_sheet import novel_sheet, novel_tiles
from cxrsearch.query import Index, open_index
from cxrsearch.report.sheet_layout import arrange
from cxrsearch.report.style import DISCLAIMER

ROWS = [5, 8, 0, 3, 2, 9, 1, 4, 7, 6]
SCORES = [9.5 - i for i in range(10)]
NOTES = ["percentile 99.9, shows Hernia", *(f"percentile {99 - i}" for i in range(8)), ""]


@pytest.fixture
def index(small_index: Path) -> Index:
    return open_index(small_index, device="cpu")


def test_a_tile_says_rank_image_note_score_view_and_findings(index: Index) -> None:
    first, second, third, *_, last = novel_tiles(index, ROWS, SCORES, NOTES)
    assert (first.heading, list(first.lines)) == ("1 · 05.png", [NOTES[0], "score 9.5 · AP", "Hernia"])
    assert (second.heading, list(second.lines)) == ("2 · 08.png", ["percentile 99", "score 8.5 · PA", "Edema"])
    assert list(third.lines)[-1] == "No Finding"
    assert (last.heading, list(last.lines)) == ("10 · 06.png", ["score 0.5 · PA", "Mass"])


def test_ten_images_are_two_rows_of_five_and_shown_one_to_one(index: Index) -> None:
    placed = arrange(novel_tiles(index, ROWS, SCORES, NOTES), title="Novel", columns=5, footer=DISCLAIMER).tiles
    assert [sum(tile.picture[1] == top for tile in placed) for top in sorted({t.picture[1] for t in placed})] == [5, 5]
    image = novel_sheet(index, "Novel", ROWS, SCORES, NOTES)
    for tile, row in zip(placed, ROWS, strict=True):
        expected = index.stored_pixels(row)
        assert expected is not None
        np.testing.assert_array_equal(np.asarray(image.crop(tile.picture).convert("L")), expected)
    assert novel_sheet(index, "Novel", ROWS, SCORES, NOTES).tobytes() == image.tobytes()


def test_without_pixels_and_view_a_tile_says_so(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(2, 4)).astype(np.float32))
    (tmp_path / "table.csv").write_text("image,patient,findings\na.png,p1,Mass\nb.png,p2,Mass|Edema\n")
    import_embeddings(tmp_path / "x.npy", tmp_path / "table.csv", index=tmp_path / "index")
    (tile,) = novel_tiles(open_index(tmp_path / "index", device="cpu"), [1], [2.0], [""])
    assert tile.pixels is None
    assert (tile.heading, list(tile.lines)) == ("1 · b.png", ["score 2 · view unknown", "Mass, Edema"])


def test_findings_may_be_unknown(index: Index) -> None:
    index.catalogue = replace(index.catalogue, labels=None)
    (tile,) = novel_tiles(index, [0], [2.0], [""])
    assert list(tile.lines) == ["score 2 · PA", "findings unknown"]


def test_scores_and_notes_are_as_many_as_rows(index: Index) -> None:
    with pytest.raises(ValueError, match="zip"):
        novel_sheet(index, "Novel", ROWS, SCORES[:9], NOTES)
