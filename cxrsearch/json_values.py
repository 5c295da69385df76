"""Convert values to JSON, in the same way for every result."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from cxrsearch.files import Json


def number(value: Any) -> float | int | None:
    """Convert a number for JSON. NaN and infinity become None, because JSON has neither."""
    if isinstance(value, int | np.integer):
        return int(value)
    return float(value) if np.isfinite(value) else None


def refusals(refused: Iterable[tuple[str, str]]) -> list[Json]:
    """Convert refused images, given by name and reason, to JSON objects with the keys `image` and `reason`."""
    return [{"image": image, "reason": reason} for image, reason in refused]
