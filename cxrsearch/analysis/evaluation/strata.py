"""The images by how and of whom they were taken: by view, sex and age."""

import numpy as np
import pandas as pd

from cxrsearch.analysis.models.baselines import Column
from cxrsearch.arrays import Flags
from cxrsearch.errors import UsageError

AGE_BANDS = ((0, 17), (18, 39), (40, 59), (60, 79), (80, 120))
"""First and last year of each; the last is open in its name."""


def strata(*, view: Column | None = None, sex: Column | None = None, age: Column | None = None) -> dict[str, Flags]:
    """Which of n images are of each kind; images of unknown kind are in none.

    Args:
        view: `PA`, `AP` or null.
        sex: `F`, `M` or null.
        age: whole years, or null.

    Returns:
        bool (n,) for `view PA`, `view AP`, `sex F`, `sex M`, `age 0-17` ... `age 80+`, in this order; only those that
        have an image.

    Raises:
        UsageError: columns of different lengths.
    """
    columns = {
        name: pd.Series(c, dtype=object) for name, c in (("view", view), ("sex", sex), ("age", age)) if c is not None
    }
    if len({len(column) for column in columns.values()}) > 1:
        got = ", ".join(f"{len(column)} of {name}" for name, column in columns.items())
        raise UsageError(f"strata of columns of different lengths: {got}", "give one value an image, null if unknown")
    masks: dict[str, Flags] = {}
    for name, kinds in (("view", ("PA", "AP")), ("sex", ("F", "M"))):
        if name in columns:
            masks |= {f"{name} {kind}": (columns[name] == kind).to_numpy(dtype=np.bool_) for kind in kinds}
    if "age" in columns:
        years = pd.to_numeric(columns["age"]).to_numpy(dtype=np.float64, na_value=np.nan)
        masks |= {f"age {_name(band)}": (years >= band[0]) & (years < band[1] + 1) for band in AGE_BANDS}
    return {name: mask for name, mask in masks.items() if mask.any()}


def _name(band: tuple[int, int]) -> str:
    return f"{band[0]}+" if band is AGE_BANDS[-1] else f"{band[0]}-{band[1]}"
