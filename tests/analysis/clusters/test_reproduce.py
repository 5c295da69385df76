from math import ceil

import numpy as np
import pytest
from scipy.spatial.distance import pdist
from sklearn.preprocessing import StandardScaler

from cxrsearch.analysis.clusters.reproduce import PUBLISHED, PUBLISHED_IMAGES, paper_test
from cxrsearch.errors import UsageError
from cxrsearch.images.findings import NIH_FINDINGS


def drawn(n: int = 401, dim: int = 30) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    embeddings = rng.normal(size=(n, dim)) * rng.lognormal(size=(n, 1))
    embeddings[:, 4] = 3
    return embeddings, np.column_stack([np.ones(n, dtype=np.bool_), rng.random((n, 3)) < (0.3, 0.1, 0.0)])


def test_means_are_scipys_on_the_standardised_sample() -> None:
    embeddings, groups = drawn()
    found = paper_test(embeddings, groups, sample=0.25, seed=4)
    n = ceil(0.25 * 401)
    rows = np.sort(np.random.default_rng(4).choice(401, n, replace=False))
    points, chosen = StandardScaler().fit_transform(np.delete(embeddings[rows], 4, axis=1)), groups[rows]
    assert (found.images, found.live_dims) == (n, 29)
    assert found.group_images.tolist() == chosen.sum(axis=0).tolist()
    for metric, values in (("euclidean", found.mean_l2), ("sqeuclidean", found.mean_squared_l2)):
        expected = [pdist(points[group], metric).mean() for group in chosen.T[:3]]
        np.testing.assert_allclose(values, [*expected, np.nan], rtol=1e-6)


def test_the_global_value_is_an_identity_whatever_the_data_are() -> None:
    rng = np.random.default_rng(1)
    groups = np.ones((200, 1), dtype=np.bool_)
    line = np.outer(rng.normal(size=200), np.ones(20))
    for embeddings in (rng.normal(size=(200, 20)), rng.random((200, 20)) ** 9, line):
        found = paper_test(embeddings, groups, sample=1)
        assert found.identity == pytest.approx(2 * 20 * 200 / 199)
        assert found.mean_squared_l2[0] == pytest.approx(found.identity, rel=1e-6)
    dims = 667
    assert round(2 * dims * PUBLISHED_IMAGES / (PUBLISHED_IMAGES - 1), 2) == PUBLISHED["Global"][1]


def test_the_band_and_the_verdicts() -> None:
    rng = np.random.default_rng(2)
    embeddings = rng.normal(size=(900, 50))
    kind = np.arange(900) % 3
    embeddings[kind == 0] *= 0.3
    embeddings[kind == 2] *= 1.8
    groups = np.column_stack([np.ones(900, dtype=np.bool_), kind == 0, kind == 2, np.zeros(900, dtype=np.bool_)])
    found = paper_test(embeddings, groups, sample=1)
    assert (found.expected, found.low, found.high) == (100, 100 - 1.6 * 20, 100 + 1.6 * 20)
    assert found.verdicts == ("within", "below", "above", "unknown")


def test_the_published_table_has_all_findings_but_one() -> None:
    assert set(NIH_FINDINGS) - set(PUBLISHED) == {"Pleural_Thickening"}
    low, high = (1334 + sign * 1.6 * np.sqrt(8 * 667) for sign in (-1, 1))
    assert sum(squared > high for _, squared in PUBLISHED.values()) == 4
    assert sum(squared < low for _, squared in PUBLISHED.values()) == 6


def test_the_same_sample_again_and_another_with_another_seed() -> None:
    embeddings, groups = drawn()
    one, again, other = (paper_test(embeddings, groups, sample=0.1, seed=seed) for seed in (1, 1, 2))
    assert one.mean_l2.tobytes() == again.mean_l2.tobytes() != other.mean_l2.tobytes()


def test_what_is_no_sample_is_refused() -> None:
    embeddings, groups = drawn()
    for sample in (0.0, 1.5, float("nan")):
        with pytest.raises(UsageError, match="a sample is a share of images"):
            paper_test(embeddings, groups, sample=sample)
    with pytest.raises(UsageError, match="a sample of 1 of 401 images has no pairs"):
        paper_test(embeddings, groups, sample=0.001)
    with pytest.raises(UsageError, match="a sample is a share of images with groups"):
        paper_test(embeddings, groups[1:])
    embeddings[3, 3] = np.nan
    with pytest.raises(UsageError, match="not finite, the first in row 3"):
        paper_test(embeddings, groups)
