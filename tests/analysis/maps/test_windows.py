"""Regions: fractional cells by hand, and the window of another map that is the region itself."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxrsearch.analysis.maps.windows import best_windows, cover, pool, windows
from cxrsearch.errors import UsageError

MAP = np.array([[[1.0, 2.0], [3.0, 4.0]], [[10.0, 0.0], [0.0, 0.0]]])


def test_pooling_by_hand() -> None:
    np.testing.assert_allclose(pool(MAP, (0, 0, 1, 1)), [2.5, 2.5])
    np.testing.assert_allclose(pool(MAP, (0, 0, 0.5, 0.5)), [1, 10])
    np.testing.assert_allclose(pool(MAP, (0.25, 0, 0.5, 0.5)), [1.5, 5])  # half of either upper cell
    np.testing.assert_allclose(pool(MAP, (0.25, 0.25, 0.75, 0.25)), [(1 + 2 * 2) / 3, 10 / 3])
    np.testing.assert_allclose(pool(MAP, (0.6, 0.6, 0.1, 0.1)), [4, 0])


@given(st.integers(0, 1000), st.floats(0, 0.9), st.floats(0.05, 1))
def test_cells_weigh_what_they_are_covered(seed: int, start: float, extent: float) -> None:
    cells = 1 + seed % 9
    weights = cover(np.array([start]), extent, cells)[0]
    assert weights.sum() == pytest.approx(1)
    fine = np.arange(10_000) / 10_000 + 0.00005
    inside = fine[(fine > start) & (fine < start + extent)]
    shares = np.histogram(inside, cells, (0, 1))[0] / len(inside)
    np.testing.assert_allclose(weights, shares, atol=0.003)


def test_a_window_outside_is_refused() -> None:
    with pytest.raises(UsageError, match="inside the image"):
        cover(np.array([1.0]), 0.5, 4)
    with pytest.raises(UsageError, match="inside the image"):
        pool(MAP, (0.5, 0.5, 0.0, 0.5))


def test_windows_reach_both_ends_at_half_cells() -> None:
    np.testing.assert_allclose(windows(0.5, 4), [0, 0.125, 0.25, 0.375, 0.5])
    np.testing.assert_allclose(windows(0.25, 2), np.arange(7) / 8)  # half windows, which are less than half cells
    assert len(windows(0.001, 4)) == 33
    np.testing.assert_allclose(windows(1.0, 4), [0])
    np.testing.assert_allclose(windows(1.7, 4), [0])


def test_the_best_window_is_where_the_region_was_put() -> None:
    rng = np.random.default_rng(0)
    maps = rng.random((3, 8, 4, 4))
    region = 5 * rng.random(8)
    maps[1, :, 2:4, 1:3] = region[:, None, None]
    distances, found = best_windows(maps, region, (0.5, 0.5), np.full(8, 0.5))
    assert distances.argmin() == 1
    assert distances[1] == pytest.approx(0, abs=1e-12)
    np.testing.assert_allclose(found[1], [0.25, 0.5, 0.5, 0.5])


def test_the_distance_is_the_least_over_all_windows() -> None:
    rng = np.random.default_rng(1)
    maps, region, centre = rng.random((2, 5, 3, 4)), rng.random(5), rng.random(5)
    distances, found = best_windows(maps, region, (0.4, 0.5), centre)
    for number in range(2):
        tried = {
            (x, y): pool(maps[number], (x, y, 0.4, 0.5)) - centre for x in windows(0.4, 4) for y in windows(0.5, 3)
        }
        wanted = region - centre
        apart = {
            at: 1 - float(own @ wanted / np.linalg.norm(own) / np.linalg.norm(wanted)) for at, own in tried.items()
        }
        assert distances[number] == pytest.approx(min(apart.values()))
        assert apart[(found[number, 0], found[number, 1])] == pytest.approx(min(apart.values()))
