"""Where a benchmark works."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def working_folder(out: Path | None) -> Iterator[Path]:
    """The folder asked for, in which an interrupted run goes on, or one that is deleted in the end."""
    if out is not None:
        yield out
        return
    with tempfile.TemporaryDirectory() as temporary:
        yield Path(temporary)
