"""A catalogue of nine images, by hand."""

import numpy as np
import pandas as pd
import pytest

from cxrsearch.images.catalogue import Catalogue
from cxrsearch.images.findings import Vocabulary

FINDINGS = ("Mass", "Edema", "Pleural_Thickening", "Hernia", "Nodule", "Fibrosis", "Effusion", "Emphysema")
HAVE = ["Mass|Edema", "Mass", "Edema", "", "Mass|Hernia", "Pleural_Thickening|Nodule|Fibrosis", "Emphysema", "", "Mass"]


@pytest.fixture
def catalogue() -> Catalogue:
    vocabulary = Vocabulary(FINDINGS)
    frame = pd.DataFrame(
        {
            "id": [f"{i}.png" for i in range(9)],
            "patient": [f"p{i // 2}" for i in range(9)],
            "view": ["PA", "AP", None, "PA", "PA", "AP", None, "PA", "PA"],
            "age": [0, 19, 20, 39, 40, 79, 80, 120, None],
        },
        dtype=object,
    )
    labels = vocabulary.encode([vocabulary.parse(cell) for cell in HAVE])
    assert labels.dtype == np.bool_
    return Catalogue(frame, vocabulary, labels)
