from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import percentileofscore

from cxrsearch.analysis.neighbours.typicality import Reference, flagged_ranks, reference_rows, typicality
from cxrsearch.errors import UsageError
from cxrsearch_indexes.base import Neighbours

Make = Callable[..., Neighbours]
HUNDREDS = Reference(20, np.arange(1.0, 801.0))


@settings(deadline=None)
@given(
    distances=st.lists(st.integers(-5, 5), min_size=1, max_size=60),
    query=st.integers(-6, 6),
)
def test_percentile_equals_scipy(distances: list[int], query: int) -> None:
    reference = Reference(3, np.array(distances, dtype=np.float64))
    got = typicality(reference, float(query))
    assert got.percentile == pytest.approx(percentileofscore(distances, query, kind="mean"), abs=1e-9)
    assert got.kth_distance == query
    assert (got.warning is not None) == (query > max(distances))  # so few cannot show 1%: none but the farthest


@pytest.mark.parametrize(
    ("distance", "percentile", "description"),
    [
        (0.5, 0.0, "nearer to its 20th neighbour than all 800 reference images are to theirs"),
        (24.5, 3.0, "nearer to its 20th neighbour than 97% of the 800 reference images are to theirs"),
        (400.5, 50.0, "farther from its 20th neighbour than 50% of the 800 reference images are from theirs"),
        (799.5, 99.875, "farther from its 20th neighbour than 99.8% of the 800 reference images are from theirs"),
        (1e9, 100.0, "farther from its 20th neighbour than all 800 reference images are from theirs"),
    ],
)
def test_words_do_not_claim_more_than_was_seen(distance: float, percentile: float, description: str) -> None:
    got = typicality(HUNDREDS, distance)
    assert got.percentile == pytest.approx(percentile)
    assert got.description == description


def test_a_hand_is_flagged_with_the_rate_of_false_alarms() -> None:
    assert typicality(HUNDREDS, 792.5).warning is None
    assert typicality(HUNDREDS, 793.5).warning is not None
    assert typicality(HUNDREDS, 1e9).warning == (
        "this image is unlike the index: it is farther from its 20th neighbour than all 800 reference images are "
        "from theirs (about 1 in 100 ordinary images is flagged too)"
    )


@pytest.mark.parametrize("m", [1, 5, 60, 99, 100, 250, 1000])
def test_as_many_ordinary_images_are_flagged_as_the_warning_says(m: int) -> None:
    """One more image of the same kind is equally likely to have any rank among m + 1; every rank is tried."""
    everything = np.arange(m + 1.0)
    flagged = [typicality(Reference(20, np.delete(everything, i)), everything[i]).warning for i in range(m + 1)]
    said = [warning for warning in flagged if warning is not None]
    assert f"about 1 in {(m + 1) // len(said)} ordinary images" in said[0]


@pytest.mark.parametrize(("k", "words"), [(1, "1st"), (2, "2nd"), (3, "3rd"), (11, "11th"), (12, "12th"), (23, "23rd")])
def test_ordinals(k: int, words: str) -> None:
    assert f"its {words} neighbour" in typicality(Reference(k, np.array([1.0, 2.0])), 1.5).description


def test_no_reference_and_no_kth_neighbour_are_said() -> None:
    alone = typicality(None, 3.0)
    assert (alone.kth_distance, alone.percentile) == (3.0, None)
    assert alone.warning is not None
    assert "one patient only" in alone.warning
    few = typicality(HUNDREDS, np.inf)
    assert (few.kth_distance, few.percentile) == (None, None)
    assert few.warning is not None
    assert "fewer than 20 neighbours" in few.warning


def test_reference_takes_the_kth_distance_of_each_image(by_hand: Make) -> None:
    near = by_hand([(0, 1.0), (1, 2.0), (2, 7.0)], [(0, 0.5), (1, 3.0), (2, 4.0)])
    reference = Reference.of(near, 3)
    assert reference is not None
    assert (reference.k, reference.distances.tolist()) == (3, [4.0, 7.0])


def test_reference_uses_a_smaller_k_where_an_image_has_fewer(by_hand: Make) -> None:
    near = by_hand([(0, 1.0), (1, 2.0), (2, 7.0)], [(0, 0.5), (1, 0.7)])
    reference = Reference.of(near, 20)
    assert reference is not None
    assert (reference.k, reference.distances.tolist()) == (2, [0.7, 2.0])


def test_one_patient_or_no_image_gives_no_reference(by_hand: Make) -> None:
    assert Reference.of(by_hand([], [(0, 1.0)]), 20) is None
    assert Reference.of(by_hand(), 20) is None


@pytest.mark.parametrize(("k", "distances"), [(0, [1.0]), (1, []), (1, [np.nan]), (1, [np.inf]), (1, [[1.0]])])
def test_a_damaged_reference_is_refused(k: int, distances: list[float]) -> None:
    with pytest.raises(UsageError, match="a reference needs"):
        Reference(k, np.array(distances))


def test_reference_rows_are_all_or_a_seeded_sample() -> None:
    assert reference_rows(7, seed=3).tolist() == list(range(7))
    rows = reference_rows(20_000, seed=3)
    assert len(rows) == len(set(rows.tolist())) == 5000
    assert (np.diff(rows) > 0).all()
    assert rows.min() >= 0
    assert rows.max() < 20_000
    assert abs(rows.mean() - 9999.5) < 4 * 20_000 / np.sqrt(12 * 5000)
    np.testing.assert_array_equal(rows, reference_rows(20_000, seed=3))
    assert set(rows.tolist()) != set(reference_rows(20_000, seed=4).tolist())


ALARMS = st.integers(1, 9999).map(lambda number: number / 10_000)


@settings(deadline=None, max_examples=60)
@given(m=st.integers(1, 120), alarm=ALARMS)
def test_the_alarm_bounds_the_share_of_ordinary_images_that_are_flagged(m: int, alarm: float) -> None:
    """Each of m + 1 alike takes the query's place once: every rank comes once, so the share is exact."""
    everything = np.random.default_rng(m).permutation(np.arange(m + 1.0))
    got = [typicality(Reference(20, np.delete(everything, i)), everything[i], alarm) for i in range(m + 1)]
    share, meant = Fraction(sum(bool(one.flagged) for one in got), m + 1), Fraction(str(alarm))
    lowest = Fraction(1, m + 1)
    assert share == lowest if meant < lowest else meant - lowest < share <= meant
    warnings = {one.warning for one in got if one.flagged}
    assert all(("reference images cannot show" in str(warning)) == (meant < lowest) for warning in warnings)
    assert {one.warning for one in got if not one.flagged} == {None}
    assert {one.alarm for one in got} == {alarm}


@settings(deadline=None, max_examples=60)
@given(everything=st.lists(st.integers(0, 6), min_size=20, max_size=80), alarm=ALARMS)
def test_ties_never_flag_more_than_the_alarm(everything: list[int], alarm: float) -> None:
    values = np.array(everything, dtype=np.float64)
    one_of = [typicality(Reference(1, np.delete(values, i)), values[i], alarm) for i in range(len(values))]
    assert sum(bool(one.flagged) for one in one_of) <= max(1.0, alarm * len(values) + 1e-9)


@pytest.mark.parametrize(
    ("m", "alarm", "ranks"),
    [(99, 0.01, 1), (98, 0.01, 1), (199, 0.01, 2), (198, 0.01, 1), (99, 0.29, 29), (5000, 0.01, 50), (9, 0.95, 9)],
)
def test_flagged_ranks_are_those_of_the_decimal_number(m: int, alarm: float, ranks: int) -> None:
    assert flagged_ranks(m, alarm) == ranks


@pytest.mark.parametrize(
    ("m", "alarm", "words"),
    [
        (5000, 0.01, "(about 1 in 100 ordinary images is flagged too)"),
        (797, 0.05, "(about 1 in 20 ordinary images is flagged too)"),
        (60, 0.01, "(about 1 in 61 ordinary images is flagged too: 60 reference images cannot show 0.01)"),
        (5000, 0.0001, "(about 1 in 5001 ordinary images is flagged too: 5000 reference images cannot show 0.0001)"),
        (800, 0.7, "(560 in 801 ordinary images are flagged too)"),
        (800, 0.999, "(800 in 801 ordinary images are flagged too)"),
    ],
)
def test_the_warning_says_what_m_references_can_show(m: int, alarm: float, words: str) -> None:
    assert str(typicality(Reference(20, np.arange(1.0, m + 1)), 1e9, alarm).warning).endswith(words)


@pytest.mark.parametrize("alarm", [0.0, 1.0, -0.1, float("nan")])
def test_an_alarm_that_cannot_be_meant(alarm: float) -> None:
    with pytest.raises(UsageError, match="use a share above 0 and below 1"):
        typicality(HUNDREDS, 1.0, alarm)
