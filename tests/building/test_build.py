"""Building an index: the right rows, the right bytes, whatever happens on the way."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pydicom.data
import pytest
import torch
from PIL import Image

from cxrsearch.building.build import build_index
from cxrsearch.encoder.embed import Embedder
from cxrsearch.encoder.weights import load_encoder
from cxrsearch.errors import CatalogueError, ImageError, SplitError, StoreError, UsageError
from cxrsearch.files import digest_file
from cxrsearch.images import pixel_cache
from cxrsearch.images.preprocess import resize
from cxrsearch.query.index import open_index
from cxrsearch.store import shards
from cxrsearch.store.integrity import check_files
from cxrsearch.store.manifest import read_manifest
from cxrsearch.store.reader import open_stored
from tests.conftest import FINDINGS, SMALL, DataSet


def digests(folder: Path) -> dict[str, str]:
    return {p.relative_to(folder).as_posix(): digest_file(p) for p in folder.rglob("*") if p.is_file()}


def pixels_of(path: Path) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.asarray(Image.open(path))


def test_the_index_holds_the_networks_embedding_of_every_image(data_set: DataSet, small_index: Path) -> None:
    stored = open_stored(small_index)
    paths = sorted(data_set.images.iterdir())
    assert stored.catalogue.ids == [path.name for path in paths]
    pixels = np.stack([resize(resize(pixels_of(path), 256), 32) for path in paths])
    with torch.inference_mode():
        expected = load_encoder("random:0", size=32).eval()(torch.from_numpy(pixels))[0].numpy()
    np.testing.assert_allclose(np.concatenate(stored.blocks), expected, rtol=1e-4, atol=1e-5)
    for row, path in enumerate(paths):
        np.testing.assert_array_equal(stored.stored_pixels(row), resize(pixels_of(path), 256))


def test_the_catalogue_is_the_table(small_index: Path) -> None:
    stored = open_stored(small_index)
    assert ["|".join(stored.catalogue.findings(row) or ()) or "No Finding" for row in range(10)] == FINDINGS
    assert stored.catalogue.patients == [f"p{i // 2}" for i in range(10)]
    assert list(stored.catalogue.frame["age"]) == list(range(40, 50))
    summary = stored.manifest.summary
    assert summary["patients"] == 5
    assert {name: count for name, count in summary["findings"].items() if count} == {
        "Mass": 4,
        "Effusion": 2,
        "Hernia": 1,
        "Edema": 1,
        "No Finding": 3,
    }


def test_the_reference_is_the_distance_to_the_kth_image_of_another_patient(small_index: Path) -> None:
    stored = open_stored(small_index)
    x = np.concatenate(stored.blocks).astype(np.float64)
    expected = []
    for i in range(10):
        others = [np.linalg.norm(x[i] - x[j]) for j in range(10) if j // 2 != i // 2]
        expected.append(sorted(others)[7])  # 8 images of other patients, fewer than 20
    assert stored.reference["k"] == 8
    np.testing.assert_allclose(stored.reference["distances"], sorted(expected), rtol=1e-6)


def test_the_same_input_gives_the_same_bytes(data_set: DataSet, small_index: Path, tmp_path: Path) -> None:
    build_index(data_set.images, data_set.labels, index=tmp_path / "index", **SMALL)
    assert digests(tmp_path / "index") == digests(small_index)


def test_worker_processes_change_no_byte(data_set: DataSet, small_index: Path, tmp_path: Path) -> None:
    build_index(data_set.images, data_set.labels, index=tmp_path / "index", **SMALL | {"workers": 2})
    assert digests(tmp_path / "index") == digests(small_index)


def test_other_batches_give_the_same_embeddings_within_the_stated_tolerance(
    data_set: DataSet, small_index: Path, tmp_path: Path
) -> None:
    build_index(data_set.images, data_set.labels, index=tmp_path / "index", **SMALL | {"batch_size": 7})
    one, other = open_stored(small_index), open_stored(tmp_path / "index")
    np.testing.assert_allclose(np.concatenate(one.blocks), np.concatenate(other.blocks), rtol=1e-4, atol=1e-5)


def test_refused_and_unlisted_images_are_listed_and_the_rest_is_indexed(data_set: DataSet, tmp_path: Path) -> None:
    images = tmp_path / "images"
    shutil.copytree(data_set.images, images)
    (images / "03.png").write_bytes(b"not a picture")
    shutil.copy(images / "00.png", images / "extra.png")
    (images / "07.png").unlink()
    result = build_index(images, data_set.labels, index=tmp_path / "index", **SMALL)
    assert [name for name, _ in result.refused] == ["03.png", "extra.png"]
    assert "neither PNG, JPEG nor DICOM" in result.refused[0][1]
    assert result.refused[1][1] == "the table has no row for it"
    assert (result.images, result.rows_without_image) == (8, 1)
    assert list(result.to_frame()["image"]) == ["03.png", "extra.png"]
    stored = open_stored(tmp_path / "index")
    assert stored.catalogue.ids == [f"{i:02d}.png" for i in (0, 1, 2, 4, 5, 6, 8, 9)]
    report = json.loads(stored.manifest.path(stored.folder, "report.json").read_bytes())
    assert [entry["image"] for entry in report["refused"]] == ["03.png", "extra.png"]
    reference = open_stored_embeddings(data_set, tmp_path)
    np.testing.assert_allclose(np.concatenate(stored.blocks), reference[[0, 1, 2, 4, 5, 6, 8, 9]], rtol=1e-4, atol=1e-5)


def open_stored_embeddings(data_set: DataSet, tmp_path: Path) -> np.ndarray[Any, np.dtype[np.float32]]:
    build_index(data_set.images, data_set.labels, index=tmp_path / "whole", **SMALL)
    return np.concatenate(open_stored(tmp_path / "whole").blocks)


def test_a_view_that_is_not_known_is_said(data_set: DataSet, tmp_path: Path) -> None:
    table = tmp_path / "lateral.csv"
    table.write_text(data_set.labels.read_text().replace(",PA,", ",LL,", 1))
    result = build_index(data_set.images, table, index=tmp_path / "index", **SMALL)
    assert result.warnings[0].startswith("1 row of lateral.csv has another view than PA and AP, such as 'LL': ")


def test_strict_builds_nothing_when_an_image_is_refused(data_set: DataSet, tmp_path: Path) -> None:
    images = tmp_path / "images"
    shutil.copytree(data_set.images, images)
    (images / "03.png").write_bytes(b"")
    with pytest.raises(ImageError, match=r"^1 image refused: is empty \(03\.png\) — repair or remove"):
        build_index(images, data_set.labels, index=tmp_path / "index", strict=True, **SMALL)
    assert not (tmp_path / "index" / "manifest.json").exists()
    shutil.copy(images / "00.png", images / "extra.png")
    with pytest.raises(ImageError, match=r"extra\.png"):
        build_index(images, data_set.labels, index=tmp_path / "other", strict=True, **SMALL)
    assert not (tmp_path / "other").exists()


def test_a_folder_of_refused_images_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(b"")
    for name in "bcd":
        (tmp_path / "images" / f"{name}.png").write_bytes(name.encode())
    reasons = r"is neither PNG, JPEG nor DICOM \(3 images, as b\.png\), is empty \(a\.png\)"
    with pytest.raises(ImageError, match=rf"^4 images refused: {reasons} — no image is left to index"):
        build_index(tmp_path / "images", index=tmp_path / "index", **SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["images"]


def test_a_build_that_comes_to_nothing_leaves_a_folder_that_was_there(tmp_path: Path) -> None:
    for name in ("images", "index"):
        (tmp_path / name).mkdir()
    (tmp_path / "images" / "a.png").write_bytes(b"")
    with pytest.raises(ImageError):
        build_index(tmp_path / "images", index=tmp_path / "index", **SMALL)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "index"]


def test_without_a_table_findings_are_unknown_and_every_file_is_its_own_patient(
    data_set: DataSet, tmp_path: Path
) -> None:
    result = build_index(data_set.images, index=tmp_path / "index", **SMALL)
    assert result.patients == 10
    assert any("patients are not known" in warning for warning in result.warnings)
    assert open_stored(tmp_path / "index").catalogue.labels is None
    result = build_index(data_set.images, index=tmp_path / "index", patient_pattern="^(.)", **SMALL)
    assert result.patients == 1


def test_a_part_of_a_split_is_indexed_and_recorded(data_set: DataSet, tmp_path: Path) -> None:
    split = "patient-hash:0.6/0.2/0.2"
    whole = build_index(data_set.images, data_set.labels, index=tmp_path / "all", split=split, **SMALL)
    parts = open_stored(tmp_path / "all").catalogue.frame["split"]
    train = build_index(data_set.images, data_set.labels, index=tmp_path / "train", split=split, part="train", **SMALL)
    stored = open_stored(tmp_path / "train")
    assert whole.images == 10 > train.images == int((parts == "train").sum()) > 0
    assert set(stored.catalogue.frame["split"]) == {"train"}
    assert stored.manifest.split == {"definition": split, "part": "train"}
    with pytest.raises(SplitError, match="is empty"):
        build_index(
            data_set.images, data_set.labels, index=tmp_path / "x", split="patient-hash:1/0/0", part="val", **SMALL
        )
    with pytest.raises(UsageError, match="without a split"):
        build_index(data_set.images, data_set.labels, index=tmp_path / "x", part="val", **SMALL)


@pytest.mark.parametrize(
    "wrong", [{"batch_size": 0}, {"workers": -1}, {"kind": "annoy"}, {"metric": "hamming"}, {"size": 0}]
)
def test_options_that_cannot_be_meant_are_refused_before_any_work(
    data_set: DataSet, tmp_path: Path, wrong: dict[str, Any]
) -> None:
    with pytest.raises(UsageError):
        build_index(data_set.images, data_set.labels, index=tmp_path / "index", **SMALL | wrong)
    assert not (tmp_path / "index").exists()


def test_a_pattern_beside_a_table_is_refused(data_set: DataSet, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the table names the patients"):
        build_index(data_set.images, data_set.labels, index=tmp_path / "index", patient_pattern="(.)", **SMALL)


def test_no_images_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match="no folder"):
        build_index(tmp_path / "absent", index=tmp_path / "index", **SMALL)


def counting_embedder(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images each later call of an embedder embeds."""
    sizes: list[int] = []
    original = Embedder.__call__

    def counted(self: Embedder, pixels: Any) -> Any:
        sizes.append(len(pixels))
        return original(self, pixels)

    monkeypatch.setattr(Embedder, "__call__", counted)
    return sizes


def test_an_interrupted_build_goes_on_and_ends_with_the_same_bytes(
    data_set: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "SHARD_IMAGES", 4)
    build_index(data_set.images, data_set.labels, index=tmp_path / "whole", **SMALL)

    def stop(stage: str, done: int, total: int) -> None:
        if stage == "embedding" and done > 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_index(data_set.images, data_set.labels, index=tmp_path / "index", progress=stop, **SMALL)
    assert not (tmp_path / "index" / "manifest.json").exists()
    embedded = counting_embedder(monkeypatch)
    build_index(data_set.images, data_set.labels, index=tmp_path / "index", **SMALL)
    assert sum(embedded) == 2  # the last of three shards
    assert digests(tmp_path / "index") == digests(tmp_path / "whole")
    assert not (tmp_path / "index.building").exists()


def test_rows_find_their_pixels_and_files_in_whatever_shard(
    data_set: DataSet, small_index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "SHARD_IMAGES", 4)
    build_index(data_set.images, data_set.labels, index=tmp_path / "index", **SMALL)
    one, many = open_stored(small_index), open_stored(tmp_path / "index")
    assert [len(block) for block in many.blocks] == [4, 4, 2]
    assert list(many.files["source_sha256"]) == list(one.files["source_sha256"])
    for row in range(10):
        np.testing.assert_array_equal(many.stored_pixels(row), one.stored_pixels(row))


def test_an_image_that_changed_meanwhile_is_embedded_again(
    data_set: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "SHARD_IMAGES", 5)
    images = tmp_path / "images"
    shutil.copytree(data_set.images, images)
    build_index(images, data_set.labels, index=tmp_path / "index", **SMALL)
    before = (images / "07.png").stat()
    shutil.copy(images / "00.png", images / "07.png")
    os.utime(images / "07.png", ns=(before.st_atime_ns, before.st_mtime_ns))
    embedded = counting_embedder(monkeypatch)
    build_index(images, data_set.labels, index=tmp_path / "index", **SMALL)
    assert sum(embedded) == 5
    block = np.concatenate(open_stored(tmp_path / "index").blocks)
    np.testing.assert_allclose(block[7], block[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("change", [{"kind": "faiss-hnsw"}, {"metric": "cosine"}, {"labels": None}])
def test_another_kind_metric_or_table_needs_no_second_embedding(
    data_set: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]
) -> None:
    options = {"labels": data_set.labels, "index": tmp_path / "index"} | SMALL
    build_index(data_set.images, **options)
    embedded = counting_embedder(monkeypatch)
    build_index(data_set.images, **options | change)
    fresh = build_index(data_set.images, **options | change | {"index": tmp_path / "fresh"})
    assert sum(embedded) == 10  # the fresh one only
    assert read_manifest(tmp_path / "index").generation == fresh.generation


def test_a_killed_build_leaves_the_old_index_and_goes_on(
    data_set: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """kill -9 from outside, at whatever moment, while a build with another size runs over a finished index."""
    index = tmp_path / "index"
    build_index(data_set.images, data_set.labels, index=index, **SMALL)
    old = digests(index)
    code = (
        "import sys; from cxrsearch.building.build import build_index; from cxrsearch.store import shards\n"
        "shards.SHARD_IMAGES = 2\n"
        f"build_index({str(data_set.images)!r}, {str(data_set.labels)!r}, index={str(index)!r}, size=64, "
        "weights='random:0', batch_size=1, workers=0, device='cpu', replace_other=True, "
        "progress=lambda stage, done, total: print(stage, done, flush=True))"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if line.split() == ["embedding", "5"]:
            process.send_signal(signal.SIGKILL)
            break
    process.wait()
    process.stdout.close()
    assert {name: d for name, d in digests(index).items() if not name.endswith(".lock")} == {
        name: d for name, d in old.items() if not name.endswith(".lock")
    }
    monkeypatch.setattr(shards, "SHARD_IMAGES", 2)
    embedded = counting_embedder(monkeypatch)
    options = SMALL | {"size": 64, "batch_size": 1, "replace_other": True}
    build_index(data_set.images, data_set.labels, index=index, **options)
    assert sum(embedded) <= 6
    build_index(data_set.images, data_set.labels, index=tmp_path / "fresh", **options)
    assert digests(index) == digests(tmp_path / "fresh")


def test_the_pixel_cache_is_filled_and_then_read(
    data_set: DataSet, small_index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    build_index(data_set.images, data_set.labels, index=tmp_path / "index", cache=cache, **SMALL)

    def never(*_: Any) -> Any:
        raise AssertionError("decoded although the cache has it")

    monkeypatch.setattr("cxrsearch.images.loading.decode_radiograph", never)
    build_index(data_set.images, data_set.labels, index=tmp_path / "again", cache=cache, **SMALL)
    assert digests(tmp_path / "again") == digests(tmp_path / "index") == digests(small_index)
    assert pixel_cache.SHARD_IMAGES >= 10


def test_an_index_without_pixels_has_none(data_set: DataSet, tmp_path: Path) -> None:
    build_index(data_set.images, data_set.labels, index=tmp_path / "index", pixels=False, **SMALL)
    stored = open_stored(tmp_path / "index")
    assert stored.stored_pixels(0) is None
    assert not any("pixels" in name for name in stored.manifest.files)


def test_a_reader_that_is_overtaken_reads_the_new_generation(
    data_set: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = tmp_path / "index"
    build_index(data_set.images, data_set.labels, index=index, **SMALL)
    calls: list[str] = []

    def overtaken(*args: Any, **options: Any) -> None:
        if not calls:
            calls.append(build_index(data_set.images, None, index=index, **SMALL).generation)
        check_files(*args, **options)

    monkeypatch.setattr("cxrsearch.store.reader.check_files", overtaken)
    assert open_stored(index).manifest.generation == calls[0]


@pytest.mark.real_data
def test_real_images_end_to_end(real_data: Path, tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    names = sorted(path.name for path in (real_data / "nih" / "images").iterdir())[:40]
    for name in names:
        shutil.copy(real_data / "nih" / "images" / name, images / name)
    table = real_data / "nih" / "Data_Entry_2017.csv"
    result = build_index(images, table, index=tmp_path / "index", **SMALL | {"size": 64, "workers": 2})
    frame = pd.read_csv(table, dtype=str)
    frame = frame[frame["Image Index"].isin(names)].sort_values("Image Index")
    assert (result.images, result.rows_without_image, result.refused) == (40, 757, ())
    assert result.patients == frame["Patient ID"].nunique()
    stored = open_stored(tmp_path / "index")
    assert stored.catalogue.patients == list(frame["Patient ID"])
    assert [set(stored.catalogue.findings(row) or ["No Finding"]) for row in range(40)] == [
        set(cell.split("|")) for cell in frame["Finding Labels"]
    ]


def test_an_index_of_other_images_or_another_encoder_is_not_replaced_unasked(data_set: DataSet, tmp_path: Path) -> None:
    index = tmp_path / "index"
    build_index(data_set.images, data_set.labels, index=index, **SMALL)
    before = digests(index)
    other = shutil.copytree(data_set.images, tmp_path / "other")
    said = (
        r"already is an index: \d+ images of .*, encoder random:0 \(untrained\) — name another --index, or .* --replace"
    )
    for images, options in ((other, SMALL), (data_set.images, SMALL | {"weights": "random:1"})):
        with pytest.raises(StoreError, match=said):
            build_index(images, data_set.labels, index=index, **options)
    assert digests(index) == before
    build_index(data_set.images, data_set.labels, index=index, kind="faiss-flat", **SMALL)
    build_index(other, data_set.labels, index=index, replace_other=True, **SMALL)
    assert open_index(index).manifest.images_root == str(other.resolve())


def test_images_that_are_their_own_patients_are_counted_without_refused_ones(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    shutil.copy(str(pydicom.data.get_testdata_file("RG1_UNCI.dcm")), folder / "known.dcm")
    for number in range(2):
        noise = np.random.default_rng(number).integers(0, 256, (80, 80), dtype=np.uint8)
        Image.fromarray(noise).save(folder / f"{number}.png")
    (folder / "broken.png").write_bytes(b"no image")
    result = build_index(folder, index=tmp_path / "index", **SMALL)
    assert result.images == 3
    assert "2 images without a patient id count as their own patients" in result.warnings


def test_where_all_are_refused_nothing_is_said_of_strict(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(b"no image")
    with pytest.raises(ImageError, match="no image is left to index") as raised:
        build_index(tmp_path / "images", index=tmp_path / "index", **SMALL)
    assert "strict" not in str(raised.value)
