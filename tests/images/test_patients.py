import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxrsearch.errors import CatalogueError, UsageError
from cxrsearch.images.patients import find_patients, hash_patient, make_salt, parse_nih_name


def test_a_patients_hash_is_the_hmac_of_rfc_2104() -> None:
    # RFC 4231, test case 2
    assert hash_patient("what do ya want for nothing?", "Jefe") == "5bdcc146bf60754e"
    assert hash_patient("Ü", "s") == hmac.new(b"s", "Ü".encode(), hashlib.sha256).hexdigest()[:16]


@given(
    st.lists(st.tuples(st.text(), st.text()), max_size=5).flatmap(lambda p: st.tuples(st.just(p), st.permutations(p)))
)
def test_a_salt_depends_on_the_set_of_files_not_on_their_order(both: tuple[list[tuple[str, str]], ...]) -> None:
    one, other = both
    assert make_salt(one) == make_salt(other)
    assert make_salt([*one, ("another", "file")]) != make_salt(one)


def test_a_salt_cannot_be_moved_between_the_fields() -> None:
    assert len({make_salt([("ab", "c")]), make_salt([("a", "bc")]), make_salt([("a", "b"), ("c", "")])}) == 3


@pytest.mark.parametrize(
    ("name", "patient"),
    [
        ("00000013_005.png", "13"),
        ("00030805_000.png", "30805"),
        ("00000000_000.png", "0"),
        ("0000013_005.png", None),
        ("00000013_005.jpg", None),
        ("x00000013_005.png", None),
        ("00000013_005.png.png", None),
        ("00000013_005.png\n", None),
        ("٠٠٠٠٠٠١٣_005.png", None),
    ],
)
def test_the_patient_of_an_nih_name(name: str, patient: str | None) -> None:
    assert parse_nih_name(name) == patient


@pytest.mark.parametrize(
    ("pattern", "patients"),
    [
        (r"(\d+)_", ["12", "007"]),
        (r"^[^/]*/(.*)_", ["12", "007"]),
        (r"(site).*?(?P<patient>\d+)", ["12", "007"]),
        (r"^(\w+)/", ["site", "site"]),
    ],
)
def test_a_pattern_is_searched_in_the_whole_id(pattern: str, patients: list[str]) -> None:
    assert find_patients(pattern, ["site/12_a.png", "site/007_b.png"]) == patients


@pytest.mark.parametrize(
    ("pattern", "reason"), [(r"(\d+", "not a regular expression: missing \\)"), (r"\d+", "no group")]
)
def test_a_pattern_that_cannot_be_meant(pattern: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        find_patients(pattern, ["1.png"])


@pytest.mark.parametrize("pattern", [r"^(\d+)", r"^(\d*)", r"^(\d+)?"])
def test_a_file_without_patient_is_named(pattern: str) -> None:
    with pytest.raises(CatalogueError, match=r"in 2 of 3 images, for example 'a\.png'"):
        find_patients(pattern, ["1.png", "a.png", "b.png"])
