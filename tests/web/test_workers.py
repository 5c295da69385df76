"""Batches and decoding processes."""

import asyncio
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest

from cxrsearch.errors import ImageError, RequestError
from cxrsearch.query.index import Index
from cxrsearch.web._batching import Batcher
from cxrsearch.web._decoding import DISPLAY, Decoder, Picture, prepare
from tests.conftest import DataSet


def doubled(items: Sequence[int]) -> list[int]:
    if 13 in items:
        raise ValueError("13")
    return [2 * item for item in items]


def test_what_waits_goes_together_and_everybody_gets_his_own() -> None:
    async def run() -> tuple[list[int], list[int]]:
        batcher = Batcher(doubled, most=4, wait=0.01)
        try:
            return await asyncio.gather(*(batcher.submit(item) for item in range(10))), batcher.batches
        finally:
            await batcher.close()

    found, batches = asyncio.run(run())
    assert found == [2 * item for item in range(10)]
    assert batches == [4, 4, 2]


def test_a_failed_batch_fails_its_callers_and_nobody_else() -> None:
    async def run() -> tuple[list[object], int]:
        batcher = Batcher(doubled, most=2, wait=0.01)
        try:
            tasks = [batcher.submit(item) for item in (13, 1)]
            failed = await asyncio.gather(*tasks, return_exceptions=True)
            return list(failed), await batcher.submit(4)
        finally:
            await batcher.close()

    failed, after = asyncio.run(run())
    assert [str(error) for error in failed] == ["13", "13"]
    assert after == 8


def test_who_left_is_not_worked_for() -> None:
    seen: list[int] = []

    def noted(items: Sequence[int]) -> list[int]:
        seen.extend(items)
        return list(items)

    async def run() -> int:
        batcher = Batcher(noted, wait=0.05)
        left = asyncio.create_task(batcher.submit(1))
        await asyncio.sleep(0.01)
        left.cancel()
        try:
            return await batcher.submit(2)
        finally:
            await batcher.close()

    assert asyncio.run(run()) == 2
    assert seen == [2]


def test_concurrent_queries_are_answered_as_single_ones(client: httpx.Client, index: Index, data_set: DataSet) -> None:
    paths = sorted(data_set.images.glob("*.png"))

    def ask(path: Path) -> dict[str, object]:
        files = {"file": (path.name, path.read_bytes())}
        answer = httpx.post(f"{client.base_url}api/query", files=files, data={"k": "4"}, timeout=60)
        assert answer.status_code == 200
        return dict(answer.json())

    with ThreadPoolExecutor(len(paths)) as pool:
        together = list(pool.map(ask, paths))
    for path, answer in zip(paths, together, strict=True):
        alone = index.query(path, k=4).to_json()
        near = [(found["image"], found["distance"]) for found in answer["neighbours"]]  # type: ignore[attr-defined]
        assert [name for name, _ in near] == [found["image"] for found in alone["neighbours"]]
        distances = [found["distance"] for found in alone["neighbours"]]
        np.testing.assert_allclose([distance for _, distance in near], distances, rtol=1e-3)
        assert answer["votes"] == alone["votes"]


def ended() -> None:
    os._exit(3)


def answer_of_all() -> int:
    return 42


def test_a_file_that_ends_its_decoder_or_never_finishes_breaks_nothing() -> None:
    async def run() -> None:
        decoder = Decoder(1, 30.0)
        try:
            await decoder.warm()
            with pytest.raises(ImageError, match="ended the decoder"):
                await decoder.run(ended)
            await decoder.warm()  # a new process imports for a while
            decoder._seconds = 1.0
            with pytest.raises(ImageError, match="not decoded within 1 seconds"):
                await decoder.run(time.sleep, 60)
            decoder._seconds = 30.0
            assert await decoder.run(answer_of_all) == 42
        finally:
            decoder.close()

    started = time.monotonic()
    asyncio.run(run())
    assert time.monotonic() - started < 45


def test_where_the_fault_is_not_known_both_are_told_to_come_again() -> None:
    async def run() -> list[object]:
        decoder = Decoder(2, 30.0)
        try:
            await decoder.warm()
            return list(await asyncio.gather(decoder.run(time.sleep, 20), decoder.run(ended), return_exceptions=True))
        finally:
            decoder.close()

    found = asyncio.run(run())
    assert [type(error) for error in found] == [RequestError, RequestError]
    assert [getattr(error, "status", None) for error in found] == [503, 503]


def test_an_image_is_prepared_as_the_library_does_it(index: Index, data_set: DataSet) -> None:
    path = data_set.images / "05.png"
    prepared = prepare(path.read_bytes(), index.preprocess.pixel_side, True)
    assert np.array_equal(prepared.stored, index.query(path).pixels)
    assert prepared.source_sha256 == index.stored.files["source_sha256"][5]
    assert prepared.pixel_sha256 == index.stored.files["pixel_sha256"][5]
    large = Picture.of(np.zeros((100, 2 * DISPLAY), dtype=np.uint8))
    assert (large.width, large.height) == (2 * DISPLAY, 100)
    assert large.png.startswith(b"\x89PNG")
