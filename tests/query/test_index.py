"""Asking an index: neighbours, votes, patients and warnings, against numpy on the stored embeddings."""

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from cxrsearch.building.build import build_index
from cxrsearch.errors import EncoderMismatchError, ImageError, IntegrityError, StoreError, UsageError
from cxrsearch.query.answer_sheet import query_sheet
from cxrsearch.query.index import Index, open_index
from cxrsearch.query.options import QueryOptions, Vote
from cxrsearch.store.filtered_search import Filters
from cxrsearch.store.manifest import read_manifest
from tests.conftest import FINDINGS, SMALL, DataSet


@pytest.fixture(scope="module")
def index(small_index: Path) -> Index:
    return open_index(small_index, device="cpu")


def vectors(index: Index) -> NDArray[np.float64]:
    return np.concatenate(index.stored.blocks).astype(np.float64)


def nearest(index: Index, row: int, allowed: NDArray[np.bool_]) -> list[int]:
    distances = np.linalg.norm(vectors(index) - vectors(index)[row], axis=1)
    return [int(i) for i in np.argsort(distances, kind="stable") if allowed[i]]


def other_patients(row: int) -> NDArray[np.bool_]:
    return np.asarray(np.arange(10) // 2 != row // 2)


@pytest.mark.parametrize("row", range(10))
def test_neighbours_are_the_nearest_of_other_patients(index: Index, data_set: DataSet, row: int) -> None:
    answer = index.query(data_set.images / f"{row:02d}.png", k=5)
    expected = nearest(index, row, other_patients(row))[:5]
    assert answer.query_patient == f"p{row // 2}"
    assert list(answer.neighbours.row) == expected
    distances = np.linalg.norm(vectors(index)[expected] - vectors(index)[row], axis=1)
    np.testing.assert_allclose(answer.neighbours.distance, distances, rtol=1e-4)


def test_votes_prevalence_and_lift_are_counts(index: Index, data_set: DataSet) -> None:
    answer = index.query(data_set.images / "00.png", k=4)
    frame = answer.votes_frame().set_index("finding")
    for finding in ("Mass", "Effusion", "Hernia", "Fibrosis"):
        share = np.mean([finding in FINDINGS[row].split("|") for row in answer.neighbours.row])
        prevalence = np.mean([finding in FINDINGS[row].split("|") for row in range(2, 10)])
        assert frame.loc[finding, "probability"] == pytest.approx(share)
        assert frame.loc[finding, "prevalence"] == pytest.approx(prevalence)
        lift = answer.to_json()["votes"][list(frame.index).index(finding)]["lift"]
        assert lift == (pytest.approx(share / prevalence) if prevalence else None)


@pytest.mark.parametrize("vote", ["uniform", "distance", "softmax", "mlknn"])
def test_every_vote_answers_with_probabilities(index: Index, data_set: DataSet, vote: Any) -> None:
    answer = index.query(data_set.images / "00.png", k=4, vote=vote)
    assert answer.votes is not None
    assert np.all((answer.votes.probability >= 0) & (answer.votes.probability <= 1))
    weights = {"uniform": 0.0, "distance": 1.0}
    if vote in weights:  # the nearest alone would give 0 or 1; the farthest has no say under `distance`
        distance = answer.neighbours.distance
        w = np.ones(4) if vote == "uniform" else (distance[-1] - distance) / (distance[-1] - distance[0])
        mass = [("Mass" in FINDINGS[row]) for row in answer.neighbours.row]
        assert answer.votes.probability[0, 4] == pytest.approx(float(w @ mass / w.sum()))


def test_same_patient_lets_the_image_itself_answer(index: Index, data_set: DataSet) -> None:
    answer = index.query(data_set.images / "03.png", k=10, same_patient=True)
    assert len(answer.neighbours) == 10
    assert answer.neighbours.image[0] == "03.png"
    assert answer.neighbours.distance[0] == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("vote", ["uniform", "distance", "softmax", "mlknn"])
def test_where_nobody_may_answer_nobody_votes(index: Index, vote: Vote) -> None:
    answer = index.answer_row(0, QueryOptions(k=3, vote=vote, filters=Filters(present=("Fibrosis",))))
    assert answer.votes is not None
    assert np.isnan(answer.votes.probability).all()
    assert {record["probability"] for record in answer.votes_records()} == {None}


def test_typicality_is_of_other_patients_whoever_may_answer(index: Index, data_set: DataSet) -> None:
    """The reference distances are to other patients; the image itself among the answers must not make it ordinary."""
    strict = index.query(data_set.images / "03.png", k=2)
    assert index.query(data_set.images / "03.png", k=2, same_patient=True).typicality == strict.typicality
    k = index.stored.reference["k"]
    own = np.linalg.norm(vectors(index) - vectors(index)[3], axis=1)[other_patients(3)]
    assert strict.typicality.kth_distance == pytest.approx(np.sort(own)[k - 1], rel=1e-4)


def test_an_indexed_image_is_asked_under_another_patient_too(index: Index) -> None:
    assert sorted(index.answer_row(3, QueryOptions(k=10)).neighbours.row) == [0, 1, 4, 5, 6, 7, 8, 9]
    answer = index.answer_row(3, QueryOptions(k=10, patient="p4"))
    assert answer.query_patient == "p4"
    assert sorted(answer.neighbours.row) == [0, 1, 4, 5, 6, 7]


def test_an_image_is_never_its_own_neighbour_even_under_another_patient(index: Index, data_set: DataSet) -> None:
    answer = index.query(data_set.images / "03.png", k=10, patient="p4")
    assert answer.query_patient == "p4"
    assert sorted(answer.neighbours.row) == [0, 1, 4, 5, 6, 7]


def test_a_copy_in_another_file_is_recognised_by_its_pixels(index: Index, data_set: DataSet, tmp_path: Path) -> None:
    Image.open(data_set.images / "05.png").save(tmp_path / "copy.png", compress_level=0)
    answer = index.query(tmp_path / "copy.png", k=10)
    assert answer.query_patient == "p2"
    assert sorted(answer.neighbours.row) == [0, 1, 2, 3, 6, 7, 8, 9]
    assert not any("patient is not known" in warning for warning in answer.warnings)


@pytest.mark.parametrize(
    ("filters", "rows"),
    [
        (Filters(view="AP"), [3, 5, 7, 9]),
        (Filters(sex="F"), [2, 3]),
        (Filters(age=(44, 46)), [4, 5, 6]),
        (Filters(present=("Mass",)), [2, 6, 9]),
        (Filters(present=("mass", "effusion")), [2]),
        (Filters(present=("Mass",), absent=("Effusion",)), [6, 9]),
        (Filters(view="AP", sex="M", age=(40, 47)), [5, 7]),
        (Filters(present=("Fibrosis",)), []),
    ],
)
def test_filters_decide_who_may_answer_and_vote(
    index: Index, data_set: DataSet, filters: Filters, rows: list[int]
) -> None:
    answer = index.query(data_set.images / "00.png", k=10, filters=filters)
    assert sorted(answer.neighbours.row) == rows
    assert any(f"only {len(rows)} of 10 neighbours" in warning for warning in answer.warnings)
    prevalence = answer.votes_records()[4]["prevalence"]
    assert prevalence == (pytest.approx(np.mean(["Mass" in FINDINGS[row] for row in rows])) if rows else None)


def test_typicality_ignores_filters_and_flags_what_is_far(index: Index, data_set: DataSet, tmp_path: Path) -> None:
    plain = index.query(data_set.images / "00.png", k=3)
    filtered = index.query(data_set.images / "00.png", k=2, filters=Filters(view="AP"))
    assert plain.typicality == filtered.typicality
    distances = np.sort(np.linalg.norm(vectors(index)[2:] - vectors(index)[0], axis=1))
    assert plain.typicality.kth_distance == pytest.approx(distances[7], rel=1e-4)
    noise = np.random.default_rng(0).integers(0, 2, (80, 80), dtype=np.uint8) * 255
    Image.fromarray(noise).save(tmp_path / "noise.png")
    strange = index.query(tmp_path / "noise.png")
    assert strange.typicality.percentile == 100
    assert any("unlike the index" in warning for warning in strange.warnings)


def test_json_has_exactly_the_promised_fields(index: Index, data_set: DataSet) -> None:
    value = index.query(data_set.images / "00.png", k=2).to_json()
    assert list(value) == [
        "query", "index", "neighbours", "query_patient", "query_image", "query_findings", "votes", "predictions",
        "typicality", "warnings",
    ]  # fmt: skip
    assert set(value["index"]) == {"path", "generation", "encoder"}
    assert set(value["neighbours"][0]) == {"rank", "image", "patient", "distance", "findings", "view"}
    assert set(value["votes"][0]) == {"finding", "probability", "prevalence", "lift"}
    assert set(value["typicality"]) == {"kth_distance", "percentile", "alarm", "flagged", "warning"}
    assert value["predictions"] is None
    assert [n["rank"] for n in value["neighbours"]] == [1, 2]
    assert all(n["findings"] for n in value["neighbours"])


def test_the_heading_says_who_was_left_out(index: Index, data_set: DataSet, tmp_path: Path) -> None:
    known = data_set.images / "00.png"
    Image.fromarray(np.random.default_rng(3).integers(0, 256, (40, 40), dtype=np.uint8)).save(tmp_path / "new.png")
    assert index.query(known, k=2).heading() == "2 nearest images of other patients (2 of patient p0 left out)"
    assert index.query(known, k=1, same_patient=True).heading() == "1 nearest image, the query's own patient included"
    unknown = index.query(tmp_path / "new.png", k=1)
    assert unknown.heading() == "1 nearest image, the query's patient is not known"
    other = index.query(tmp_path / "new.png", k=1, patient="p9")
    assert other.heading() == "1 nearest image, patient p9 has none in the index"
    included = index.query(tmp_path / "new.png", k=1, same_patient=True)
    assert not any("patient is not known" in warning for warning in included.warnings)


def test_an_indexed_image_is_shown_with_its_own_findings(index: Index, data_set: DataSet, tmp_path: Path) -> None:
    """Known by its bytes or its pixels, not by its name, which another image may have."""
    Image.open(data_set.images / "02.png").save(tmp_path / "copy.png", compress_level=1)
    shutil.copy(data_set.images / "04.png", tmp_path / "02.png")
    noise = np.random.default_rng(3).integers(0, 256, (40, 40), dtype=np.uint8)
    asked: list[Any] = [tmp_path / "copy.png", tmp_path / "02.png", noise]
    given = [index.query(image, k=1) for image in asked]
    assert [answer.query_image for answer in given] == ["02.png", "04.png", None]
    assert [answer.query_findings for answer in given] == [("Effusion", "Mass"), (), None]
    assert [answer.to_json()["query_findings"] for answer in given] == [["Effusion", "Mass"], ["No Finding"], None]
    assert given[0].known() == "the query is in the index as 02.png: Effusion, Mass"
    assert given[2].known() is None


def test_decoded_pixels_are_asked_as_the_file_is(index: Index, data_set: DataSet) -> None:
    path = data_set.images / "02.png"
    expected = index.query(path, k=3).to_json()
    pixels = np.asarray(Image.open(path))
    doubled = pixels.astype(np.uint16) * 257
    for image, name in ((pixels, "array"), (doubled, "array"), (Image.open(path), "picture")):
        assert index.query(image, k=3).to_json() == expected | {"query": name}


def test_an_entry_of_a_folder_tells_the_patient_by_its_name(index: Index, tmp_path: Path) -> None:
    noise = np.random.default_rng(3).integers(0, 256, (40, 40), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "02.png")
    with os.scandir(tmp_path) as entries:
        answer = index.query(next(entries), k=3)
    assert answer.to_json() == index.query(tmp_path / "02.png", k=3).to_json()
    assert answer.query_patient == index.catalogue.patients[2]


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (np.zeros((64, 64)), "ndarray float64 (64, 64) is not a radiograph — give a path, an array of uint8 or uint16"),
        (np.zeros((64, 64, 3), dtype=np.uint8), "ndarray uint8 (64, 64, 3) is not a radiograph"),
        (np.zeros((64, 64), dtype=np.uint8), "array shows nothing"),
        (np.zeros((8, 8), dtype=np.uint8), "array has 8 x 8 pixels, fewer than 32"),
        (Image.new("RGB", (64, 64), "red"), "picture is in colour"),
        (Image.new("F", (64, 64)), "picture is not 8- or 16-bit grey"),
        (None, "NoneType is not a radiograph"),
        ([[1, 2]], "list is not a radiograph"),
    ],
)
def test_pixels_of_no_radiograph_are_refused_in_one_line(index: Index, image: Any, said: str) -> None:
    with pytest.raises(ImageError) as caught:
        index.query(image)
    assert str(caught.value).startswith(said)


def test_the_frame_has_a_row_a_neighbour(index: Index, data_set: DataSet) -> None:
    answer = index.query(data_set.images / "00.png", k=3)
    frame = answer.to_frame()
    assert list(frame["image"]) == list(answer.neighbours.image)
    assert list(frame["rank"]) == [1, 2, 3]
    nobody = index.query(data_set.images / "00.png", k=3, filters=Filters(present=("Fibrosis",))).to_frame()
    assert (len(nobody), list(nobody.columns)) == (0, list(frame.columns))


def test_without_labels_nothing_votes_and_the_reason_is_given(data_set: DataSet, tmp_path: Path) -> None:
    build_index(data_set.images, index=tmp_path / "index", **SMALL)
    answer = open_index(tmp_path / "index", device="cpu").query(data_set.images / "00.png", k=2)
    assert answer.votes is None
    assert answer.to_json()["votes"] is None
    assert any("findings of the indexed images are not known" in warning for warning in answer.warnings)
    assert {n["findings"] for n in answer.neighbours.records()} == {None}
    with pytest.raises(UsageError, match="not known"):
        open_index(tmp_path / "index").query(data_set.images / "00.png", filters=Filters(present=("Mass",)))


@pytest.mark.parametrize(
    "wrong",
    [
        {"k": 0},
        {"k": -1},
        {"k": "3"},
        {"k": 2.5},
        {"alarm": 0.0},
        {"alarm": 1.0},
        {"alarm": float("nan")},
        {"vote": "majority"},
        {"filters": Filters(view="LL")},
        {"filters": Filters(sex="X")},
        {"filters": Filters(age=(60, 40))},
        {"filters": Filters(present=("Flu",))},
    ],
)
def test_what_cannot_be_meant_is_refused(index: Index, data_set: DataSet, wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        index.query(data_set.images / "00.png", **wrong)


def test_an_image_that_cannot_be_read_is_refused(index: Index, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="cannot read"):
        index.query(tmp_path / "absent.png")


def test_another_encoder_is_refused_and_the_same_one_is_not(small_index: Path, data_set: DataSet) -> None:
    with pytest.raises(EncoderMismatchError, match=r"was built with encoder random:0 .*, not with random:1"):
        open_index(small_index, weights="random:1", device="cpu")
    own = read_manifest(small_index)
    encoder = own.path(small_index, "encoder.safetensors")
    for weights in (str(encoder), "random:0"):
        answer = open_index(small_index, weights=weights, device="cpu").query(data_set.images / "00.png", k=1)
        assert len(answer.neighbours) == 1


def test_a_flipped_byte_anywhere_is_refused(small_index: Path, tmp_path: Path) -> None:
    names = [path.relative_to(small_index) for path in small_index.rglob("*") if path.is_file()]
    for name in names:
        if name.suffix == ".lock":
            continue
        copy = tmp_path / "index"
        shutil.copytree(small_index, copy)
        content = bytearray((copy / name).read_bytes())
        content[len(content) // 2] ^= 4
        (copy / name).write_bytes(content)
        with pytest.raises(IntegrityError, match="damaged"):
            open_index(copy)
        shutil.rmtree(copy)
    assert len(names) >= 7


def test_a_missing_index_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no index at"):
        open_index(tmp_path)


@pytest.mark.parametrize("kind", ["faiss-flat", "faiss-hnsw"])
@pytest.mark.parametrize("metric", ["l2", "ip", "cosine"])
def test_every_kind_answers_as_exact_does(data_set: DataSet, tmp_path: Path, kind: str, metric: Any) -> None:
    answers = []
    for chosen in ("exact", kind):
        build_index(data_set.images, data_set.labels, index=tmp_path / chosen, kind=chosen, metric=metric, **SMALL)
        answers.append(open_index(tmp_path / chosen, device="cpu").query(data_set.images / "01.png", k=6))
    np.testing.assert_array_equal(answers[0].neighbours.row, answers[1].neighbours.row)
    np.testing.assert_allclose(answers[0].neighbours.distance, answers[1].neighbours.distance, rtol=1e-9)


def test_the_sheet_shows_the_query_and_its_neighbours(index: Index, data_set: DataSet) -> None:
    answer = index.query(data_set.images / "00.png", k=3)
    sheet = np.asarray(query_sheet(index, answer).convert("L"))
    for pixels in (answer.pixels, *(index.stored_pixels(int(row)) for row in answer.neighbours.row)):
        assert pixels is not None
        assert contains(sheet, pixels)


def contains(picture: NDArray[np.uint8], part: NDArray[np.uint8]) -> bool:
    height, width = part.shape
    corners = np.argwhere(picture[: -height + 1, : -width + 1] == part[0, 0])
    return any(np.array_equal(picture[y : y + height, x : x + width], part) for y, x in corners)


def test_an_index_that_was_moved_still_answers(small_index: Path, data_set: DataSet, tmp_path: Path) -> None:
    shutil.copytree(small_index, tmp_path / "moved")
    answer = open_index(tmp_path / "moved", device="cpu").query(data_set.images / "00.png", k=1)
    assert answer.index["path"] == os.fspath((tmp_path / "moved").resolve())


@pytest.mark.real_data
def test_a_hand_is_flagged_among_real_chest_x_rays(real_data: Path, tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for path in sorted((real_data / "nih" / "images").iterdir())[:120]:
        shutil.copy(path, images / path.name)
    table = real_data / "nih" / "Data_Entry_2017.csv"
    build_index(images, table, index=tmp_path / "index", **SMALL | {"size": 64, "workers": 2, "batch_size": 32})
    opened = open_index(tmp_path / "index", device="cpu")
    hands = [opened.query(path) for path in sorted((real_data / "ood" / "mednist64_Hand").iterdir())[:4]]
    assert all(hand.typicality.warning is not None for hand in hands)
    chests = [opened.query(path) for path in sorted((real_data / "nih" / "images").iterdir())[120:140]]
    assert sum(chest.typicality.warning is not None for chest in chests) <= 4


@pytest.mark.parametrize("row", [-1, 10])
def test_a_row_that_is_not_there_is_said(index: Index, row: int) -> None:
    with pytest.raises(IndexError, match=f"row {row} of an index of 10 images"):
        index.answer_row(row)


def test_filters_that_contradict_themselves_or_are_one_word_are_refused(data_set: DataSet, tmp_path: Path) -> None:
    build_index(data_set.images, data_set.labels, index=tmp_path / "index", **SMALL)
    index, image = open_index(tmp_path / "index"), next(data_set.images.glob("*.png"))
    with pytest.raises(UsageError, match="with and without Effusion — ask for one of the two"):
        index.query(image, filters=Filters(present=("Effusion", "Mass"), absent=("Effusion",)))
    with pytest.raises(UsageError, match="with and without Effusion — ask for one of the two"):
        index.query(image, filters=Filters(present=("effusion",), absent=("EFFUSION", "Hernia")))
    with pytest.raises(UsageError, match=r"findings 'Effusion' — give several names"):
        index.query(image, filters=Filters(present="Effusion"))  # type: ignore[arg-type]
