"""Values as JSON, alike in every result."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from cxrsearch.files import Json


def number(value: Any) -> float | int | None:
    """A number for JSON, which knows neither nan nor infinity: None stands for these."""
    if isinstance(value, int | np.integer):
        return int(value)
    return float(value) if np.isfinite(value) else None


def refusals(refused: Iterable[tuple[str, str]]) -> list[Json]:
    """Refused images, by name and reason."""
    return [{"image": image, "reason": reason} for image, reason in refused]
