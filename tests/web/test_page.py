"""The page's own files: small, offline, without markup from data, and in the one visual language."""

import re
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path

import pytest

from cxrsearch.report import style
from cxrsearch.web._assets import load_assets, theme

ASSETS = load_assets()
TEXTS = {name: asset.content.decode() for name, asset in ASSETS.items()}
SCRIPTS = {name: text for name, text in TEXTS.items() if name.endswith(".js")}


def test_the_page_is_small() -> None:
    assert sum(len(asset.content) for asset in ASSETS.values()) < 300_000


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_nothing_comes_from_elsewhere(name: str) -> None:
    for word in ("http:", "https:", "//cdn", "@import", "url("):
        assert word not in TEXTS[name]


@pytest.mark.parametrize("name", sorted(SCRIPTS))
def test_no_text_becomes_markup_or_code(name: str) -> None:
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"):
        assert word not in SCRIPTS[name]


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.wrong: list[str] = []
        self.files: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if values.get("id"):
            self.ids.append(str(values["id"]))
        self.wrong += [name for name in values if name == "style" or name.startswith("on")]
        self.files += [
            str(values[name]) for name in ("src", "href") if str(values.get(name, "")).startswith("/static/")
        ]


@pytest.mark.parametrize("name", ["index.html", "sign_in.html"])
def test_the_policy_lets_all_of_the_page_work(name: str) -> None:
    page = _Page()
    page.feed(TEXTS[name])
    assert not page.wrong
    assert len(set(page.ids)) == len(page.ids)
    assert page.files
    assert all(file.removeprefix("/static/") in ASSETS for file in page.files)
    assert "<script>" not in TEXTS[name]
    assert "<style" not in TEXTS[name]
    assert style.DISCLAIMER in TEXTS[name]


def test_as_many_answers_are_promised_as_are_kept() -> None:
    kept = re.search(r"KEPT = (\d+)", TEXTS["past.js"])
    assert kept is not None
    guide = (Path(__file__).parents[2] / "docs" / "GUIDE.md").read_text(encoding="utf-8")
    for text in (TEXTS["index.html"], TEXTS["app.js"], guide):
        assert f"last {kept[1]} answers" in " ".join(text.split())


def test_scripts_name_only_what_is_there() -> None:
    page = _Page()
    page.feed(TEXTS["index.html"])
    made = set(re.findall(r'id: "([a-z-]+)"', "".join(SCRIPTS.values())))
    for name, text in SCRIPTS.items():
        for wanted in re.findall(r'byId\("([a-z-]+)"\)', text):
            assert wanted in page.ids or wanted in made, f"{name}: {wanted}"
        for module in re.findall(r'from "\./([a-z]+\.js)"', text):
            assert module in ASSETS


def test_every_colour_and_length_of_the_style_sheet_is_in_the_visual_language() -> None:
    declared = set(re.findall(r"--([a-z0-9-]+):", theme()))
    used = set(re.findall(r"var\(--([a-z0-9-]+)\)", TEXTS["page.css"]))
    assert used <= declared
    colours = set(re.findall(r"#[0-9a-fA-F]{3,8}\b", TEXTS["page.css"])) - {"#000", "#fff"}
    assert not {colour for colour in colours if re.fullmatch(r"#[0-9a-f]{6}", colour)}
    for colour in (style.BACKGROUND, style.INK, style.ACCENT, style.PAPER, style.PAPER_INK, *style.SCALE):
        assert colour in theme()
    light = theme().splitlines()[1]
    assert light.startswith(':root[data-theme="light"] { color-scheme: light;')


def luminance(colour: str) -> float:
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_roles_can_be_told_from_what_they_lie_on() -> None:
    """3 to 1 for marks; the vote's colour is also that of a text, which needs 4.5."""
    grounds = {style.BACKGROUND: style.ROLES, style.PANEL: style.ROLES}
    grounds |= {style.PAPER: style.PAPER_ROLES, style.PAPER_PANEL: style.PAPER_ROLES}
    for ground, roles in grounds.items():
        assert all(contrast(colour, ground) >= 3 for colour in roles.values())
        assert contrast(roles["vote"], ground) >= 4.5


def test_heat_grows_lighter_step_by_step() -> None:
    steps = [luminance(colour) for colour in style.SCALE]
    assert steps == sorted(steps)
    assert len(set(steps)) == len(steps)


def test_all_files_are_packed() -> None:
    folder = files("cxrsearch.web") / "static"
    assert {item.name for item in folder.iterdir()} | {"theme.css"} == set(ASSETS)
