"""Kind `faiss-hnsw`: approximate search in a navigable small-world graph (Malkov and Yashunin, IEEE TPAMI 2020)."""

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from cxrsearch_indexes import backend
from cxrsearch_indexes.base import BackendUnavailable, Metric
from cxrsearch_indexes.faiss_index import FaissIndex, Proposals
from cxrsearch_indexes.frame import Float32

_LINKS = 32
# Candidates followed while building and while searching. Measured with k = 20 and n = 20,000 in 512 dimensions: recall
# is .9995 on data of 16 intrinsic dimensions, and .973 on data of 64, where building with 200 gives .983.
_BUILD_CANDIDATES = 100
_SEARCH_CANDIDATES = 256
# If a filter allows one in f of the rows, the search follows f times as many candidates (measured, n = 20,000, a fifth
# of the rows allowed: recall .98 with 64 candidates, .9995 with 256). The exact index scans about this many rows in the
# time that the graph takes for one candidate. It answers if that makes it faster.
_ROWS_PER_CANDIDATE = 32


class HnswIndex(FaissIndex):
    """A FAISS graph: distances and order of the found rows are exact, but some neighbours may be missed.

    The number of neighbours is always that of `exact`. If there are few rows (under 8,192 at the usual k), or a filter
    leaves few, the search is exact instead, which is no slower.
    """

    kind: ClassVar[str] = "faiss-hnsw"
    approximate: ClassVar[bool] = True
    runs_on_gpu: ClassVar[bool] = False

    @staticmethod
    def _gpu(device: str) -> int | None:
        if backend.gpu_ordinal(device) is not None:
            raise BackendUnavailable(f"device {device}: FAISS has no HNSW on a GPU; use device cpu, or kind faiss-flat")
        return None

    @staticmethod
    def _empty(dim: int, metric: Metric, seed: int) -> Any:
        faiss = backend.load_faiss()
        index = faiss.IndexHNSWFlat(dim, _LINKS, faiss.METRIC_INNER_PRODUCT if metric == "ip" else faiss.METRIC_L2)
        index.hnsw.efConstruction = _BUILD_CANDIDATES
        index.hnsw.rng = faiss.RandomGenerator(seed)
        return index

    def _propose(self, p: Float32, size: int, allowed: NDArray[np.bool_] | None) -> Proposals | None:
        eligible = self.n if allowed is None else int(np.count_nonzero(allowed))
        candidates = max(_SEARCH_CANDIDATES, 2 * size) * self.n // max(1, eligible)
        if eligible < _ROWS_PER_CANDIDATE * candidates:
            return None
        chosen = {} if allowed is None else {"sel": backend.selector(allowed)}
        options = backend.load_faiss().SearchParametersHNSW(efSearch=candidates, **chosen)
        proposals: Proposals = self._index.search(p, size, params=options)
        return proposals
