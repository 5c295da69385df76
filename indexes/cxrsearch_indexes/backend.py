"""Everything that is specific to FAISS: import, devices, files, selectors, threads."""

import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrsearch_indexes.base import BackendUnavailable
from cxrsearch_indexes.frame import Float32

# FAISS on a GPU returns no more neighbours than this.
GPU_LARGEST_K = 2048


def load_faiss() -> Any:
    """Import the faiss module.

    Raises:
        BackendUnavailable: FAISS is not installed.
    """
    try:
        with warnings.catch_warnings():
            # SWIG's own types, on Python 3.12 and later.
            warnings.filterwarnings("ignore", r"builtin type \w+ has no __module__ attribute", DeprecationWarning)
            import faiss
    except ImportError as error:
        raise BackendUnavailable(
            "FAISS is not installed; pip install 'cxrsearch[cpu]', or 'cxrsearch[gpu]' for NVIDIA GPUs"
        ) from error
    return faiss


def gpu_ordinal(device: str) -> int | None:
    """The GPU that a device names: None for `cpu`, 0 for `cuda`, i for `cuda:i`; raises ValueError for other names."""
    named = re.fullmatch(r"cpu|cuda(?::(\d+))?", device)
    if not named:
        raise ValueError(f"device {device!r} is not cpu, cuda or cuda:N")
    return None if device == "cpu" else int(named[1] or 0)


def require_gpu(ordinal: int) -> None:
    """Raise BackendUnavailable unless FAISS has that GPU; FAISS makes its StandardGpuResources even without one."""
    count = load_faiss().get_num_gpus()
    if ordinal >= count:
        raise BackendUnavailable(
            f"device cuda:{ordinal}: FAISS sees {count} GPUs; on a machine with an NVIDIA GPU, pip install "
            "'cxrsearch[gpu]' instead of 'cxrsearch[cpu]'; otherwise use device cpu"
        )


def to_gpu(index: Any, ordinal: int) -> tuple[Any, Any]:
    """Copy an index to a GPU, in float32 (FAISS keeps TF32 off); also returns the resources to keep alive with it."""
    faiss = load_faiss()
    resources = faiss.StandardGpuResources()
    return faiss.index_cpu_to_gpu(resources, ordinal, index), resources


def wrap(index: Any, centre: Float32) -> Any:
    """Wrap a FAISS index so that it subtracts the centre itself, which makes its file complete."""
    faiss = load_faiss()
    centring = faiss.CenteringTransform(len(centre))
    faiss.copy_array_to_vector(centre, centring.mean)
    centring.is_trained = True
    return faiss.IndexPreTransform(centring, index)


def unwrap(wrapped: Any) -> tuple[Any, Float32]:
    """The index inside a wrapped one, and the centre that it subtracts, float32 (dim,)."""
    faiss = load_faiss()
    centring = faiss.downcast_VectorTransform(wrapped.chain.at(0))
    return faiss.downcast_index(wrapped.index), faiss.vector_to_array(centring.mean)


def write(wrapped: Any, path: Path) -> None:
    """Write an index to a file through Python, because FAISS's own writer does not report a full disk.

    Raises:
        OSError: the disk is full or the folder cannot be written.
    """
    faiss = load_faiss()
    with path.open("wb") as file:
        faiss.write_index(wrapped, faiss.PyCallbackIOWriter(file.write))
        file.flush()
        os.fsync(file.fileno())


def read(path: Path, like: Any, n: int) -> Any:
    """Read the file of `write`. Check its digest first, because FAISS is not safe on arbitrary bytes.

    Args:
        path: the file.
        like: an empty index with the class, dimension and metric that the index inside must have.
        n: the number of rows that it must have.

    Raises:
        OSError: there is no such file.
        ValueError: the file is not such an index.
    """
    faiss = load_faiss()
    with path.open("rb"):  # FAISS's own error is the same for a missing file and for a damaged one
        pass
    try:
        wrapped = faiss.read_index(str(path))
    except RuntimeError as error:
        raise ValueError(f"{path.name}: not an index that FAISS can read") from error
    inside = unwrap(wrapped)[0] if isinstance(wrapped, faiss.IndexPreTransform) else wrapped
    for name, actual, wanted in (
        ("kind", type(inside).__name__, type(like).__name__),
        ("rows", wrapped.ntotal, n),
        ("dimension", wrapped.d, like.d),
        ("metric", inside.metric_type, like.metric_type),
    ):
        if actual != wanted:
            raise ValueError(f"{path.name}: {name} is {actual}, not {wanted}")
    return wrapped


def selector(eligible: NDArray[np.bool_]) -> Any:
    """FAISS's selector of the rows, bool (n,), that may answer."""
    return load_faiss().IDSelectorBitmap(np.packbits(eligible, bitorder="little"))


@contextmanager
def repeatable_threads() -> Iterator[None]:
    """A context in which building a graph gives the same graph each time.

    FAISS before 1.15 adds rows to a graph in an order that depends on its threads ("the HNSW add function is performed
    in an unspecified order", FAISS wiki, Threads and asynchronous calls), so it gets a single thread. Later versions
    build level by level in a fixed order (facebookresearch/faiss pull requests 5486 and 5611).
    """
    faiss = load_faiss()
    before = faiss.omp_get_max_threads()
    if not hasattr(faiss.HNSW, "compute_forward_links_deterministic"):
        faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)
