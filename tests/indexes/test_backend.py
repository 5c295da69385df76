"""FAISS absent, files damaged, disks full, GPUs missing."""

import builtins
import errno
import sys
import warnings
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest

from cxrsearch_indexes import BackendUnavailable, Restriction, build, load
from cxrsearch_indexes.backend import load_faiss, to_gpu
from cxrsearch_indexes.exact import ExactIndex
from tests.refusals import message

FAISS_KINDS = ["faiss-flat", "faiss-hnsw"]
ROWS = np.random.default_rng(0).standard_normal((300, 16), dtype=np.float32)


@pytest.mark.parametrize("kind", FAISS_KINDS)
def test_without_faiss_the_fix_is_named(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    said = "FAISS is not installed; pip install 'cxrsearch[cpu]', or 'cxrsearch[gpu]' for NVIDIA GPUs"
    assert message(BackendUnavailable, build, kind, [ROWS], "l2") == said
    assert build("exact", [ROWS], "l2").search(ROWS[7:8], 1).rows.tolist() == [7]


def test_what_swig_warns_of_at_import_is_not_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """From Python 3.12 on; here warnings are errors."""
    real = builtins.__import__

    def importing(name: str, *others: Any, **options: Any) -> Any:
        if name == "faiss":
            warnings.warn("builtin type swigvarlink has no __module__ attribute", DeprecationWarning, stacklevel=1)
        return real(name, *others, **options)

    monkeypatch.setattr(builtins, "__import__", importing)
    assert load_faiss() is faiss


@pytest.mark.skipif(faiss.get_num_gpus() > 0, reason="there is a GPU")
@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_without_a_gpu_the_fix_is_named(device: str, tmp_path: Path) -> None:
    build("faiss-flat", [ROWS], "l2").save(tmp_path)
    said = (
        f"device {'cuda:1' if '1' in device else 'cuda:0'}: FAISS sees 0 GPUs; on a machine with an NVIDIA GPU, "
        "pip install 'cxrsearch[gpu]' instead of 'cxrsearch[cpu]'; otherwise use device cpu"
    )
    assert message(BackendUnavailable, build, "faiss-flat", [ROWS], "l2", device=device) == said
    assert message(BackendUnavailable, load, "faiss-flat", tmp_path, [ROWS], "l2", device=device) == said


@pytest.mark.parametrize(("device", "there"), [("cuda:0", True), ("cuda:1", True), ("cuda:2", False)])
def test_gpus_are_counted_from_0(
    device: str, there: bool, metric: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build("faiss-flat", [ROWS], metric).save(tmp_path)
    copied: list[int] = []

    def to_gpu(index: Any, ordinal: int) -> tuple[Any, None]:
        copied.append(ordinal)
        return index, None

    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 2)
    monkeypatch.setattr("cxrsearch_indexes.backend.to_gpu", to_gpu)
    if there:
        build("faiss-flat", [ROWS], metric, device=device)
        load("faiss-flat", tmp_path, [ROWS], metric, device=device)
        assert copied == [int(device[-1])] * 2
    else:
        said = message(BackendUnavailable, build, "faiss-flat", [ROWS], metric, device=device)
        assert said.startswith("device cuda:2: FAISS sees 2 GPUs; ")


def test_a_copy_on_a_gpu_keeps_its_resources(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faiss, "StandardGpuResources", lambda: "resources", raising=False)
    monkeypatch.setattr(faiss, "index_cpu_to_gpu", lambda *given: given, raising=False)
    assert to_gpu("index", 3) == (("resources", 3, "index"), "resources")


@pytest.mark.parametrize(
    ("kind", "why"), [("exact", "kind exact runs on the CPU"), ("faiss-hnsw", "FAISS has no HNSW on a GPU")]
)
def test_kinds_that_have_no_gpu_say_so(kind: str, why: str, tmp_path: Path) -> None:
    said = f"{why}; use device cpu, or kind faiss-flat"
    assert message(BackendUnavailable, build, kind, [ROWS], "l2", device="cuda") == f"device cuda: {said}"
    assert message(BackendUnavailable, load, kind, tmp_path, [ROWS], "l2", device="cuda:2") == f"device cuda:2: {said}"


@pytest.mark.gpu
@pytest.mark.skipif(faiss.get_num_gpus() == 0, reason="FAISS sees no GPU")
def test_flat_on_a_gpu(metric: Any, check: Any) -> None:
    index = build("faiss-flat", [ROWS[:100], ROWS[100:]], metric, device="cuda")
    groups = np.arange(300) // 20
    for restriction in (
        Restriction(),
        Restriction(groups=groups, query_groups=groups[:30]),
        Restriction(allowed=groups % 3 == 0),
    ):
        check(index.search(ROWS[:30], 7, restriction), ROWS, ROWS[:30], 7, metric, restriction)


class FakeGpu:
    """Searches as FAISS on a GPU does: no filter, 2,048 rows at most."""

    def __init__(self, index: Any) -> None:
        self._index = index
        self.asked = 0

    def search(self, p: Any, size: int, params: Any) -> Any:
        assert size <= 2048
        assert params.sel is None
        self.asked += 1
        return self._index.search(p, size)


def test_what_a_gpu_cannot_do_is_done_without(metric: Any, check: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 1)
    monkeypatch.setattr("cxrsearch_indexes.backend.to_gpu", lambda index, ordinal: (FakeGpu(index), None))
    rows = (np.tile(ROWS, (8, 1)) + np.arange(2400)[:, None] / 100).astype(np.float32)
    index: Any = build("faiss-flat", [rows], metric, device="cuda:0")
    check(index.search(rows[:5], 7), rows, rows[:5], 7, metric)
    assert index._index.asked == 1
    restriction = Restriction(allowed=np.arange(2400) % 5 == 0)
    check(index.search(rows[:5], 7, restriction), rows, rows[:5], 7, metric, restriction)
    check(index.search(rows[:5], 1017), rows, rows[:5], 1017, metric)  # a shortlist of 2,050
    assert index._index.asked == 1
    check(index.search(rows[:5], 1016), rows, rows[:5], 1016, metric)  # of 2,048
    assert index._index.asked == 2


@pytest.mark.parametrize("kind", FAISS_KINDS)
def test_a_full_disk_is_an_error(kind: str, tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full here")
    (tmp_path / f"{kind}.faiss").symlink_to(full)
    rows = np.random.default_rng(0).standard_normal((900, 512), dtype=np.float32)
    for vectors in (rows[:3], rows):  # less than Python's buffer, and much more
        with pytest.raises(OSError, match="No space left") as caught:
            build(kind, [vectors], "l2").save(tmp_path)
        assert caught.value.errno == errno.ENOSPC


@pytest.mark.parametrize("kind", FAISS_KINDS)
def test_a_file_of_other_vectors_is_refused(kind: str, tmp_path: Path) -> None:
    build(kind, [ROWS], "l2").save(tmp_path)
    name, halves = f"{kind}.faiss", [np.ascontiguousarray(ROWS[:, :8])]
    assert message(ValueError, load, kind, tmp_path, [ROWS[:299]], "l2") == f"{name}: rows is 300, not 299"
    assert message(ValueError, load, kind, tmp_path, halves, "l2") == f"{name}: dimension is 16, not 8"
    classes = {"faiss-flat": "IndexFlatL2", "faiss-hnsw": "IndexHNSWFlat"}
    other_metric = {"faiss-flat": "kind is IndexFlatL2, not IndexFlatIP", "faiss-hnsw": "metric is 1, not 0"}
    assert message(ValueError, load, kind, tmp_path, [ROWS], "ip") == f"{name}: {other_metric[kind]}"
    other = next(name for name in FAISS_KINDS if name != kind)
    (tmp_path / name).rename(tmp_path / f"{other}.faiss")
    said = f"{other}.faiss: kind is {classes[kind]}, not {classes[other]}"
    assert message(ValueError, load, other, tmp_path, [ROWS], "l2") == said


@pytest.mark.parametrize("kind", FAISS_KINDS)
def test_a_file_that_is_no_index_is_refused(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"{kind}.faiss"
    with pytest.raises(FileNotFoundError):
        load(kind, tmp_path, [ROWS], "l2")
    build(kind, [ROWS], "l2").save(tmp_path)
    whole = path.read_bytes()
    for damaged in (b"", b"not an index at all", whole[: len(whole) // 2]):
        path.write_bytes(damaged)
        said = f"{kind}.faiss: not an index that FAISS can read"
        assert message(ValueError, load, kind, tmp_path, [ROWS], "l2") == said
    faiss.write_index(faiss.IndexFlatL2(16), str(path))
    with pytest.raises(ValueError, match=rf"{kind}.faiss: "):
        load(kind, tmp_path, [ROWS], "l2")


@pytest.mark.parametrize("kind", FAISS_KINDS)
def test_a_loaded_index_has_the_centre_of_its_file(
    kind: str, metric: Any, tmp_path: Path, check: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows in the file were centred on it; the mean may come out otherwise on another machine."""
    centre = ROWS.mean(axis=0) + np.float32(0.25)
    monkeypatch.setattr(ExactIndex, "_mean", lambda _: centre)
    build(kind, [ROWS], metric).save(tmp_path)
    monkeypatch.setattr(ExactIndex, "_mean", None)
    index: Any = load(kind, tmp_path, [ROWS], metric)
    np.testing.assert_array_equal(index._frame.centre, centre)
    check(index.search(ROWS[:9] * np.float32(1.1), 12), ROWS, ROWS[:9] * np.float32(1.1), 12, metric)


def test_file_opens_in_plain_faiss(tmp_path: Path) -> None:
    """It subtracts the centre by itself."""
    (path,) = build("faiss-flat", [ROWS + 50], "l2").save(tmp_path)
    _, ids = faiss.read_index(str(path)).search(ROWS[:40] + 50, 1)
    assert ids[:, 0].tolist() == list(range(40))
