"""Makes text fit: into the characters that the typeface can draw, and into a width."""

import unicodedata
from bisect import bisect_left
from functools import cache

from cxrsearch.report.style import BODY, font

ELLIPSIS = "…"
_NO_CHARACTER = "\uffff"
_PLAIN = {"–": "-", "—": "-", "−": "-", "×": "x", "≥": ">=", "≤": "<="}


def drawable(text: str) -> str:
    """`text` in characters that the typeface has, on one line.

    Dashes become hyphens, and accents are dropped (`é` is drawn as `e`). Any other missing character is written as its
    code (`\\u80f8`): different names must not become equal rows of empty boxes. White space becomes single spaces.
    """
    return " ".join("".join(map(_drawable, unicodedata.normalize("NFC", text))).split())


def shorten(text: str, size: int, width: int) -> str:
    """`text`, with its middle replaced by `…` if it is wider than `width` pixels; names differ at their ends."""
    if _fits(text, size, width):
        return text
    return _ends(text, bisect_left(range(1, len(text)), True, key=lambda n: not _fits(_ends(text, n), size, width)))


def wrap(text: str, size: int, width: int) -> list[str]:
    """`text` in lines of at most `width` pixels, broken at spaces; a word that is itself too wide is shortened."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else ""
        if longer and _fits(longer, size, width):
            lines[-1] = longer
        else:
            lines.append(shorten(word, size, width))
    return lines


def _fits(text: str, size: int, width: int) -> bool:
    return font(size).getlength(text) <= width


def _ends(text: str, kept: int) -> str:
    """The first and last characters of `text`, `kept` in all; the first half gets the odd one."""
    return text[: kept - kept // 2].rstrip() + ELLIPSIS + text[len(text) - kept // 2 :].lstrip()


@cache
def _drawable(character: str) -> str:
    if character.isspace():
        return " "
    if _in_typeface(character):
        return character
    parts = unicodedata.normalize("NFKD", _PLAIN.get(character, character))
    plain = "".join(part for part in parts if not unicodedata.combining(part))
    if plain and all(map(_in_typeface, plain)):
        return plain
    return character.encode("unicode_escape").decode()


@cache
def _in_typeface(character: str) -> bool:
    """Whether the typeface draws something other than its empty box for a character."""
    face = font(BODY)
    drawn, missing = (bytes(face.getmask(c)) for c in (character, _NO_CHARACTER))
    return character.isprintable() and drawn != missing
