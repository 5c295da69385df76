"""Preprocess a radiograph for the network. Training, indexing and querying share one specification and one code path.

There are two steps. The first is slow, and gives the same result for every encoder with the same `pixel_side`:

    radiograph (any height x width, uint8) --stored_pixels--> (pixel_side, pixel_side), what caches and indexes keep
    stored pixels                          --network_pixels-> (size, size), what the network sees

Both resize with Pillow's antialiased bilinear filter and nothing else: other resizers differ by up to 172 grey levels.
Images are stretched to a square, as NIH's 1024 x 1024 files were. The last step, uint8 to normalised float, is
`affine`. The encoder applies it on its device.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cxrsearch.errors import UsageError

Pixels = NDArray[np.uint8]
Crop = Literal["none", "centre"]
Normalisation = Literal["imagenet", "xrv"]

DISPLAY_SIDE = 256
_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Preprocess:
    """How a radiograph becomes the network's input.

    Attributes:
        size: side of the network's input, in pixels.
        crop: `none` resizes the stored pixels to `size`; `centre` cuts the middle `size` x `size` out of them.
        pixel_side: side of the stored pixels, in pixels; from `size` to 2048.
        normalisation: `imagenet` (torchvision's mean and std) or `xrv` (torchxrayvision: [0, 255] to [-1024, 1024]).
        channels: 3 (the grey value repeated) or 1.
        interpolation: the only choice; it is a field so that the fingerprint covers it.

    Raises:
        UsageError: a value is not one of these, or not 32 <= size <= pixel_side <= 2048.
    """

    size: int = 224
    crop: Crop = "none"
    pixel_side: int = DISPLAY_SIDE
    normalisation: Normalisation = "imagenet"
    channels: Literal[1, 3] = 3
    interpolation: Literal["pillow-bilinear-antialiased"] = "pillow-bilinear-antialiased"

    def __post_init__(self) -> None:
        if not 32 <= self.size <= self.pixel_side <= 2048:
            raise UsageError(
                f"input size {self.size} with stored pixels of side {self.pixel_side}: "
                "32 <= size <= pixel side <= 2048 must hold",
                "choose a size from 32 to 2048",
            )
        choices = ((self.crop, Crop), (self.normalisation, Normalisation), (self.channels, Literal[1, 3]))
        for value, allowed in choices:
            if value not in get_args(allowed):
                raise UsageError(f"unknown preprocessing value {value!r}", f"choose one of {get_args(allowed)}")

    @classmethod
    def for_size(cls, size: int, **fields: Any) -> "Preprocess":
        """Make the specification for an input side. Stored pixels have side 256, or `size` for larger inputs."""
        return cls(size=size, pixel_side=max(DISPLAY_SIDE, size), **fields)

    @property
    def fingerprint(self) -> str:
        """A digest of all fields, 16 hex digits. Encoders with the same one get the same input from a radiograph."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]

    def stored_pixels(self, radiograph: Pixels) -> Pixels:
        """Resize uint8 (height, width) to (pixel_side, pixel_side)."""
        return resize(radiograph, self.pixel_side)

    def network_pixels(self, stored: Pixels) -> Pixels:
        """Resize or crop uint8 (pixel_side, pixel_side) to (size, size)."""
        if self.crop == "none":
            return resize(stored, self.size)
        start, seen = self.window()
        return np.ascontiguousarray(stored[start : start + seen, start : start + seen])

    def window(self) -> tuple[int, int]:
        """Return start (the same on both axes) and side of the square of stored pixels that the network sees."""
        return (0, self.pixel_side) if self.crop == "none" else ((self.pixel_side - self.size) // 2, self.size)

    def affine(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return `scale` and `offset`, float32 (channels,). The network's input is `pixels * scale + offset`."""
        if self.normalisation == "xrv":
            scale, offset = np.array([2048 / 255]), np.array([-1024.0])
        else:
            mean, std = np.array(_IMAGENET_MEAN), np.array(_IMAGENET_STD)
            scale, offset = 1 / (255 * std), -mean / std
        return _per_channel(scale, self.channels), _per_channel(offset, self.channels)


def resize(pixels: Pixels, side: int) -> Pixels:
    """Resize uint8 (height, width) to (side, side) with Pillow's antialiased bilinear filter."""
    if pixels.shape == (side, side):
        return pixels
    resized: Pixels = np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.BILINEAR))
    return resized


def _per_channel(values: NDArray[np.float64], channels: int) -> NDArray[np.float32]:
    """Repeat one value for every channel, or average three into one."""
    if channels == 1:
        values = values.mean(keepdims=True)
    return np.broadcast_to(values, (channels,)).astype(np.float32)
