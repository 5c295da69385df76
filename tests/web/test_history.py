"""Where the page leads: links, Back and Forward, a reload, and what a refused file leaves as it was; in Chromium."""

from pathlib import Path
from typing import Any

import pytest

from tests.web.browser_page import QUERY, Page, xray
from tests.web.conftest import Served

pytestmark = [pytest.mark.browser, pytest.mark.real_data]


def test_an_indexed_image_has_a_link_and_an_upload_has_none(
    browser: Any, site: Served, page: Page, real_data: Path
) -> None:
    page.page.click("#grid button.card >> nth=0")
    page.page.wait_for_selector("#save-json:enabled")
    assert "#image=" in page.page.url
    other = Page(browser, site.address, path=page.page.url.removeprefix(site.address))
    other.page.wait_for_selector("#save-json:enabled")
    assert other.text("#query-known") == page.text("#query-known")
    assert other.page.locator("#grid .name").all_inner_texts() == page.page.locator("#grid .name").all_inner_texts()
    other.context.close()
    page.upload(xray(real_data))
    assert "image=" not in page.page.url
    assert not page.page.is_visible("#copy-link")


def test_back_and_forward_lead_through_answers(page: Page, real_data: Path) -> None:
    names = [xray(real_data, number).name for number in (20, 300)]
    shown = {}
    for number, name in zip((20, 300), names, strict=True):
        page.upload(xray(real_data, number))
        page.until("#query-name", name)
        shown[name] = page.page.locator("#grid .name").all_inner_texts()
    page.page.select_option("#filters select >> nth=0", "PA")
    page.until("#cases-note", "Filters hold")
    asked = len([url for url in page.asked if "/api/look" in url])
    for step, name in ((page.page.go_back, names[1]), (page.page.go_back, names[0]), (page.page.go_forward, names[1])):
        step()
        page.until("#query-name", name)
        page.until("#cases-note", "side by side")
        assert page.page.locator("#grid .name").all_inner_texts() == shown[name]
        assert page.page.locator("#filters select").first.input_value() == ""
    page.page.go_forward()
    page.until("#cases-note", "Filters hold")
    assert page.page.locator("#filters select").first.input_value() == "PA"
    assert len([url for url in page.asked if "/api/look" in url]) == asked  # the page had them all
    for _ in range(3):
        page.page.go_back()
    page.until("#cases-title", "From the index")
    assert page.page.is_visible("#drop")


def test_browsing_goes_on_where_it_was(page: Page) -> None:
    page.page.click("#next")
    page.until("#page", "25–48")
    page.page.click("#grid button.card >> nth=0")
    page.page.wait_for_selector("#save-json:enabled")
    page.page.go_back()
    page.until("#page", "25–48")


def test_after_a_reload_an_upload_is_gone_and_an_indexed_image_is_not(page: Page, real_data: Path) -> None:
    page.page.click("#grid button.card >> nth=0")
    page.page.wait_for_selector("#save-json:enabled")
    known = page.text("#query-known")
    page.page.reload()
    page.page.wait_for_selector("#save-json:enabled")
    assert page.text("#query-known") == known
    page.upload(xray(real_data))
    page.until("#query-name", xray(real_data).name)
    page.page.reload()
    page.until("#problem", "is no longer here")
    assert page.page.is_visible("#drop")
    page.page.go_back()
    page.until("#query-known", known)
    assert not page.page.is_visible("#problem")


def test_that_an_upload_is_gone_is_said_each_time(page: Page, real_data: Path) -> None:
    page.upload(xray(real_data))
    page.page.reload()
    for _ in range(2):
        page.until("#problem", "this page keeps only the last 20 answers until it is reloaded: open the image again")
        page.page.wait_for_selector("#grid button.card")
        page.page.go_back()
        page.page.wait_for_selector("#problem", state="hidden")
        page.page.wait_for_selector("#grid button.card")
        page.page.go_forward()
    page.until("#problem", "is no longer here")


def test_skipping_to_the_images_leaves_the_answer(page: Page, real_data: Path) -> None:
    page.upload(xray(real_data))
    address = page.page.url
    page.page.focus(".skip")
    page.page.keyboard.press("Enter")
    assert page.page.evaluate("document.activeElement.id") == "main"
    page.page.wait_for_timeout(200)  # what a hash in the address would start
    assert page.page.is_visible("#query-name")
    assert page.page.url == address


def test_what_is_refused_says_why_and_leaves_the_page_usable(page: Page, real_data: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no image")
    page.page.set_input_files("#file", tmp_path / "notes.txt")
    page.page.wait_for_selector("#problem:not([hidden])")
    assert "neither PNG, JPEG nor DICOM" in page.text("#problem")
    assert page.page.is_visible("#drop")
    assert all("422" in problem for problem in page.problems)
    page.problems.clear()
    page.upload(xray(real_data))
    assert not page.page.is_visible("#problem")


def test_a_refused_upload_leaves_the_answer_before_it(page: Page, real_data: Path, tmp_path: Path) -> None:
    page.upload(xray(real_data))
    page.page.click("#findings button >> nth=3")
    known = [page.text(place) for place in ("#query-name", "#query-known", "#findings tr.chosen", "#grid")]
    whole = xray(real_data, 300).read_bytes()
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "half.png").write_bytes(whole[: len(whole) // 2])
    for name in ("notes.txt", "half.png"):
        page.page.set_input_files("#file", tmp_path / name)
        page.until("#problem", f"{name} cannot be used")
        page.until("#problem", f"The answer below is still that of {xray(real_data).name}")
        page.page.wait_for_selector("#save-json:enabled")
        assert [page.text(at) for at in ("#query-name", "#query-known", "#findings tr.chosen", "#grid")] == known
        assert page.canvas(QUERY)[..., :3].any()
    page.page.click("#dismiss")
    page.page.go_back()
    page.until("#cases-title", "From the index")  # what was refused is no step of the history
    assert all("422" in problem for problem in page.problems)
    page.problems.clear()
