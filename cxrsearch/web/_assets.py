"""The page's own files, read once: no path of a request ever leads to a file. Its look comes from `report.style`."""

from dataclasses import dataclass
from importlib.resources import files
from typing import Final

from cxrsearch.report import style

TYPES: Final = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
}
_COLOURS: Final = ("background", "panel", "line", "ink", "quiet", "accent")
PAGE, SIGN_IN, THEME = "index.html", "sign_in.html", "theme.css"


@dataclass(frozen=True)
class Asset:
    """A file of the page."""

    content: bytes
    media_type: str


def load_assets() -> dict[str, Asset]:
    """All files of the page, by name; the style sheet of colours, type and spacing is made here."""
    folder = files("cxrsearch.web") / "static"
    found = {
        item.name: Asset(item.read_bytes(), TYPES[item.name.rpartition(".")[2]])
        for item in folder.iterdir()
        if item.name.rpartition(".")[2] in TYPES
    }
    return found | {THEME: Asset(theme().encode(), TYPES["css"])}


def theme() -> str:
    """The visual language as CSS: dark, and light where the page's root says `data-theme="light"`."""
    sizes = {"title": style.TITLE, "heading": style.HEADING, "body": style.BODY, "small": style.SMALL}
    sizes |= {"tight": style.TIGHT, "gap": style.GAP, "wide": style.WIDE, "stroke": style.STROKE, "frame": style.FRAME}
    lengths = {name: f"{size}px" for name, size in sizes.items()} | {"leading": str(style.LEADING)}
    heat = {f"heat-{place}": colour for place, colour in enumerate(style.SCALE)}
    dark = dict(
        zip(
            _COLOURS,
            (style.BACKGROUND, style.PANEL, style.LINE, style.INK, style.INK_QUIET, style.ACCENT),
            strict=True,
        )
    )
    paper = (style.PAPER, style.PAPER_PANEL, style.PAPER_LINE)
    light = dict(zip(_COLOURS, (*paper, style.PAPER_INK, style.PAPER_INK_QUIET, style.PAPER_ACCENT), strict=True))
    return (
        f":root {{ color-scheme: dark; {_declared(lengths | heat | dark | style.ROLES)} }}\n"
        f':root[data-theme="light"] {{ color-scheme: light; {_declared(light | style.PAPER_ROLES)} }}\n'
    )


def _declared(values: dict[str, str]) -> str:
    return " ".join(f"--{name}: {value};" for name, value in values.items())
