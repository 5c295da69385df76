"""Words for messages and tables."""

import re
from collections.abc import Iterable


def counted(number: int, noun: str, nouns: str = "") -> str:
    """`1 image`, `2 images`, `112,120 images`; `nouns` is a plural that is not made with an s."""
    return f"{number:,} {noun if number == 1 else nouns or noun + 's'}"


def images_of(images: int, patients: int, noun: str = "image") -> str:
    """`3 images of 1 patient`."""
    return f"{counted(images, noun)} of {counted(patients, 'patient')}"


def by_reason(refused: Iterable[tuple[str, str]]) -> list[tuple[str, list[str]]]:
    """Refused images, by name and reason, as reasons and the names of their images; the most frequent reason first.

    A reason is given without the image's name, where that is a word of its own, with or without a path before it; and
    without the fix, and without what follows a colon where that differs.
    """
    groups: dict[str, list[tuple[str, str]]] = {}
    for image, reason in refused:
        name = re.escape(image.rpartition("/")[2])
        word = rf"(?:^|\s)(?:\S*/)?{name}(?=[.,:;]?(?:\s|$))"
        problem = re.sub(word, "", reason.partition(" — ")[0], count=1).strip()
        groups.setdefault(problem.partition(": ")[0], []).append((problem, image))
    found = [
        (members[0][0] if len({problem for problem, _ in members}) == 1 else short, [image for _, image in members])
        for short, members in groups.items()
    ]
    return sorted(found, key=lambda group: -len(group[1]))


def printable(text: object) -> str:
    """A text from a file, fit for one line of a message."""
    return "".join(character if character.isprintable() else " " for character in str(text)).strip()
