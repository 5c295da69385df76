"""Pages made of a template: a file whose `{{name}}` marks are replaced."""

from collections.abc import Mapping
from importlib.resources import files


def read_asset(package: str, name: str) -> str:
    """The text of a file that lies in a package."""
    return (files(package) / name).read_text("utf-8")


def fill_template(template: str, parts: Mapping[str, str]) -> str:
    """The template with its marks replaced; what replaces a mark is not searched for marks again.

    Raises:
        KeyError: a mark without a part.
    """
    first, *pieces = template.split("{{")
    filled = [first]
    for piece in pieces:
        name, rest = piece.split("}}", 1)
        filled += [parts[name], rest]
    return "".join(filled)
