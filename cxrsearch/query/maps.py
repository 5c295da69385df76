"""Heat maps: where the network sees a finding, and which regions make two images alike.

stored pixels -> network pixels (images) -> feature maps (encoder) -> heat maps (analysis)
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import scipy.special

from cxrsearch.analysis.maps.activation import class_activation, grad_cam, similarity
from cxrsearch.analysis.maps.box_overlap import enlarge
from cxrsearch.arrays import Embeddings, Floats
from cxrsearch.encoder.embed import Embedder
from cxrsearch.errors import UsageError
from cxrsearch.images.preprocess import Preprocess
from cxrsearch.query.embedded import Embedded, network_pixels

Method = Literal["cam", "grad-cam"]
METHODS: tuple[Method, ...] = get_args(Method)


@dataclass(frozen=True, eq=False)
class FindingMaps:
    """The heat maps of a trained head's F findings.

    Attributes:
        findings: their names, in the head's order.
        maps: float64 (F, h, w), higher is more. With `cam`, the mean over a heat map, plus the head's bias, is the
            logit.
        logits: float64 (F,), of the whole image.
        probabilities: float64 (F,), of the whole image.
        method: `cam` (exact, h = w = size // 32) or `grad-cam` (not negative, h = w = size // 16).
    """

    findings: tuple[str, ...]
    maps: Floats
    logits: Floats
    probabilities: Floats
    method: str


def finding_maps(embedder: Embedder, image: Embedded, method: Method = "cam") -> FindingMaps | None:
    """The heat maps of one image.

    `cam` uses the image's activations. `grad-cam` needs gradients, so it runs the network once more.

    Args:
        embedder: the encoder that embedded the image.
        image: an embedded image with activations.
        method: `cam` or `grad-cam`.

    Returns:
        The heat maps; None without a trained head.

    Raises:
        UsageError: an unknown method, or an image without activations.
        CheckpointError: the network's output is not finite.
    """
    if method not in METHODS:
        raise UsageError(f"unknown method {method!r}", f"use one of {', '.join(METHODS)}")
    head, findings = embedder.encoder.classifier, embedder.spec.findings
    if head is None or findings is None:
        return None
    weight, bias = (tensor.detach().cpu().numpy().astype(np.float64) for tensor in (head.weight, head.bias))
    maps = class_activation(_activations(image), weight)
    logits = maps.mean(axis=(1, 2)) + bias
    if method == "grad-cam":
        between, gradients = embedder.gradients(network_pixels(embedder, [image.pixels]))
        maps = grad_cam(between[0], gradients[:, 0])
    return FindingMaps(findings, maps, logits, scipy.special.expit(logits), method)


def similarity_maps(image: Embedded, other: Embedded) -> tuple[Floats, Floats]:
    """What each cell of two images adds to the inner product of their embeddings.

    Args:
        image: an embedded image with activations.
        other: another one, of the same encoder.

    Returns:
        float64 (h, w) of the first image and of the other. The mean of either is the inner product.

    Raises:
        UsageError: an image without activations.
    """
    one, two = (_activations(each).astype(np.float64) for each in (image, other))
    return similarity(one, two.mean(axis=(1, 2))), similarity(two, one.mean(axis=(1, 2)))


def _activations(image: Embedded) -> Embeddings:
    if image.activations is None:
        raise UsageError("an image without its feature map has no heat maps", "embed it from its pixels")
    return image.activations


def on_stored(preprocess: Preprocess, values: Floats) -> Floats:
    """Enlarge a heat map (h, w) to the size of the stored pixels, float64 (side, side).

    With a centre crop, the network sees only the middle of the stored pixels. The rest gets the heat map's lowest
    value.
    """
    start, seen = preprocess.window()
    whole = np.full((preprocess.pixel_side,) * 2, float(values.min()))
    whole[start : start + seen, start : start + seen] = enlarge(values, seen)
    return whole
