"""Coordinates and drawing against hand-worked geometry."""

import numpy as np
import pytest

from cxrsearch.phantom._film_frame import FilmFrame, curve, ellipse


def test_a_point_lies_where_its_centimetres_say() -> None:
    frame = FilmFrame(200, 40.0, 20.0, (10.0, 5.0), 0.0)
    np.testing.assert_allclose(frame.pixels(np.array([[0.0, 0.0], [4.0, 2.0]])), [[50, 50], [70, 70]])


@pytest.mark.parametrize("angle", [0.0, 0.1, -0.3])
def test_the_grid_undoes_the_placing(angle: float) -> None:
    frame = FilmFrame(64, 30.0, 40.0, (14.0, 6.0), angle)
    points = np.stack([axis.ravel() for axis in frame.grid], axis=1).astype(np.float64)
    rows, columns = np.indices((64, 64)).reshape(2, -1) + 0.5
    np.testing.assert_allclose(frame.pixels(points), np.stack([columns, rows], axis=1), atol=1e-3)


@pytest.mark.parametrize(("size", "blur"), [(64, 0.05), (256, 0.05), (300, 0.05), (64, 0.6), (512, 0.6)])
def test_a_filled_disc_has_its_area_and_centre(size: int, blur: float) -> None:
    frame = FilmFrame(size, 40.0, 40.0, (20.0, 20.0), 0.0)
    disc = frame.fill([ellipse(3.0, -5.0, 6.0, 6.0)], blur)
    assert disc.sum() * (40 / size) ** 2 == pytest.approx(np.pi * 36, rel=0.05)
    x, y = frame.grid
    assert [(disc * x).sum() / disc.sum(), (disc * y).sum() / disc.sum()] == pytest.approx([3, -5], abs=0.05)


def test_a_curve_passes_through_its_knots() -> None:
    knots = [(0.0, 0.0), (1.0, 3.0), (4.0, 2.0), (5.0, 0.0)]
    np.testing.assert_allclose(curve(knots, steps=8)[::8], knots, atol=1e-12)
    np.testing.assert_allclose(curve(knots, closed=True, steps=8)[::8], knots, atol=1e-12)
