"""What an error says. Users see it, so tests hold the whole of it: what is wrong, what was found, and the fix."""

from collections.abc import Callable
from typing import Any

import pytest


def message(error: type[Exception], call: Callable[..., object], *args: Any, **options: Any) -> str:
    """The message with which the call fails."""
    with pytest.raises(error) as caught:
        call(*args, **options)
    return str(caught.value)
