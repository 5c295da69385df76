"""Compute in one thread, and send the images that wait for the encoder through it as one batch.

torch already uses all cores, so a second computing thread would only compete for them.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Generic, TypeVar

T = TypeVar("T")
Item = TypeVar("Item")
Result = TypeVar("Result")


class Batcher(Generic[Item, Result]):
    """Collects items of concurrent callers and processes them in batches, in one thread.

    Args:
        work: maps a batch to one result per item; runs in the thread.
        most: largest batch.
        wait: seconds that the first item of a batch waits for others.
    """

    def __init__(
        self, work: Callable[[Sequence[Item]], Sequence[Result]], *, most: int = 8, wait: float = 0.02
    ) -> None:
        self._work, self._most, self._wait = work, most, wait
        self._thread = ThreadPoolExecutor(1, "compute")
        self._queue: asyncio.Queue[tuple[Item, asyncio.Future[Result]]] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None
        self.batches: list[int] = []
        """Sizes of the latest 100 batches."""

    async def run(self, job: Callable[..., T], *arguments: object) -> T:
        """Run another job in the thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, job, *arguments)

    async def submit(self, item: Item) -> Result:
        """The result for one item. An exception of `work` is raised for every item of its batch."""
        if self._task is None:
            self._task = asyncio.create_task(self._serve())
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        await self._queue.put((item, future))
        return await future

    async def close(self) -> None:
        """Stop; the thread finishes its current job first."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        self._thread.shutdown(wait=True, cancel_futures=True)

    async def _serve(self) -> None:
        while True:
            batch = [await self._queue.get()]
            await asyncio.sleep(self._wait)
            while len(batch) < self._most and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            pending = [(item, future) for item, future in batch if not future.done()]  # skip callers that left
            if pending:
                await self._answer(pending)

    async def _answer(self, batch: Sequence[tuple[Item, "asyncio.Future[Result]"]]) -> None:
        self.batches = [*self.batches[-99:], len(batch)]
        try:
            results = await self.run(self._work, [item for item, _ in batch])
        except Exception as error:  # passed on to the callers, so that this loop keeps running
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            return
        for (_, future), result in zip(batch, results, strict=True):
            if not future.done():
                future.set_result(result)
