"""The log of a run: one JSON object per line, readable while it grows."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cxrsearch.files import translated, write_bytes


class Log:
    """A file of lines with a `step`. A continued run repeats none of them.

    Args:
        path: the file; made if missing.
        step: lines of later steps are dropped, and so is a line that was cut off.

    Raises:
        WriteError: the file cannot be written.
    """

    def __init__(self, path: Path, step: int) -> None:
        self._path = path
        with translated("read", path):
            lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        write_bytes(path, b"".join(line for line in lines if _step_of(line) <= step))

    def add(self, entry: Mapping[str, Any]) -> None:
        """Append a line. Raises WriteError."""
        with translated("write", self._path), self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry, allow_nan=False) + "\n")


def _step_of(line: bytes) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")
