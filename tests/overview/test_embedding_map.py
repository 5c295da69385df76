"""A map of an index: the right images in the right colours, in every format, the same bytes again."""

import base64
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner, Result

from cxrsearch.analysis.plane.projection import METHODS, Projection, project
from cxrsearch.building.build import build_index
from cxrsearch.building.imported import import_embeddings
from cxrsearch.encoder.spec import UNTRAINED
from cxrsearch.errors import CatalogueError, UsageError, WriteError
from cxrsearch.overview.embedding_map import COLOURS, draw_map, novelty
from cxrsearch.query.index import Index, open_index
from cxrsearch_cli.app import app
from cxrsearch_cli.commands import draw_map as map_command
from cxrsearch_indexes.vectors import Vectors
from tests.conftest import FINDINGS, SMALL, DataSet


@pytest.fixture(scope="module")
def index(small_index: Path) -> Index:
    return open_index(small_index)


@pytest.fixture
def projected_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take a projection that another test has made already, where the test is not about projections."""

    def remembered(vectors: Vectors, **options: Any) -> Projection:
        key = (vectors.take(np.arange(vectors.n)).tobytes(), options["seed"], options["unit"], options["method"])
        if key not in _PROJECTIONS:
            _PROJECTIONS[key] = project(vectors, **options)
        return _PROJECTIONS[key]

    monkeypatch.setattr("cxrsearch.overview.embedding_map.project", remembered)


_PROJECTIONS: dict[Any, Projection] = {}


def data_of(page: Path) -> dict[str, Any]:
    found = re.search(r'id="data">(.*?)</script>', page.read_text(), re.DOTALL)
    assert found
    return dict(json.loads(found[1]))


def imported(folder: Path, vectors: NDArray[np.float32], patients: list[str], metric: Any = "l2") -> Index:
    np.save(folder / "x.npy", vectors)
    rows = [f"{i}.png,{patient},," for i, patient in enumerate(patients)]
    (folder / "t.csv").write_text("\n".join(["image,patient,findings,age", *rows]) + "\n")
    import_embeddings(folder / "x.npy", folder / "t.csv", index=folder / "index", metric=metric)
    return open_index(folder / "index")


def test_all_formats_show_the_projection_of_the_indexs_embeddings(index: Index, tmp_path: Path) -> None:
    out = [tmp_path / name for name in ("map.png", "map.svg", "map.HTML")]
    result = draw_map(index, out, seed=3, threads=1)
    assert result.files == tuple(out)
    expected = project(index.stored.vectors, seed=3, threads=1)
    np.testing.assert_array_equal(result.projection.coordinates, expected.coordinates)
    assert out[0].read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in out[1].read_bytes()
    data = data_of(out[2])
    assert sorted(data["images"]) == index.catalogue.ids
    assert data["pictures"]["count"] == 10
    frame = result.to_frame()
    assert frame["image"].tolist() == index.catalogue.ids
    np.testing.assert_array_equal(frame[["x", "y"]], expected.coordinates)
    rarest = [cell.replace("Effusion|Mass", "Effusion") for cell in FINDINGS]  # 2 images against 4
    assert frame["class"].tolist() == rarest
    assert result.warnings == (UNTRAINED,)
    assert "The encoder is untrained" in out[2].read_text()


def test_the_same_index_and_seed_give_the_same_bytes(index: Index, tmp_path: Path) -> None:
    out = [tmp_path / f"map.{kind}" for kind in ("png", "svg", "html")]
    draw_map(index, out, threads=1)
    first = [path.read_bytes() for path in out]
    draw_map(index, out, threads=1)
    assert [path.read_bytes() for path in out] == first


@pytest.mark.usefixtures("projected_once")
@pytest.mark.parametrize("colour", COLOURS)
def test_the_page_offers_what_is_known_and_starts_with_what_was_asked(
    index: Index, tmp_path: Path, colour: Any
) -> None:
    result = draw_map(index, [tmp_path / "map.html"], colour=colour, threads=1)
    offered = [colouring["name"] for colouring in data_of(tmp_path / "map.html")["colourings"]]
    assert offered[0] == colour == result.colouring.name
    assert sorted(offered) == sorted({"finding", "view", "age", colour})
    assert sum(result.colouring.counts) == 10


@pytest.mark.usefixtures("projected_once")
def test_one_finding_stands_out_in_the_figure_and_in_the_page(index: Index, tmp_path: Path) -> None:
    result = draw_map(index, [tmp_path / "map.html"], finding="mass", threads=1)
    assert result.finding == "Mass"
    assert result.colouring.classes == ("Mass", "other images")
    assert result.colouring.counts == [4, 6]
    data = data_of(tmp_path / "map.html")
    assert data["findings"]["names"][data["findings"]["highlight"]] == "Mass"
    assert len(data["colourings"][0]["classes"]) == 5  # the page can show all of them again


@pytest.mark.usefixtures("projected_once")
def test_novelty_is_the_distance_to_the_kth_image_of_another_patient(index: Index, tmp_path: Path) -> None:
    x = np.concatenate(index.stored.blocks).astype(np.float64)
    apart = np.linalg.norm(x[:, None] - x[None], axis=2)
    expected = [sorted(np.delete(apart[i], [i // 2 * 2, i // 2 * 2 + 1]))[7] for i in range(10)]
    stages: dict[str, tuple[int, int]] = {}
    distances, k = novelty(index, lambda a, b, c: stages.update({a: (b, c)}))
    assert stages == {"neighbours of other patients": (10, 10)}
    assert k == 8  # 8 images of other patients, fewer than 20
    np.testing.assert_allclose(distances, expected, rtol=1e-6)
    result = draw_map(index, [tmp_path / "map.png"], colour="novelty", threads=1)
    assert result.colouring.title == "Distance to neighbour 8 of other patients"
    assert (np.diff(result.colouring.codes[np.argsort(expected)].astype(int)) >= 0).all()
    assert result.colouring.counts[0] == 5


def test_novelty_is_that_of_the_twentieth_where_there_are_as_many(tmp_path: Path) -> None:
    x = np.arange(30, dtype=np.float32)[:, None] ** 2
    distances, k = novelty(imported(tmp_path, x, [f"p{i // 2}" for i in range(30)]))
    assert k == 20
    for row in (0, 13, 29):
        others = [i for i in range(30) if i // 2 != row // 2]
        assert distances[row] == pytest.approx(sorted(abs(x[others, 0] - x[row, 0]))[19])


def test_an_index_of_the_cosine_metric_is_mapped_by_direction(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(24, 6)).astype(np.float32)
    patients = [f"p{i}" for i in range(24)]
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    longer = x * np.float32(4) ** rng.integers(-1, 2, (24, 1)).astype(np.float32)
    one = draw_map(imported(tmp_path / "a", x, patients, "cosine"), [tmp_path / "a.html"], threads=1)
    two = draw_map(imported(tmp_path / "b", longer, patients, "cosine"), [tmp_path / "b.html"], threads=1)
    np.testing.assert_array_equal(one.projection.coordinates, two.projection.coordinates)
    assert "Imported embeddings, 6 dimensions, brought to length 1" in (tmp_path / "a.html").read_text()
    assert data_of(tmp_path / "a.html")["pictures"] is None


@pytest.mark.usefixtures("projected_once")
def test_an_index_without_findings_is_coloured_by_view_or_age(data_set: DataSet, tmp_path: Path) -> None:
    build_index(data_set.images, index=tmp_path / "index", **SMALL)
    index = open_index(tmp_path / "index")
    for options in ({}, {"colour": "view", "finding": "Mass"}):
        with pytest.raises(CatalogueError, match="the findings of the index's images are not known"):
            draw_map(index, [tmp_path / "map.html"], **options)  # type: ignore[arg-type]
    result = draw_map(index, [tmp_path / "map.html"], colour="view", threads=1)
    assert result.colouring.classes == ("unknown",)
    data = data_of(tmp_path / "map.html")
    assert data["findings"] is None
    assert [colouring["name"] for colouring in data["colourings"]] == ["view", "age"]


def test_what_cannot_be_drawn_is_refused_before_the_work(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unexpected(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr("cxrsearch.overview.embedding_map.project", unexpected)
    for out, message in (
        ([], "without a file"),
        (["map.pdf"], r"an embedding map as 'map.pdf' — give names that end in .png"),
    ):
        with pytest.raises(UsageError, match=message):
            draw_map(index, out)
    with pytest.raises(WriteError, match="no folder"):
        draw_map(index, [tmp_path / "absent" / "map.png"])
    for options, message in (({"finding": "Flu"}, "unknown finding"), ({"colour": "sex"}, "unknown colour 'sex'")):
        with pytest.raises(UsageError, match=message):
            draw_map(index, [tmp_path / "map.png"], **options)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_too_few_images_and_a_single_patient_are_refused(tmp_path: Path) -> None:
    x = np.eye(6, dtype=np.float32)
    alone = imported(tmp_path, x, ["p"] * 6)
    with pytest.raises(UsageError, match="novelty needs at least two patients"):
        draw_map(alone, [tmp_path / "map.png"], colour="novelty")
    assert draw_map(alone, [tmp_path / "map.png"], threads=1).patients == 1
    few = imported(tmp_path, x[:4], list("abcd"))
    with pytest.raises(UsageError, match="a map needs at least 5"):
        draw_map(few, [tmp_path / "few.png"])
    assert not (tmp_path / "few.png").exists()


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.mark.usefixtures("projected_once")
def test_the_command(small_index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("map", "--index", small_index, "--threads", 1)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith("map.png, map.html: 10 images of 5 patients, t-SNE, perplexity 3, of 9 principal")
    assert "warning: the encoder is untrained" in result.stderr
    assert (tmp_path / "map.png").read_bytes().startswith(b"\x89PNG")
    assert data_of(tmp_path / "map.html")["pictures"]["count"] == 10
    options = ("--out", "a.svg", "--out", "b.png", "--colour", "age", "--finding", "Mass", "--seed", 5, "--threads", 1)
    value = json.loads(run("map", "--index", small_index, *options, "--json").stdout)
    assert value["files"] == ["a.svg", "b.png"]
    assert (value["colour"], value["finding"], value["seed"], value["images"]) == ("age", "Mass", 5, 10)
    # Mass: the images 1, 2, 6 and 9, of 41, 42, 46 and 49 years
    assert value["classes"] == [{"class": "40-59", "images": 4}, {"class": "other images", "images": 6}]
    assert (tmp_path / "a.svg").exists()


@pytest.mark.parametrize(
    "arguments", [("--out", "map.pdf"), ("--colour", "sex"), ("--method", "pca"), ("--finding", "Flu"), ("--seed", -1)]
)
def test_a_call_that_cannot_be_meant_is_exit_code_2(small_index: Path, arguments: tuple[object, ...]) -> None:
    result = run("map", "--index", small_index, "--out", "map.png", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.splitlines()[-1].startswith("error: ")


def test_the_choices_are_the_librarys() -> None:
    from typing import get_args

    def choices(option: str) -> tuple[str, ...]:
        return get_args(get_args(map_command.command.__annotations__[option])[0])

    assert choices("colour") == COLOURS
    assert choices("method") == METHODS


@pytest.mark.real_data
@pytest.mark.slow
def test_real_images_end_up_as_thumbnails_beside_their_labels(real_data: Path, tmp_path: Path) -> None:
    nih = real_data / "nih"
    options = SMALL | {"size": 64, "workers": 2, "batch_size": 32}
    build_index(nih / "images64", nih / "Data_Entry_2017_images64.csv", index=tmp_path / "index", **options)
    index = open_index(tmp_path / "index")
    draw_map(index, [tmp_path / "map.html"], threads=1)
    data = data_of(tmp_path / "map.html")
    assert len(data["images"]) == data["pictures"]["count"] == 789
    flags = np.frombuffer(base64.b64decode(data["findings"]["flags"]), dtype=np.uint8).reshape(789, 2)
    known = np.unpackbits(flags, axis=1, count=14, bitorder="little").astype(bool)
    assert index.catalogue.labels is not None
    rows = [index.catalogue.ids.index(image) for image in data["images"]]
    np.testing.assert_array_equal(known, index.catalogue.labels[rows])
