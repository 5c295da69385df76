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
    """A table of images, one row an image; treat its frame as read-only.

    Attributes:
        frame: the columns `COLUMNS`, in this order and with these dtypes, and a row number as index. `id` and
            `patient` are never null; `view` is PA, AP or null, `sex` M, F or null, `age` years up to 120 or null,
            `split` train, val, test or null, `path` relative to the folder of images, with `/`, or null. The
            constructor brings any frame with `id` and `patient` into this form.
        vocabulary: the findings.
        labels: bool (n, len(vocabulary)); None where the findings are unknown.
        warnings: what a user should know of the table that it was read from.
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
            read_only = self.labels.view()
            read_only.setflags(write=False)
            object.__setattr__(self, "labels", read_only)

    def __len__(self) -> int:
        return len(self.frame)

    @cached_property
    def ids(self) -> list[str]:
        """The image ids."""
        return list(self.frame["id"])

    @cached_property
    def patients(self) -> list[str]:
        """Each image's patient."""
        return list(self.frame["patient"])

    def patient_groups(self) -> NDArray[np.int64]:
        """Each image's patient as a number, int64 (n,), counted from 0 in order of appearance."""
        return pd.factorize(self.frame["patient"])[0].astype(np.int64)

    def findings(self, row: int) -> tuple[str, ...] | None:
        """The findings of an image in vocabulary order; None where findings are unknown."""
        return None if self.labels is None else self.vocabulary.decode(self.labels[row])

    @property
    def paths(self) -> list[str]:
        """The images' names in their source."""
        return list(self.frame["path"])

    def take(self, rows: Sequence[int] | NDArray[np.int64]) -> "Catalogue":
        """The catalogue of these rows, in this order."""
        at = np.asarray(rows, dtype=np.int64)
        return replace(self, frame=self.frame.iloc[at], labels=None if self.labels is None else self.labels[at])
