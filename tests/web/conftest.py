"""A small index, and one of real images, behind a real server in a thread; Chromium, and a page in it."""

import itertools
import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pydicom
import pytest

from cxrsearch.building.build import build_index
from cxrsearch.query.index import Index, open_index
from cxrsearch.web.server import address_of, listening, server
from cxrsearch.web.settings import Settings
from tests.trained import trained_file
from tests.web.browser_page import Page

IMAGES = 160
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
ARGUMENTS += ["--disable-component-update", "--disable-sync"]


@pytest.fixture(scope="session")
def index(trained_index: Path) -> Index:
    return open_index(trained_index, device="cpu")


@dataclass(frozen=True)
class Served:
    """A server that runs in a thread."""

    address: str
    port: int

    def healthy_within(self, seconds: float) -> bool:
        started = time.monotonic()
        answer = httpx.get(f"{self.address}health", timeout=10)
        return answer.json() == {"status": "ok"} and time.monotonic() - started < seconds


@contextmanager
def served(index: Index, settings: Settings) -> Iterator[Served]:
    ready = threading.Event()
    settings = replace(settings, port=0)
    with listening(settings) as place:
        running = server(index, settings, ready.set)
        thread = threading.Thread(target=running.run, args=([place],), daemon=True)
        thread.start()
        assert ready.wait(60)
        try:
            yield Served(address_of(place), place.getsockname()[1])
        finally:
            running.should_exit = True
            thread.join(30)
            assert not thread.is_alive()


@contextmanager
def client_of(index: Index, **settings: Any) -> Iterator[httpx.Client]:
    """A client of a server with these settings."""
    with served(index, Settings(**settings)) as running, httpx.Client(base_url=running.address, timeout=60) as client:
        yield client


@pytest.fixture(scope="session")
def client(index: Index) -> Iterator[httpx.Client]:
    with client_of(index) as made:
        yield made


def write_dicom(path: Path) -> None:
    """A small DICOM radiograph with a patient's name and id."""
    made = pydicom.Dataset()
    made.file_meta = pydicom.dataset.FileMetaDataset()
    made.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID = pydicom.uid.UID("1.2.840.10008.5.1.4.1.1.1.1")
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID = pydicom.uid.UID("1.2.3")
    made.PatientName, made.PatientID, made.Modality, made.ViewPosition = "SECRETNAME^A", "SECRETID", "DX", "PA"
    made.Rows = made.Columns = 64
    made.BitsAllocated = made.BitsStored = 8
    made.HighBit, made.PixelRepresentation, made.SamplesPerPixel = 7, 0, 1
    made.PhotometricInterpretation = "MONOCHROME2"
    made.PixelData = np.random.default_rng(2).integers(0, 256, (64, 64), dtype=np.uint8).tobytes()
    made.save_as(path, enforce_file_format=True)


@pytest.fixture(scope="session")
def real_index(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Index:
    """160 real images behind an encoder with a head, whose weights are random: it knows nothing, but a hand is far."""
    folder = tmp_path_factory.mktemp("real")
    (folder / "images").mkdir()
    for path in itertools.islice(sorted((real_data / "nih" / "images").glob("*.png")), IMAGES):
        shutil.copy(path, folder / "images")
    table = real_data / "nih" / "Data_Entry_2017.csv"
    weights = trained_file(folder / "made.safetensors", size=64)
    build_index(folder / "images", table, index=folder / "index", weights=weights, workers=0, device="cpu")
    return open_index(folder / "index", device="cpu")


@pytest.fixture(scope="module")
def site(real_index: Index) -> Iterator[Served]:
    with served(real_index, Settings()) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    found = os.environ.get("CXRSEARCH_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.skip("no Chromium in PATH (apt-get install chromium)")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=found, headless=True, args=ARGUMENTS)
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Any, site: Served) -> Iterator[Page]:
    made = Page(browser, site.address)
    yield made
    made.context.close()
    assert not made.problems
    assert all(url.startswith((site.address, "blob:", "data:")) for url in made.asked)
