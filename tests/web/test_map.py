"""The embedding map by keys alone: from dot to dot, what is said of each, and asking for its image; in Chromium."""

from typing import Any

import numpy as np
import pytest

from cxrsearch.query.index import Index
from tests.web.browser_page import Page, xray
from tests.web.conftest import Served

pytestmark = [pytest.mark.browser, pytest.mark.real_data]
MAP = "#map canvas"
ARROWS = {"ArrowRight": 0, "ArrowUp": 90, "ArrowLeft": 180, "ArrowDown": 270}


def stepped(places: np.ndarray[Any, np.dtype[np.float64]], at: int, arrow: str) -> int:
    """The nearest dot that lies within 45 degrees of an arrow; the same one where there is none."""
    right, up = (places - places[at]).T
    off = (np.degrees(np.arctan2(up, right)) - ARROWS[arrow] + 180) % 360 - 180
    far = np.where((np.abs(off) <= 45) & (np.hypot(right, up) > 0), np.hypot(right, up), np.inf)
    return int(far.argmin()) if np.isfinite(far).any() else at


def said(index: Index, row: int) -> str:
    findings = index.catalogue.findings(row) or ("No Finding",)
    return f"{', '.join(name.replace('_', ' ') for name in findings)} · {index.catalogue.ids[row]}"


def reach_map(page: Page) -> None:
    page.page.focus("#next")
    page.page.keyboard.press("Tab")
    assert page.page.locator(MAP).evaluate("(canvas) => canvas === document.activeElement")


def test_arrows_go_from_dot_to_dot_and_enter_asks(page: Page, real_index: Index) -> None:
    drawn = page.page.request.get(f"{page.page.url}api/map").json()
    places, plain = np.array(drawn["places"]), page.canvas(MAP)
    assert drawn["rows"] == list(range(len(places)))
    reach_map(page)
    at = int(np.hypot(*(places - 0.5).T).argmin())
    assert page.text("#map-dot") == said(real_index, at)
    assert not np.array_equal(page.canvas(MAP), plain)
    visited = [at]
    for arrow in [*["ArrowRight"] * 3, *["ArrowUp"] * 3, *["ArrowLeft"] * 4, *["ArrowDown"] * 5]:
        page.page.keyboard.press(arrow)
        at = stepped(places, at, arrow)
        visited.append(at)
        assert page.text("#map-dot") == said(real_index, at)
    assert len(set(visited)) > 8
    page.page.keyboard.press("Enter")
    page.until("#query-known", f"{real_index.catalogue.ids[at]} · ")
    page.page.wait_for_selector("#save-json:enabled")
    assert page.page.evaluate("document.activeElement.id") == "query-name"  # where reading goes on
    assert page.text("#map-dot") == ""


def test_an_arrow_at_the_edge_stays_and_leaving_takes_the_mark_away(page: Page) -> None:
    plain = page.canvas(MAP)
    reach_map(page)
    for _ in range(160):
        before = page.text("#map-dot")
        page.page.keyboard.press("ArrowRight")
        if page.text("#map-dot") == before:
            break
    assert page.text("#map-dot") == before
    page.page.keyboard.press("Escape")
    assert page.text("#map-dot") == ""
    assert np.array_equal(page.canvas(MAP), plain)


def test_the_way_begins_at_the_query(page: Page, site: Served, real_index: Index, real_data: Any) -> None:
    page.upload(xray(real_data))
    places = np.array(page.page.request.get(f"{site.address}api/map").json()["places"])
    own = list(real_index.catalogue.ids).index(xray(real_data).name)
    page.page.locator("#grid button.card").last.focus()
    page.page.keyboard.press("Tab")
    assert page.text("#map-dot") == said(real_index, own)  # an image of the index lies on its own dot
    page.page.keyboard.press("ArrowLeft")
    assert page.text("#map-dot") == said(real_index, stepped(places, own, "ArrowLeft"))


def test_a_mouse_marks_no_dot_and_asks_for_the_one_it_clicks(page: Page, real_index: Index) -> None:
    places = np.array(page.page.request.get(f"{page.page.url}api/map").json()["places"])
    box = page.page.locator(MAP).bounding_box()
    assert box is not None
    grid = np.stack(np.meshgrid(np.linspace(0, 1, 20), np.linspace(0, 1, 20)), axis=-1).reshape(-1, 2)
    far = np.hypot(*(grid[:, None] - places).transpose(2, 0, 1)).min(axis=1)

    def pixel(place: Any) -> dict[str, float]:
        side = box["width"] - 28
        return {"x": 14 + place[0] * side, "y": box["height"] - 14 - place[1] * side}

    page.page.click(MAP, position=pixel(grid[far.argmax()]))
    assert page.text("#map-dot") == ""
    row = int(places[:, 0].argmax())
    page.page.click(MAP, position=pixel(places[row]))
    page.until("#query-known", f"{real_index.catalogue.ids[row]} · ")
