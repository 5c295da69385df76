"""A finding that is held out of a catalogue."""

import numpy as np
import pandas as pd
import pytest

from cxrsearch.errors import UsageError
from cxrsearch.images.catalogue import Catalogue
from cxrsearch.images.findings import Vocabulary
from cxrsearch.images.holdout import Holdout, hold_out

LABELS = np.array([[1, 0], [0, 1], [0, 0], [0, 1], [1, 1]], dtype=np.bool_)


def catalogue(labels: np.ndarray | None = LABELS) -> Catalogue:
    frame = pd.DataFrame({"id": list("abcde"), "patient": list("xxyyz")})
    return Catalogue(frame, Vocabulary(("Mass", "Pleural_Thickening")), labels)


def test_images_that_show_it_and_in_strict_mode_those_of_its_patients() -> None:
    assert Holdout("Mass").images(catalogue()).tolist() == [True, False, False, False, True]
    assert Holdout("Mass", strict=True).images(catalogue()).tolist() == [True, True, False, False, True]


def test_the_rest_has_neither_the_images_nor_the_finding() -> None:
    rest = Holdout("Mass").without(catalogue())
    assert rest.ids == ["b", "c", "d"]
    assert rest.vocabulary.findings == ("Pleural_Thickening",)
    assert rest.labels is not None
    assert rest.labels.tolist() == [[True], [False], [True]]


def test_names_are_understood_or_suggested() -> None:
    vocabulary = catalogue().vocabulary
    assert hold_out("pleural thickening", vocabulary, strict=True) == Holdout("Pleural_Thickening", True)
    with pytest.raises(UsageError, match=r"unknown finding 'mas'; the vocabulary is Mass, .* did you mean Mass\?"):
        hold_out("mas", vocabulary)
    with pytest.raises(UsageError, match="choose one of these"):
        hold_out("zzz", vocabulary)


def test_what_leaves_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="no other finding is left"):
        Holdout("Mass").rest(Vocabulary(("Mass",)))
    with pytest.raises(UsageError, match="findings are not known"):
        Holdout("Mass").images(catalogue(None))
