"""The manifest tells the truth about itself, and refuses when it cannot."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxrsearch.errors import FormatVersionError, IntegrityError, StoreError
from cxrsearch.files import canonical_json, digest_bytes
from cxrsearch.store.manifest import FileEntry, Manifest, describe_split, read_manifest, write_manifest

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
    with pytest.raises(FormatVersionError, match=r"format version 2, this cxrsearch reads up to 1 — upgrade"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("text", ["[" * 100_000, "[]", "{}", "null", '{"version": 1, "digest": 1, "format": 1}'])
def test_anything_else_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(IntegrityError, match="is damaged"):
        read_manifest(tmp_path)


def test_a_field_too_many_is_refused_even_with_a_right_digest(tmp_path: Path) -> None:
    write_manifest(tmp_path, MANIFEST)
    body = json.loads((tmp_path / "manifest.json").read_bytes()) | {"more": 1, "digest": "0" * 32}
    body["digest"] = digest_bytes(canonical_json(body))
    (tmp_path / "manifest.json").write_bytes(canonical_json(body))
    with pytest.raises(IntegrityError, match="is damaged"):
        read_manifest(tmp_path)


def test_no_index_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"no index at .*build-index"):
        read_manifest(tmp_path)


def test_splits_in_words() -> None:
    assert describe_split({"definition": None, "part": None}) == "none"
    assert describe_split({"definition": "paper", "part": None}) == "paper, all parts"
    assert describe_split({"definition": "paper", "part": "train"}) == "paper, part train"
