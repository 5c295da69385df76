"""Checks that every decoder shares, and one line of error for whatever a decoder raises."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from cxrsearch.errors import ImageError
from cxrsearch.words import printable

MAX_PIXELS = 64_000_000
MIN_SIDE = 32
FIX = "repair the file or leave it out"


@contextmanager
def quietly(name: str, problem: str) -> Iterator[None]:
    """Suppress a decoder's warnings, and turn whatever it raises for a damaged file into one line.

    Raises:
        ImageError: `name`, `problem` and the decoder's message, for any exception but ImageError and MemoryError.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # decoders throw anything: struct.error, KeyError, SyntaxError, RuntimeError, ...
        raise ImageError(f"{name} {problem}: {printable(error) or type(error).__name__}", FIX) from error


def require_size(height: int, width: int, name: str) -> None:
    """Refuse an image that is too large or too small, before it is decoded. Raises ImageError."""
    if height * width > MAX_PIXELS:
        raise ImageError(
            f"{name} has {width} x {height} pixels, over the limit of {MAX_PIXELS // 1_000_000} megapixels",
            "reduce it to 4,096 pixels or fewer on a side",
        )
    if min(height, width) < MIN_SIDE:
        raise ImageError(f"{name} has {width} x {height} pixels, fewer than {MIN_SIDE} on a side", FIX)


def require_usable(pixels: NDArray[np.uint8], name: str) -> None:
    """Refuse an image with only one grey level. Raises ImageError."""
    if pixels.min() == pixels.max():
        raise ImageError(f"{name} shows nothing: every pixel has the grey level {pixels.min()}", FIX)
