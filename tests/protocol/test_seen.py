"""What an encoder has seen of the images of a catalogue."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cxrsearch.images.boxes import Boxes
from cxrsearch.images.catalogue import Catalogue
from cxrsearch.images.findings import Vocabulary
from cxrsearch.images.holdout import Holdout
from cxrsearch.images.splits import digest_ids, parse_split, sketch_ids
from cxrsearch.protocol.seen import assess_knowledge, find_seen

SPLIT = "patient-hash:0.5/0.2/0.3"


@pytest.fixture
def catalogue() -> Catalogue:
    return Catalogue(
        pd.DataFrame({"id": [f"{i}.png" for i in range(60)], "patient": [f"p{i}" for i in range(60)]}), Vocabulary()
    )


def trained(split: str | None, digest: str | None, label: str = "run") -> dict[str, Any]:
    return {
        "label": label,
        "provenance": {"split": split, "train_ids_sha256": digest, "n_train": 30 if split else None},
    }


def test_the_very_images_are_known_for_certain(catalogue: Catalogue) -> None:
    parts = parse_split(SPLIT).assign(catalogue)
    learned = [image for image, part in zip(catalogue.ids, parts, strict=True) if part == "train"]
    seen = find_seen(trained(SPLIT, digest_ids(learned)), catalogue)
    assert seen.learned.tolist() == (parts == "train").tolist()
    assert seen.chosen.tolist() == (parts == "val").tolist()
    assert seen.warning is None


def test_other_images_of_a_split_by_patient_are_safe_and_said(catalogue: Catalogue) -> None:
    seen = find_seen(trained(SPLIT, "another"), catalogue)
    assert seen.learned.tolist() == (parse_split(SPLIT).assign(catalogue) == "train").tolist()
    assert seen.warning is not None
    assert "no image of another part was among them" in seen.warning


def test_other_images_of_a_split_by_lists_are_not_certain(catalogue: Catalogue, tmp_path: Path) -> None:
    for part, image in (("train", "0.png"), ("val", "1.png"), ("test", "2.png")):
        (tmp_path / f"{part}_list.txt").write_text(image)
    seen = find_seen(trained(f"paper:{tmp_path}", "another"), catalogue)
    assert seen.learned.nonzero()[0].tolist() == [0]
    assert seen.warning is not None
    assert "not certain" in seen.warning


def without_table(catalogue: Catalogue, files: Sequence[str]) -> tuple[dict[str, Any], set[str]]:
    """An encoder trained on files, each its own patient, and the names of those it learned from."""
    folder = Catalogue(pd.DataFrame({"id": files, "patient": files}), Vocabulary())
    parts = parse_split(SPLIT).assign(folder)
    learned = [image for image, part in zip(files, parts, strict=True) if part == "train"]
    encoder = trained(SPLIT, digest_ids(learned))
    encoder["provenance"] |= {"from_table": False, "train_ids_sketch": sketch_ids(learned)}
    return encoder, set(learned)


def test_a_training_without_a_table_split_by_file(catalogue: Catalogue) -> None:
    encoder, learned = without_table(catalogue, catalogue.ids)
    assert learned != {
        i for i, part in zip(catalogue.ids, parse_split(SPLIT).assign(catalogue), strict=True) if part == "train"
    }
    seen = find_seen(encoder, catalogue)
    assert {image for image, known in zip(catalogue.ids, seen.learned, strict=True) if known} == learned
    assert seen.warning is None
    assert not (seen.learned & seen.chosen).any()


@pytest.mark.parametrize("more", [["more.png"], [f"more{i}.png" for i in range(5000)]], ids=["one more", "many more"])
def test_of_a_larger_folder_the_images_that_are_here_are_known(catalogue: Catalogue, more: list[str]) -> None:
    encoder, learned = without_table(catalogue, [*catalogue.ids, *more])
    seen = find_seen(encoder, catalogue)
    here = {image for image, known in zip(catalogue.ids, seen.learned, strict=True) if known}
    assert here == learned.intersection(catalogue.ids)
    assert seen.warning is not None
    assert "some of the images here were among them" in seen.warning


def test_of_a_smaller_index_the_images_that_were_learned_are_known(catalogue: Catalogue) -> None:
    encoder, learned = without_table(catalogue, catalogue.ids)
    some = catalogue.take(np.arange(0, 60, 7))
    seen = find_seen(encoder, some)
    assert {image for image, known in zip(some.ids, seen.learned, strict=True) if known} == learned & set(some.ids)
    assert 0 < seen.learned.sum() < len(some)


def test_a_folder_of_other_images_says_nothing_of_these(catalogue: Catalogue) -> None:
    encoder, _ = without_table(catalogue, [f"other{i}.png" for i in range(60)])
    seen = find_seen(encoder, catalogue)
    assert not (seen.learned | seen.chosen).any()
    assert seen.warning is not None
    assert "it is not known which images" in seen.warning


def test_the_same_folder_whose_headers_name_patients_is_known_for_certain(catalogue: Catalogue) -> None:
    """As of DICOM files, which the index took without a table, too."""
    parts = parse_split(SPLIT).assign(catalogue)
    learned = [image for image, part in zip(catalogue.ids, parts, strict=True) if part == "train"]
    encoder = trained(SPLIT, digest_ids(learned))
    encoder["provenance"]["from_table"] = False
    seen = find_seen(encoder, catalogue)
    assert (seen.learned.tolist(), seen.warning) == ((parts == "train").tolist(), None)


@pytest.mark.parametrize("label", ["imagenet", "random:0 (untrained)"])
def test_an_encoder_that_never_saw_an_xray(catalogue: Catalogue, label: str) -> None:
    seen = find_seen(trained(None, None, label), catalogue)
    assert not seen.learned.any()
    assert seen.warning is None


@pytest.mark.parametrize("label", ["imagenet", "imagenet-tuned", "random:0 (untrained)", "random:mine"])
def test_a_runs_name_does_not_hide_what_it_was_trained_on(catalogue: Catalogue, label: str) -> None:
    """A run is called as its folder is, and that may be any name."""
    seen = find_seen(trained(SPLIT, "another", label), catalogue)
    assert seen.learned.tolist() == (parse_split(SPLIT).assign(catalogue) == "train").tolist()


@pytest.mark.parametrize("label", ["imagenet.pth", "imagenet-tuned.pth"])
def test_a_file_of_somebody_elses_is_not_known_by_its_name(catalogue: Catalogue, label: str) -> None:
    assert find_seen(trained(None, None, label), catalogue).warning is not None


@pytest.mark.parametrize("encoder", [None, trained(None, None), trained("paper:/nowhere", "x")])
def test_what_is_not_known_is_said(catalogue: Catalogue, encoder: dict[str, Any] | None) -> None:
    seen = find_seen(encoder, catalogue)
    assert not seen.learned.any()
    assert seen.warning is not None
    assert seen.warning.startswith("it is not known")


def test_a_training_that_started_from_another_has_seen_the_images_of_both(catalogue: Catalogue) -> None:
    first = "patient-fold:1/2"
    encoder = trained(SPLIT, "x")
    encoder["provenance"]["before"] = {"split": first, "train_ids_sha256": "y", "n_train": 20}
    learned = [parse_split(split).assign(catalogue) == "train" for split in (SPLIT, first)]
    assert find_seen(encoder, catalogue).learned.tolist() == (learned[0] | learned[1]).tolist()
    encoder["provenance"]["before"] = {"split": None, "train_ids_sha256": None, "n_train": None}
    assert str(find_seen(encoder, catalogue).warning).count("it is not known") == 1


@pytest.mark.parametrize("strict", [False, True])
def test_images_of_a_held_out_finding_were_not_seen(strict: bool) -> None:
    """Two images a patient; those of p0 show Mass in one."""
    frame = pd.DataFrame({"id": [f"{i}.png" for i in range(60)], "patient": [f"p{i // 2}" for i in range(60)]})
    labels = np.zeros((60, 2), dtype=np.bool_)
    labels[::10, 0] = True
    catalogue = Catalogue(frame, Vocabulary(("Mass", "Edema")), labels)
    out = np.isin(np.arange(60) // 2, np.arange(0, 30, 5)) if strict else labels[:, 0]
    expected = (parse_split(SPLIT).assign(catalogue) == "train") & ~out
    digest = digest_ids(np.array(catalogue.ids)[expected].tolist())
    provenance = {"split": SPLIT, "train_ids_sha256": digest, "held_out": "Mass", "strict": strict}
    seen = find_seen({"label": "run", "provenance": provenance}, catalogue)
    assert seen.learned.tolist() == expected.tolist()
    assert seen.warning is None  # the very images, as the digest tells


def spec(label: str = "run", **provenance: Any) -> dict[str, Any]:
    return {"label": label, "provenance": provenance}


@pytest.mark.parametrize(
    ("encoder", "mode", "words", "clean"),
    [
        (None, "frozen", "not known", False),
        (spec("random:0 (untrained)"), "frozen", "trained on no X-ray", True),
        (spec("imagenet"), "frozen", "trained on no X-ray", True),
        (spec(), "frozen", "not known", False),
        (spec(split="column"), "frozen", "Hernia was seen in training", False),
        (spec(split="column", held_out="Mass"), "frozen", "Hernia was seen in training", False),
        (spec(split="column", held_out="Hernia"), "retrain", "trained without Hernia", True),
        (spec(split="column", held_out="Hernia", before={"split": "column"}), "frozen", "was seen in training", False),
        (spec(split="column", held_out="Hernia", before={}), "frozen", "not known", False),
    ],
)
def test_what_provenance_proves(encoder: dict[str, Any] | None, mode: str, words: str, clean: bool) -> None:
    found = assess_knowledge(encoder, Holdout("Hernia"))
    assert (found.mode, found.clean) == (mode, clean)
    assert words in found.sentence


@pytest.mark.parametrize(("trained", "clean"), [(False, False), (True, True)])
def test_strictness_asks_for_a_training_that_was_strict(trained: bool, clean: bool) -> None:
    found = assess_knowledge(spec(split="column", held_out="Hernia", strict=trained), Holdout("Hernia", strict=True))
    assert (found.mode, found.clean) == ("retrain", clean)
    assert ("other images of patients" in found.sentence) is not clean


def boxed(*images: str) -> Boxes:
    return Boxes(images, ("Mass",) * len(images), np.tile([0.1, 0.1, 0.2, 0.2], (len(images), 1)))


def test_boxed_patients_that_a_training_spared_were_not_seen(catalogue: Catalogue) -> None:
    parts = parse_split(SPLIT).assign(catalogue)
    train = np.flatnonzero(parts == "train")
    boxes = boxed(*(f"{row}.png" for row in train[:3]), f"{np.flatnonzero(parts == 'test')[0]}.png")
    encoder = trained(SPLIT, digest_ids(f"{row}.png" for row in train[3:]))
    encoder["provenance"]["boxes_sha256"] = boxes.sha256
    seen = find_seen(encoder, catalogue, boxes)
    assert np.flatnonzero(seen.learned).tolist() == train[3:].tolist()
    assert set(np.flatnonzero(seen.spared)) >= set(train[:3])
    assert seen.warning is None
    for other in (None, boxed("1.png")):  # without that very table nothing is proven
        unsure = find_seen(encoder, catalogue, other)
        assert np.flatnonzero(unsure.learned).tolist() == train.tolist()
        assert not unsure.spared.any()
        assert unsure.warning is not None


def test_what_one_training_spared_another_may_have_seen(catalogue: Catalogue) -> None:
    parts = parse_split(SPLIT).assign(catalogue)
    train = np.flatnonzero(parts == "train")
    boxes = boxed(f"{train[0]}.png")
    first = trained(SPLIT, digest_ids(f"{row}.png" for row in train))
    encoder = trained(SPLIT, digest_ids(f"{row}.png" for row in train[1:]))
    encoder["provenance"] |= {"boxes_sha256": boxes.sha256, "before": first["provenance"]}
    seen = find_seen(encoder, catalogue, boxes)
    assert seen.learned[train[0]]
    assert not seen.spared.any()
