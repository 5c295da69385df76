"""Format counts, names and reasons as words for messages and tables."""

import re
from collections.abc import Iterable


def counted(number: int, noun: str, nouns: str = "") -> str:
    """Format a count: `1 image`, `2 images`, `112,120 images`. `nouns` is the plural if it is not `noun` with an s."""
    return f"{number:,} {noun if number == 1 else nouns or noun + 's'}"


def images_of(images: int, patients: int, noun: str = "image") -> str:
    """Format two counts as in `3 images of 1 patient`; `noun` replaces the word image."""
    return f"{counted(images, noun)} of {counted(patients, 'patient')}"


def group_by_reason(refused: Iterable[tuple[str, str]]) -> list[tuple[str, list[str]]]:
    """Group refused images, given by name and reason, by their reason.

    The image's name is removed from a reason, with any path before it, if it is a separate word. The fix is removed
    too, and so is the text after a colon if it differs between images.

    Returns:
        The reasons and the names of their images, the most frequent reason first.
    """
    groups: dict[str, list[tuple[str, str]]] = {}
    for image, reason in refused:
        name = re.escape(image.rpartition("/")[2])
        word = rf"(?:^|\s)(?:\S*/)?{name}(?=[.,:;]?(?:\s|$))"
        problem = re.sub(word, "", reason.partition(" — ")[0], count=1).strip()
        groups.setdefault(problem.partition(": ")[0], []).append((problem, image))
    reasons = [
        (members[0][0] if len({problem for problem, _ in members}) == 1 else short, [image for _, image in members])
        for short, members in groups.items()
    ]
    return sorted(reasons, key=lambda reason: -len(reason[1]))


def printable(text: object) -> str:
    """Make a text from a file safe for one line of a message: every unprintable character becomes a space."""
    return "".join(character if character.isprintable() else " " for character in str(text)).strip()
