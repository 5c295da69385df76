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
