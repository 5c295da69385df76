"""The files of the page, read once at the start: no request reads a file by its path. `report.style` sets the look."""

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
    """A file of the page.

    Attributes:
        content: its bytes.
        media_type: its Content-Type.
    """

    content: bytes
    media_type: str


def load_assets() -> dict[str, Asset]:
    """All files of the page, by name, with a generated style sheet of colours, type and spacing."""
    folder = files("cxrsearch.web") / "static"
    assets = {
        item.name: Asset(item.read_bytes(), TYPES[item.name.rpartition(".")[2]])
        for item in folder.iterdir()
        if item.name.rpartition(".")[2] in TYPES
    }
    return assets | {THEME: Asset(theme().encode(), TYPES["css"])}


def theme() -> str:
    """The visual language as CSS: dark by default, and light if the page's root has `data-theme="light"`."""
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
        f":root {{ color-scheme: dark; {_declarations(lengths | heat | dark | style.ROLES)} }}\n"
        f':root[data-theme="light"] {{ color-scheme: light; {_declarations(light | style.PAPER_ROLES)} }}\n'
    )


def _declarations(values: dict[str, str]) -> str:
    return " ".join(f"--{name}: {value};" for name, value in values.items())
