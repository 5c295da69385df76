"""Asking an index by a region: boxes of the original file, candidates, and what cannot be asked."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from cxrsearch.analysis.maps.windows import best_windows, pool
from cxrsearch.building.build import build_index
from cxrsearch.errors import UsageError
from cxrsearch.images.preprocess import Preprocess
from cxrsearch.query._regions import box_shares, image_shares
from cxrsearch.query.answer_sheet import query_sheet
from cxrsearch.query.embedded import network_pixels
from cxrsearch.query.index import Index, open_index
from cxrsearch_cli.app import app
from tests.conftest import SMALL, DataSet

BOX = (20.0, 30.0, 40.0, 20.0)
"""In the 80 x 80 pixels of the data set's files."""


@pytest.fixture(scope="module")
def index(trained_index: Path) -> Index:
    return open_index(trained_index, device="cpu")


def test_boxes_become_shares_of_what_the_network_sees() -> None:
    whole = Preprocess.for_size(64)
    assert box_shares((100, 50, 200, 100), (400, 200), whole) == (0.25, 0.25, 0.5, 0.5)
    centre = Preprocess(size=128, crop="centre")  # sees 64 to 192 of 256
    assert box_shares((64, 96, 64, 32), (256, 256), centre) == (0.0, 0.25, 0.5, 0.25)
    assert box_shares((0, 0, 128, 128), (256, 256), centre) == (0.0, 0.0, 0.5, 0.5)
    np.testing.assert_allclose(image_shares(np.array([[0.0, 0.25, 0.5, 0.25]]), centre), [[0.25, 0.375, 0.25, 0.125]])
    with pytest.raises(UsageError, match="outside the centre"):
        box_shares((0, 0, 60, 60), (256, 256), centre)


@pytest.mark.parametrize(
    ("box", "problem"),
    [
        ((0, 0, 0, 5), "has no area"),
        ((0, 0, 5, -1), "has no area"),
        ((0, 0, float("nan"), 5), "has no area"),
        ((-1, 0, 5, 5), "is not inside the image of 400 x 200 pixels"),
        ((396, 0, 5, 5), "is not inside the image"),
        ((0, 190, 5, 11), "is not inside the image"),
    ],
)
def test_boxes_that_cannot_be_meant_are_refused(box: Any, problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        box_shares(box, (400, 200), Preprocess())


def test_neighbours_are_ordered_by_their_best_regions(index: Index, data_set: DataSet) -> None:
    answer = index.query(data_set.images / "03.png", k=5, box=BOX)
    everything = np.stack([pixels for row in range(10) if (pixels := index.stored_pixels(row)) is not None])
    maps = index.embedder.activations(network_pixels(index.embedder, list(everything)))
    region = pool(maps[3], (0.25, 0.375, 0.5, 0.25))
    centre = np.concatenate(index.stored.blocks).astype(np.float64).mean(axis=0)
    distances, windows = best_windows(maps, region, (0.5, 0.25), centre)
    others = [row for row in np.argsort(distances, kind="stable") if row // 2 != 1]
    assert list(answer.neighbours.row) == others[:5]
    np.testing.assert_allclose(answer.neighbours.distance, distances[others[:5]], rtol=1e-3, atol=1e-5)
    assert answer.neighbours.region is not None
    np.testing.assert_allclose(answer.neighbours.region, windows[others[:5]])
    plain = index.query(data_set.images / "03.png", k=5)
    assert plain.neighbours.region is None
    assert plain.votes is not None
    assert answer.votes is not None
    np.testing.assert_array_equal(plain.votes.prevalence, answer.votes.prevalence)
    assert answer.typicality == plain.typicality


def test_the_image_itself_is_the_nearest_where_it_may_answer(index: Index, data_set: DataSet) -> None:
    answer = index.query(data_set.images / "03.png", k=1, box=BOX, same_patient=True)
    assert answer.neighbours.image[0] == "03.png"
    assert answer.neighbours.distance[0] == pytest.approx(0, abs=1e-5)
    whole = index.query(data_set.images / "03.png", k=1, box=(0, 0, 80, 80), same_patient=True)
    assert whole.neighbours.distance[0] == pytest.approx(0, abs=1e-5)


def test_only_the_candidates_are_judged(index: Index, data_set: DataSet) -> None:
    few = index.query(data_set.images / "03.png", k=2, box=BOX, candidates=2)
    many = index.query(data_set.images / "03.png", k=8, box=BOX)
    assert set(few.neighbours.row) <= set(many.neighbours.row)
    assert len(few.neighbours) == 2
    assert np.all(np.diff(few.neighbours.distance) >= 0)


def test_the_json_has_the_box_and_the_regions_only_where_one_was_asked_for(index: Index, data_set: DataSet) -> None:
    value = index.query(data_set.images / "03.png", k=2, box=BOX).to_json()
    assert list(value)[:3] == ["query", "box", "index"]
    assert value["box"] == list(BOX)
    assert all(len(neighbour["region"]) == 4 for neighbour in value["neighbours"])
    assert list(value["neighbours"][0]["region"][2:]) == [0.5, 0.25]
    plain = index.query(data_set.images / "03.png", k=2).to_json()
    assert "box" not in plain
    assert "region" not in plain["neighbours"][0]


def test_the_sheet_frames_the_regions(index: Index, data_set: DataSet) -> None:
    answer = index.query(data_set.images / "03.png", k=2, box=BOX)
    blue = (0x56, 0xB4, 0xE9)
    framed = np.all(np.asarray(query_sheet(index, answer)) == blue, axis=2)
    plain = np.asarray(query_sheet(index, index.query(data_set.images / "03.png", k=2)))
    assert framed.sum() > 3 * 2 * 2 * 100
    assert not np.all(plain == blue, axis=2).any()


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"box": (70, 0, 20, 20)}, "is not inside the image of 80 x 80"),
        ({"box": BOX, "candidates": 1}, "1 candidates for 2 neighbours"),
        ({"box": BOX, "candidates": 2.5}, "2.5 candidates"),
        ({"box": BOX, "vote": "mlknn"}, "mlknn does not support --box"),
    ],
)
def test_what_cannot_be_asked_is_refused(index: Index, data_set: DataSet, wrong: dict[str, Any], problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        index.query(data_set.images / "03.png", k=2, **wrong)


def test_an_index_without_pixels_cannot_be_asked_by_a_region(data_set: DataSet, tmp_path: Path) -> None:
    build_index(data_set.images, index=tmp_path / "index", pixels=False, **SMALL)
    with pytest.raises(UsageError, match="keeps no pixels"):
        open_index(tmp_path / "index", device="cpu").query(data_set.images / "00.png", box=BOX)


def test_an_image_that_is_not_square_is_mapped_by_its_own_sides(index: Index, tmp_path: Path) -> None:
    pixels = index.stored_pixels(6)
    assert pixels is not None
    Image.fromarray(pixels).resize((512, 128), Image.Resampling.NEAREST).save(tmp_path / "wide.png")
    answer = index.query(tmp_path / "wide.png", k=1, box=(0, 0, 512, 128), same_patient=True)
    assert answer.neighbours.row[0] == 6
    assert answer.size == (512, 128)


def asked(*words: str | Path) -> Result:
    return CliRunner().invoke(app, ["query", *map(str, words), "--device", "cpu"])


def test_the_command_takes_a_box(trained_index: Path, data_set: DataSet) -> None:
    image = data_set.images / "03.png"
    value = json.loads(asked(image, "--index", trained_index, "--box", "20,30,40,20", "-k", "2", "--json").stdout)
    assert value["box"] == list(BOX)
    assert len(value["neighbours"][0]["region"]) == 4
    assert ", by region 20,30,40,20" in asked(image, "--index", trained_index, "--box", "20, 30, 40, 20").stdout


@pytest.mark.parametrize("box", ["", "1,2,3", "1,2,3,4,5", "a,b,c,d", "1;2;3;4"])
def test_a_box_that_is_none_is_refused_by_the_command(trained_index: Path, data_set: DataSet, box: str) -> None:
    result = asked(data_set.images / "03.png", "--index", trained_index, "--box", box)
    assert result.exit_code == 2
    assert "invalid box" in result.stderr


def test_one_box_is_of_one_image(trained_index: Path, data_set: DataSet) -> None:
    result = asked(data_set.images, "--index", trained_index, "--box", "1,2,3,4")
    assert result.exit_code == 2
    assert "one box for 10 images" in result.stderr
