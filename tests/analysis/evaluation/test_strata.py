from typing import Any

import numpy as np
import pandas as pd
import pytest

from cxrsearch.analysis.evaluation.strata import strata
from cxrsearch.errors import UsageError


def test_masks_by_hand() -> None:
    masks = strata(
        view=["PA", "AP", None, "PA"], sex=np.array(["M", "M", "M", None], dtype=object), age=[17, 18, None, 80]
    )
    assert {name: mask.tolist() for name, mask in masks.items()} == {
        "view PA": [True, False, False, True],
        "view AP": [False, True, False, False],
        "sex M": [True, True, True, False],
        "age 0-17": [True, False, False, False],
        "age 18-39": [False, True, False, False],
        "age 80+": [False, False, False, True],
    }
    assert all(mask.dtype == np.bool_ for mask in masks.values())
    assert list(masks) == ["view PA", "view AP", "sex M", "age 0-17", "age 18-39", "age 80+"]


@pytest.mark.parametrize("dtype", [object, "Int16", np.float64])
def test_every_age_is_in_one_band(dtype: Any) -> None:
    ages = pd.Series(np.arange(121)).astype(dtype)
    masks = strata(age=ages)
    assert np.sum(list(masks.values()), axis=0).tolist() == [1] * 121
    assert [ages[mask].min() for mask in masks.values()] == [0, 18, 40, 60, 80]


def test_pandas_nulls_are_in_no_stratum() -> None:
    frame = pd.DataFrame({"view": pd.array(["PA", None], "string"), "age": pd.array([30, None], "Int16")})
    masks = strata(view=frame["view"], age=frame["age"].to_numpy(dtype=object))
    assert {name: mask.tolist() for name, mask in masks.items()} == {
        "view PA": [True, False],
        "age 18-39": [True, False],
    }
    assert strata() == {}
    assert strata(view=[None, None], sex=[None, None]) == {}


def test_columns_of_different_lengths_are_refused() -> None:
    with pytest.raises(UsageError, match="2 of view, 1 of age"):
        strata(view=["PA", "AP"], age=[3])
