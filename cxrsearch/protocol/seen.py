"""Find the images an encoder was trained on. A score on these would be too good, so it is refused or reported.

A checkpoint records the split of its training and a digest of the training part's ids. Here the split is applied to the
present images. The result is certain if the digests agree. A training that started from the weights of another one has
seen the images of both. A training without a table knew no patients, so its split is one of files. A sample of their
names tells whether any of the present images were among them.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cxrsearch.encoder.spec import Provenance, saw_no_xray
from cxrsearch.errors import CatalogueError, CxrsearchError
from cxrsearch.files import Json
from cxrsearch.images.boxes import Boxes
from cxrsearch.images.catalogue import Catalogue
from cxrsearch.images.holdout import Holdout
from cxrsearch.images.splits import digest_ids, in_sketch, parse_split
from cxrsearch.words import counted

Mode = Literal["frozen", "retrain"]

_UNKNOWN = "it is not known which images the encoder was trained on: if any is scored here, the result is too good"


@dataclass(frozen=True, eq=False)
class Seen:
    """Which of n images an encoder has seen.

    Attributes:
        learned: bool (n,), the images it was trained on.
        chosen: bool (n,), the images by which its best epoch was chosen.
        spared: bool (n,), the images that its training left out because their patients have boxes.
        warning: one sentence if this is not certain; None otherwise.
    """

    learned: NDArray[np.bool_]
    chosen: NDArray[np.bool_]
    spared: NDArray[np.bool_]
    warning: str | None = None


def find_seen(encoder: Json | None, catalogue: Catalogue, boxes: Boxes | None = None) -> Seen:
    """Find the images that the encoder of an index has seen.

    Args:
        encoder: its specification, as in a manifest; None for imported embeddings.
        catalogue: the images.
        boxes: the boxed images. A training that records the same boxes left their patients out.
    """
    nothing = Seen(*np.zeros((3, len(catalogue)), dtype=np.bool_))
    provenance = Provenance.from_json((encoder or {}).get("provenance") or {})
    if encoder is not None and saw_no_xray(str(encoder["label"]), provenance):
        return nothing
    trainings = [_find_seen_by(training, catalogue, nothing, boxes) for training in provenance.trainings()]
    warnings = dict.fromkeys(seen.warning for seen in trainings if seen.warning is not None)
    return Seen(
        np.logical_or.reduce([seen.learned for seen in trainings]),
        np.logical_or.reduce([seen.chosen for seen in trainings]),
        np.logical_and.reduce([seen.spared for seen in trainings]),  # spared only if every training left it out
        "; ".join(warnings) or None,
    )


@dataclass(frozen=True)
class Knowledge:
    """What an encoder's provenance proves about a held-out finding.

    Attributes:
        mode: `retrain` if the encoder was trained without the finding, else `frozen`.
        sentence: the same in words.
        clean: whether the provenance proves that the encoder has seen no held-out image.
    """

    mode: Mode
    sentence: str
    clean: bool


def assess_knowledge(encoder: Json | None, held: Holdout) -> Knowledge:
    """Decide whether an encoder was trained without the held-out images, as far as its provenance proves it.

    Args:
        encoder: its specification, as in a manifest; None for imported embeddings.
        held: the held-out finding.
    """
    frozen, finding = "frozen encoder", held.finding
    if encoder is None:
        return Knowledge("frozen", f"{frozen}: imported embeddings, so whether {finding} was seen is not known", False)
    provenance = Provenance.from_json(encoder.get("provenance") or {})
    if saw_no_xray(str(encoder["label"]), provenance):
        return Knowledge("frozen", f"{frozen}: trained on no X-ray, so {finding} was not seen", True)
    trainings = list(provenance.trainings())
    without = [training.held_out == finding for training in trainings]
    if all(without):
        sentence = f"encoder trained without {finding}, which its provenance records"
        if not held.strict or all(training.strict for training in trainings):
            return Knowledge("retrain", sentence, True)
        return Knowledge("retrain", f"{sentence}, but with other images of patients who have it", False)
    if all(left_out or training.split is None for left_out, training in zip(without, trainings, strict=True)):
        return Knowledge("frozen", f"{frozen}: whether {finding} was seen in training is not known", False)
    return Knowledge("frozen", f"{frozen}: {finding} was seen in training", False)


def require_unseen(
    seen: Seen,
    scored: NDArray[np.int64],
    *,
    allowed: bool,
    noun: str = "image",
    fix: str = "score another part or split",
) -> list[str]:
    """Refuse to score images that the encoder was trained on, or warn about them.

    Args:
        seen: which images the encoder has seen.
        scored: rows, int64, each once.
        allowed: score images that it was trained on, with a warning.
        noun: what is scored, for messages.
        fix: how to avoid scoring such images, for messages.

    Returns:
        Warnings for a reader of the result.

    Raises:
        CxrsearchError: the encoder was trained on some of them, and `allowed` is False.
    """
    learned, chosen = int(seen.learned[scored].sum()), int(seen.chosen[scored].sum())
    if learned and not allowed:
        raise CxrsearchError(
            f"{_say_trained(learned, len(scored))} {noun}s that would be scored: the result would be too good",
            f"{fix}; --allow-seen goes on and says so in the result",
        )
    warnings = [] if seen.warning is None else [seen.warning]
    if learned:
        warnings.append(f"{_say_trained(learned, len(scored))} scored images: the result is too good")
    if chosen:
        warnings.append(f"{chosen} of the {len(scored)} scored images chose the encoder's best epoch")
    return warnings


def warn_of_fitted(seen: Seen, fit: NDArray[np.int64]) -> list[str]:
    """Warn a reader about images that both the encoder and the second-stage models learn from."""
    learned = int(seen.learned[fit].sum())
    if not learned:
        return []
    return [
        f"{_say_trained(learned, len(fit))} images that second-stage models learn from, and its embeddings of these "
        "are better than of new images (--fit-on val takes others)"
    ]


def _say_trained(some: int, every: int) -> str:
    return f"the encoder was trained on {some} of the {every}"


def _find_seen_by(training: Provenance, catalogue: Catalogue, nothing: Seen, boxes: Boxes | None) -> Seen:
    """Find the images that one training saw."""
    if training.split is None:
        return replace(nothing, warning=_UNKNOWN)
    try:
        if not training.from_table:
            return _find_seen_without_table(training, training.split, catalogue, nothing)
        parts = parse_split(training.split).assign(catalogue)
    except CatalogueError as error:
        warning = f"{_UNKNOWN} (its split {training.split} cannot be applied: {error.problem})"
        return replace(nothing, warning=warning)
    learned, chosen = parts == "train", parts == "val"
    if training.held_out in catalogue.vocabulary.findings and catalogue.labels is not None:
        kept = ~Holdout(str(training.held_out), training.strict).images(catalogue)
        learned, chosen = learned & kept, chosen & kept
    spared = nothing.spared
    if boxes is not None and boxes.sha256 == training.boxes_sha256:
        spared = boxes.of_patients(catalogue)
        learned = learned & ~spared
    if _is_train(learned, catalogue, training):
        return Seen(learned, chosen, spared)
    return Seen(learned, chosen, spared, _describe_change(training, training.split, int(learned.sum())))


def _find_seen_without_table(training: Provenance, split: str, catalogue: Catalogue, nothing: Seen) -> Seen:
    """Find the images that a training without a table saw. There each file was a patient, or a DICOM header named one.

    The table that is here now may name other patients, so both readings of the split are tried.
    """
    by_file = replace(catalogue, frame=catalogue.frame.assign(patient=catalogue.frame["id"]))
    for candidate in (catalogue, by_file):
        parts = parse_split(split).assign(candidate)
        if _is_train(parts == "train", catalogue, training):
            return Seen(parts == "train", parts == "val", nothing.spared)
    sampled = in_sketch(training.train_ids_sketch, catalogue.ids)
    if not sampled.any():
        return replace(nothing, warning=_UNKNOWN)
    learned = (parts == "train") | sampled
    warning = (
        f"the encoder was trained without a table on {counted(training.n_train or 0, 'image')}, and some of the images "
        f"here were among them: those that {split} by file puts there count as seen, though not all may have been"
    )
    return Seen(learned, (parts == "val") & ~sampled, nothing.spared, warning)


def _is_train(learned: NDArray[np.bool_], catalogue: Catalogue, training: Provenance) -> bool:
    """Whether these images are exactly those of the training part."""
    return digest_ids(np.array(catalogue.ids, dtype=object)[learned]) == training.train_ids_sha256


def _describe_change(training: Provenance, definition: str, here: int) -> str:
    sure = definition.startswith("patient-")  # a function of the patient's id alone
    others = "no image of another part was among them" if sure else "it is not certain that none of the others was"
    trained = counted(training.n_train or 0, "image")
    return (
        f"the encoder was trained on {trained}, part train of {definition}, "
        f"which here has {counted(here, 'image')} and not the same ones: {others}"
    )
