"""What the page does when a request fails or is overtaken: it says so once, and nothing asked is lost; in Chromium."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.web.browser_page import Page, xray

pytestmark = [pytest.mark.browser, pytest.mark.real_data]
NO_ANSWER = "The server does not answer. Is it still running?"


@contextmanager
def handled(page: Page, handler: Any, address: str = "**/api/**") -> Iterator[None]:
    """Requests of an address are the handler's. Chromium may say of those that fail only after it."""
    page.failing = True
    page.page.route(address, lambda route: handler(route))  # playwright takes no method that is built in
    yield
    page.page.unroute(address)


def refuse(route: Any) -> None:
    route.abort("connectionrefused")


def emptied(page: Page) -> None:
    """Wait until browsing has failed."""
    page.page.wait_for_selector("#start:not([hidden])")
    page.page.wait_for_selector("#grid:empty", state="attached")


@pytest.mark.parametrize(
    ("handler", "said"),
    [(refuse, NO_ANSWER), (lambda route: route.fulfill(status=500, body=""), "The server answered with status 500.")],
)
def test_a_problem_is_said_in_sentences(page: Page, real_data: Path, handler: Any, said: str) -> None:
    page.upload(xray(real_data))
    with handled(page, handler):
        page.page.select_option("#filters select >> nth=0", "PA")
        page.page.wait_for_selector("#problem:not([hidden])")
    assert page.text("#problem p >> nth=0") == f"{said} The answer below is still that of {xray(real_data).name}."


def test_an_upload_that_the_server_did_not_answer_can_be_asked_again(page: Page, real_data: Path) -> None:
    page.page.wait_for_selector("#grid button.card")
    with handled(page, refuse):
        page.page.set_input_files("#file", xray(real_data))
        emptied(page)
        assert page.text("#problem p >> nth=0") == NO_ANSWER
        assert page.text("#cases-note") == "The images of the index could not be loaded."
    page.page.click("#retry")
    page.until("#query-name", xray(real_data).name)
    assert not page.page.is_visible("#problem")


def test_browsing_that_failed_can_be_tried_again(page: Page) -> None:
    page.page.click("#next")
    page.until("#page", "25–48")
    with handled(page, refuse):
        page.page.click("#next")
        emptied(page)
        page.page.wait_for_selector("#problem:not([hidden])")
    page.page.click("#retry")
    page.until("#page", "49–72")
    assert not page.page.is_visible("#problem")


def test_a_patient_is_left_out_of_what_is_being_asked(page: Page, real_data: Path) -> None:
    page.upload(xray(real_data))
    asked: list[Any] = []
    with handled(page, asked.append, "**/api/look*"):
        with page.page.expect_request("**/api/look*"):
            page.page.select_option("#filters select >> nth=0", "PA")
        with page.page.expect_request("**/api/look*") as last:
            page.page.fill("#patient-id", "00000013")
            page.page.click("#patient button")
        body = last.value.post_data_buffer or b""
        assert b'name="patient"\r\n\r\n00000013' in body
        assert b'name="view"\r\n\r\nPA' in body  # what the form shows
        asked[-1].continue_()
        page.until("#cases-note", "Filters hold")
    assert page.page.locator("#filters select").first.input_value() == "PA"


def test_a_contact_sheet_can_be_tried_again_from_elsewhere(page: Page, real_data: Path) -> None:
    page.upload(xray(real_data))
    asked: list[Any] = []
    with handled(page, asked.append, "**/api/sheet*"):
        with page.page.expect_request("**/api/sheet*"):
            page.page.click("#save-png")
        page.page.click("#browse")
        page.page.wait_for_selector("#grid button.card")
        asked[0].abort()
        page.page.wait_for_selector("#problem:not([hidden])")
    assert page.page.is_disabled("#save-png")  # of no answer
    with page.page.expect_download() as saved:
        page.page.click("#retry")
    assert saved.value.suggested_filename == "contact-sheet.png"
    assert not page.page.is_visible("#problem")
