import hashlib
from collections import Counter
from pathlib import Path
from random import Random

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxrsearch.errors import SplitError, UsageError
from cxrsearch.images import splits
from cxrsearch.images.catalogue import Catalogue
from cxrsearch.images.findings import Vocabulary
from cxrsearch.images.formats.format_registry import read_table
from cxrsearch.images.splits import (
    _parse_fractions,
    default_lists_folder,
    digest_ids,
    in_sketch,
    parse_split,
    place,
    sketch_ids,
)
from cxrsearch.images.tables import PARTS
from tests.refusals import message


def catalogue(patients: list[str], ids: list[str] | None = None, split: list[str | None] | None = None) -> Catalogue:
    columns = {"id": ids or [f"{row}.png" for row in range(len(patients))], "patient": patients}
    return Catalogue(pd.DataFrame(columns | ({"split": split} if split else {})), Vocabulary())


def lists(folder: Path, **parts: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in parts.items():
        (folder / f"{name}_list.txt").write_bytes(text.encode())
    return folder


def part_by_definition(patient: str, train: float, val: float) -> str:
    """The definition, written another way: the whole sha256 as a fraction of the largest."""
    place = int(hashlib.sha256(patient.encode()).hexdigest(), 16) / 2**256
    return "train" if place < train else "val" if place < train + val else "test"


def test_patient_hash_by_value() -> None:
    patients = [str(number) for number in range(500)] * 2
    parts = parse_split("patient-hash:0.7/0.1/0.2").assign(catalogue(patients))
    assert parts.tolist() == [part_by_definition(patient, 0.7, 0.1) for patient in patients]
    # sha256("1") begins with 6b86b273: 0.42, sha256("0") with 5feceb66: 0.375, sha256("2") with d4735e3a: 0.83
    assert parse_split("patient-hash:.4/.4/.2").assign(catalogue(["1", "0", "2"])).tolist() == ["val", "train", "test"]


@pytest.mark.parametrize(
    ("definition", "sizes"),
    [
        ("patient-hash:1/0/0", (2000, 0, 0)),
        ("patient-hash:0/1/0", (0, 2000, 0)),
        ("patient-hash:0/0/1", (0, 0, 2000)),
        ("patient-hash:0.3333333333/0.3333333333/0.3333333334", None),
        ("patient-hash:0.5/.5/0.0", None),
        ("patient-hash:0.95/0/0.05", None),
    ],
)
def test_a_part_may_be_empty_and_others_have_their_share(definition: str, sizes: tuple[int, ...] | None) -> None:
    n = 2000
    parts = parse_split(definition).assign(catalogue([f"patient {number}" for number in range(n)]))
    found = tuple(int(np.count_nonzero(parts == part)) for part in PARTS)
    shares = [float(share) for share in definition.partition(":")[2].split("/")]
    if sizes:
        assert found == sizes
    for count, share in zip(found, shares, strict=True):
        assert abs(count - n * share) <= 5 * np.sqrt(n * share * (1 - share))  # 5 standard deviations of a binomial


@settings(deadline=None)
@given(
    st.lists(st.text(min_size=1, max_size=4), min_size=1, max_size=30),
    st.integers(0, 10).flatmap(lambda a: st.tuples(st.just(a), st.integers(0, 10 - a))),
    st.randoms(use_true_random=False),
)
def test_a_patients_part_depends_on_nothing_but_its_id(
    patients: list[str], tenths: tuple[int, int], random: Random
) -> None:
    a, b = tenths
    split = parse_split(f"patient-hash:{a / 10}/{b / 10}/{(10 - a - b) / 10}")
    pairs = set(zip(patients, split.assign(catalogue(patients)), strict=True))
    part = dict(pairs)
    assert len(pairs) == len(part)
    others = patients[: len(patients) // 2 + 1]
    random.shuffle(others)
    assert split.assign(catalogue(others)).tolist() == [part[patient] for patient in others]


@pytest.mark.parametrize(
    "definition",
    [
        "",
        "papers",
        "Paper",
        "paper:",
        "official:",
        "column:split",
        "column:",
        "patient-hash",
        "patient-hash:",
        "random:0.8/0.1/0.1",
        "train",
    ],
)
def test_an_unknown_definition_is_told_the_forms(definition: str) -> None:
    assert message(UsageError, parse_split, definition) == (
        f"unknown split {definition!r} — "
        "use paper[:DIR], official[:DIR], patient-hash:a/b/c, patient-fold:i/K or column"
    )


@pytest.mark.parametrize(
    ("fractions", "reason"),
    [
        ("0.8/0.2", "not a/b/c"),
        ("0.5/0.2/0.2/0.1", "not a/b/c"),
        ("a/b/c", "not a/b/c"),
        ("-0.5/1/0.5", "not a/b/c"),
        ("nan/0/1", "not a/b/c"),
        ("1e9/0/0", "not a/b/c"),
        ("/0/1", "not a/b/c"),
        ("./0/1", "not a/b/c"),
        ("80/10/10", "sum to 100"),
        ("0.8/0.1/0.0999", "sum to 0.9999"),
        ("0/0/0", "sum to 0"),
        ("0.9999999985/0/0", "sum to 0.9999999985"),
        ("0.5/0.5000000015/0", "sum to 1.0000000015"),
    ],
)
def test_fractions_that_cannot_be_meant(fractions: str, reason: str) -> None:
    fix = "use patient-hash:0.7/0.1/0.2 or the like" if "not" in reason else "give fractions that sum to 1"
    verb = "are " if "not" in reason else ""
    assert message(UsageError, parse_split, f"patient-hash:{fractions}") == (
        f"the fractions {fractions!r} {verb}{reason} — {fix}"
    )


def test_fractions_may_be_off_by_rounding_and_a_part_of_0_still_gets_nobody() -> None:
    for off in ("0.9999999999/0/0", "0.999999999/0/0", "1.000000001/0/0"):
        assert _parse_fractions(off) == (2**64, 2**64)
    assert _parse_fractions("0.1/0.2/0.7") == (2**64 // 10, 3 * 2**64 // 10)


def test_folds_by_value() -> None:
    """The definition, written another way; each patient is tested in one fold, and an eighth of the others validate."""
    patients = [f"p{number}" for number in range(3000)]
    tested = []
    for fold in range(1, 6):
        parts = parse_split(f"patient-fold:{fold}/5").assign(catalogue(patients)).tolist()
        expected = [
            "test"
            if part_by_definition(p, (fold - 1) / 5, 1 / 5) == "val"
            else part_by_definition(f"val {p}", 0, 1 / 8).replace("test", "train")
            for p in patients
        ]
        assert parts == expected
        tested += [p for p, part in zip(patients, parts, strict=True) if part == "test"]
        assert abs(parts.count("val") - 300) < 60
    assert sorted(tested) == sorted(patients)


def test_two_folds_test_either_half() -> None:
    patients = ["1", "0", "2"]  # at 0.42, 0.375 and 0.83 of the hash
    for fold, tested in ((1, {"1", "0"}), (2, {"2"})):
        parts = parse_split(f"patient-fold:{fold}/2").assign(catalogue(patients))
        assert {patient for patient, part in zip(patients, parts, strict=True) if part == "test"} == tested


def test_parts_begin_where_they_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """A patient who lies exactly on a bound belongs to what begins there."""
    here = place("1")
    for bounds, part in (((here, here + 1), "val"), ((0, here), "test"), ((here + 1, here + 2), "train")):
        assert splits._part_of_patient("1", bounds) == part
    monkeypatch.setattr(splits, "_VAL_OF_FOLD", place("val 2"))
    assert parse_split("patient-fold:1/2").assign(catalogue(["2"])).tolist() == ["train"]
    monkeypatch.setattr(splits, "_VAL_OF_FOLD", place("val 2") + 1)
    assert parse_split("patient-fold:1/2").assign(catalogue(["2"])).tolist() == ["val"]


@pytest.mark.parametrize("fold", ["0/5", "6/5", "1/1", "1", "a/5", "-1/5", "1/5/5"])
def test_a_fold_that_cannot_be_meant(fold: str) -> None:
    assert message(UsageError, parse_split, f"patient-fold:{fold}") == (
        f"the fold {fold!r} is not i/K with 1 <= i <= K and K >= 2 — use patient-fold:1/5"
    )


def test_the_papers_lists(tmp_path: Path) -> None:
    folder = lists(tmp_path, train="\ufeffa.png\r\nb.png\r\n\r\nfar.png\r\n", val=" c.png \n", test="d.png")
    images = catalogue(["1", "1", "2", "3", "4"], ["b.png", "a.png", "c.png", "d.png", "e.png"])
    split = parse_split(f"paper:{folder}")
    assert split.assign(images).tolist() == ["train", "train", "val", "test", None]
    assert split.rows(images, "train").tolist() == [0, 1]
    assert split.definition == f"paper:{folder}"


def test_nihs_lists_with_a_tenth_of_the_patients_for_val(tmp_path: Path) -> None:
    patients = [str(number) for number in range(300)] * 2
    ids = [f"{row}.png" for row in range(600)]
    train_val = [image for image, patient in zip(ids, patients, strict=True) if int(patient) < 200]
    test = [image for image, patient in zip(ids, patients, strict=True) if 200 <= int(patient) < 280]
    folder = lists(tmp_path, train_val="\n".join(train_val), test="\n".join(test))
    parts = parse_split(f"official:{folder}").assign(catalogue(patients, ids))
    for image, patient, part in zip(ids, patients, parts, strict=True):
        hashed = part_by_definition(patient, 0.9, 0.1)
        assert part == (hashed if image in train_val else "test" if image in test else None)
    assert set(parts[:200]) == {"train", "val"}


def test_lists_lie_in_the_data_folder_unless_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = catalogue(["1"], ["a.png"])
    lists(tmp_path / "data" / "splits", train="a.png", val="", test="")
    lists(tmp_path / "elsewhere" / "splits", train="", val="", test="a.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CXRSEARCH_DATA", raising=False)
    assert parse_split("paper").assign(images).tolist() == ["train"]
    monkeypatch.setenv("CXRSEARCH_DATA", "")
    assert default_lists_folder() == Path("data/splits")
    monkeypatch.setenv("CXRSEARCH_DATA", str(tmp_path / "elsewhere"))
    assert parse_split("paper").assign(images).tolist() == ["test"]
    monkeypatch.setenv("HOME", str(tmp_path))
    assert parse_split("paper:~/data/splits").assign(images).tolist() == ["train"]


def test_a_missing_list_is_named(tmp_path: Path) -> None:
    lists(tmp_path, train_val="a.png")
    assert message(SplitError, parse_split(f"official:{tmp_path}").assign, catalogue(["1"])) == (
        f"cannot read the list {tmp_path / 'test_list.txt'}: No such file or directory — "
        f"put train_val_list.txt, test_list.txt into {tmp_path}, or name their folder: paper:DIR, official:DIR"
    )


def test_a_list_that_is_no_text(tmp_path: Path) -> None:
    (lists(tmp_path, train="a.png", test="") / "val_list.txt").write_bytes(b"\xff\xfe\x00")
    assert message(SplitError, parse_split(f"paper:{tmp_path}").assign, catalogue(["1"])) == (
        f"cannot read the list {tmp_path / 'val_list.txt'}: not UTF-8 — put train_list.txt, val_list.txt, "
        f"test_list.txt into {tmp_path}, or name their folder: paper:DIR, official:DIR"
    )


def test_an_image_in_two_lists(tmp_path: Path) -> None:
    folder = lists(tmp_path, train="a.png\na.png", val="b.png", test="b.png")
    said = f"'b.png' is in val_list.txt and in test_list.txt of {folder} — correct the lists"
    assert message(SplitError, parse_split(f"paper:{folder}").assign, catalogue(["1"])) == said


def test_the_tables_own_column() -> None:
    images = catalogue(["1", "2", "3", "1"], split=["test", None, "val", "test"])
    assert parse_split("column").assign(images).tolist() == ["test", None, "val", "test"]


@pytest.mark.parametrize(
    ("cells", "reason"),
    [(["train", "Val", "fold 1"], "holds 'Val', 'fold 1'"), ([None, None, None], "is missing or empty")],
)
def test_a_column_that_is_no_split(cells: list[str | None], reason: str) -> None:
    images = catalogue(["1", "2", "3"], split=cells)
    assert message(SplitError, parse_split("column").assign, images) == (
        f"the table's column split {reason} — write train, val or test, or nothing for an image in no part"
    )


def test_a_patient_in_two_parts_is_refused_without_naming_the_patient() -> None:
    patients = ["secret", "2", "secret", "hidden", "hidden", "3"]
    images = catalogue(patients, split=["train", "val", "test", "train", "test", "test"])
    assert message(SplitError, parse_split("column").assign, images) == (
        "split column: 2 patients are in both train and test, for example those of 0.png, 3.png"
        " — keep all images of a patient in one part"
    )


def test_three_images_are_examples_enough() -> None:
    patients = [str(number) for number in range(5)] * 2
    images = catalogue(patients, split=[*["train"] * 5, *["test"] * 5])
    assert message(SplitError, parse_split("column").assign, images) == (
        "split column: 5 patients are in both train and test, for example those of 0.png, 1.png, 2.png ..."
        " — keep all images of a patient in one part"
    )


def test_a_split_knows_its_definition_and_gives_rows_that_index() -> None:
    images = catalogue(["1", "0", "2"], split=["val", "train", "test"])
    for definition in ("column", "patient-hash:.4/.4/.2"):
        split = parse_split(definition)
        assert split.definition == definition
        assert split.assign(images).dtype == object
        assert np.array(images.ids)[split.rows(images, "val")].tolist() == ["0.png"]
    for definition in ("patient-fold:2/3", "paper", "official:lists"):
        assert parse_split(definition).definition == definition


def test_a_patient_may_have_images_in_no_part() -> None:
    assert parse_split("column").assign(catalogue(["1", "1"], split=["val", None])).tolist() == ["val", None]


@pytest.mark.parametrize("shared", [("train", "val"), ("train", "test"), ("val", "test")])
def test_lists_that_share_a_patient(tmp_path: Path, shared: tuple[str, str]) -> None:
    names = {part: f"{part}.png" for part in PARTS}
    folder = lists(tmp_path, **names)
    patients = ["7" if part in shared else "1" for part in PARTS]
    with pytest.raises(SplitError, match=f"1 patient is in both {shared[0]} and {shared[1]}, .* {shared[0]}.png"):
        parse_split(f"paper:{folder}").assign(catalogue(patients, list(names.values())))


def test_only_who_takes_a_part_objects_to_its_being_empty() -> None:
    images = catalogue(["1", "2", "3"])
    split = parse_split("patient-hash:1/0/0")
    assert split.rows(images, "train").tolist() == [0, 1, 2]
    assert message(SplitError, split.rows, images, "val") == (
        "part val of split patient-hash:1/0/0 is empty: of 3 images, train 3, val 0, test 0"
        " — use another --part or --split"
    )
    assert message(UsageError, split.rows, images, "valid") == "unknown part 'valid' — use one of train, val, test"


def test_the_digest_of_a_part() -> None:
    assert digest_ids(["b", "a"]) == hashlib.sha256(b"a\nb").hexdigest()
    assert digest_ids([]) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert digest_ids(iter(["a", "b"])) == digest_ids(["a", "b"]) != digest_ids(["ab"])


@pytest.mark.real_data
def test_the_papers_split_of_nih(real_data: Path) -> None:
    images = read_table(real_data / "nih" / "Data_Entry_2017_full.csv.gz")
    folder = real_data / "nih" / "splits"
    parts = parse_split(f"paper:{folder}").assign(images)
    assert Counter(parts.tolist()) == {"train": 78_468, "val": 11_219, "test": 22_433}
    patients = {part: {p for p, q in zip(images.patients, parts, strict=True) if q == part} for part in PARTS}
    assert sum(len(members) for members in patients.values()) == len(set(images.patients))
    rows = parse_split(f"paper:{folder}").rows(images, "val")
    listed = (folder / "val_list.txt").read_text().split()
    assert digest_ids(images.ids[row] for row in rows) == digest_ids(listed)


@pytest.mark.real_data
def test_patient_hash_of_nih(real_data: Path) -> None:
    images = read_table(real_data / "nih" / "Data_Entry_2017_full.csv.gz")
    parts = parse_split("patient-hash:0.7/0.1/0.2").assign(images)
    part_of = dict(zip(images.patients, parts, strict=True))
    counts = Counter(part_of.values())
    for part, share in zip(PARTS, (0.7, 0.1, 0.2), strict=True):
        assert abs(counts[part] / 30_805 - share) < 0.01
    assert [part_of[patient] for patient in images.patients] == parts.tolist()


def test_a_sketch_holds_the_ids_of_the_lowest_hashes() -> None:
    hashes = {image: hashlib.sha256(image.encode()).hexdigest()[:10] for image in map(str, range(2000))}
    lowest = sorted(hashes, key=hashes.__getitem__)[:512]
    sketch = sketch_ids(hashes)
    assert sketch == "".join(hashes[image] for image in lowest)
    assert in_sketch(sketch, [*lowest[:3], "2001", lowest[511]]).tolist() == [True, True, True, False, True]
    assert in_sketch(sketch, sorted(hashes, key=hashes.__getitem__)[512:]).sum() == 0
    assert not in_sketch("", ["a"]).any()
    assert in_sketch(sketch_ids(["a", "a", "b"]), ["a", "b", "c"]).tolist() == [True, True, False]


def test_a_sketch_is_read_ten_digits_at_a_time() -> None:
    """A hash that lies across two of a sketch is none of it; no ids are no answers, which still pick from none."""
    a, b = (hashlib.sha256(image.encode()).hexdigest()[:10] for image in "ab")
    assert in_sketch(f"{b}00000{a}00000{b}", ["a", "b"]).tolist() == [False, True]
    assert in_sketch(f"{b}{a}0000000000", ["a", "b"]).tolist() == [True, True]
    assert np.arange(0)[in_sketch(f"{a}{b}", [])].tolist() == []
