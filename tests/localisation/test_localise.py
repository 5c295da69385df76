"""`localise`: maps, boxes and overlays of one image, and what cannot be asked."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from cxrsearch.analysis.maps.box_overlap import map_boxes
from cxrsearch.encoder.embed import Embedder
from cxrsearch.errors import UsageError
from cxrsearch.images.preprocess import Preprocess
from cxrsearch.localisation import overlays
from cxrsearch.localisation.localise import compare_image, localise_image
from cxrsearch.localisation.overlays import alike_sheet, localised_sheet
from cxrsearch.query.index import Index, open_index
from cxrsearch.query.maps import Method, on_stored
from cxrsearch_cli.app import app
from tests.conftest import DataSet
from tests.trained import trained_encoder, trained_file


@pytest.fixture(scope="module")
def index(trained_index: Path) -> Index:
    return open_index(trained_index, device="cpu")


@pytest.fixture
def wide(data_set: DataSet, tmp_path: Path) -> Path:
    """An image twice as wide as high."""
    Image.open(data_set.images / "02.png").resize((400, 200)).save(tmp_path / "wide.png")
    return tmp_path / "wide.png"


def test_findings_come_by_probability_or_as_they_were_named(index: Index, wide: Path) -> None:
    every = localise_image(index.embedder, wide)
    assert len(every.found.findings) == 14
    assert np.all(np.diff(every.found.probabilities) <= 0)
    two = localise_image(index.embedder, wide, findings=("mass", "pleural thickening", "Mass"))
    assert two.found.findings == ("Mass", "Pleural_Thickening")
    at = every.found.findings.index("Mass")
    np.testing.assert_array_equal(two.found.maps[0], every.found.maps[at])
    assert two.found.logits[0] == every.found.logits[at]


def test_boxes_are_in_pixels_of_the_file(index: Index, wide: Path) -> None:
    result = localise_image(index.embedder, wide, findings=("Mass",), boxes=True, threshold=0.7)
    assert result.boxes is not None
    found, _ = map_boxes(result.shown[0], 0.7)
    np.testing.assert_allclose(result.boxes[0], found * np.array([400, 200, 400, 200]) / 256)
    np.testing.assert_allclose(result.stored_boxes(0), found)
    value = result.to_json()
    assert (value["width"], value["height"], value["threshold"]) == (400, 200, 0.7)
    assert value["findings"][0]["boxes"] == result.boxes[0].tolist()
    assert np.mean(value["findings"][0]["map"]) == pytest.approx(result.found.maps[0].mean())
    plain = localise_image(index.embedder, wide, findings=("Mass",)).to_json()
    assert "boxes" not in plain["findings"][0]
    assert "threshold" not in plain


def test_the_resolution_of_the_maps_is_said(index: Index, wide: Path) -> None:
    result = localise_image(index.embedder, wide, findings=("Mass",))
    assert result.to_json()["cell"] == [200, 100]  # two cells a side
    said = "The heat maps have 2 x 2 cells of 200 x 100 pixels each: nothing smaller can be located or outlined."
    assert result.resolution() == said


def test_a_map_that_speaks_against_its_finding_everywhere_has_no_box(index: Index, wide: Path) -> None:
    result = localise_image(index.embedder, wide, boxes=True)
    assert result.boxes is not None
    against = [row for row, values in enumerate(result.found.maps) if values.max() <= 0]
    assert against
    for row, boxes in enumerate(result.boxes):
        assert (len(boxes) == 0) == (row in against)


def test_the_peak_is_where_the_map_is_highest(index: Index, wide: Path) -> None:
    result = localise_image(index.embedder, wide, findings=("Mass",))
    row, column = np.unravel_index(result.found.maps[0].argmax(), (2, 2))
    x, y = (float(part) for part in result.peak(0).split(", "))
    assert (x > 200, y > 100) == (column == 1, row == 1)


def test_a_centre_crop_is_shown_in_the_middle() -> None:
    whole = on_stored(Preprocess(size=128, crop="centre"), np.array([[1.0, 2.0], [3.0, 4.0]]))
    assert whole.shape == (256, 256)
    assert np.all(whole[:64] == 1.0)
    assert whole[64, 64] == 1.0
    assert whole[191, 191] == 4.0
    assert whole[192:, :].max() == 1.0


def test_alike_images_have_a_cosine_and_maps_of_it(index: Index, data_set: DataSet) -> None:
    same = compare_image(index, data_set.images / "04.png", "04.png")
    assert same.cosine == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(same.maps[0], same.maps[1], rtol=1e-5)
    other = compare_image(index, data_set.images / "04.png", "#7")
    assert other.other == "07.png"
    assert other.cosine < 1
    assert np.mean(other.to_json()["map"]) == pytest.approx(other.product)
    for wrong in ("nobody.png", "#10", "#-1", "#x"):
        with pytest.raises(UsageError, match="no image"):
            compare_image(index, data_set.images / "04.png", wrong)


def test_the_overlay_tints_where_the_map_is_high_and_nowhere_else(index: Index, data_set: DataSet) -> None:
    result = localise_image(index.embedder, data_set.images / "02.png", findings=("Mass",), boxes=True)
    picture = np.asarray(localised_sheet(result))
    left = 32 + 256 + 32
    tops = [y for y in range(40, 200) if np.array_equal(picture[y, 32 : 32 + 256, 0], result.pixels[0])]
    tile = picture[tops[0] : tops[0] + 256, left : left + 256].astype(int)
    colour = np.ptp(tile, axis=2)
    assert colour[np.unravel_index(result.shown[0].argmax(), (256, 256))] > 20
    assert colour[(result.shown[0] <= 0) & (colour < 50)].max(initial=0) == 0
    np.testing.assert_array_equal(picture, np.asarray(localised_sheet(result)))
    assert alike_sheet(compare_image(index, data_set.images / "02.png", "#5")).size[0] > 800


@pytest.mark.parametrize(("method", "said"), [("cam", "adds to the finding's logit"), ("grad-cam", "Grad-CAM")])
def test_the_scale_says_what_its_numbers_are_of_any_map(
    method: Method, said: str, data_set: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network of 32 pixels has a map of one cell."""
    scales: list[str] = []
    monkeypatch.setattr(overlays, "overlay_sheet", lambda *_, scale, **__: scales.append(scale))
    localised_sheet(localise_image(Embedder(trained_encoder(32), "cpu"), data_set.images / "02.png", method=method))
    assert said in scales[0]


def test_what_cannot_be_located_is_refused(index: Index, small_index: Path, data_set: DataSet) -> None:
    image = data_set.images / "00.png"
    with pytest.raises(UsageError, match="no trained head"):
        localise_image(open_index(small_index, device="cpu").embedder, image)
    with pytest.raises(UsageError, match="unknown finding 'Flu'"):
        localise_image(index.embedder, image, findings=("Flu",))
    with pytest.raises(UsageError, match="between 0 and 1"):
        localise_image(index.embedder, image, boxes=True, threshold=1.0)


def asked(*words: str | Path) -> Result:
    return CliRunner().invoke(app, ["localise", *map(str, words), "--device", "cpu"])


def test_the_command_prints_a_table_or_json_and_draws(trained_index: Path, data_set: DataSet, tmp_path: Path) -> None:
    image, drawn = data_set.images / "00.png", tmp_path / "o.png"
    table = asked(image, "--index", trained_index, "--boxes", "--overlay", drawn)
    assert table.exit_code == 0
    assert "(80 x 80 pixels): cam of made" in table.stdout
    assert "The heat maps have 2 x 2 cells of 40 x 40 pixels each: " in table.stdout
    with Image.open(drawn) as picture:
        assert picture.mode == "RGB"
    weights = trained_file(tmp_path / "made.safetensors")
    found = json.loads(asked(image, "--weights", weights, "--finding", "Mass", "--json").stdout)
    assert [finding["finding"] for finding in found["findings"]] == ["Mass"]
    fine = json.loads(asked(image, "--weights", weights, "--method", "grad-cam", "--json").stdout)
    assert np.shape(fine["findings"][0]["map"]) == (4, 4)
    alike = asked(image, "--index", trained_index, "--against", "05.png", "--overlay", drawn, "--json")
    assert json.loads(alike.stdout)["against"] == "05.png"
    assert "cosine" in asked(image, "--index", trained_index, "--against", "#5").stdout


def test_calls_that_do_not_fit_are_refused(trained_index: Path, data_set: DataSet, tmp_path: Path) -> None:
    image = data_set.images / "00.png"
    for words, problem in (
        (("--overlay", tmp_path / "o.jpg"), ".png"),
        (("--weights", "x", "--index", trained_index), "an index and weights"),
        (("--against", "#1", "--boxes"), "--against beside options"),
        (("--index", trained_index, "--boxes", "--threshold", "2"), "between 0 and 1"),
    ):
        result = asked(image, *words)
        assert result.exit_code == 2, result.stderr
        assert problem in result.stderr
    missing = asked(image, "--index", trained_index, "--overlay", tmp_path / "none" / "o.png")
    assert missing.exit_code == 1
    assert "no folder" in missing.stderr
