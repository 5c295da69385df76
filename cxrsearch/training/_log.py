"""The log of a run: one JSON object a line, readable while it grows."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cxrsearch.files import translated, write_bytes


class Log:
    """Lines with a `step` in a file; a run that goes on repeats none of them.

    Args:
        path: the file; made when missing.
        step: lines of later steps than this are dropped, and so is one that was cut off.

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
