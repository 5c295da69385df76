import numpy as np
import pytest

from cxrsearch.analysis.clusters._group_sums import GroupSums, PatientSums, squared_norms
from tests.analysis.clouds import Cloud, cloud, contrast, mean_over_pairs, squared


def sums(drawn: Cloud, group: int, weights: np.ndarray | None = None) -> GroupSums:
    patient = np.unique(drawn.patients, return_inverse=True)[1].astype(np.int64)
    made = PatientSums.of(drawn.points, drawn.groups[:, group], patient, drawn.same)
    return made.weigh(np.ones((patient.max() + 1, 1)) if weights is None else weights)


@pytest.mark.parametrize("seed", [0, 1])
def test_means_are_those_over_an_explicit_list_of_pairs(seed: int) -> None:
    drawn = cloud(seed, patients=25)
    different = drawn.patients[:, None] != drawn.patients
    everyone = sums(drawn, 0)
    overall = mean_over_pairs(squared(drawn.points), different)
    assert everyone.mean_within()[0] == pytest.approx(overall, rel=1e-10)
    for g in (1, 2):
        expected = contrast(drawn.points, drawn.groups[:, g], drawn.patients)
        assert sums(drawn, g).contrast(everyone)[0] == pytest.approx(expected, rel=1e-9)


def test_a_weighted_patient_is_so_many_copies_that_are_never_paired_with_each_other() -> None:
    drawn = cloud(3, patients=15)
    names = np.unique(drawn.patients)
    weights = np.random.default_rng(0).integers(0, 4, (len(names), 5))
    everyone, own = sums(drawn, 0, weights), sums(drawn, 1, weights)
    for r in range(5):
        times = weights[np.searchsorted(names, drawn.patients), r]
        rows = np.repeat(np.arange(len(times)), times)
        different = drawn.patients[rows][:, None] != drawn.patients[rows]
        overall = mean_over_pairs(squared(drawn.points[rows]), different)
        assert everyone.mean_within()[r] == pytest.approx(overall, rel=1e-9)
        expected = contrast(drawn.points[rows], drawn.groups[rows, 1], drawn.patients[rows])
        assert own.contrast(everyone)[r] == pytest.approx(expected, rel=1e-9)


def test_no_pairs_no_mean() -> None:
    drawn = cloud(0, patients=1)
    assert np.isnan(sums(drawn, 0).mean_within()).all()
    everyone = sums(cloud(0, patients=9), 0)
    assert np.isnan(everyone.contrast(everyone)).all()


def test_squared_norms_are_float64() -> None:
    points = (np.random.default_rng(0).normal(size=(40, 300)) * 1e3).astype(np.float32)
    np.testing.assert_allclose(squared_norms(points), (points.astype(np.float64) ** 2).sum(axis=1), rtol=1e-13)
