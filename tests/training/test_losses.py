"""The loss against its formula in numpy; class weights against counts by hand."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from cxrsearch.training.losses import FindingLoss, class_weights, contrastive_loss

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(0, 2, (7, 5))
LABELS = RNG.random((7, 5)) < 0.4
POSITIVE, NEGATIVE = RNG.random(5), RNG.random(5)


def reference(
    logits: NDArray[np.float64],
    labels: NDArray[np.bool_],
    gamma_positive: float = 0.0,
    gamma_negative: float = 0.0,
    margin: float = 0.0,
    smoothing: float = 0.0,
) -> float:
    """The docstring's formula, written out."""
    total = 0.0
    for i, row in enumerate(logits):
        for c, x in enumerate(row):
            p = 1 / (1 + np.exp(-x))
            q = max(p - margin, 0)
            t = labels[i, c] * (1 - smoothing) + smoothing / 2
            total -= POSITIVE[c] * t * (1 - p) ** gamma_positive * np.log(p)
            total -= NEGATIVE[c] * (1 - t) * q**gamma_negative * np.log(1 - q)
    return float(total / len(logits))


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"smoothing": 0.1},
        {"gamma_positive": 2.0, "gamma_negative": 2.0},
        {"gamma_positive": 0.0, "gamma_negative": 4.0, "margin": 0.05},
        {"gamma_positive": 1.0, "gamma_negative": 3.0, "margin": 0.2, "smoothing": 0.02},
    ],
)
def test_the_loss_is_the_formula(values: dict[str, float]) -> None:
    options = {name.replace("smoothing", "label_smoothing"): value for name, value in values.items()}
    loss = FindingLoss(torch.from_numpy(POSITIVE), torch.from_numpy(NEGATIVE), **options)
    found = loss(torch.from_numpy(LOGITS), torch.from_numpy(LABELS.astype(float)))
    assert float(found) == pytest.approx(reference(LOGITS, LABELS, **values), rel=1e-12)


def test_gradients_are_those_of_the_formula() -> None:
    loss = FindingLoss(torch.from_numpy(POSITIVE), torch.from_numpy(NEGATIVE), 1.0, 3.0, 0.1, 0.05)
    labels = torch.from_numpy(LABELS.astype(float))
    assert torch.autograd.gradcheck(lambda x: loss(x, labels), torch.from_numpy(LOGITS).requires_grad_())


def test_large_logits_keep_finite_losses_and_gradients() -> None:
    logits = torch.tensor([[-200.0, 200.0, -200.0, 200.0]], requires_grad=True)
    ones = torch.ones(4)
    loss = FindingLoss(ones, ones)(logits, torch.tensor([[1.0, 0.0, 0.0, 1.0]]))
    loss.backward()  # type: ignore[no-untyped-call]
    assert float(loss.detach()) == pytest.approx(400)
    assert logits.grad is not None
    assert logits.grad.tolist() == [[-1.0, 1.0, 0.0, 0.0]]


def test_class_weights_by_hand() -> None:
    labels = np.array([[1, 0, 1], [0, 0, 1], [0, 0, 1], [0, 0, 1]], dtype=bool)
    positive, negative = class_weights(labels)
    assert positive.tolist() == [0.75, 1.0, 0.0]
    assert negative.tolist() == [0.25, 0.0, 1.0]
    third = np.array([[1], [0], [0]], dtype=bool)  # of the float32 that torch multiplies with
    assert [w.tolist() for w in class_weights(third)] == [[float(np.float32(share))] for share in (2 / 3, 1 / 3)]


def test_a_finding_without_positives_gets_no_gradient() -> None:
    labels = np.array([[1, 0], [0, 0]], dtype=bool)
    positive, negative = (torch.from_numpy(weight) for weight in class_weights(labels))
    logits = torch.zeros(2, 2, requires_grad=True)
    loss = FindingLoss(positive, negative)(logits, torch.from_numpy(labels.astype(np.float32)))
    loss.backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert logits.grad.tolist() == [[-0.125, 0.0], [0.125, 0.0]]


@settings(deadline=None, max_examples=50)
@given(arrays(np.bool_, st.tuples(st.integers(1, 20), st.integers(1, 4))))
def test_weighted_positives_and_negatives_balance(labels: NDArray[np.bool_]) -> None:
    positive, negative = class_weights(labels)
    assert np.allclose(positive + negative, 1)
    assert np.allclose(positive * labels.sum(axis=0), negative * (~labels).sum(axis=0), atol=1e-5)


# Views


@pytest.mark.parametrize(("images", "temperature"), [(2, 0.15), (5, 1.0)])
def test_the_loss_of_views_is_its_formula(images: int, temperature: float) -> None:
    """The docstring's sum, written out."""
    rows = RNG.normal(size=(2 * images, 7))
    units = [row / np.sqrt((row**2).sum()) for row in rows]
    total = 0.0
    for i, one in enumerate(units):
        partner = i + 1 if i % 2 == 0 else i - 1
        others = sum(np.exp(one @ other / temperature) for k, other in enumerate(units) if k != i)
        total -= np.log(np.exp(one @ units[partner] / temperature) / others)
    assert float(contrastive_loss(torch.from_numpy(rows), temperature)) == pytest.approx(total / len(units), rel=1e-12)


def test_the_loss_of_views_is_computed_where_they_are() -> None:
    """Also where new tensors are made on another device unless it is said."""
    rows = torch.tensor([[1.0, 0], [1, 0], [0, 1], [0, 1]], dtype=torch.float64)
    with torch.device("meta"):
        found = contrastive_loss(rows, 1.0)
    assert float(found) == pytest.approx(np.log((np.e + 2) / np.e), rel=1e-12)


def test_views_that_tell_all_or_nothing() -> None:
    """Images at right angles, views alike: e^(1/t) against 2 b - 2 others of e^0. All alike: one of 2 b - 1."""
    apart = torch.eye(4, dtype=torch.float64).repeat_interleave(2, dim=0)
    assert float(contrastive_loss(apart, 0.5)) == pytest.approx(np.log((np.exp(2) + 6) / np.exp(2)), rel=1e-12)
    assert float(contrastive_loss(torch.ones(8, 3, dtype=torch.float64), 0.5)) == pytest.approx(np.log(7), rel=1e-12)


def test_the_scale_of_a_projection_does_not_matter_and_its_gradient_is_finite() -> None:
    rows = torch.from_numpy(RNG.normal(size=(6, 3))).requires_grad_()
    loss = contrastive_loss(rows, 0.1)
    assert float(contrastive_loss(7 * rows.detach(), 0.1)) == pytest.approx(float(loss.detach()), rel=1e-12)
    loss.backward()  # type: ignore[no-untyped-call]
    assert rows.grad is not None
    assert torch.isfinite(rows.grad).all()
    assert rows.grad.abs().max() > 0
