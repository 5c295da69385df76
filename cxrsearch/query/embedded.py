"""An image after one pass through the network."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.special

from cxrsearch.arrays import Embeddings, Floats
from cxrsearch.encoder.embed import Embedder
from cxrsearch.errors import UsageError
from cxrsearch.images.preprocess import Pixels

Head = tuple[tuple[str, ...], Floats]
"""A trained head's findings and their probabilities."""


@dataclass(frozen=True, eq=False)
class Embedded:
    """An image with its embedding.

    Attributes:
        pixels: its stored pixels, uint8 (side, side); empty if they are not known.
        embedding: float32 (1, dim).
        head: findings of the trained head and their probabilities; None without a trained head.
        activations: the last feature map after its ReLU, float32 (dim, h, w). Every heat map of the image is computed
            from it. None if only a stored embedding is known.
    """

    pixels: Pixels
    embedding: Embeddings
    head: Head | None = None
    activations: Embeddings | None = None


def embed_images(embedder: Embedder, stored: Sequence[Pixels]) -> list[Embedded]:
    """Embed images as one batch.

    Args:
        embedder: the encoder.
        stored: the stored pixels of each image, uint8 (side, side).

    Raises:
        UsageError: pixels of another shape or type.
        CheckpointError: the network's output is not finite.
    """
    look, findings = embedder.look(network_pixels(embedder, stored)), embedder.spec.findings
    heads: list[Head | None] = [None] * len(stored)
    if look.logits is not None and findings is not None:
        heads = [(findings, scipy.special.expit(row.astype(np.float64))) for row in look.logits]
    parts = zip(stored, look.embeddings[:, np.newaxis], heads, look.activations, strict=True)
    return [Embedded(*part) for part in parts]


def network_pixels(embedder: Embedder, stored: Sequence[Pixels]) -> Pixels:
    """The network's input of b images with stored pixels, uint8 (b, size, size).

    Raises:
        UsageError: pixels of another shape or type.
    """
    preprocess = embedder.spec.preprocess
    side = preprocess.pixel_side
    for pixels in stored:
        if pixels.shape != (side, side) or pixels.dtype != np.uint8:
            raise UsageError(
                f"stored pixels {pixels.dtype} {pixels.shape}, not uint8 {(side, side)}",
                "use `Index.preprocess.stored_pixels`",
            )
    return np.stack([preprocess.network_pixels(pixels) for pixels in stored])
