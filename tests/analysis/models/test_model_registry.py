from collections.abc import Callable

import numpy as np
import pytest

from cxrsearch.analysis.measures.metrics import auroc
from cxrsearch.analysis.models._forest import Forest
from cxrsearch.analysis.models.model import Sample
from cxrsearch.analysis.models.model_registry import DEFAULT_MODELS, MODELS, create
from cxrsearch.errors import UsageError


def test_every_model_gives_probabilities_better_than_chance(samples: Callable[..., tuple[Sample, ...]]) -> None:
    train, val, test = samples(250, 100, 200, findings=2)
    for name, model in create(MODELS, max_train=200).items():
        fitted = model.fit(train, val)
        probability = fitted.predict(test)
        assert probability.dtype == np.float64
        assert 0 <= probability.min() <= probability.max() <= 1
        assert auroc(test.labels, probability).mean() > 0.55, name
        np.testing.assert_array_equal(model.fit(train, val).predict(test), probability)


def test_names_order_and_options() -> None:
    assert DEFAULT_MODELS == ("knn", "knn-tuned", "mlknn", "forest", "logistic")
    assert set(DEFAULT_MODELS) < set(MODELS)
    models = create(["forest", "knn"], seed=7, jobs=1)
    assert list(models) == ["forest", "knn"]
    assert models["forest"] == Forest(seed=7, jobs=1)
    with pytest.raises(UsageError, match="unknown model 'forrest' — choose from knn, knn-tuned"):
        create(["forrest"])
    with pytest.raises(UsageError, match="at most 0 training images"):
        create(max_train=0)


def test_neighbours_are_searched_once_for_all_models(samples: Callable[..., tuple[Sample, ...]]) -> None:
    train, val, test = samples(60, 20, 20)
    searched: list[int] = []
    models = create(
        ["knn", "knn-tuned"], progress=lambda stage, done, total: searched.append(total) if done == total else None
    )
    for model in models.values():
        model.fit(train, val).predict(test)
    assert searched == [20, 20]
