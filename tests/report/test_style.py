import pytest
from PIL import ImageColor

from cxrsearch.report import style


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2)."""
    channels = (value / 255 for value in ImageColor.getrgb(colour)[:3])
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted(map(luminance, (one, other)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("surface", [style.BACKGROUND, style.PANEL])
@pytest.mark.parametrize("text", [style.INK, style.INK_QUIET, style.ACCENT])
def test_text_is_legible_on_every_surface(text: str, surface: str) -> None:
    assert contrast(text, surface) >= 4.5


@pytest.mark.parametrize("colour", style.CATEGORIES)
def test_categories_stand_out_and_none_is_the_accent(colour: str) -> None:
    assert contrast(colour, style.BACKGROUND) >= 3
    assert colour != style.ACCENT


def test_lines_of_text_do_not_touch() -> None:
    for size in (style.TITLE, style.HEADING, style.BODY):
        ascent, descent = style.font(size).getmetrics()
        assert style.line_height(size) >= ascent + descent
