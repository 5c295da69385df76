"""How long-running work reports its progress: to a callable from the caller. The library itself prints nothing."""

from typing import Protocol


class Progress(Protocol):
    """A callable that is called as work proceeds, with positional arguments.

    `done` of `total` units of a stage are finished. In the first call, `done` counts the units that need no work, so
    that a rate can leave them out.
    """

    def __call__(self, stage: str, done: int, total: int, /) -> None:
        """Receive one report."""
        ...


def silent(stage: str, done: int, total: int) -> None:
    """Ignore the report; the default of every `progress` argument."""
