"""A page in Chromium, as the tests look at it."""

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SIZES = {"desk": (1440, 900), "laptop": (1024, 768), "tablet": (768, 1024), "phone": (390, 844)}
QUERY = "#query canvas"


class Page:
    """A page that is ready, and all that went wrong in it, but for requests where they are meant to fail."""

    def __init__(self, browser: Any, address: str, size: str = "desk", path: str = "") -> None:
        width, height = SIZES[size]
        self.context = browser.new_context(viewport={"width": width, "height": height}, has_touch=size == "phone")
        self.problems: list[str] = []
        self.failing = False
        self.asked: list[str] = []
        self.page = self.context.new_page()
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(address + path)
        self.page.wait_for_selector("html[data-ready]")

    def _heard(self, message: Any) -> None:
        meant = self.failing and message.text.startswith("Failed to load resource")
        if message.type == "error" and not meant:
            self.problems.append(message.text)

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


def colourful(pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> float:
    """The share of pixels that are no grey."""
    channels = pixels[..., :3].astype(int)
    return float(((channels.max(axis=-1) - channels.min(axis=-1)) > 24).mean())


def xray(real_data: Path, number: int = 20) -> Path:
    return sorted((real_data / "nih" / "images").glob("*.png"))[number]
