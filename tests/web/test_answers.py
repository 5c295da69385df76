"""The API answers what the library and the command line answer."""

import io
import json
import shutil
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from cxrsearch.building.build import build_index
from cxrsearch.building.imported import import_embeddings
from cxrsearch.query.answer_sheet import query_sheet
from cxrsearch.query.index import Index, open_index
from cxrsearch.query.options import QueryOptions
from cxrsearch.store.filtered_search import Filters
from cxrsearch_cli.app import app as command_line
from tests.conftest import SMALL, DataSet
from tests.web.conftest import client_of, write_dicom


def asked(client: httpx.Client, path: Path, name: str | None = None, to: str = "query", **fields: str) -> Any:
    answer = client.post(f"/api/{to}", files={"file": (name or path.name, path.read_bytes())}, data=fields)
    assert answer.status_code == 200, answer.text
    return answer.json()


def without_query(answer: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in answer.items() if name != "query"}


def test_the_json_is_that_of_the_command_line(
    client: httpx.Client, trained_index: Path, data_set: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(data_set.images)
    run = CliRunner().invoke(command_line, ["query", "03.png", "--index", str(trained_index), "-k", "4", "--json"])
    expected = json.loads(run.stdout)
    assert expected["predictions"]
    assert asked(client, data_set.images / "03.png", k="4") == expected


@pytest.mark.parametrize(
    ("fields", "filters"),
    [
        ({"view": "PA"}, Filters(view="PA")),
        ({"sex": "f"}, Filters(sex="F")),
        ({"age": "43-47"}, Filters(age=(43, 47))),
        ({"with": "Mass"}, Filters(present=("Mass",))),
        ({"without": "Mass, Effusion"}, Filters(absent=("Mass", "Effusion"))),
        ({"view": "AP", "sex": "M", "without": "Mass"}, Filters(view="AP", sex="M", absent=("Mass",))),
    ],
)
def test_filters_are_those_of_the_library(
    client: httpx.Client, index: Index, data_set: DataSet, fields: dict[str, str], filters: Filters
) -> None:
    path = data_set.images / "03.png"
    expected = index.query(path, k=9, filters=filters).to_json()
    assert 0 < len(expected["neighbours"]) < 8
    assert without_query(asked(client, path, k="9", **fields)) == without_query(expected)
    browsed = client.get("/api/images", params=fields).json()
    allowed = filters.rows(index.catalogue)
    assert allowed is not None
    rows = np.flatnonzero(allowed)
    assert browsed["total"] == len(rows)
    assert sorted(image["row"] for image in browsed["images"]) == rows.tolist()


def test_options_are_those_of_the_library(client: httpx.Client, index: Index, data_set: DataSet) -> None:
    path = data_set.images / "06.png"
    expected = index.query(path, k=3, vote="distance", patient="p0", same_patient=False, alarm=0.5).to_json()
    given = asked(client, path, k="3", vote="distance", patient="p0", alarm="0.5")
    assert without_query(given) == without_query(expected)
    assert given["query_patient"] == "p0"
    same = asked(client, path, k="10", same_patient="true")
    assert same["neighbours"][0]["image"] == "06.png"


def test_the_queries_patient_is_found_without_its_name(client: httpx.Client, data_set: DataSet, tmp_path: Path) -> None:
    """By the file's bytes, by its pixels in another file, and by the name that the client gives."""
    path = data_set.images / "04.png"
    assert asked(client, path, "anything.png")["query_patient"] == "p2"
    copy = tmp_path / "copy.png"
    Image.open(path).save(copy, compress_level=0)
    assert copy.read_bytes() != path.read_bytes()
    assert asked(client, copy, "anything.png")["query_patient"] == "p2"
    other = tmp_path / "other.png"
    Image.fromarray(np.random.default_rng(5).integers(0, 256, (64, 64), dtype=np.uint8)).save(other)
    assert asked(client, other, "C:\\films\\04.png")["query_patient"] == "p2"
    answer = asked(client, other, "00000013_005.png")
    assert answer["query_patient"] == "13"
    assert asked(client, other, "unknown.png")["query_patient"] is None


def test_an_indexed_image_is_answered_as_its_file_is(client: httpx.Client, index: Index, data_set: DataSet) -> None:
    for row in (0, 7):
        expected = index.query(data_set.images / f"{row:02d}.png", k=5, filters=Filters(view="PA"))
        given = client.get(f"/api/images/{row}/query", params={"k": "5", "view": "PA"}).json()
        assert without_query(given) == without_query(expected.to_json())
        assert given["query"] == f"{row:02d}.png"


def test_the_page_is_told_the_same_and_more(client: httpx.Client, index: Index, data_set: DataSet) -> None:
    path = data_set.images / "02.png"
    look = asked(client, path, to="look", k="3")
    expected = index.query(path, k=3)
    assert without_query(look["answer"]) == without_query(expected.to_json())
    assert [image["row"] for image in look["neighbours"]] == expected.neighbours.row.tolist()
    first = look["neighbours"][0]
    row = first["row"]
    assert (first["age"], first["view"]) == ("40–49", "AP" if row % 2 else "PA")
    assert first["distance"] == expected.neighbours.distance[0]
    maps = index.finding_maps(expected.pixels)
    assert maps is not None
    np.testing.assert_allclose(look["maps"]["values"], maps.maps, rtol=1e-3)
    assert look["maps"]["findings"] == list(maps.findings)
    assert (look["picture"]["width"], look["picture"]["height"]) == (80, 80)
    by_row = client.get("/api/images/2/look", params={"k": "3"}).json()
    assert by_row["place"] == pytest.approx(look["place"], abs=1e-3)
    assert by_row["own"]["image"] == "02.png"


def test_the_page_is_told_which_indexed_image_an_upload_is(
    client: httpx.Client, data_set: DataSet, tmp_path: Path
) -> None:
    """By its bytes, or its pixels in another file; not by its name, which proves nothing."""
    path, copy, other = data_set.images / "02.png", tmp_path / "copy.png", tmp_path / "02.png"
    Image.open(path).save(copy, compress_level=0)
    Image.fromarray(np.random.default_rng(5).integers(0, 256, (64, 64), dtype=np.uint8)).save(other)
    for file in (path, copy):
        (found,) = asked(client, file, "anything.png", to="look")["indexed"]
        assert (found["row"], found["image"], found["patient"]) == (2, "02.png", "p1")
        assert sorted(found["findings"]) == ["Effusion", "Mass"]
    assert asked(client, other, to="look")["indexed"] == []


def test_similarity_maps_have_the_mean_that_they_explain(client: httpx.Client, index: Index, data_set: DataSet) -> None:
    vectors = np.concatenate(index.stored.blocks).astype(np.float64)
    sent = asked(client, data_set.images / "01.png", to="similarity", row="6")
    for maps in (sent, client.get("/api/images/1/similarity/6").json()):
        for side in ("query", "neighbour"):
            assert np.mean(maps[side]) == pytest.approx(float(vectors[1] @ vectors[6]), rel=1e-2)


def test_the_sheet_is_the_librarys(client: httpx.Client, index: Index, data_set: DataSet) -> None:
    path = data_set.images / "01.png"
    answer = client.post("/api/sheet", files={"file": ("01.png", path.read_bytes())}, data={"k": "3"})
    drawn = np.asarray(Image.open(io.BytesIO(answer.content)))
    index_answer = index.query(path, k=3)
    assert np.array_equal(drawn, np.asarray(query_sheet(index, index_answer)))
    by_row = client.get("/api/images/1/sheet", params={"k": "3"})
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(by_row.content))), drawn)


def test_pixels_and_originals(client: httpx.Client, index: Index, data_set: DataSet) -> None:
    stored = Image.open(io.BytesIO(client.get("/api/images/3/pixels").content))
    expected = index.stored_pixels(3)
    assert expected is not None
    assert np.array_equal(np.asarray(stored), expected)
    own = Image.open(io.BytesIO(client.get("/api/images/3/original").content))
    assert np.array_equal(np.asarray(own), np.asarray(Image.open(data_set.images / "03.png")))


def test_an_original_that_changed_or_left_is_not_shown(data_set: DataSet, tmp_path: Path) -> None:
    images = tmp_path / "images"
    shutil.copytree(data_set.images, images)
    build_index(images, data_set.labels, index=tmp_path / "index", **SMALL)
    shutil.copy(images / "01.png", images / "00.png")
    (images / "02.png").unlink()
    outside = tmp_path / "outside.png"
    shutil.move(images / "03.png", outside)
    (images / "03.png").symlink_to(outside)
    with client_of(open_index(tmp_path / "index", device="cpu")) as client:
        texts = [client.get(f"/api/images/{row}/original") for row in range(4)]
        assert [text.status_code for text in texts] == [404, 200, 404, 404]
        assert "not the one that was indexed" in texts[0].json()["error"]
        listed = client.get("/api/images", params={"id": "03.png"}).json()["images"]
        assert [image["original"] for image in listed] == [False]
    with client_of(open_index(tmp_path / "index", device="cpu"), images_root=data_set.images) as client:
        assert client.get("/api/images/0/original").status_code == 200


def test_what_the_index_is(client: httpx.Client, index: Index) -> None:
    said = client.get("/api/index").json()
    assert (said["images"], said["patients"], said["views"], said["ages"]) == (10, 5, ["AP", "PA"], [40, 49])
    assert said["disclaimer"].startswith("Research use only")
    drawn = client.get("/api/map").json()
    assert drawn["rows"] == list(range(10))
    assert drawn["images"] == list(index.catalogue.ids)
    assert drawn["with"]["Mass"] == [1, 2, 6, 9]
    places = np.array(drawn["places"])
    assert places.min() >= -1e-9
    assert places.max() <= 1 + 1e-9
    assert np.isclose(np.ptp(places, axis=0).max(), 1)


def test_an_index_without_pixels_or_encoder_can_be_asked_by_row(
    data_set: DataSet, tmp_path: Path, small_index: Path
) -> None:
    build_index(data_set.images, data_set.labels, index=tmp_path / "bare", pixels=False, **SMALL)
    bare, full = open_index(tmp_path / "bare", device="cpu"), open_index(small_index, device="cpu")
    expected = full.answer_row(4, QueryOptions(k=3))
    given = bare.answer_row(4, QueryOptions(k=3))
    assert list(given.neighbours.row) == list(expected.neighbours.row)
    np.testing.assert_allclose(given.neighbours.distance, expected.neighbours.distance, rtol=1e-4)
    with client_of(bare) as client:
        look = client.get("/api/images/4/look", params={"k": "3"}).json()
        assert (look["stored"], look["maps"]) == (None, None)
        assert client.get("/api/images/4/pixels").status_code == 404
        assert client.get("/api/images/4/similarity/5").status_code == 404


def test_an_index_of_imported_embeddings_is_browsed_but_takes_no_uploads(data_set: DataSet, tmp_path: Path) -> None:
    vectors = np.random.default_rng(3).standard_normal((10, 6)).astype(np.float32)
    np.save(tmp_path / "x.npy", vectors)
    import_embeddings(tmp_path / "x.npy", data_set.labels, index=tmp_path / "index")
    with client_of(open_index(tmp_path / "index")) as client:
        assert client.get("/api/index").json()["uploads"] is False
        sent = {"file": ("00.png", (data_set.images / "00.png").read_bytes())}
        assert client.post("/api/query", files=sent).status_code == 400
        look = client.get("/api/images/2/look", params={"k": "3"}).json()
        distances = np.linalg.norm(vectors.astype(np.float64) - vectors[2], axis=1)
        distances[[2, 3]] = np.inf  # its own patient's
        assert [image["row"] for image in look["neighbours"]] == np.argsort(distances)[:3].tolist()
        assert (look["maps"], look["answer"]["predictions"]) == (None, None)
        assert client.get("/api/images/2/similarity/5").status_code == 404


def test_a_dicom_file_is_read_as_the_library_reads_it(client: httpx.Client, index: Index, tmp_path: Path) -> None:
    write_dicom(tmp_path / "x.dcm")
    expected = index.query(tmp_path / "x.dcm", k=4).to_json()
    assert expected["query_patient"] == "SECRETID"
    assert without_query(asked(client, tmp_path / "x.dcm", k="4")) == without_query(expected)
    look = asked(client, tmp_path / "x.dcm", to="look")
    assert look["picture"]["description"].startswith("DICOM")


def test_openapi_documents_the_query(client: httpx.Client) -> None:
    said = client.get("/api/openapi.json").json()
    form = said["paths"]["/api/query"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert {"file", "k", "view", "sex", "age", "with", "without", "patient"} <= set(form["properties"])
    answer = said["paths"]["/api/query"]["post"]["responses"]["200"]["content"]["application/json"]["schema"]
    given = client.get("/api/images/0/query").json()
    assert sorted(answer["properties"]) == sorted(given)
    assert sorted(answer["properties"]["typicality"]["properties"]) == sorted(given["typicality"])
    item = answer["properties"]["neighbours"]["items"]
    assert sorted(item["properties"]) == sorted(given["neighbours"][0])
