"""The page of a map: what is packed into it, that it needs nothing else, and what a browser makes of it."""

import base64
import io
import json
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from cxrsearch.images.catalogue import Catalogue
from cxrsearch.overview import _scatter_page as page_module
from cxrsearch.overview._scatter_colours import by_age, by_finding, by_novelty, by_view
from cxrsearch.overview._scatter_page import scatter_page
from cxrsearch.report import style
from tests.overview.conftest import FINDINGS

COORDINATES = np.array([[i % 3, 2 * (i // 3)] for i in range(9)], dtype=np.float32) - np.float32(1.5)


def picture_of(row: int) -> NDArray[np.uint8]:
    """A grey of its own for each row."""
    return np.full((256, 256), 20 * row + 40, dtype=np.uint8)


def made(catalogue: Catalogue, **options: Any) -> str:
    given: dict[str, Any] = {"title": "9 images of 5 patients", "lines": ["By hand."]} | options
    if "colourings" not in given:
        given["colourings"] = [by_finding(catalogue), by_view(catalogue), by_age(catalogue)]
    return scatter_page(COORDINATES, catalogue, **given).decode()


def data_of(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found
    return dict(json.loads(found[1]))


def unpacked(text: str, dtype: str) -> NDArray[Any]:
    return np.frombuffer(base64.b64decode(text), dtype=dtype)


def test_every_image_is_packed_with_what_is_known_of_it(catalogue: Catalogue) -> None:
    data = data_of(made(catalogue))
    rows = [int(image.removesuffix(".png")) for image in data["images"]]
    assert sorted(rows) == list(range(9))
    assert rows != list(range(9))
    across, up = unpacked(data["across"], "<u2"), unpacked(data["up"], "<u2")
    placed = (COORDINATES[rows] - COORDINATES.min(axis=0)) / 4
    np.testing.assert_allclose(np.stack([across, up], axis=1) / 65535, placed, atol=0.5 / 65535)
    assert [unpacked(data["ages"], "u1")[rows.index(row)] for row in range(9)] == [0, 19, 20, 39, 40, 79, 80, 120, 255]
    assert [unpacked(data["views"], "u1")[rows.index(row)] for row in range(9)] == [0, 1, 2, 0, 0, 1, 2, 0, 0]
    flags = unpacked(data["findings"]["flags"], "u1")
    assert data["findings"]["names"] == [name.replace("_", " ") for name in FINDINGS]
    assert catalogue.labels is not None
    for place, row in enumerate(rows):  # bit f % 8 of byte f // 8, one byte for 8 findings
        assert [bool(flags[place] >> finding & 1) for finding in range(8)] == catalogue.labels[row].tolist()
    for colouring, packed in zip([by_finding(catalogue), by_view(catalogue)], data["colourings"], strict=False):
        assert unpacked(packed["codes"], "u1").tolist() == colouring.codes[rows].tolist()
        assert packed["counts"] == colouring.counts
        assert packed["classes"] == list(colouring.classes)
        assert packed["quiet"] == list(colouring.quiet)


def test_more_than_eight_findings_have_more_bytes(catalogue: Catalogue) -> None:
    vocabulary = replace(catalogue.vocabulary, findings=(*FINDINGS, "Ninth"))
    assert catalogue.labels is not None
    labels = np.column_stack([catalogue.labels, np.arange(9) == 4])
    data = data_of(made(replace(catalogue, vocabulary=vocabulary, labels=labels)))
    flags = unpacked(data["findings"]["flags"], "u1").reshape(9, 2)
    assert [data["images"][place] for place in np.flatnonzero(flags[:, 1])] == ["4.png"]


def test_thumbnails_are_those_of_the_first_images_in_one_sheet(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_module, "THUMBNAILS", 5)
    monkeypatch.setattr(page_module, "_COLUMNS", 3)
    asked: list[int] = []

    def pixels_of(row: int) -> NDArray[np.uint8]:
        asked.append(row)
        return picture_of(row)

    data = data_of(made(catalogue, pixels_of=pixels_of))
    assert len(set(asked)) == 5
    pictures = data["pictures"]
    assert (pictures["side"], pictures["columns"], pictures["count"]) == (96, 3, 5)
    kind, _, text = pictures["source"].partition(",")
    assert kind == "data:image/jpeg;base64"
    sheet = np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))
    assert sheet.shape == (192, 288)
    for place, image in enumerate(data["images"][:5]):
        top, left = place // 3 * 96, place % 3 * 96
        expected = 20 * int(image.removesuffix(".png")) + 40
        assert sheet[top + 8 : top + 88, left + 8 : left + 88] == pytest.approx(expected, abs=3)
    assert data["pictures_note"] == "5 of the 9 images, chosen at random, have a thumbnail."


def test_without_pixels_or_findings_it_says_so(catalogue: Catalogue) -> None:
    data = data_of(made(catalogue))
    assert data["pictures"] is None
    assert data["pictures_note"] == "This index keeps no pixels, so there are no thumbnails."
    unknown = replace(catalogue, labels=None)
    assert data_of(made(unknown, colourings=[by_view(unknown)]))["findings"] is None


@pytest.mark.parametrize(("highlight", "number"), [(None, None), ("Pleural_Thickening", 2), ("No Finding", 8)])
def test_the_highlighted_finding(catalogue: Catalogue, highlight: str | None, number: int | None) -> None:
    assert data_of(made(catalogue, highlight=highlight))["findings"]["highlight"] == number


class _References(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.policy = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.found += [str(values[name]) for name in ("src", "href", "data", "srcset", "action") if name in values]
        if values.get("http-equiv") == "Content-Security-Policy":
            self.policy = str(values["content"])


def test_the_page_is_one_file_that_loads_nothing(catalogue: Catalogue) -> None:
    page = made(catalogue, pixels_of=picture_of)
    references = _References()
    references.feed(page)
    assert references.found == ["data:,"]
    assert references.policy.startswith("default-src 'none'; img-src data:;")
    for word in ("http:", "https:", "//cdn", "@import", "url(", "fetch(", "XMLHttpRequest", "import("):
        assert word not in page
    assert "{{" not in page
    assert style.DISCLAIMER in page


def test_names_cannot_become_markup(catalogue: Catalogue) -> None:
    wicked = "</script><b>{{data}}&amp;.png"
    frame = catalogue.frame.assign(id=[wicked, *catalogue.ids[1:]])
    page = made(replace(catalogue, frame=frame), title="<i>Map</i>", lines=["a < b"])
    assert "</script><b>" not in page
    assert wicked in data_of(page)["images"]
    assert page.count("&lt;i&gt;Map&lt;/i&gt;") == 3
    assert "<p>a &lt; b</p>" in page


def test_the_same_map_gives_the_same_bytes(catalogue: Catalogue) -> None:
    assert made(catalogue, pixels_of=picture_of) == made(catalogue, pixels_of=picture_of)
    assert made(catalogue) != made(catalogue, highlight="Mass")


_SCRIPT = """
<script>
setTimeout(() => {
  const seen = {}, press = (key) => dots.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
  const shown = () => element("shown").textContent;
  const card_ = () => (card.hidden ? null : [...card.querySelectorAll("p")].map((line) => line.textContent));
  const hover = (image) => {
    const [x, y] = place(image), box = dots.getBoundingClientRect();
    const at = { clientX: box.left + x, clientY: box.top + y, pointerId: 1 };
    dots.dispatchEvent(new PointerEvent("pointermove", at));
    return card_();
  };
  const colour = (image) => [...pen.getImageData(...place(image).map((v) => Math.round(v * ratio)), 1, 1).data];
  seen.start = shown();
  seen.cards = data.images.map((_, image) => hover(image));
  seen.thumbnail = card.querySelector("canvas") !== null;
  draw();
  seen.colours = data.images.map((_, image) => colour(image));
  const box = [...document.querySelectorAll("#classes label")].find((label) => label.textContent.startsWith("Mass"));
  box.querySelector("input").click();
  seen.without = shown();
  seen.hidden = hover(data.images.indexOf("1.png"));
  element("all").click();
  element("highlight").value = "0";
  element("highlight").dispatchEvent(new Event("change"));
  draw();
  seen.chosen = shown();
  seen.highlighted = data.images.map((_, image) => colour(image));
  dots.focus();
  for (const key of ["+", "+", "+", ...Array(6).fill("ArrowLeft")]) press(key);
  seen.key = element("described").textContent;
  seen.zoom = zoom;
  press("0");
  seen.whole = zoom;
  press("Escape");
  seen.closed = card_();
  document.body.replaceChildren(Object.assign(document.createElement("pre"), { textContent: JSON.stringify(seen) }));
}, 500);
</script>
"""


def in_browser(page: str, folder: Path) -> dict[str, Any]:
    """What the script saw when it used the page; the browser has no network."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        pytest.skip("no Chromium in PATH")
    file = folder / "page.html"
    file.write_text(page.replace("</body>", f"{_SCRIPT}</body>"))
    options = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--window-size=1200,900",
    ]
    own = f"--user-data-dir={folder / 'profile'}"
    command = [browser, *options, own, "--virtual-time-budget=5000", "--dump-dom", file.as_uri()]
    dumped = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"<pre>(.*)</pre>", dumped, re.DOTALL)
    assert found, dumped[-2000:]
    return dict(json.loads(found[1].replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">")))


@pytest.mark.browser
def test_in_a_browser_it_can_be_hovered_filtered_and_used_with_keys(catalogue: Catalogue, tmp_path: Path) -> None:
    novelty = by_novelty(np.arange(9, dtype=np.float64), 3)
    colourings = [by_finding(catalogue), by_view(catalogue), novelty]
    page = made(catalogue, colourings=colourings, pixels_of=picture_of)
    images = [int(image.removesuffix(".png")) for image in data_of(page)["images"]]
    seen = in_browser(page, tmp_path)
    assert seen["start"] == "9 of 9 images shown"
    cards = {row: seen["cards"][place] for place, row in enumerate(images)}
    assert cards[5] == ["5.png", "Pleural Thickening, Nodule, Fibrosis", "AP, 79 years", "Novelty: 50-75%, over 4"]
    assert cards[3] == ["3.png", "No Finding", "PA, 39 years", "Novelty: lowest 50%"]
    assert cards[8][2] == "PA, age unknown"
    assert cards[2][2] == "view unknown, 20 years"
    assert seen["thumbnail"]
    assert seen["without"] == "7 of 9 images shown"
    assert seen["hidden"] is None
    quiet = seen["colours"][images.index(3)]
    assert len({tuple(colour) for colour in seen["colours"]}) == 6
    having = [tuple(seen["highlighted"][images.index(row)]) for row in (0, 1, 4, 8)]
    others = [tuple(seen["highlighted"][images.index(row)]) for row in (2, 3, 5, 6, 7)]
    assert seen["chosen"] == "9 of 9 images shown, 4 highlighted"
    assert len(set(having)) == len(set(others)) == 1
    assert others[0] == tuple(quiet) != having[0]
    assert seen["zoom"] == pytest.approx(1.5**3)
    assert seen["key"].startswith("3.png; No Finding; PA, 39 years")  # left of the middle
    assert seen["whole"] == 1
    assert seen["closed"] is None
