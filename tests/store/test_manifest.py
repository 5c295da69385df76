"""The manifest tells the truth about itself, and refuses when it cannot."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxrsearch.errors import FormatVersionError, IntegrityError, StoreError, UsageError
from cxrsearch.files import canonical_json, digest_bytes
from cxrsearch.store.manifest import FileEntry, Manifest, describe_split, read_manifest, write_manifest
from tests.refusals import message

MANIFEST = Manifest(
    n=3,
    dim=4,
    kind="exact",
    metric="l2",
    findings=("Mass", "Edema"),
    labelled=True,
    encoder={"label": "random:0 (untrained)", "fingerprint": "ab"},
    images_root="/images",
    patient_source="table",
    patient_salt=None,
    split={"definition": None, "part": None},
    summary={"patients": 2},
    software={"numpy": "2"},
    plan="p",
).with_files({"catalogue.parquet": FileEntry(10, "d")})


def test_it_reads_back(tmp_path: Path) -> None:
    write_manifest(tmp_path, MANIFEST)
    assert read_manifest(tmp_path) == MANIFEST


def test_the_generation_depends_on_content_and_nothing_else() -> None:
    again = replace(MANIFEST, generation="", files={}).with_files({"catalogue.parquet": FileEntry(10, "d")})
    other = replace(MANIFEST, generation="", files={}).with_files({"catalogue.parquet": FileEntry(10, "e")})
    assert again == MANIFEST
    assert replace(MANIFEST, files={}).with_files({"catalogue.parquet": FileEntry(10, "d")}) == MANIFEST
    assert other.generation != MANIFEST.generation
    assert list(MANIFEST.files) == [f"{MANIFEST.generation}/catalogue.parquet"]


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_any_changed_byte_is_refused(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("index")
    write_manifest(folder, MANIFEST)
    path = folder / "manifest.json"
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    with pytest.raises((IntegrityError, FormatVersionError)):
        read_manifest(folder)


@pytest.mark.parametrize("keep", [0, 1, 100, -1])
def test_a_truncated_one_is_refused(tmp_path: Path, keep: int) -> None:
    write_manifest(tmp_path, MANIFEST)
    path = tmp_path / "manifest.json"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(IntegrityError, match="is damaged"):
        read_manifest(tmp_path)


def test_a_newer_format_says_so(tmp_path: Path) -> None:
    write_manifest(tmp_path, MANIFEST)
    path = tmp_path / "manifest.json"
    path.write_bytes(canonical_json(json.loads(path.read_bytes()) | {"version": 2, "unheard_of": 1}))
    said = f"{path} has format version 2, this cxrsearch reads up to 1 — upgrade cxrsearch"
    assert message(FormatVersionError, read_manifest, tmp_path) == said


def damaged(folder: Path) -> str:
    return (
        f"{folder / 'manifest.json'} is damaged: its bytes are not those that were written"
        " — restore it from a copy, or build the index again"
    )


@pytest.mark.parametrize("text", ["[" * 100_000, "[]", "{}", "null", '{"version": 1, "digest": 1, "format": 1}'])
def test_anything_else_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    assert message(IntegrityError, read_manifest, tmp_path) == damaged(tmp_path)


def test_a_field_too_many_is_refused_even_with_a_right_digest(tmp_path: Path) -> None:
    write_manifest(tmp_path, MANIFEST)
    body = json.loads((tmp_path / "manifest.json").read_bytes()) | {"more": 1, "digest": "0" * 32}
    body["digest"] = digest_bytes(canonical_json(body))
    (tmp_path / "manifest.json").write_bytes(canonical_json(body))
    assert message(IntegrityError, read_manifest, tmp_path) == damaged(tmp_path)


@pytest.mark.parametrize("change", [{"format": "another"}, {"version": "2"}, {"format": "another", "version": 2}])
def test_another_format_is_refused_even_with_a_right_digest(tmp_path: Path, change: dict[str, object]) -> None:
    write_manifest(tmp_path, MANIFEST)
    body = json.loads((tmp_path / "manifest.json").read_bytes()) | change | {"digest": "0" * 32}
    body["digest"] = digest_bytes(canonical_json(body))
    (tmp_path / "manifest.json").write_bytes(canonical_json(body))
    assert message(IntegrityError, read_manifest, tmp_path) == damaged(tmp_path)


def test_no_index_says_how_to_make_one(tmp_path: Path) -> None:
    said = f"no index at {tmp_path} — make one with `cxrsearch build-index IMAGES --index DIR`"
    assert message(StoreError, read_manifest, tmp_path) == said
    (tmp_path / "manifest.json").mkdir()
    said = f"cannot read {tmp_path / 'manifest.json'}: Is a directory — check the path and its permissions"
    assert message(StoreError, read_manifest, tmp_path) == said


def test_splits_in_words() -> None:
    assert describe_split({"definition": None, "part": None}) == "none"
    assert describe_split({"definition": "paper", "part": None}) == "paper, all parts"
    assert describe_split({"definition": "paper", "part": "train"}) == "paper, part train"


def test_the_files_of_a_generation() -> None:
    files = {name: FileEntry(1, "d") for name in ("search/b", "pixels/00001.npy", "search/a/0", "research/c")}
    made = replace(MANIFEST, generation="", files={}).with_files(files)
    assert made.names("search/") == ["search/a/0", "search/b"]
    assert made.names("") == sorted(files)
    assert made.names("embeddings/") == []
    assert made.path(Path("index"), "search/b") == Path("index", made.generation, "search/b")
    assert replace(made, generation="other").names("") == []


def test_the_encoder_or_that_there_is_none() -> None:
    imported = replace(MANIFEST, encoder=None)
    assert MANIFEST.require_encoder() == {"label": "random:0 (untrained)", "fingerprint": "ab"}
    assert message(UsageError, imported.require_encoder) == (
        "this index holds imported embeddings and no encoder, so no image can be embedded for it"
        " — ask an index that `cxrsearch build-index` made from images"
    )
    assert (MANIFEST.encoder_label, MANIFEST.untrained) == ("random:0 (untrained)", True)
    assert (imported.encoder_label, imported.untrained) == ("imported embeddings", False)
    assert not replace(MANIFEST, encoder={"label": "a random: one"}).untrained


def test_as_json_it_is_what_is_written(tmp_path: Path) -> None:
    write_manifest(tmp_path, MANIFEST)
    written = json.loads((tmp_path / "manifest.json").read_bytes())
    assert (written.pop("format"), written.pop("version")) == ("cxrsearch-index", 1)
    assert len(written.pop("digest")) == 32
    assert written == json.loads(canonical_json(MANIFEST.to_json()))
    assert MANIFEST.to_json()["files"] == {f"{MANIFEST.generation}/catalogue.parquet": {"size": 10, "digest": "d"}}
    assert (len(MANIFEST.generation), int(MANIFEST.generation, 16) > 0) == (16, True)
