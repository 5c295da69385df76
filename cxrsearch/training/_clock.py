"""Measure how long the steps of a training take."""

import time
from collections.abc import Iterator

from cxrsearch.training._batches import Batch
from cxrsearch.training.recipe import TIMED_STEPS


class Clock:
    """The duration of an epoch's steps, and the share of it that is spent waiting for images.

    Args:
        images_per_step: images in one step, over all ranks.
    """

    def __init__(self, images_per_step: int) -> None:
        self._images = images_per_step
        self.durations: list[float] = []
        self.restart()

    def restart(self) -> None:
        """Start to measure a new epoch."""
        self._start = self._last = time.perf_counter()
        self._steps, self._waited = 0, 0.0

    def time_batches(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """Pass the batches on, and add up the time spent waiting for each."""
        while True:
            start = time.perf_counter()
            batch = next(batches, None)
            if batch is None:
                return
            self._waited += time.perf_counter() - start
            yield batch

    def count(self) -> None:
        """Count a finished step and record its duration."""
        now = time.perf_counter()
        self._steps += 1
        if len(self.durations) < TIMED_STEPS:
            self.durations.append(now - self._last)
        self._last = now

    @property
    def rate(self) -> float:
        """Images per second in this epoch, over all ranks."""
        return self._images * self._steps / (self._last - self._start)

    @property
    def waiting(self) -> float:
        """Share of this epoch's time, from 0 to 1, spent waiting for images."""
        return self._waited / (self._last - self._start)
