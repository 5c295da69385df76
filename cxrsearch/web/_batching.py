"""One thread computes; what waits for the encoder meanwhile goes through it together.

torch uses all cores by itself: two threads that compute would only fight over them.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Generic, TypeVar

T = TypeVar("T")
Item = TypeVar("Item")
Found = TypeVar("Found")


class Batcher(Generic[Item, Found]):
    """Collects items of concurrent callers and works on them in batches, in one thread.

    Args:
        work: takes a batch and gives a result an item; runs in the thread.
        most: items of a batch.
        wait: seconds for which the first item of a batch waits for others.
    """

    def __init__(self, work: Callable[[Sequence[Item]], Sequence[Found]], *, most: int = 8, wait: float = 0.02) -> None:
        self._work, self._most, self._wait = work, most, wait
        self._thread = ThreadPoolExecutor(1, "compute")
        self._queue: asyncio.Queue[tuple[Item, asyncio.Future[Found]]] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None
        self.batches: list[int] = []
        """Sizes of the latest batches."""

    async def run(self, job: Callable[..., T], *arguments: object) -> T:
        """Run something else in the thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, job, *arguments)

    async def submit(self, item: Item) -> Found:
        """The result for one item; raises what `work` raised for its batch."""
        if self._task is None:
            self._task = asyncio.create_task(self._serve())
        future: asyncio.Future[Found] = asyncio.get_running_loop().create_future()
        await self._queue.put((item, future))
        return await future

    async def close(self) -> None:
        """Stop; the thread ends its job first."""
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
            wanted = [(item, future) for item, future in batch if not future.done()]  # not those whose caller left
            if wanted:
                await self._answer(wanted)

    async def _answer(self, batch: Sequence[tuple[Item, "asyncio.Future[Found]"]]) -> None:
        self.batches = [*self.batches[-99:], len(batch)]
        try:
            found = await self.run(self._work, [item for item, _ in batch])
        except Exception as error:  # whatever it is, it is the callers'
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            return
        for (_, future), result in zip(batch, found, strict=True):
            if not future.done():
                future.set_result(result)
