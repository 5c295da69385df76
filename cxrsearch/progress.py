"""How long work reports how far it is: a callable the caller gives, as the library itself prints nothing."""

from typing import Protocol


class Progress(Protocol):
    """Called as work goes on, by position: `done` of `total` units of a stage are finished; the first call comes with
    `done` = what needs no work, so that a rate can leave it out."""

    def __call__(self, stage: str, done: int, total: int, /) -> None:
        """Take note."""
        ...


def silent(stage: str, done: int, total: int) -> None:
    """Take no note."""
