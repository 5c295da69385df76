"""The writer: one builder, finished shards kept, old index or new, nothing of anybody else's touched."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cxrsearch.errors import FormatVersionError, IntegrityError, LockedError, StoreError, WriteError
from cxrsearch.store.integrity import check_files, list_unlisted_files
from cxrsearch.store.manifest import Manifest, read_manifest
from cxrsearch.store.writer import IndexWriter, ShardRecord
from tests.store.test_manifest import MANIFEST

PLAN = {"encoder": "one"}
RECORD = ShardRecord([{"row": 0, "source_sha256": "s"}], [{"row": 1, "source_sha256": None, "reason": "empty"}])
EMBEDDINGS = [np.arange(4, dtype=np.float32).reshape(1, 4)]
PIXELS = [np.full((2, 2), 7, dtype=np.uint8)]


def build(folder: Path, plan: dict[str, str] = PLAN, value: float = 1.0) -> Manifest:
    with IndexWriter(folder, plan) as writer:
        if writer.read_finished_shard(0) is None:
            writer.write_shard(0, RECORD, [block * np.float32(value) for block in EMBEDDINGS], PIXELS)
        return writer.commit(MANIFEST)


def interrupted(folder: Path, work: Callable[[IndexWriter], object]) -> None:
    """A builder that does some work until Ctrl-C is pressed."""

    def building() -> None:
        with IndexWriter(folder, PLAN) as writer:
            work(writer)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        building()


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_committed_index_is_complete_and_nothing_else_is_left(tmp_path: Path) -> None:
    manifest = build(tmp_path / "index")
    check_files(tmp_path / "index", manifest, again=True)
    assert list_unlisted_files(tmp_path / "index", manifest) == []
    assert read_manifest(tmp_path / "index") == manifest
    assert names(tmp_path) == {"index"}
    stored = np.load(manifest.path(tmp_path / "index", "embeddings/00000.npy"))
    np.testing.assert_array_equal(stored, EMBEDDINGS[0])
    np.testing.assert_array_equal(np.load(manifest.path(tmp_path / "index", "pixels/00000.npy")), PIXELS)


def test_a_finished_shard_survives_a_killed_builder(tmp_path: Path) -> None:
    with IndexWriter(tmp_path / "index", PLAN) as writer:
        writer.write_shard(0, RECORD, EMBEDDINGS, PIXELS)
    with IndexWriter(tmp_path / "index", PLAN) as writer:
        assert writer.read_finished_shard(0) == RECORD
        assert writer.read_finished_shard(1) is None
    with IndexWriter(tmp_path / "index", {"encoder": "two"}) as writer:
        assert writer.read_finished_shard(0) is None


@pytest.mark.parametrize("name", ["embeddings/00000.npy", "pixels/00000.npy", "records/00000.json"])
def test_a_damaged_shard_is_done_again(tmp_path: Path, name: str) -> None:
    with IndexWriter(tmp_path / "index", PLAN) as writer:
        writer.write_shard(0, RECORD, EMBEDDINGS, PIXELS)
        path = writer.content / name
        content = bytearray(path.read_bytes())
        content[-2] ^= 1
        path.write_bytes(content)
        assert writer.read_finished_shard(0) is None
        path.unlink()
        assert writer.read_finished_shard(0) is None


def test_a_record_that_was_altered_is_not_believed(tmp_path: Path) -> None:
    with IndexWriter(tmp_path / "index", PLAN) as writer:
        writer.write_shard(0, RECORD, EMBEDDINGS, PIXELS)
        path = writer.content / "records/00000.json"
        path.write_text(path.read_text().replace('"source_sha256": "s"', '"source_sha256": "t"'))
        assert writer.read_finished_shard(0) is None


def test_a_second_builder_is_refused_and_the_lock_is_freed(tmp_path: Path) -> None:
    with (
        IndexWriter(tmp_path / "index", PLAN),
        pytest.raises(LockedError, match="another build-index is at work"),
        IndexWriter(tmp_path / "index", PLAN),
    ):
        pass
    build(tmp_path / "index")


def test_a_new_generation_replaces_the_old_one(tmp_path: Path) -> None:
    old = build(tmp_path / "index")
    new = build(tmp_path / "index", {"encoder": "two"}, value=2.0)
    assert read_manifest(tmp_path / "index").generation == new.generation != old.generation
    assert names(tmp_path / "index") == {"manifest.json", "build.lock", new.generation}


def test_the_same_content_is_the_same_generation_and_mends_damage(tmp_path: Path) -> None:
    manifest = build(tmp_path / "index")
    damaged = manifest.path(tmp_path / "index", "pixels/00000.npy")
    damaged.write_bytes(b"x" * damaged.stat().st_size)
    with pytest.raises(IntegrityError):
        check_files(tmp_path / "index", manifest)
    assert build(tmp_path / "index") == manifest
    check_files(tmp_path / "index", manifest)


def test_a_finished_index_of_the_same_plan_gives_its_shards(tmp_path: Path) -> None:
    with IndexWriter(tmp_path / "index", PLAN) as writer:
        writer.write_shard(0, RECORD, EMBEDDINGS, PIXELS)
        writer.commit(replace(MANIFEST, plan=writer.plan))
    with IndexWriter(tmp_path / "index", PLAN) as writer:
        assert writer.read_finished_shard(0) == RECORD
    with IndexWriter(tmp_path / "index", {"encoder": "two"}) as writer:
        assert writer.read_finished_shard(0) is None


def test_a_builder_that_dies_leaves_the_old_index(tmp_path: Path) -> None:
    manifest = build(tmp_path / "index")
    with IndexWriter(tmp_path / "index", {"encoder": "two"}) as writer:
        writer.write_shard(0, RECORD, EMBEDDINGS, [])
    assert read_manifest(tmp_path / "index") == manifest
    check_files(tmp_path / "index", manifest, again=True)
    assert list_unlisted_files(tmp_path / "index", manifest) == []


def test_a_shard_of_refused_images_has_no_files(tmp_path: Path) -> None:
    empty = ShardRecord([], RECORD.refused)
    with IndexWriter(tmp_path / "index", PLAN) as writer:
        writer.write_shard(0, empty, [], [])
        assert writer.read_finished_shard(0) == empty
        assert list(writer.content.rglob("*.npy")) == []


@pytest.mark.parametrize("there", [False, True])
def test_an_interruption_leaves_finished_shards_and_else_nothing(tmp_path: Path, there: bool) -> None:
    index = tmp_path / "index"
    if there:
        index.mkdir()
    interrupted(index, lambda writer: None)
    assert names(tmp_path) == ({"index"} if there else set())
    refused = ShardRecord([], RECORD.refused)
    interrupted(index, lambda writer: writer.write_shard(0, refused, [], []))
    with IndexWriter(index, PLAN) as writer:
        assert writer.read_finished_shard(0) == refused


def test_what_went_wrong_is_told_and_the_lock_freed_where_the_work_in_progress_is_gone(tmp_path: Path) -> None:
    def work(writer: IndexWriter) -> None:
        for path in writer.content.iterdir():
            path.rmdir()

    interrupted(tmp_path / "index", work)
    build(tmp_path / "index")


def test_the_lock_is_freed_where_tidying_up_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[IndexWriter] = []  # whose end would free the lock as well

    def failing(*_: object, **__: object) -> None:
        raise OSError("no such device")

    with monkeypatch.context() as patch:

        def work(writer: IndexWriter) -> None:
            kept.append(writer)
            patch.setattr("cxrsearch.store.writer.shutil.rmtree", failing)

        with pytest.raises(OSError, match="no such device"):
            interrupted(tmp_path / "index", work)
    build(tmp_path / "index")
    assert len(kept) == 1


def test_somebody_elses_folder_is_not_built_into(tmp_path: Path) -> None:
    (tmp_path / "thesis.doc").touch()
    with pytest.raises(StoreError, match=r"is not an index and holds other files \(thesis.doc\)"):
        IndexWriter(tmp_path, PLAN)
    with pytest.raises(StoreError, match="is a file, not an index directory"):
        IndexWriter(tmp_path / "thesis.doc", PLAN)
    assert names(tmp_path) == {"thesis.doc"}


def test_a_commit_spares_files_that_are_not_the_indexs(tmp_path: Path) -> None:
    build(tmp_path / "index")
    (tmp_path / "index" / "notes.txt").write_text("mine")
    build(tmp_path / "index", {"encoder": "two"}, value=2.0)
    assert (tmp_path / "index" / "notes.txt").read_text() == "mine"


def test_a_folder_beside_the_index_that_is_not_ours_is_spared(tmp_path: Path) -> None:
    (tmp_path / "index.building").mkdir()
    (tmp_path / "index.building" / "thesis.doc").touch()
    with pytest.raises(StoreError, match=r"index.building is not an index and holds other files \(thesis.doc\)"):
        IndexWriter(tmp_path / "index", PLAN)
    assert names(tmp_path / "index.building") == {"thesis.doc"}


def test_somebody_elses_manifest_is_no_index(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"name": "webapp"}')
    data = tmp_path / "0123456789abcdef"
    data.mkdir()
    (data / "data.txt").touch()
    with pytest.raises(StoreError, match="is not an index"):
        IndexWriter(tmp_path, PLAN)
    assert (data / "data.txt").exists()


def test_a_damaged_manifest_of_ours_may_be_built_over(tmp_path: Path) -> None:
    build(tmp_path / "index")
    path = tmp_path / "index" / "manifest.json"
    path.write_bytes(path.read_bytes()[:-10])
    manifest = build(tmp_path / "index")
    check_files(tmp_path / "index", manifest, again=True)


def test_an_index_of_a_newer_format_is_never_replaced(tmp_path: Path) -> None:
    build(tmp_path / "index")
    path = tmp_path / "index" / "manifest.json"
    path.write_text(path.read_text().replace('"version": 1', '"version": 2'))
    before = path.read_bytes()
    with pytest.raises(FormatVersionError, match="upgrade"):
        IndexWriter(tmp_path / "index", PLAN)
    assert path.read_bytes() == before


@pytest.mark.parametrize("over_an_old_index", [False, True])
def test_a_commit_that_died_between_its_two_renames_is_finished(tmp_path: Path, over_an_old_index: bool) -> None:
    index = tmp_path / "index"
    if over_an_old_index:
        build(index, {"encoder": "two"}, value=2.0)
        old = (index / "manifest.json").read_bytes()
    with IndexWriter(index, PLAN) as writer:
        writer.write_shard(0, RECORD, EMBEDDINGS, PIXELS)
        manifest = writer.commit(replace(MANIFEST, plan=writer.plan))
        plan = writer.plan
    staging = tmp_path / "index.building"
    staging.mkdir()
    (staging / "plan").write_text(plan)
    (index / "manifest.json").rename(staging / "manifest.json")
    if over_an_old_index:
        (index / "manifest.json").write_bytes(old)
    with IndexWriter(index, PLAN) as writer:
        assert read_manifest(index) == manifest
        assert writer.read_finished_shard(0) == RECORD


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises((WriteError, StoreError), match="file"):
        IndexWriter(tmp_path / "file" / "index", PLAN)
