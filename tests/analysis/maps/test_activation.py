"""Maps of a linear answer: their means are the answer itself, in hand-worked and in random cases."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxrsearch.analysis.maps.activation import class_activation, grad_cam, similarity
from cxrsearch.errors import UsageError

A = np.array([[[1.0, 2.0], [0.0, 1.0]], [[0.0, 4.0], [0.0, 0.0]]])
"""Two channels of 2 x 2, means 1 and 1."""


def test_class_activation_weighs_channels_by_hand() -> None:
    maps = class_activation(A, np.array([[1.0, -1.0], [0.5, 2.0]]))
    np.testing.assert_array_equal(maps, [[[1, -2], [0, 1]], [[0.5, 9], [0, 0.5]]])


@given(st.integers(0, 10_000), st.integers(1, 5), st.integers(1, 6), st.integers(1, 4))
def test_the_mean_of_a_map_and_the_bias_is_the_logit(seed: int, dim: int, side: int, findings: int) -> None:
    rng = np.random.default_rng(seed)
    activations = rng.random((dim, side, side + 1), dtype=np.float32)
    weight, bias = rng.normal(size=(findings, dim)), rng.normal(size=findings)
    logits = weight @ activations.astype(np.float64).mean(axis=(1, 2)) + bias
    maps = class_activation(activations, weight)
    np.testing.assert_allclose(maps.mean(axis=(1, 2)) + bias, logits, rtol=1e-12, atol=1e-12)


@given(st.integers(0, 10_000))
def test_the_means_of_both_similarity_maps_are_the_inner_product(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.random((2, 6, 3, 4))
    mean_a, mean_b = a.mean(axis=(1, 2)), b.mean(axis=(1, 2))
    assert similarity(a, mean_b).mean() == pytest.approx(mean_a @ mean_b, rel=1e-12)
    assert similarity(b, mean_a).mean() == pytest.approx(mean_a @ mean_b, rel=1e-12)


def test_grad_cam_averages_gradients_and_keeps_what_is_positive() -> None:
    gradients = np.array([[[[1.0, 0.0], [0.0, 3.0]], [[-4.0, 0.0], [0.0, 0.0]]]])  # weights 1 and -1
    np.testing.assert_array_equal(grad_cam(A, gradients), [[[1, 0], [0, 1]]])


def test_of_a_linear_layer_grad_cam_is_cam_without_its_negative_part_and_a_factor() -> None:
    weight = np.array([[1.0, -1.0], [0.5, 2.0]])
    gradients = np.broadcast_to(weight[:, :, None, None] / 4, (2, 2, 2, 2))  # of the mean over 4 places
    np.testing.assert_allclose(4 * grad_cam(A, gradients), np.maximum(class_activation(A, weight), 0))


def test_arrays_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UsageError, match="one weight per channel"):
        class_activation(A, np.ones((1, 3)))
    with pytest.raises(UsageError, match="one weight per channel"):
        similarity(A[0], np.ones(2))
    with pytest.raises(UsageError, match="one layer"):
        grad_cam(A, np.ones((1, 3, 2, 2)))
