"""Where a finding is believed to be, and which regions make two images alike: maps of an encoder's answers.

stored pixels -> network pixels (images) -> feature maps (encoder) -> maps (analysis)
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


def finding_maps(embedder: Embedder, image: Embedded, method: Method = "cam") -> FindingMaps | None:
    """The maps of one image; None without a trained head.

    `cam` derives from the image's activations. `grad-cam` needs gradients, hence another pass through the network.

    Args:
        embedder: the encoder that embedded the image.
        image: with activations.
        method: `cam` or `grad-cam`.

    Raises:
        UsageError: an unknown method.
        CheckpointError: the network answers with values that are not finite.
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
    """What each place of two images adds to the inner product of their embeddings.

    Args:
        image, other: with activations, of one encoder.

    Returns:
        float64 (h, w) of the first image and of the other; the mean of either is the inner product.
    """
    one, two = (_activations(each).astype(np.float64) for each in (image, other))
    return similarity(one, two.mean(axis=(1, 2))), similarity(two, one.mean(axis=(1, 2)))


def _activations(image: Embedded) -> Embeddings:
    if image.activations is None:
        raise UsageError("an image without its feature map has no maps", "embed it from its pixels")
    return image.activations


def on_stored(preprocess: Preprocess, values: Floats) -> Floats:
    """A map (h, w) over the whole of the stored pixels, float64 (side, side); its least value where nothing was seen.

    The network sees the middle of the stored pixels only, where the encoder was made for a centre crop.
    """
    start, seen = preprocess.window()
    whole = np.full((preprocess.pixel_side,) * 2, float(values.min()))
    whole[start : start + seen, start : start + seen] = enlarge(values, seen)
    return whole
