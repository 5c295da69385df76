"""Kind `faiss-flat`: FAISS compares every row, on the CPU or a GPU; exact, with the same certificate as `exact`."""

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from cxrsearch_indexes import backend
from cxrsearch_indexes.base import Metric
from cxrsearch_indexes.faiss_index import FaissIndex, Proposals
from cxrsearch_indexes.frame import Float32


class FlatIndex(FaissIndex):
    """All rows by FAISS. On a GPU it takes no filter and gives 2,048 rows at most; the exact index answers the rest."""

    kind: ClassVar[str] = "faiss-flat"
    approximate: ClassVar[bool] = False
    runs_on_gpu: ClassVar[bool] = True

    @staticmethod
    def _empty(dim: int, metric: Metric, seed: int) -> Any:
        faiss = backend.load_faiss()
        return faiss.IndexFlatIP(dim) if metric == "ip" else faiss.IndexFlatL2(dim)

    def _propose(self, p: Float32, size: int, allowed: NDArray[np.bool_] | None) -> Proposals | None:
        if self._on_gpu and (allowed is not None or size > backend.GPU_LARGEST_K):
            return None
        chosen = {} if allowed is None else {"sel": backend.selector(allowed)}
        proposals: Proposals = self._index.search(p, size, params=backend.load_faiss().SearchParameters(**chosen))
        return proposals
