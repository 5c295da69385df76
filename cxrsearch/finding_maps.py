"""Where a finding is believed to be, and which regions make two images alike: maps of an encoder's answers.

stored pixels -> network pixels (images) -> feature maps (encoder) -> maps (analysis)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import scipy.special
from numpy.typing import NDArray

from cxrsearch.analysis.activation import class_activation, grad_cam, similarity
from cxrsearch.analysis.boxes import enlarged
from cxrsearch.encoder.embed import Embedder
from cxrsearch.errors import UsageError
from cxrsearch.images.preprocess import Pixels, Preprocess

Method = Literal["cam", "grad-cam"]
METHODS: tuple[Method, ...] = get_args(Method)

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class FindingMaps:
    """Where a trained head sees its F findings.

    Attributes:
        findings: their names, in the head's order.
        maps: float64 (F, h, w), higher is more. Of `cam`: the mean over a map, plus the head's bias, is the logit.
        logits, probabilities: float64 (F,), of the whole image.
        method: `cam` (exact, h = w = size // 32) or `grad-cam` (not negative, h = w = size // 16).
    """

    findings: tuple[str, ...]
    maps: Floats
    logits: Floats
    probabilities: Floats
    method: str


def finding_maps(embedder: Embedder, stored: Pixels, method: Method = "cam") -> FindingMaps | None:
    """The maps of one image, uint8 (side, side) stored pixels; None without a trained head.

    Raises:
        UsageError: an unknown method, or pixels of another shape.
        CheckpointError: the network answers with values that are not finite.
    """
    if method not in METHODS:
        raise UsageError(f"unknown method {method!r}", f"use one of {', '.join(METHODS)}")
    head, findings = embedder.encoder.classifier, embedder.spec.findings
    network = network_pixels(embedder, [stored])
    if head is None or findings is None:
        return None
    weight, bias = (tensor.detach().cpu().numpy().astype(np.float64) for tensor in (head.weight, head.bias))
    maps = class_activation(embedder.activations(network)[0], weight)
    logits = maps.mean(axis=(1, 2)) + bias
    if method == "grad-cam":
        between, gradients = embedder.gradients(network)
        maps = grad_cam(between[0], gradients[:, 0])
    return FindingMaps(findings, maps, logits, scipy.special.expit(logits), method)


def similarity_maps(embedder: Embedder, stored: Pixels, other: Pixels) -> tuple[Floats, Floats]:
    """What each place of two images adds to the inner product of their embeddings.

    Args:
        embedder: the encoder.
        stored, other: uint8 (side, side), the stored pixels of the two.

    Returns:
        float64 (h, w) of the first image and of the other; the mean of either is the inner product.

    Raises:
        UsageError: pixels of another shape.
        CheckpointError: the network answers with values that are not finite.
    """
    own, others = embedder.activations(network_pixels(embedder, [stored, other])).astype(np.float64)
    return similarity(own, others.mean(axis=(1, 2))), similarity(others, own.mean(axis=(1, 2)))


def on_stored(preprocess: Preprocess, values: Floats) -> Floats:
    """A map (h, w) over the whole of the stored pixels, float64 (side, side); its least value where nothing was seen.

    The network sees the middle of the stored pixels only, where the encoder was made for a centre crop.
    """
    start, seen = preprocess.window()
    whole = np.full((preprocess.pixel_side,) * 2, float(values.min()))
    whole[start : start + seen, start : start + seen] = enlarged(values, seen)
    return whole


def network_pixels(embedder: Embedder, stored: Sequence[Pixels]) -> Pixels:
    """The network's input, uint8 (b, size, size), of stored pixels. Raises UsageError for another shape or type."""
    preprocess = embedder.spec.preprocess
    side = preprocess.pixel_side
    for pixels in stored:
        if pixels.shape != (side, side) or pixels.dtype != np.uint8:
            raise UsageError(f"stored pixels {pixels.dtype} {pixels.shape}, not uint8 {(side, side)}", "resize them")
    return np.stack([preprocess.network_pixels(pixels) for pixels in stored])
