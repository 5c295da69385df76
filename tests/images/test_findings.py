import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxrsearch.errors import UsageError, VocabularyError
from cxrsearch.images.findings import NIH_FINDINGS, Vocabulary


def test_the_order_is_that_of_chexnet() -> None:
    assert "|".join(NIH_FINDINGS) == (
        "Atelectasis|Cardiomegaly|Effusion|Infiltration|Mass|Nodule|Pneumonia|Pneumothorax|Consolidation|Edema|"
        "Emphysema|Fibrosis|Pleural_Thickening|Hernia"
    )


@pytest.mark.parametrize(
    ("label", "finding"),
    [
        ("Pleural_Thickening", "Pleural_Thickening"),
        ("pleural thickening", "Pleural_Thickening"),
        ("PLEURAL  THICKENING", "Pleural_Thickening"),
        ("Infiltrate", "Infiltration"),
        ("infiltrate", "Infiltration"),
        ("edema", "Edema"),
    ],
)
def test_a_label_may_be_written_in_several_ways(label: str, finding: str) -> None:
    assert Vocabulary().canonical(label) == finding


@pytest.mark.parametrize("label", ["Opacity", "", "Effusions", "No Finding", "Mass|Nodule"])
def test_a_label_outside_the_vocabulary_is_refused_with_the_vocabulary(label: str) -> None:
    with pytest.raises(VocabularyError) as caught:
        Vocabulary().canonical(label)
    assert ", ".join(NIH_FINDINGS) in str(caught.value)
    assert repr(label) in str(caught.value)


@pytest.mark.parametrize(
    ("cell", "findings"),
    [
        ("No Finding", ()),
        ("no_finding", ()),
        ("", ()),
        ("Mass", ("Mass",)),
        ("Hernia|Atelectasis", ("Atelectasis", "Hernia")),
        (" mass | infiltrate|Mass ", ("Infiltration", "Mass")),
    ],
)
def test_a_cell_is_parsed_in_vocabulary_order(cell: str, findings: tuple[str, ...]) -> None:
    assert Vocabulary().parse(cell) == findings


def test_no_finding_beside_a_finding_is_a_contradiction() -> None:
    with pytest.raises(VocabularyError, match=r"'No Finding' beside a finding: got 'No Finding\|Mass'"):
        Vocabulary().parse("No Finding|Mass")


def test_unknown_labels_are_listed_once_and_in_order() -> None:
    assert Vocabulary(("a", "b c")).unknown(["B_C|x", "No Finding", "y|a", "x|z"]) == ["x", "y", "z"]


def test_infiltrate_is_a_synonym_only_where_infiltration_is_a_finding() -> None:
    assert Vocabulary(("Infiltrate", "Mass")).canonical("infiltrate") == "Infiltrate"
    assert Vocabulary(("Mass",)).unknown(["Infiltrate"]) == ["Infiltrate"]


def test_a_finding_that_is_asked_for_is_understood_or_the_nearest_is_suggested() -> None:
    vocabulary = Vocabulary(("Pleural_Thickening", "Mass"))
    assert vocabulary.resolve("pleural thickening") == "Pleural_Thickening"
    for name, fix in (("pleural thick", "did you mean Pleural_Thickening?"), ("zzz", "choose one of these")):
        with pytest.raises(UsageError) as caught:
            vocabulary.resolve(name)
        assert str(caught.value) == f"unknown finding {name!r}; the vocabulary is Pleural_Thickening, Mass — {fix}"


@pytest.mark.parametrize("names", [(), ("a", ""), ("a", "A"), ("a b", "a_b"), ("a", "No Finding"), ("a|b",)])
def test_a_vocabulary_must_be_unambiguous(names: tuple[str, ...]) -> None:
    with pytest.raises(VocabularyError, match=r"--findings|called 'No Finding'"):
        Vocabulary(names)


def test_encode_sets_one_column_for_each_finding() -> None:
    matrix = Vocabulary(("a", "b", "c")).encode([("c", "a"), (), ("b",)])
    np.testing.assert_array_equal(matrix, [[True, False, True], [False, False, False], [False, True, False]])


@given(st.lists(st.sets(st.sampled_from(NIH_FINDINGS))))
def test_decode_undoes_encode_and_parse_undoes_joining(images: list[set[str]]) -> None:
    vocabulary = Vocabulary()
    matrix = vocabulary.encode([sorted(findings) for findings in images])
    assert matrix.shape == (len(images), 14)
    for findings, row in zip(images, matrix, strict=True):
        assert set(vocabulary.decode(row)) == findings
        assert vocabulary.parse("|".join(sorted(findings))) == vocabulary.decode(row)
