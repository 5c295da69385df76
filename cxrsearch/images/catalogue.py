"""The catalogue: a table of images, one row per image."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrsearch.images.findings import Vocabulary

COLUMNS = {
    "id": "string",
    "patient": "string",
    "view": "string",
    "sex": "string",
    "age": "Int16",
    "split": "string",
    "path": "string",
}


@dataclass(frozen=True, eq=False)
class Catalogue:
    """A table of n images, one row per image. Treat the frame as read-only.

    Attributes:
        frame: the columns `COLUMNS`, in this order and with these dtypes; the index is the row number. `id` and
            `patient` are never null. `view` is PA, AP or null. `sex` is M, F or null. `age` is in years up to 120, or
            null. `split` is train, val, test or null; `path` is relative to the source, with `/`, or null. The
            constructor brings any frame with `id` and `patient` into this form.
        vocabulary: the findings.
        labels: bool (n, len(vocabulary)), read-only; None if the findings are unknown.
        warnings: what a user should know about the table it was read from.

    Raises:
        ValueError: the shape of `labels` does not fit the frame and the vocabulary.
    """

    frame: pd.DataFrame
    vocabulary: Vocabulary
    labels: NDArray[np.bool_] | None = None
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        frame = self.frame.reindex(columns=list(COLUMNS)).astype(COLUMNS).reset_index(drop=True)
        object.__setattr__(self, "frame", frame)
        if self.labels is not None:
            if self.labels.shape != (len(frame), len(self.vocabulary)):
                raise ValueError(f"labels {self.labels.shape} for {len(frame)} images, {len(self.vocabulary)} findings")
            read_only = self.labels.view()  # a view, so that the caller's array stays writable
            read_only.setflags(write=False)
            object.__setattr__(self, "labels", read_only)

    def __len__(self) -> int:
        return len(self.frame)

    @cached_property
    def ids(self) -> list[str]:
        """The id of each image, n strings."""
        return list(self.frame["id"])

    @cached_property
    def patients(self) -> list[str]:
        """The patient of each image, n strings."""
        return list(self.frame["patient"])

    def patient_groups(self) -> NDArray[np.int64]:
        """Number the patients from 0 in order of appearance: the patient of each image, int64 (n,)."""
        return pd.factorize(self.frame["patient"])[0].astype(np.int64)

    def findings(self, row: int) -> tuple[str, ...] | None:
        """Return the findings of an image in vocabulary order; None if findings are unknown."""
        return None if self.labels is None else self.vocabulary.decode(self.labels[row])

    @property
    def paths(self) -> list[str]:
        """The name of each image in its source, n strings."""
        return list(self.frame["path"])

    def take(self, rows: Sequence[int] | NDArray[np.int64]) -> "Catalogue":
        """Return the catalogue of these rows, in this order."""
        at = np.asarray(rows, dtype=np.int64)
        return replace(self, frame=self.frame.iloc[at], labels=None if self.labels is None else self.labels[at])
