"""Build the documentation as a site: the Markdown pages as they are, and an API page from the docstrings.

    python docs/build_site.py [FOLDER]

The site goes to FOLDER, `site` by default. It needs no network, neither to be built nor to be read. A link that leads
nowhere is an error.
"""

import argparse
import logging
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from mkdocs.commands.build import build
from mkdocs.config import load_config

import cxrsearch

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md")
"""Pages beside `docs/`."""

JOBS = {
    "Make an index": ("build_index", "import_embeddings", "BuildResult"),
    "Ask it": ("open_index", "Index", "Filters", "QueryResult", "localise_image"),
    "Train an encoder": ("train", "tune", "Training", "TrainResult", "TuneResult"),
    "Measure": (
        *("evaluate_index", "evaluate_images", "cross_validate", "Question", "EvaluationResult"),
        *("evaluate_localisation", "LocalisationQuestion"),
    ),
    "Understand a collection": (*("index_statistics", "embedding_statistics", "evaluate_novelty", "NoveltyQuestion"),),
    "The rest": ("make_phantom", "CxrsearchError"),
}
"""What `import cxrsearch` offers, by what it is for."""


def api_page() -> str:
    """Markdown that mkdocstrings fills from the docstrings."""
    parts = ["# Python API", "Everything that `import cxrsearch` offers. Other modules may change without notice."]
    for job, names in JOBS.items():
        parts.append(f"## {job}")
        parts += [f"::: {home(name)}\n    options:\n      heading_level: 3" for name in names]
    return "\n\n".join(parts) + "\n"


def home(name: str) -> str:
    """Where an exported name is defined, as a dotted path."""
    exported = getattr(cxrsearch, name)
    return f"{exported.__module__}.{exported.__qualname__}"


def gather(folder: Path) -> None:
    """Lay the pages out as in the repository, so that their links hold."""
    for page in PAGES:
        shutil.copy(ROOT / page, folder / page)
    ignored = shutil.ignore_patterns("*.py", "*.sh", "__pycache__")
    shutil.copytree(ROOT / "docs", folder / "docs", ignore=ignored)
    (folder / "docs" / "api.md").write_text(api_page(), encoding="utf-8")


def build_site(target: Path) -> list[str]:
    """Build the site.

    Args:
        target: its folder; what lies there is replaced.

    Returns:
        Warnings, such as links that lead nowhere.
    """
    warnings: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: warnings.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("mkdocs")
    logger.addHandler(handler)
    try:
        with TemporaryDirectory() as temporary:
            gather(Path(temporary))
            build(load_config(str(ROOT / "docs" / "mkdocs.yml"), docs_dir=temporary, site_dir=str(target.resolve())))
    finally:
        logger.removeHandler(handler)
    return warnings


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "site")
    folder = parser.parse_args().folder
    if problems := build_site(folder):
        sys.exit("\n".join(problems))
    print(f"{folder}/index.html")  # noqa: T201
