"""The page in a real browser: a real X-ray, its neighbours, heat map, filters, keys, and the warning for a hand."""

import base64
import io
import itertools
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cxrsearch.build import build_index
from cxrsearch.query import Index, open_index
from cxrsearch.web.settings import Settings
from tests.trained import trained_file
from tests.web.conftest import Served, served

pytestmark = [pytest.mark.browser, pytest.mark.real_data]

SIZES = {"desk": (1440, 900), "laptop": (1100, 800), "tablet": (768, 1024), "phone": (390, 844)}
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
ARGUMENTS += ["--disable-component-update", "--disable-sync"]
IMAGES = 160


@pytest.fixture(scope="module")
def real_index(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Index:
    """160 real images behind an encoder with a head, whose weights are random: it knows nothing, but a hand is far."""
    folder = tmp_path_factory.mktemp("real")
    (folder / "images").mkdir()
    for path in itertools.islice(sorted((real_data / "nih" / "images").glob("*.png")), IMAGES):
        shutil.copy(path, folder / "images")
    table = real_data / "nih" / "Data_Entry_2017.csv"
    weights = trained_file(folder / "made.safetensors", size=64)
    build_index(folder / "images", table, index=folder / "index", weights=weights, workers=0, device="cpu")
    return open_index(folder / "index", device="cpu")


@pytest.fixture(scope="module")
def site(real_index: Index) -> Iterator[Served]:
    with served(real_index, Settings()) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    found = os.environ.get("CXRSEARCH_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.skip("no Chromium in PATH (apt-get install chromium)")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=found, headless=True, args=ARGUMENTS)
        yield opened
        opened.close()


class Page:
    """A page that is ready, and all that went wrong in it."""

    def __init__(self, browser: Any, site: Served, size: str = "desk", path: str = "") -> None:
        width, height = SIZES[size]
        self.context = browser.new_context(viewport={"width": width, "height": height}, has_touch=size == "phone")
        self.problems: list[str] = []
        self.asked: list[str] = []
        self.page = self.context.new_page()
        self.page.on("console", lambda message: self.problems.append(message.text) if message.type == "error" else None)
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(site.address + path)
        self.page.wait_for_selector("html[data-ready]")

    def upload(self, path: Path) -> None:
        self.page.set_input_files("#file", path)
        self.page.wait_for_selector("#save-json:enabled")

    def until(self, selector: str, text: str) -> None:
        """Wait for a text; not by a script, which the page's policy would forbid."""
        self.page.wait_for_selector(f"{selector}:has-text('{text}')")

    def text(self, selector: str) -> str:
        return str(self.page.inner_text(selector))

    def count(self, selector: str) -> int:
        return int(self.page.locator(selector).count())

    def canvas(self, selector: str) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """The pixels of a canvas, uint8 (h, w, 4)."""
        text = self.page.eval_on_selector(selector, "(canvas) => canvas.toDataURL()").partition(",")[2]
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))).convert("RGBA"))


@pytest.fixture
def page(browser: Any, site: Served) -> Iterator[Page]:
    made = Page(browser, site)
    yield made
    made.context.close()
    assert not made.problems
    assert all(url.startswith((site.address, "blob:", "data:")) for url in made.asked)


def colourful(pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> float:
    """The share of pixels that are no grey."""
    channels = pixels[..., :3].astype(int)
    return float(((channels.max(axis=-1) - channels.min(axis=-1)) > 24).mean())


def xray(real_data: Path, number: int = 20) -> Path:
    return sorted((real_data / "nih" / "images").glob("*.png"))[number]


QUERY = "#query canvas"


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
    first = page.page.locator("#findings tbody tr").first
    assert votes[first.locator("button").inner_text().split("\n")[-1].replace(" ", "_")] == votes.max()
    maps = real_index.finding_maps(expected.pixels)
    assert maps is not None
    strongest = maps.findings[int(maps.maps.max(axis=(1, 2)).argmax())].replace("_", " ")
    page.page.click("#more-findings")
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
    assert "filters leave none" in page.text("#grid")
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
    page.until("#alike-note", "What each place")
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
    page.until("#alike-note", "What each place")
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


def test_an_indexed_image_has_a_link_and_an_upload_has_none(
    browser: Any, site: Served, page: Page, real_data: Path
) -> None:
    page.page.click("#grid button.card >> nth=0")
    page.page.wait_for_selector("#save-json:enabled")
    assert "#image=" in page.page.url
    other = Page(browser, site, path=page.page.url.removeprefix(site.address))
    other.page.wait_for_selector("#save-json:enabled")
    assert other.text("#query-known") == page.text("#query-known")
    assert other.page.locator("#grid .name").all_inner_texts() == page.page.locator("#grid .name").all_inner_texts()
    other.context.close()
    page.upload(xray(real_data))
    assert "image=" not in page.page.url
    assert not page.page.is_visible("#copy-link")


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


@pytest.mark.parametrize("size", SIZES)
def test_it_fits_every_screen(browser: Any, site: Served, real_data: Path, tmp_path: Path, size: str) -> None:
    """Nothing is wider than the screen; the pictures are for people: they lie in pytest's temporary folder."""
    page = Page(browser, site, size)
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
    page.until("#alike-note", "What each place")
    assert page.page.evaluate(wide)
    page.page.screenshot(path=tmp_path / f"compare-{size}.png")
    assert len(list(tmp_path.glob("*.png"))) == 3
    page.context.close()
    assert not page.problems
