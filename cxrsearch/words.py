"""Words for messages and tables."""


def counted(number: int, noun: str, nouns: str = "") -> str:
    """`1 image`, `2 images`, `112,120 images`; `nouns` is a plural that is not made with an s."""
    return f"{number:,} {noun if number == 1 else nouns or noun + 's'}"
