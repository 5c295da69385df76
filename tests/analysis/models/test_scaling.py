import numpy as np
from sklearn.preprocessing import StandardScaler

from cxrsearch.analysis.models.scaling import Scale, blocks


def test_equals_scikit_learn_far_from_zero_and_over_many_blocks() -> None:
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(10_000, 3)) * (0.01, 1, 50) + (1000, 0, -5)).astype(np.float32)
    peer = StandardScaler().fit(x.astype(np.float64))
    scale = Scale.of(x)
    np.testing.assert_allclose(scale.mean, peer.mean_, rtol=1e-12)
    np.testing.assert_allclose(scale.factor, 1 / peer.scale_, rtol=1e-9)
    np.testing.assert_allclose(scale(x[:7]), peer.transform(x[:7].astype(np.float64)), rtol=1e-7)


def test_a_constant_dimension_becomes_zero() -> None:
    x = np.full((5000, 2), 0.1, np.float32)
    x[4500, 1] = 0.2
    scale = Scale.of(x)
    assert scale.factor[0] == 0
    assert scale.factor[1] > 0
    assert (scale(x)[:, 0] == 0).all()


def test_blocks_cover_the_rows_in_order_as_float64() -> None:
    x = np.arange(9000, dtype=np.float32)[:, None]
    parts = list(blocks(x))
    assert [(place.start, place.stop) for place, _ in parts] == [(0, 4096), (4096, 8192), (8192, 9000)]
    assert all(block.dtype == np.float64 and (block == x[place]).all() for place, block in parts)
