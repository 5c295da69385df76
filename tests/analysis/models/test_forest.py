from collections.abc import Callable

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.multiclass import OneVsRestClassifier

from cxrsearch.analysis.models._forest import Forest, ForestOneVsRest
from cxrsearch.analysis.models.model import Sample

Draw = Callable[..., tuple[Sample, ...]]


@pytest.mark.parametrize(("seed", "jobs"), [(0, 1), (3, 2)])
def test_one_forest_equals_scikit_learns_in_every_bit(samples: Draw, seed: int, jobs: int) -> None:
    train, val, test = samples(300, 10, 80)
    fitted = Forest(seed=seed, jobs=jobs).fit(train, val)
    peer = RandomForestClassifier(100, max_depth=5, random_state=seed).fit(train.embeddings, train.labels)
    expected = np.stack([shares[:, 1] for shares in peer.predict_proba(test.embeddings)], axis=1)
    np.testing.assert_array_equal(fitted.predict(test), expected)
    assert fitted.settings == {"trees": 100, "depth": 5, "seed": seed}


def test_one_forest_a_finding_equals_scikit_learns(samples: Draw) -> None:
    train, val, test = samples(200, 10, 80)
    peer = OneVsRestClassifier(RandomForestClassifier(100, max_depth=5, random_state=1))
    expected = peer.fit(train.embeddings, train.labels.astype(int)).predict_proba(test.embeddings)
    np.testing.assert_array_equal(ForestOneVsRest(seed=1).fit(train, val).predict(test), expected)


def test_findings_of_none_one_and_all(samples: Draw) -> None:
    train, val = samples(80, 20)
    labels = np.zeros((80, 3), np.bool_)
    labels[3, 1] = labels[:, 2] = True
    rare = Sample(train.embeddings, labels, train.patients)
    for model in (Forest(trees=15), ForestOneVsRest(trees=15)):
        predicted = model.fit(rare, val).predict(rare)
        assert (predicted[:, 0] == 0).all()
        assert (predicted[:, 2] == 1).all()
        assert predicted[:, 1].argmax() == 3
        nothing = Sample(train.embeddings, labels[:, ::2], train.patients)
        assert (model.fit(nothing, nothing).predict(nothing) == (0, 1)).all()


def test_progress_tells_trees_and_a_single_finding_is_a_forest_too(samples: Draw) -> None:
    train, val = samples(60, 10, findings=1)
    told: list[tuple[int, int]] = []
    fitted = Forest(trees=25, progress=lambda stage, done, total: told.append((done, total))).fit(train, val)
    assert told == [(0, 25), (10, 25), (20, 25), (25, 25)]
    peer = RandomForestClassifier(25, max_depth=5, random_state=0).fit(train.embeddings, train.labels[:, 0])
    np.testing.assert_array_equal(fitted.predict(val)[:, 0], peer.predict_proba(val.embeddings)[:, 1])
