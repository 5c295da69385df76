"""How long the steps of a training take."""

import time
from collections.abc import Iterator

from cxrsearch.training._batches import Batch
from cxrsearch.training.recipe import TIMED_STEPS


class Clock:
    """What the steps of an epoch take, and how much of it is waiting for images."""

    def __init__(self, images_a_step: int) -> None:
        self._images = images_a_step
        self.durations: list[float] = []
        self.restart()

    def restart(self) -> None:
        """Begin an epoch."""
        self._start = self._last = time.perf_counter()
        self._steps, self._waited = 0, 0.0

    def waited(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """The batches, the time for each of them measured."""
        while True:
            asked = time.perf_counter()
            batch = next(batches, None)
            if batch is None:
                return
            self._waited += time.perf_counter() - asked
            yield batch

    def count(self) -> None:
        """A step is done."""
        now = time.perf_counter()
        self._steps += 1
        if len(self.durations) < TIMED_STEPS:
            self.durations.append(now - self._last)
        self._last = now

    @property
    def rate(self) -> float:
        """Images a second."""
        return self._images * self._steps / (self._last - self._start)

    @property
    def waiting(self) -> float:
        """Share of the time that was waiting."""
        return self._waited / (self._last - self._start)
