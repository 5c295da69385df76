"""Importing embeddings: the given rows in the given order, and an index that does everything but embed."""

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner, Result

from cxrsearch.building import imported as importing
from cxrsearch.building.imported import import_embeddings, open_embeddings
from cxrsearch.errors import (
    CatalogueError,
    CxrsearchError,
    IntegrityError,
    LockedError,
    StoreError,
    UsageError,
    VocabularyError,
)
from cxrsearch.files import digest_file
from cxrsearch.query.index import open_index
from cxrsearch.store.integrity import check_files, list_unlisted_files
from cxrsearch.store.reader import open_stored
from cxrsearch.store.writer import IndexWriter
from cxrsearch_cli.app import app
from cxrsearch_indexes import KINDS, METRICS, Restriction
from tests.conftest import DataSet

HEADER = "image,patient,findings,view,sex,age,split"
ROWS = [
    "z.png,p2,Mass|Effusion,PA,F,40,train",
    "a.png,p1,,AP,M,,test",
    "m/b.png,p2,No Finding,,,61,train",
    "c.png,p3,Hernia,PA,M,7,",
    "d.png,p3,mass,PA,M,8,",
    "e.png,p4,Edema,AP,F,90,val",
]


def embeddings(n: int = len(ROWS), dim: int = 5, dtype: Any = np.float32) -> NDArray[Any]:
    return np.random.default_rng(0).normal(3, 2, (n, dim)).astype(dtype)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "table.csv"
    path.write_text("\n".join([HEADER, *ROWS]) + "\n")
    return path


@pytest.fixture
def source(tmp_path: Path) -> Path:
    np.save(tmp_path / "x.npy", embeddings())
    return tmp_path / "x.npy"


def digests(folder: Path) -> dict[str, str]:
    return {p.relative_to(folder).as_posix(): digest_file(p) for p in folder.rglob("*") if p.is_file()}


def test_the_index_holds_the_rows_in_the_tables_order(source: Path, table: Path, tmp_path: Path) -> None:
    result = import_embeddings(source, table, index=tmp_path / "index")
    assert (result.images, result.patients, result.refused, result.warnings) == (6, 4, (), ())
    stored = open_stored(tmp_path / "index")
    np.testing.assert_array_equal(np.concatenate(stored.blocks), embeddings())
    frame = stored.catalogue.frame
    assert stored.catalogue.ids == ["z.png", "a.png", "m/b.png", "c.png", "d.png", "e.png"]
    assert stored.catalogue.patients == ["p2", "p1", "p2", "p3", "p3", "p4"]
    assert [stored.catalogue.findings(row) for row in range(6)] == [
        ("Effusion", "Mass"),
        (),
        (),
        ("Hernia",),
        ("Mass",),
        ("Edema",),
    ]
    assert frame["view"].fillna("").tolist() == ["PA", "AP", "", "PA", "PA", "AP"]
    assert frame["age"].fillna(-1).tolist() == [40, -1, 61, 7, 8, 90]
    assert frame["split"].fillna("").tolist() == ["train", "test", "train", "", "", "val"]
    assert stored.stored_pixels(0) is None
    assert stored.manifest.encoder is None
    assert stored.manifest.encoder_label == "imported embeddings"
    assert not stored.manifest.untrained
    assert stored.manifest.images_root == ""
    report = json.loads(stored.manifest.path(stored.folder, "report.json").read_bytes())
    assert report["read_as"] == {"imported float32": 6}


def test_every_byte_is_promised_and_a_flipped_one_is_refused(source: Path, table: Path, tmp_path: Path) -> None:
    index = tmp_path / "index"
    import_embeddings(source, table, index=index)
    manifest = open_stored(index).manifest
    check_files(index, manifest, again=True)
    assert list_unlisted_files(index, manifest) == []
    names = [path.relative_to(index) for path in index.rglob("*") if path.is_file() and path.suffix != ".lock"]
    assert len(names) == 6
    for name in names:
        shutil.copytree(index, tmp_path / "copy")
        content = bytearray((tmp_path / "copy" / name).read_bytes())
        content[len(content) // 2] ^= 4
        (tmp_path / "copy" / name).write_bytes(content)
        with pytest.raises(IntegrityError, match="damaged"):
            open_index(tmp_path / "copy")
        shutil.rmtree(tmp_path / "copy")


def test_the_same_input_gives_the_same_bytes_wherever_it_lies(source: Path, table: Path, tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    moved = shutil.copy(source, tmp_path / "far" / "y.npy"), shutil.copy(table, tmp_path / "far" / "t.csv")
    one = import_embeddings(source, table, index=tmp_path / "one")
    two = import_embeddings(*moved, index=tmp_path / "two")
    assert one.generation == two.generation
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    np.save(source, embeddings() + np.float32(1))
    assert import_embeddings(source, table, index=tmp_path / "one").generation != two.generation


def test_a_corrected_table_needs_no_second_copy(source: Path, table: Path, tmp_path: Path) -> None:
    import_embeddings(source, table, index=tmp_path / "index")
    shard = next((tmp_path / "index").glob("*/embeddings/*.npy")).stat().st_ino
    table.write_text(table.read_text().replace("Hernia", "Fibrosis"))
    import_embeddings(source, table, index=tmp_path / "index")
    stored = open_stored(tmp_path / "index")
    assert stored.catalogue.findings(3) == ("Fibrosis",)
    assert next((tmp_path / "index").glob("*/embeddings/*.npy")).stat().st_ino == shard
    np.testing.assert_array_equal(np.concatenate(stored.blocks), embeddings())


def test_finished_shards_of_an_interrupted_import_are_kept(
    source: Path, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "SHARD_IMAGES", 4)
    written: list[int] = []
    original = IndexWriter.write_shard

    def interrupted(self: IndexWriter, number: int, *rest: Any) -> None:
        written.append(number)
        if written == [0, 1]:
            raise KeyboardInterrupt
        original(self, number, *rest)

    monkeypatch.setattr(IndexWriter, "write_shard", interrupted)
    with pytest.raises(KeyboardInterrupt):
        import_embeddings(source, table, index=tmp_path / "index")
    import_embeddings(source, table, index=tmp_path / "index")
    assert written == [0, 1, 1]
    stored = open_stored(tmp_path / "index")
    assert [len(block) for block in stored.blocks] == [4, 2]
    np.testing.assert_array_equal(np.concatenate(stored.blocks), embeddings())
    assert list(zip(stored.files["shard"], stored.files["offset"], strict=True))[3:5] == [(0, 3), (1, 0)]


def test_the_file_is_mapped_and_a_real_shard_has_2048_rows(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", embeddings(2050, 2))
    (tmp_path / "t.csv").write_text("image,patient,findings\n" + "".join(f"{i},{i % 40},\n" for i in range(2050)))
    assert isinstance(open_embeddings(tmp_path / "x.npy"), np.memmap)
    import_embeddings(tmp_path / "x.npy", tmp_path / "t.csv", index=tmp_path / "index")
    assert [len(block) for block in open_stored(tmp_path / "index").blocks] == [2048, 2]


@pytest.mark.parametrize("dtype", ["float64", "float16", ">f4", "<f4"])
def test_other_floats_are_converted_and_it_is_said(dtype: str, table: Path, tmp_path: Path) -> None:
    given = np.asfortranarray(embeddings(dtype=dtype))
    np.save(tmp_path / "x.npy", given)
    result = import_embeddings(tmp_path / "x.npy", table, index=tmp_path / "index")
    stored = open_stored(tmp_path / "index")
    assert stored.blocks[0].dtype == np.float32
    np.testing.assert_array_equal(np.concatenate(stored.blocks), given.astype(np.float32))
    expected = [] if "f4" in dtype else [f"x.npy holds {dtype}; the index keeps the embeddings as float32"]
    assert list(result.warnings) == expected


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("metric", METRICS)
def test_it_is_searched_like_any_index(source: Path, table: Path, tmp_path: Path, kind: str, metric: Any) -> None:
    import_embeddings(source, table, index=tmp_path / "index", kind=kind, metric=metric)
    index = open_index(tmp_path / "index")
    x = embeddings().astype(np.float64)
    units = x / np.linalg.norm(x, axis=1, keepdims=True)
    distances = {
        "l2": np.linalg.norm(x[:, None] - x[None], axis=2),
        "ip": -x @ x.T,
        "cosine": 1 - units @ units.T,
    }[metric]
    groups = index.catalogue.patient_groups()
    distances[groups[:, None] == groups[None]] = np.inf
    found = index._vectors.search(index.stored.vectors.take(np.arange(6)), 4, Restriction(None, groups, groups))
    for row in range(6):
        rows, got = found[row]
        nearest = np.argsort(distances[row])[:4]
        np.testing.assert_array_equal(rows, nearest)
        np.testing.assert_allclose(got, distances[row, nearest], rtol=1e-9, atol=1e-12)


def test_the_reference_of_typicality_is_that_of_the_embeddings(source: Path, table: Path, tmp_path: Path) -> None:
    import_embeddings(source, table, index=tmp_path / "index")
    x, patients = embeddings().astype(np.float64), np.array([2, 1, 2, 3, 3, 4])
    farthest = [sorted(np.linalg.norm(x - x[i], axis=1)[patients != patients[i]])[3] for i in range(6)]
    reference = open_stored(tmp_path / "index").reference
    assert reference["k"] == 4  # 4 images of other patients, fewer than 20
    np.testing.assert_allclose(reference["distances"], sorted(farthest), rtol=1e-6)


def _rewritten(change: Callable[[NDArray[Any]], Any]) -> Callable[[Path], None]:
    return lambda path: np.save(path, change(embeddings()))


def _with(row: int, value: float, dtype: Any = np.float32) -> Callable[[Path], None]:
    def change(x: NDArray[Any]) -> NDArray[Any]:
        x = x.astype(dtype)
        x[row, 1] = value
        return x

    return _rewritten(change)


def _zip(path: Path) -> None:
    np.savez(path.with_suffix(".npz"), embeddings())
    path.with_suffix(".npz").rename(path)


def _two_arrays(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, embeddings())
        np.save(file, embeddings())


_WRONG: dict[str, tuple[Callable[[Path], Any], str]] = {
    "one dimension": (_rewritten(lambda x: x.ravel()), r"shape \(30,\), not \(images, dimensions\)"),
    "three dimensions": (_rewritten(lambda x: x[None]), r"shape \(1, 6, 5\)"),
    "a number": (_rewritten(lambda x: x[0, 0]), r"shape \(\)"),
    "no rows": (_rewritten(lambda x: x[:0]), r"shape \(0, 5\)"),
    "no columns": (_rewritten(lambda x: x[:, :0]), r"shape \(6, 0\)"),
    "integers": (
        _rewritten(lambda x: x.astype(np.int64)),
        "int64 values, which are not embeddings — save .* as float32",
    ),
    "flags": (_rewritten(lambda x: x > 0), "bool values"),
    "complex": (_rewritten(lambda x: x + 1j), "complex64 values"),
    "fields": (_rewritten(lambda x: np.zeros((6, 5), dtype=[("a", "f4")])), "which are not embeddings"),
    "NaN": (_with(4, np.nan), r"x.npy: row 4 \(counted from 0, image d.png\) holds NaN — correct"),
    "infinite": (_with(5, -np.inf), r"row 5 \(counted from 0, image e.png\) holds an infinite value"),
    "too large for float32": (
        _with(0, 1e200, np.float64),
        r"row 0 \(counted from 0, image z.png\) has a norm over 1e\+15",
    ),
    "too large": (_with(2, 1e16), r"row 2 \(counted from 0, image m/b.png\) has a norm over 1e\+15"),
    "one row fewer": (_rewritten(lambda x: x[1:]), r"x.npy has 5 embeddings, table.csv 6 rows — give a table"),
    "one row more": (_rewritten(lambda x: np.concatenate([x, x[:1]])), "x.npy has 7 embeddings, table.csv 6 rows"),
    "objects": (lambda path: np.save(path, np.array([[object()]]), allow_pickle=True), "not a .npy file of numbers"),
    "a pickle": (lambda path: path.write_bytes(pickle.dumps(embeddings())), "not a .npy file of numbers"),
    "an archive": (_zip, "x.npy is an .npz archive"),
    "empty": (lambda path: path.write_bytes(b""), "not a .npy file of numbers"),
    "truncated": (lambda path: path.write_bytes(path.read_bytes()[:-1]), "not a .npy file of numbers, or is damaged"),
    "two arrays": (_two_arrays, r"continues after its array of shape \(6, 5\)"),
    "missing": (lambda path: path.unlink(), r"cannot read .*x.npy: No such file"),
}


@pytest.mark.parametrize("name", _WRONG)
def test_what_is_no_embeddings_is_one_line_and_nothing_is_written(
    name: str, source: Path, table: Path, tmp_path: Path
) -> None:
    spoil, message = _WRONG[name]
    spoil(source)
    with pytest.raises(CxrsearchError, match=message) as caught:
        import_embeddings(source, table, index=tmp_path / "index")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "index").exists()
    assert not (tmp_path / "index.building").exists()
    assert (caught.type is CatalogueError) == name.startswith("one row")


def test_nan_in_a_later_shard_is_named_by_its_row(table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "SHARD_IMAGES", 2)
    _with(3, np.nan)(tmp_path / "x.npy")
    with pytest.raises(CxrsearchError, match=r"row 3 \(counted from 0, image c.png\) holds NaN"):
        import_embeddings(tmp_path / "x.npy", table, index=tmp_path / "index")


def test_a_wrong_table_or_option_is_refused(source: Path, table: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="annoy"):
        import_embeddings(source, table, index=tmp_path / "index", kind="annoy")
    with pytest.raises(VocabularyError, match=r"line 2: .*'Effusion'"):
        import_embeddings(source, table, index=tmp_path / "index", findings=("Mass",))
    with pytest.raises(CatalogueError, match="cannot read the table"):
        import_embeddings(source, tmp_path / "absent.csv", index=tmp_path / "index")
    assert not (tmp_path / "index").exists()


def test_one_builder_at_a_time(source: Path, table: Path, tmp_path: Path) -> None:
    with IndexWriter(tmp_path / "index", {}), pytest.raises(LockedError):
        import_embeddings(source, table, index=tmp_path / "index")


def test_an_image_cannot_be_asked(source: Path, table: Path, tmp_path: Path) -> None:
    import_embeddings(source, table, index=tmp_path / "index")
    with pytest.raises(
        UsageError, match=r"imported embeddings and no encoder, so no image can be embedded .*build-index"
    ):
        open_index(tmp_path / "index").query(tmp_path / "absent.png")  # it is not even read
    with pytest.raises(UsageError, match="imported embeddings"):
        open_index(tmp_path / "index", weights="random:0")
    with pytest.raises(UsageError, match="imported embeddings"):
        open_stored(tmp_path / "index").load_encoder()


def test_another_vocabulary_and_an_index_of_images_replaced(
    source: Path, table: Path, tmp_path: Path, small_index: Path
) -> None:
    shutil.copytree(small_index, tmp_path / "index")
    table.write_text(
        "image,patient,findings\n" + "".join(f"{i}.png,p{i},{'Flu|Cold' if i == 2 else ''}\n" for i in range(6))
    )
    options: dict[str, Any] = {"index": tmp_path / "index", "findings": ["Cold", "Flu"]}
    before = digests(tmp_path / "index")
    with pytest.raises(StoreError, match=r"already is an index: 10 images of .* with --replace"):
        import_embeddings(source, table, **options)
    assert digests(tmp_path / "index") == before
    import_embeddings(source, table, replace_other=True, **options)
    stored = open_stored(tmp_path / "index")
    assert stored.catalogue.findings(2) == ("Cold", "Flu")
    assert list_unlisted_files(tmp_path / "index", stored.manifest) == []


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_command(source: Path, table: Path, tmp_path: Path, data_set: DataSet) -> None:
    index = tmp_path / "index"
    result = run("import-embeddings", source, "--catalogue", table, "--index", index, "--metric", "cosine")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith(f"{index}: 6 images of 4 patients, ")
    np.save(source, embeddings(dtype=np.float64))
    result = run("import-embeddings", source, "--catalogue", table, "--index", index, "--json", "--kind", "faiss-flat")
    value = json.loads(result.stdout)
    assert (value["images"], value["patients"], value["path"]) == (6, 4, str(index))
    assert "warning: x.npy holds float64" in result.stderr
    shown = run("info", index)
    assert "none: imported embeddings, 5 dimensions" in " ".join(shown.stdout.split())
    assert "trained on" not in shown.stdout
    assert json.loads(run("info", index, "--json").stdout)["encoder"] is None
    assert run("verify", index).exit_code == 0
    for asked in ([data_set.images / "00.png"], [data_set.images]):
        refused = run("query", *asked, "--index", index)
        assert (refused.exit_code, refused.stdout, refused.stderr.count("\n")) == (2, "", 1)
        assert "imported embeddings" in refused.stderr


def test_a_wrong_file_is_exit_code_1_and_a_missing_table_2(source: Path, table: Path, tmp_path: Path) -> None:
    source.write_bytes(b"")
    result = run("import-embeddings", source, "--catalogue", table, "--index", tmp_path / "index")
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert run("import-embeddings", source, "--index", tmp_path / "index").exit_code == 2
