"""What a process does with freed memory; each case is a process of its own, as the setting lasts."""

import ctypes
import subprocess
import sys

import pytest

from cxrsearch.encoder.heap import keep_freed_memory

TURNS, BLOCK = 20, 64 * 2**20
CODE = f"""
import resource, sys
import torch
from cxrsearch.encoder.densenet import Encoder, draw_tensors
from cxrsearch.encoder.embed import Embedder
from cxrsearch.images.preprocess import Preprocess

if sys.argv[1] == "kept":
    Embedder(Encoder(draw_tensors("densenet121", 0), Preprocess(32), label="test"), "cpu")
torch.ones({BLOCK}, dtype=torch.uint8)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range({TURNS}):
    torch.ones({BLOCK}, dtype=torch.uint8)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(kind: str) -> int:
    """Pages that the system had to give for as many blocks one after the other."""
    run = subprocess.run([sys.executable, "-c", CODE, kind], capture_output=True, text=True, check=True)
    return int(run.stdout)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="the C library has no mallopt")
def test_an_embedder_lets_the_process_keep_what_it_freed() -> None:
    assert faults("kept") < 0.1 * faults("returned")


def test_where_there_is_no_mallopt_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    monkeypatch.setattr("ctypes.CDLL", lambda name: pytest.fail(f"asked for {name}"))
    keep_freed_memory.__wrapped__()
