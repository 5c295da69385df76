"""A small index behind a real server, in a thread."""

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

from cxrsearch.query import Index, open_index
from cxrsearch.web.server import address_of, listening, server
from cxrsearch.web.settings import Settings


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
