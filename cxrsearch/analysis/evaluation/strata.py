"""Groups of images by view, sex and age."""

import numpy as np
import pandas as pd

from cxrsearch.analysis.models.baselines import Column
from cxrsearch.arrays import Flags
from cxrsearch.errors import UsageError

AGE_BANDS = ((0, 17), (18, 39), (40, 59), (60, 79), (80, 120))
"""First and last year of each band. The name of the last band is open: 80+."""


def strata(*, view: Column | None = None, sex: Column | None = None, age: Column | None = None) -> dict[str, Flags]:
    """Group n images; an image whose view, sex or age is unknown is in no group of that kind.

    Args:
        view: `PA`, `AP` or null, per image.
        sex: `F`, `M` or null, per image.
        age: whole years, or null, per image.

    Returns:
        bool (n,) for `view PA`, `view AP`, `sex F`, `sex M`, `age 0-17` ... `age 80+`, in this order. Groups without
        images are left out.

    Raises:
        UsageError: columns of different lengths.
    """
    columns = {
        name: pd.Series(c, dtype=object) for name, c in (("view", view), ("sex", sex), ("age", age)) if c is not None
    }
    if len({len(column) for column in columns.values()}) > 1:
        got = ", ".join(f"{len(column)} of {name}" for name, column in columns.items())
        raise UsageError(f"strata of columns of different lengths: {got}", "give one value per image, null if unknown")
    masks: dict[str, Flags] = {}
    for name, kinds in (("view", ("PA", "AP")), ("sex", ("F", "M"))):
        if name in columns:
            masks |= {f"{name} {kind}": (columns[name] == kind).to_numpy(dtype=np.bool_) for kind in kinds}
    if "age" in columns:
        years = pd.to_numeric(columns["age"]).to_numpy(dtype=np.float64, na_value=np.nan)
        masks |= {f"age {_band_name(band)}": (years >= band[0]) & (years < band[1] + 1) for band in AGE_BANDS}
    return {name: mask for name, mask in masks.items() if mask.any()}


def _band_name(band: tuple[int, int]) -> str:
    return f"{band[0]}+" if band is AGE_BANDS[-1] else f"{band[0]}-{band[1]}"
