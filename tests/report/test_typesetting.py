import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from cxrsearch.report._typesetting import drawable, shorten, wrap
from cxrsearch.report.style import BODY, HEADING, font


@pytest.mark.parametrize(
    ("text", "drawn"),
    [
        ("00000001_000.png", "00000001_000.png"),
        ("a · b…", "a · b…"),
        ("Müller, José", "Muller, Jose"),
        ("Mu\u0308ller", "Muller"),
        ("age 40–60 — PA", "age 40-60 - PA"),
        ("≥ 3 × 2", ">= 3 x 2"),
        ("胸部_1.png", "\\u80f8\\u90e8_1.png"),
        ("\U0001fac1", "\\U0001fac1"),
        ("a\tb\r\n  c ", "a b c"),
        ("nul\x00\x1b[0m", "nul\\x00\\x1b[0m"),
        ("zero\u200bwidth", "zero\\u200bwidth"),
        ("", ""),
    ],
)
def test_drawable_text(text: str, drawn: str) -> None:
    assert drawable(text) == drawn


@settings(deadline=None)
@given(st.text(max_size=30))
def test_nothing_is_drawn_as_an_empty_box(text: str) -> None:
    face = font(BODY)
    missing = bytes(face.getmask("\uffff"))
    assert all(bytes(face.getmask(character)) != missing for character in drawable(text))
    assert drawable(drawable(text)) == drawable(text)


def test_names_that_differ_are_drawn_differently() -> None:
    assert drawable("胸部.png") != drawable("腹部.png")


def test_shorten_keeps_both_ends_and_as_much_as_fits() -> None:
    name = "study_2017_hospital_of_the_north_patient_000123_img_0001.png"
    short = shorten(name, HEADING, 256)
    head, tail = short.split("…")
    assert name.startswith(head)
    assert name.endswith(tail)
    assert 0 <= len(head) - len(tail) <= 1
    assert 236 < font(HEADING).getlength(short) <= 256


def test_what_fits_is_left_alone() -> None:
    assert shorten("00000001_000.png", HEADING, 256) == "00000001_000.png"
    assert wrap("Edema, Effusion", BODY, 256) == ["Edema, Effusion"]
    assert wrap("  ", BODY, 256) == []


def test_wrap_breaks_at_spaces_only() -> None:
    text = "Atelectasis, Cardiomegaly, Effusion, Infiltration, Mass, Nodule, Pleural Thickening"
    lines = wrap(text, BODY, 256)
    assert " ".join(lines) == text
    assert len(lines) == 3


def test_a_word_wider_than_the_line_is_shortened_on_a_line_of_its_own() -> None:
    first, second, third = wrap(f"patient {'9f' * 40} here", BODY, 200)
    assert (first, third) == ("patient", "here")
    assert second.startswith("9f9f")
    assert "…" in second


@settings(deadline=None)
@given(st.text(max_size=80), st.integers(40, 300))
def test_every_line_is_inside_its_width(text: str, width: int) -> None:
    for line in [shorten(drawable(text), BODY, width), *wrap(drawable(text), BODY, width)]:
        paper = Image.new("L", (width + 40, 40))
        ImageDraw.Draw(paper).text((20, 10), line, 255, font(BODY))
        assert not np.asarray(paper)[:, 20 + width + 2 :].any()
