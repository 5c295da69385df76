"""Fixtures that every test may use."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from cxrsearch.building.build import build_index
from tests.trained import trained_file

# One thread, here and in the processes that tests start: tests run side by side, and bytes depend on the number.
os.environ["OMP_NUM_THREADS"] = "1"
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real images and labels, or a skip that says where it was looked for."""
    default = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("CXRSEARCH_TEST_DATA", default))
    if not (folder / "nih" / "images").is_dir():
        pytest.skip(f"no real images: {folder} is absent (set CXRSEARCH_TEST_DATA)")
    return folder


@dataclass(frozen=True)
class DataSet:
    """A folder of small PNG files and a table of them: 10 images of 5 patients."""

    images: Path
    labels: Path


FINDINGS = [
    "No Finding",
    "Mass",
    "Effusion|Mass",
    "Effusion",
    "No Finding",
    "Hernia",
    "Mass",
    "No Finding",
    "Edema",
    "Mass",
]


@pytest.fixture(scope="session")
def data_set(tmp_path_factory: pytest.TempPathFactory) -> DataSet:
    """Smooth random pictures: patient i // 2 has image i; odd images are AP, patients 0 and 1 women of 40 + i years."""
    folder = tmp_path_factory.mktemp("data")
    images = folder / "images"
    images.mkdir()
    rows = ["image,patient,findings,view,sex,age"]
    for i, findings in enumerate(FINDINGS):
        coarse = np.random.default_rng(i).integers(0, 256, (6, 6), dtype=np.uint8)
        Image.fromarray(coarse).resize((80, 80), Image.Resampling.BICUBIC).save(images / f"{i:02d}.png")
        rows.append(f"{i:02d}.png,p{i // 2},{findings},{'AP' if i % 2 else 'PA'},{'F' if i < 4 else 'M'},{40 + i}")
    labels = folder / "labels.csv"
    labels.write_text("\n".join(rows) + "\n")
    return DataSet(images, labels)


@pytest.fixture(scope="session")
def split_table(data_set: DataSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The table with a split: patients 0 to 2 (images 0 to 5) train, patient 3 validates, patient 4 is tested."""
    lines = data_set.labels.read_text().splitlines()
    parts = ["split"] + ["train"] * 6 + ["val"] * 2 + ["test"] * 2
    path = tmp_path_factory.mktemp("table") / "labels.csv"
    path.write_text("".join(f"{line},{part}\n" for line, part in zip(lines, parts, strict=True)))
    return path


SMALL: dict[str, Any] = {"weights": "random:0", "size": 32, "batch_size": 4, "workers": 0, "device": "cpu"}
"""Options for a build that takes a second."""


@pytest.fixture(scope="session")
def small_index(data_set: DataSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exact L2 index over the data set. Do not change it."""
    folder = tmp_path_factory.mktemp("index") / "index"
    build_index(data_set.images, data_set.labels, index=folder, **SMALL)
    return folder


@pytest.fixture(scope="session")
def trained_index(data_set: DataSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index over the data set whose encoder has a head. Do not change it."""
    folder = tmp_path_factory.mktemp("trained")
    weights = trained_file(folder / "made.safetensors")
    build_index(
        data_set.images, data_set.labels, index=folder / "index", weights=weights, batch_size=5, workers=0, device="cpu"
    )
    return folder / "index"
