"""The page in a real browser: a real X-ray, its neighbours, heat map, filters, keys, and the warning for a hand."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cxrsearch.query.index import Index
from cxrsearch.web.settings import Settings
from tests.web.browser_page import QUERY, SIZES, Page, colourful, xray
from tests.web.conftest import Served, served

pytestmark = [pytest.mark.browser, pytest.mark.real_data]


def test_an_upload_shows_neighbours_votes_and_a_heat_map(page: Page, real_index: Index, real_data: Path) -> None:
    assert page.page.is_visible("#drop")
    page.upload(xray(real_data))
    expected = real_index.query(xray(real_data))
    names = page.page.locator("#grid .name").all_inner_texts()
    assert names == list(expected.neighbours.image)
    assert xray(real_data).name not in names
    assert page.text("#query-name") == xray(real_data).name
    assert "512 × 512" in page.text("#query-source")  # the file's own pixels, not the index's
    assert "like those of the index" in page.text("#gate")
    votes = expected.votes_frame().set_index("finding")["probability"]
    assert votes[page.text("#findings tr.chosen .name").replace(" ", "_")] == votes.max()
    maps = real_index.finding_maps(expected.pixels)
    assert maps is not None
    strongest = maps.findings[int(maps.maps.max(axis=(1, 2)).argmax())].replace("_", " ")
    page.page.click(f"#findings button:has-text('{strongest}')")
    assert strongest in page.text("#findings tr.chosen")
    assert colourful(page.canvas(QUERY)) > 0.01
    assert page.text("#heat-high") == f"+{maps.maps.max():.2g}"
    page.page.keyboard.press("h")
    assert colourful(page.canvas(QUERY)) == 0
    page.page.keyboard.press("h")
    page.page.fill("#opacity", "0")
    assert colourful(page.canvas(QUERY)) == 0
    page.page.fill("#opacity", "80")
    strong = page.canvas(QUERY)
    page.page.keyboard.press("2")
    assert page.page.locator("#findings tr.chosen").count() == 1
    assert not np.array_equal(page.canvas(QUERY), strong)
    assert "not a medical device" in page.text("#disclaimer")


def test_the_header_says_once_what_the_index_is(page: Page) -> None:
    told = page.page.request.get(f"{page.page.url}api/index").json()
    page.page.route("**/api/index", lambda route: route.fulfill(json=told))
    for images, patients, said in ((1, 1, "1 image of 1 patient"), (1234, 56, "1,234 images of 56 patients")):
        told |= {"images": images, "patients": patients, "encoder": "random:0 (untrained)", "untrained": True}
        page.page.reload()
        page.page.wait_for_selector("html[data-ready]")
        assert page.text("#about") == f"{said} · random:0 (untrained): no medical meaning"


def test_findings_have_one_order_and_one_scale_in_every_answer(page: Page, real_index: Index, real_data: Path) -> None:
    for number in (20, 300):
        page.upload(xray(real_data, number))
        page.until("#query-name", xray(real_data, number).name)
        answer = real_index.query(xray(real_data, number))
        votes, lines = answer.votes_frame(), page.page.locator("#findings tbody tr")
        names = [name.replace(" ", "_") for name in lines.locator(".name").all_inner_texts()]
        assert names == list(real_index.manifest.findings)
        tracks = lines.locator(".track").evaluate_all("""(tracks) => tracks.map((track) =>
            ["vote", "prevalence", "network"].map((name) => track.querySelector("." + name)?.style)
                .map((style) => parseFloat(style?.width || style?.left || "0") / 100))""")
        assert answer.head is not None
        expected = np.stack([votes["probability"], votes["prevalence"], answer.head[1]], axis=1)
        np.testing.assert_allclose(tracks, expected, atol=1e-4)
        error = np.sqrt(votes["prevalence"] * (1 - votes["prevalence"]) / 20)
        above = votes["probability"] > votes["prevalence"] + 2 * error
        strong = votes["finding"][above & (votes["probability"] >= 2 / 20)]
        marked = lines.filter(has=page.page.locator(".out")).locator(".name").all_inner_texts()
        assert [name.replace(" ", "_") for name in marked] == list(strong)


def test_a_finding_is_chosen_by_keys_alone(page: Page, real_data: Path) -> None:
    page.upload(xray(real_data))
    assert page.page.evaluate("document.activeElement.id") == "query-name"  # where reading goes on
    button = page.page.locator("#findings button").nth(3)
    button.focus()
    page.page.keyboard.press("Enter")
    assert button.get_attribute("aria-pressed") == "true"
    assert page.text("#findings tr.chosen .name") == button.locator(".name").inner_text()
    assert button.evaluate("(button) => button === document.activeElement && button.matches(':focus-visible')")


def test_an_upload_that_is_in_the_index_is_said_to_be(page: Page, real_index: Index, real_data: Path) -> None:
    path = xray(real_data)
    page.upload(path)
    row = list(real_index.catalogue.ids).index(path.name)
    recorded = ", ".join(name.replace("_", " ") for name in real_index.catalogue.findings(row) or ("No Finding",))
    assert f"This image is in the index, as {path.name}. Recorded: {recorded}" in page.text("#query-indexed")
    page.page.click("#query-indexed a")
    page.until("#query-known", f"{path.name} · ")
    assert page.text("#query-name") == recorded
    assert not page.page.is_visible("#query-indexed")
    page.page.go_back()
    page.until("#query-name", path.name)
    page.upload(xray(real_data, 300))
    page.until("#query-name", xray(real_data, 300).name)
    assert not page.page.is_visible("#query-indexed")


def test_window_level_and_zoom_change_what_is_seen(page: Page, real_data: Path) -> None:
    page.upload(xray(real_data))
    page.page.uncheck("#heat")
    plain = page.canvas(QUERY)
    page.page.locator("#query .levels input").first.fill("60")
    narrow = page.canvas(QUERY)
    assert narrow[..., :3].astype(float).std() > 1.2 * plain[..., :3].astype(float).std()
    page.page.click("#query .levels button[aria-label^=Whole]")
    assert np.array_equal(page.canvas(QUERY), plain)
    page.page.focus(QUERY)
    page.page.keyboard.press("+")
    assert not np.array_equal(page.canvas(QUERY), plain)


def test_filters_reach_neighbours_and_browsing(page: Page, real_index: Index, real_data: Path) -> None:
    page.upload(xray(real_data))
    page.page.keyboard.press("/")
    assert page.page.evaluate("document.activeElement.closest('#filters') !== null")
    page.page.keyboard.press("Escape")
    page.page.select_option("#filters select >> nth=0", "PA")
    page.until("#cases-note", "Filters hold")
    facts = page.page.locator("#grid .findings + .facts").all_inner_texts()
    assert len(facts) == 20
    assert all(text.startswith("PA") for text in facts)
    for place, years in enumerate(("118", "119")):
        page.page.fill(f"#filters input >> nth={place}", years)
        page.page.keyboard.press("Tab")
    page.page.wait_for_selector("#grid .empty")
    assert "No image matches the filters" in page.text("#grid")
    page.page.click("#grid .empty button")
    page.page.wait_for_selector("#grid button.card")
    page.page.click("#browse")
    page.until("#cases-title", "From the index")
    page.page.select_option("#filters select >> nth=0", "AP")
    count = int(real_index.catalogue.frame["view"].eq("AP").sum())
    page.until("#cases-note", f"{count} images, in an order")


def test_side_by_side_moves_together_and_keys_go_on(page: Page, real_data: Path) -> None:
    page.upload(xray(real_data))
    page.page.evaluate("document.activeElement.blur()")
    page.page.keyboard.press("ArrowRight")
    page.page.keyboard.press("ArrowRight")
    page.page.keyboard.press("Enter")
    page.page.wait_for_selector("#compare[open]")
    page.until("#alike-note", "what each cell")
    assert page.text("#compare-title").startswith("Neighbour 2 of 20")
    assert "original file" in page.text(".pair figure:last-child figcaption")
    left, right = ".pair figure:first-child canvas", ".pair figure:last-child canvas"
    assert colourful(page.canvas(left)) > 0.01
    assert colourful(page.canvas(right)) > 0.01
    page.page.keyboard.press("h")
    before = [page.canvas(place) for place in (left, right)]
    assert [colourful(pixels) for pixels in before] == [0, 0]
    page.page.focus(left)
    page.page.keyboard.press("+")
    assert all(not np.array_equal(page.canvas(p), b) for p, b in zip((left, right), before, strict=True))
    page.page.keyboard.press("ArrowRight")
    page.until("#compare-title", "Neighbour 3")
    page.until("#alike-note", "what each cell")
    page.page.keyboard.press("Escape")
    assert not page.page.is_visible("#compare")
    page.page.keyboard.press("?")
    assert page.page.is_visible("#help")
    page.page.keyboard.press("Escape")
    assert not page.page.is_visible("#help")


def test_a_hand_is_warned_of(page: Page, real_data: Path) -> None:
    hand = sorted((real_data / "ood" / "mednist64_Hand").glob("*.jpeg"))[0]
    page.upload(hand)
    assert page.page.get_attribute("#gate", "class") == "unlike"
    assert page.text("#gate").startswith("Warning: this image is unlike the index")
    assert not page.page.is_checked("#heat")


def test_the_token_is_asked_for_once(browser: Any, real_index: Index) -> None:
    token = "a-token-of-some-length"
    with served(real_index, Settings(token=token)) as running:
        context = browser.new_context()
        page = context.new_page()
        page.goto(running.address)
        for text in ("a-wrong-one-of-that-length", token):
            page.fill("input[name=token]", text)
            page.click("button")
        page.wait_for_selector("html[data-ready]")
        assert token not in page.url
        assert page.locator("#grid button.card").count() == 24
        context.close()


def test_answers_can_be_saved(page: Page, real_data: Path, tmp_path: Path) -> None:
    page.upload(xray(real_data))
    with page.page.expect_download() as saved:
        page.page.click("#save-json")
    saved.value.save_as(tmp_path / "answer.json")
    assert '"typicality"' in (tmp_path / "answer.json").read_text()
    with page.page.expect_download() as saved:
        page.page.click("#save-png")
    saved.value.save_as(tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width > 800


@pytest.mark.parametrize("size", SIZES)
def test_it_fits_every_screen(browser: Any, site: Served, real_data: Path, tmp_path: Path, size: str) -> None:
    """Nothing is wider than the screen; the pictures are for people: they lie in pytest's temporary folder."""
    page = Page(browser, site.address, size)
    wide = """[...document.querySelectorAll("body *")].every((e) => !e.offsetParent || e.closest(".skip")
        || e.getBoundingClientRect().right <= document.documentElement.clientWidth + 0.5)"""
    assert page.page.evaluate(wide)
    page.page.screenshot(path=tmp_path / f"start-{size}.png", full_page=True)
    page.upload(xray(real_data))
    assert page.page.evaluate(wide)
    small = """[...document.querySelectorAll("button, input, select, a")].filter((e) => e.offsetParent
        && !e.ariaLabel && !e.textContent.trim() && !e.labels?.length).map((e) => e.outerHTML)"""
    assert page.page.evaluate(small) == []  # everything that can be used has a name
    page.page.screenshot(path=tmp_path / f"result-{size}.png", full_page=True)
    page.page.click("#theme")
    page.page.click("#grid button.card >> nth=0")
    page.until("#alike-note", "what each cell")
    assert page.page.evaluate(wide)
    page.page.screenshot(path=tmp_path / f"compare-{size}.png")
    assert len(list(tmp_path.glob("*.png"))) == 3
    page.context.close()
    assert not page.problems
