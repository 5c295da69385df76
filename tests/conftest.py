"""Fixtures that every test may use."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real images and labels, or a skip that says where it was looked for."""
    default = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("CXRSEARCH_TEST_DATA", default))
    if not (folder / "nih" / "images").is_dir():
        pytest.skip(f"no real images: {folder} is absent (set CXRSEARCH_TEST_DATA)")
    return folder
