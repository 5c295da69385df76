from collections.abc import Callable

import numpy as np
import pytest

from cxrsearch.analysis.retrieval._same_patient import same_patient
from cxrsearch.arrays import Flags
from cxrsearch.errors import UsageError
from cxrsearch_indexes import Neighbours, Restriction, build

Make = Callable[..., Neighbours]


def test_by_hand(by_hand: Make) -> None:
    patients = np.array([7, 7, 8, 9, 9])
    asked = np.array([7, 8, 9, 3])  # images 0, 2 and 4, and one that is not indexed
    neighbours = by_hand([(1, 0.1), (2, 0.2), (3, 0.3)], [(0, 1.0), (3, 2.0)], [(2, 0.5), (3, 0.6)], [])
    itself = Restriction(groups=np.arange(5), query_groups=np.array([0, 2, 4, -1]))
    result = same_patient(neighbours, asked, patients, 2, itself)
    np.testing.assert_array_equal(result.nearest, [1, 0, 0, np.nan])
    np.testing.assert_array_equal(result.share, [0.5, 0, 0.5, np.nan])
    np.testing.assert_array_equal(result.chance, [1 / 4, 0, 1 / 4, 0])
    assert result.possible.tolist() == [True, False, True, False]


@pytest.mark.parametrize("allowed", [None, np.arange(60) % 3 > 0])
def test_equals_counting_one_query_at_a_time(allowed: Flags | None) -> None:
    rng = np.random.default_rng(0)
    x, patients = rng.normal(size=(60, 3)).astype(np.float32), rng.integers(0, 15, 60)
    itself = Restriction(allowed, np.arange(60), np.arange(60))
    neighbours = build("exact", [x], "l2").search(x, 12, itself)
    result = same_patient(neighbours, patients, patients, 8, itself)
    for query in range(60):
        rows = neighbours[query][0][:8]
        assert result.share[query] == np.mean(patients[rows] == patients[query])
        assert result.nearest[query] == (patients[rows[0]] == patients[query])
        answers = [r for r in range(60) if r != query and (allowed is None or allowed[r])]
        own = [r for r in answers if patients[r] == patients[query]]
        assert result.possible[query] == bool(own)
        assert result.chance[query] == pytest.approx(len(own) / len(answers), rel=1e-12)


def test_other_patients_only_leave_nothing_to_find() -> None:
    rng = np.random.default_rng(1)
    x, patients = rng.normal(size=(30, 3)).astype(np.float32), rng.integers(0, 6, 30)
    others = Restriction(groups=patients, query_groups=patients)
    result = same_patient(build("exact", [x], "l2").search(x, 5, others), patients, patients, 5, others)
    assert not result.possible.any()
    assert not (result.share + result.nearest + result.chance).any()


def test_what_does_not_fit_is_refused(by_hand: Make) -> None:
    one, patients = by_hand([(0, 1.0)]), np.array([0, 1])
    with pytest.raises(UsageError, match=r"patients must be int64 \(1,\)"):
        same_patient(one, patients, patients, 1, Restriction())
    with pytest.raises(UsageError, match="k = 0"):
        same_patient(one, patients[:1], patients, 0, Restriction())
    with pytest.raises(UsageError, match="images, findings"):
        same_patient(one, patients[:1], patients[:0], 1, Restriction())
