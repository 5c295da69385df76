from pathlib import Path

import numpy as np
import pytest

from cxrsearch.analysis.clusters._exchange import BlockPairs, Blocks
from cxrsearch.errors import UsageError
from cxrsearch.images.formats.nih import NIH
from cxrsearch.images.tables import read_table_file
from tests.refusals import message

PATIENT = np.array([0, 1, 1, 2, 3, 3, 4, 4, 4, 3, 2])  # sizes 1, 2, 2, 3, 3


def blocks(strata: list[int] | None = None) -> Blocks:
    return Blocks.of(PATIENT, np.array(strata if strata is not None else [0] * 11, dtype=np.int64))


def label_sources(made: Blocks, donor: np.ndarray) -> dict[int, int]:
    """Which row's label each row gets."""
    within = np.arange(len(made.order)) - made.start[made.patient]
    source = made.order[made.start[donor[made.patient]] + within]
    return dict(zip(made.order.tolist(), source.tolist(), strict=True))


def test_patients_with_as_many_images_exchange() -> None:
    made = blocks()
    assert made.size.tolist() == [1, 2, 2, 3, 3]
    assert made.order.tolist() == [0, 1, 2, 3, 10, 4, 5, 9, 6, 7, 8]
    assert made.fixed.tolist() == [True, False, False, False, False]
    drawn = {tuple(made.draw(np.random.default_rng(r)).tolist()) for r in range(60)}
    assert drawn == {(0, *pair, *triple) for pair in ((1, 2), (2, 1)) for triple in ((3, 4), (4, 3))}


def test_labels_stay_in_their_stratum_and_images_of_a_patient_together() -> None:
    strata = [0, 0, 1, 1, 0, 1, 1, 0, 1, 1, 0]
    made = blocks(strata)
    donor = made.draw(np.random.default_rng(0))
    for rng in map(np.random.default_rng, range(60)):
        donor = made.draw(rng)
        sources = label_sources(made, donor)
        assert sorted(sources.values()) == list(range(11))
        assert all(strata[row] == strata[source] for row, source in sources.items())
        assert all(donor[PATIENT[row]] == PATIENT[source] for row, source in sources.items())
    assert not made.fixed[1:].any()
    apart = blocks([0, 0, 1, 1, 0, 1, 0, 0, 1, 1, 0])  # patient 4 now has one image in stratum 1, patient 3 two
    assert apart.fixed.tolist() == [True, False, False, True, True]


def test_every_permutation_is_as_likely() -> None:
    made = Blocks.of(np.arange(3), np.zeros(3, dtype=np.int64))
    drawn = [tuple(made.draw(np.random.default_rng((0, r))).tolist()) for r in range(3000)]
    counts = np.array([drawn.count(permutation) for permutation in set(drawn)])
    assert len(counts) == 6
    assert ((counts - 500) ** 2 / 500).sum() < 20.5  # chi-squared with 5 degrees of freedom, p = 0.001


def test_pairs_go_where_their_images_go() -> None:
    rng = np.random.default_rng(1)
    strata = [0, 1, 0, 1, 0, 1, 1, 0, 1, 1, 0]
    made = blocks(strata)
    first, second = np.array([(1, 2), (3, 10), (4, 5), (9, 4), (5, 9), (6, 7), (8, 6), (7, 8)]).T
    values = rng.random(8)
    value = {frozenset(pair): v for *pair, v in zip(first.tolist(), second.tolist(), values, strict=True)}
    pairs = BlockPairs.of(made, first, second, values)
    for r in range(20):
        donor = made.draw(np.random.default_rng(r))
        sources = label_sources(made, donor)
        labelled = rng.random(11) < 0.6
        exchanged = np.array([labelled[sources[row]] for row in range(11)])
        expected = sum(v for pair, v in value.items() if exchanged[list(pair)].all())
        chosen = labelled[first] & labelled[second]
        assert pairs.part(chosen).total(np.argsort(donor)) == pytest.approx(expected)


def test_patients_and_strata_must_be_as_many() -> None:
    said = "patients and strata must be as many: got (11,) and (3,) — give each image its stratum"
    assert message(UsageError, Blocks.of, PATIENT, np.zeros(3, dtype=np.int64)) == said


@pytest.mark.real_data
def test_nih_has_22_patients_whose_number_of_images_nobody_shares(real_data: Path) -> None:
    patients = NIH.cells(read_table_file(real_data / "nih" / "Data_Entry_2017_full.csv.gz")).columns["patient"]
    patient = np.unique(np.array(patients), return_inverse=True)[1].astype(np.int64)
    made = Blocks.of(patient, np.zeros(len(patient), dtype=np.int64))
    assert (len(made.size), int((made.size * (made.size - 1) // 2).sum())) == (30_805, 961_289)
    assert (int(made.fixed.sum()), int(made.size[made.fixed].sum())) == (22, 2_519)
