"""Where in an image a network's answer comes from: three ways to weigh the channels of a feature map.

An embedding is the mean of a feature map over the image, and a logit or an inner product is linear in the embedding. So
each of them is exactly the mean of a heat map, whose cells say what each place adds to the answer.
"""

import numpy as np

from cxrsearch.arrays import Floats, Reals
from cxrsearch.errors import UsageError


def class_activation(activations: Reals, weight: Reals) -> Floats:
    """Class activation maps (Zhou et al. 2016, CVPR): what each place adds to each finding's logit.

    Args:
        activations: floating (dim, h, w), the rectified last feature map.
        weight: floating (F, dim), of the last layer.

    Returns:
        float64 (F, h, w); a finding's mean over (h, w), plus the last layer's bias, is its logit.

    Raises:
        UsageError: arrays that do not fit together.
    """
    return _weigh(activations, weight)


def similarity(activations: Reals, embedding: Reals) -> Floats:
    """Where an image is like another image, given the other's embedding (Stylianou, Souvenir and Pless 2019, WACV).

    Args:
        activations: floating (dim, h, w), the rectified last feature map.
        embedding: floating (dim,), of the other image.

    Returns:
        float64 (h, w), whose mean is the inner product of the two embeddings.

    Raises:
        UsageError: arrays that do not fit together.
    """
    of_one: Floats = _weigh(activations, embedding[np.newaxis])[0]
    return of_one


def grad_cam(activations: Reals, gradients: Reals) -> Floats:
    """Gradient-weighted class activation maps (Selvaraju et al. 2017, ICCV): the ReLU of a weighted sum of channels.

    Args:
        activations: floating (channels, h, w), of any layer.
        gradients: floating (F, channels, h, w), of each finding's logit; a channel's weight is its mean gradient.

    Returns:
        float64 (F, h, w), not negative.

    Raises:
        UsageError: arrays that do not fit together.
    """
    if gradients.shape[1:] != activations.shape:
        raise UsageError(f"gradients {gradients.shape} of activations {activations.shape}", "give those of one layer")
    maps = _weigh(activations, gradients.mean(axis=(2, 3), dtype=np.float64))
    rectified: Floats = np.maximum(maps, 0)
    return rectified


def _weigh(activations: Reals, weight: Reals) -> Floats:
    if activations.ndim != 3 or weight.ndim != 2 or weight.shape[1] != len(activations):
        raise UsageError(f"weights {weight.shape} of activations {activations.shape}", "give one weight per channel")
    maps: Floats = np.tensordot(weight.astype(np.float64), activations.astype(np.float64), axes=1)
    return maps
