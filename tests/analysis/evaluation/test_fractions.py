from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from cxrsearch.analysis.evaluation import fractions as module
from cxrsearch.analysis.evaluation.fractions import draw_patients, fraction_curve, near_drawn
from cxrsearch.analysis.models.knn_model import Knn, Searches
from cxrsearch.analysis.models.model import Sample
from cxrsearch.errors import UsageError
from cxrsearch_indexes import Restriction, build

Draw = Callable[..., tuple[Sample, ...]]


@pytest.mark.parametrize("share", [0.01, 0.1, 0.4, 0.8, 1.0])
@pytest.mark.parametrize("most", [15, 60, 500])
def test_filtered_neighbours_are_those_of_a_direct_search(samples: Draw, share: float, most: int) -> None:
    bank, other = samples(400, 150, images=3)
    queries = Sample(other.embeddings, other.labels, np.where(np.arange(150) % 2, bank.patients[:150], other.patients))
    searches = Searches(k=1)
    drawn = np.random.default_rng(int(100 * share)).random(400) < share
    drawn[0] = True
    found = near_drawn(bank, queries, searches, searches.neighbours(bank, queries, most), drawn, 10)
    direct = build("exact", [bank.embeddings], "l2").search(
        queries.embeddings, 10, Restriction(drawn, bank.patients, queries.patients)
    )
    np.testing.assert_array_equal(found.rows, direct.rows)
    np.testing.assert_array_equal(found.distances, direct.distances)
    np.testing.assert_array_equal(found.offsets, direct.offsets)


def test_only_queries_that_lack_neighbours_are_searched_again(samples: Draw) -> None:
    bank, queries = samples(400, 100)
    searches = Searches(k=1)
    near = searches.neighbours(bank, queries, 40)
    drawn = bank.embeddings[:, 0] > np.median(bank.embeddings[:, 0])  # near some queries, and far from others
    asked: list[int] = []
    index = searches.index(bank)

    class Counting:
        def search(self, *arguments: object) -> object:
            asked.append(len(arguments[0]))  # type: ignore[arg-type]
            return index.search(*arguments)  # type: ignore[arg-type]

    searches._indexes[bank] = Counting()  # type: ignore[assignment]
    found = near_drawn(bank, queries, searches, near, drawn, 10)
    few = sum(np.count_nonzero(drawn[near[query][0]]) < 10 for query in range(100))
    assert asked == [few]
    assert 0 < few < 50
    assert (found.counts == 10).all()


def test_the_whole_bank_is_the_papers_vote(samples: Draw) -> None:
    bank, queries = samples(300, 120)
    curve = fraction_curve(bank, queries, Searches(), fractions=(1.0, 0.3), draws=3)
    probability = Knn(Searches()).fit(bank, queries).predict(queries)
    expected = [roc_auc_score(queries.labels[:, f], probability[:, f]) for f in range(3)]
    np.testing.assert_allclose(curve.auroc[0], [expected] * 3, rtol=1e-12)
    assert curve.images[0].tolist() == [300] * 3
    assert len(set(curve.images[1])) >= 1
    assert len({values.tobytes() for values in curve.auroc[1]}) == 3
    assert curve.findings == 3
    np.testing.assert_allclose(curve.mean, curve.auroc.mean(axis=2), rtol=1e-12)


def test_a_fraction_is_the_vote_of_the_drawn_images_alone(samples: Draw) -> None:
    bank, queries = samples(500, 100)
    curve = fraction_curve(bank, queries, Searches(), fractions=(0.05, 0.5), draws=2, k=5, seed=3)
    for s, fraction in enumerate((0.05, 0.5)):
        for draw in range(2):
            part = bank.take(np.flatnonzero(draw_patients(bank, fraction, 3, draw)))
            probability = Knn(Searches(), k=5).fit(part, queries).predict(queries)
            expected = [roc_auc_score(queries.labels[:, f], probability[:, f]) for f in range(3)]
            np.testing.assert_allclose(curve.auroc[s, draw], expected, rtol=1e-12)
            assert curve.images[s, draw] == len(part)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 1000), few=st.floats(0.001, 1), more=st.floats(0.001, 1))
def test_draws_keep_patients_whole_are_nested_and_never_empty(
    samples: Draw, seed: int, few: float, more: float
) -> None:
    (bank,) = samples(120, images=4)
    small, large = (draw_patients(bank, fraction, 0, seed) for fraction in sorted((few, more)))
    assert small.any()
    for drawn in (small, large):
        assert len(np.intersect1d(bank.patients[drawn], bank.patients[~drawn])) == 0
    if min(few, more) > 0.2:
        assert not (small & ~large).any()


def test_every_patient_is_drawn_alike_within_its_stratum() -> None:
    labels = np.zeros((600, 2), np.bool_)
    labels[:30, 0] = True  # 10 patients, 3 images each, of the rarest finding
    labels[2:120, 1] = True  # 39 more
    bank = Sample(np.zeros((600, 1), np.float32), labels, np.arange(600) // 3)
    drawn = np.array([draw_patients(bank, 0.25, 1, draw)[::3] for draw in range(2000)])
    for members, size in ((slice(10), 10), (slice(10, 40), 30), (slice(40, 200), 160)):
        counts = drawn[:, members].sum(axis=1)
        assert set(counts) <= {int(size / 4), int(size / 4) + 1}
        assert counts.mean() == pytest.approx(size / 4, abs=0.05)
        assert np.ptp(drawn[:, members].mean(axis=0)) < 0.1
    np.testing.assert_array_equal(draw_patients(bank, 0.25, 1, 7), np.repeat(drawn[7], 3))
    assert (draw_patients(bank, 0.25, 2, 7)[::3] != drawn[7]).any()
    assert draw_patients(bank, 1.0, 1, 0).all()


def test_findings_without_both_kinds_and_few_patients(samples: Draw) -> None:
    bank, queries = samples(60, 40)
    labels = queries.labels.copy()
    labels[:, 0], labels[:, 1] = False, np.arange(40) < 18  # 9 patients
    rare = Sample(queries.embeddings, labels, queries.patients)
    curve = fraction_curve(bank, rare, Searches(), fractions=(0.5,), draws=2)
    assert np.isnan(curve.auroc[:, :, 0]).all()
    assert np.isfinite(curve.auroc[:, :, 1]).all()
    assert curve.findings == (1 if (np.unique(queries.patients[labels[:, 2]]).size >= 10) else 0)
    alone = Sample(bank.embeddings, bank.labels, np.zeros(60, np.int64))
    assert (fraction_curve(alone, alone, Searches(), fractions=(0.5,), draws=1).auroc == 0.5).all()


def test_progress_and_refusals(samples: Draw) -> None:
    bank, queries = samples(60, 20)
    told: list[int] = []
    fraction_curve(
        bank, queries, Searches(), fractions=(0.5, 1), draws=2, progress=lambda stage, done, total: told.append(done)
    )
    assert told == [0, 1, 2, 3, 4]
    assert module.FRACTIONS[0] == 0.01
    for fractions, draws in (((), 1), ((0.0,), 1), ((1.1,), 1), ((0.5,), 0)):
        with pytest.raises(UsageError, match="fractions must be above 0"):
            fraction_curve(bank, queries, Searches(), fractions=fractions, draws=draws)
    with pytest.raises(UsageError, match="k = 0"):
        near_drawn(bank, queries, Searches(), Searches().neighbours(bank, queries, 0), np.ones(60, np.bool_), 0)
