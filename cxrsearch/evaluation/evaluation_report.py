"""Write an evaluation as one self-contained HTML page, with everything that is needed to reproduce its numbers."""

import json
import platform
from importlib.metadata import version
from pathlib import Path

from cxrsearch.errors import UsageError
from cxrsearch.evaluation._evaluation_page import evaluation_page
from cxrsearch.evaluation.evaluation_result import EvaluationResult
from cxrsearch.files import require_folder, write_bytes
from cxrsearch.words import counted, images_of

_SOFTWARE = ("cxrsearch", "numpy", "scipy", "scikit-learn", "torch", "matplotlib")


def require_writable(path: Path) -> None:
    """Refuse, before the work, a report that could not be written.

    Raises:
        UsageError: its name does not end in .html.
        WriteError: its folder is missing.
    """
    if path.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"a report as {path.name!r}", "give a name that ends in .html")
    require_folder(path)


def write_report(result: EvaluationResult, path: Path | str, command: str | None = None) -> None:
    """Write the page of an evaluation. The same result and command give the same bytes.

    Args:
        result: the result of an evaluation.
        path: the file, ending in .html.
        command: the command that was called, for the reader.

    Raises:
        UsageError: as `require_writable`.
        WriteError: as `require_writable`, or the disk is full.
    """
    path = Path(path)
    require_writable(path)
    write_bytes(path, evaluation_page(result, _facts(result, command)))


def _facts(result: EvaluationResult, command: str | None) -> list[tuple[str, str]]:
    facts = [] if command is None else [("Command", command)]
    facts += [
        ("Encoder", result.encoder),
        ("Split", f"{result.split}, part {result.part}"),
        ("Scored", f"{images_of(result.images, result.patients)}, {counted(len(result.refused), 'file')} refused"),
        ("Bootstrap", f"{result.replicates:,} replicates of the patients, seed {result.seed}"),
        ("Reference", result.reference or "none: the embeddings come without a trained head"),
    ]
    facts += [(f"Settings of {name}", _settings(settings)) for name, settings in result.settings.items()]
    software = ", ".join(f"{name} {version(name)}" for name in _SOFTWARE)
    return [*facts, ("Software", f"Python {platform.python_version()}, {software}")]


def _settings(model: object) -> str:
    """A model's settings as text, those of the folds separated by semicolons."""
    folds = model if isinstance(model, list) else [model]
    return "; ".join(json.dumps(settings) for settings in folds)
