"""Which images an encoder has learned from: a score on these would be too good, so it is refused or said.

A checkpoint records the split it was trained on and a digest of the training part's ids. Here the split is applied to
the images at hand: that is what it learned from, for certain where the digests agree. A training that started from
the weights of another has seen the images of both. One without a table knew no patients: its split is one of files, and
a sample of their names tells whether these images, or some of them, were there.
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
from cxrsearch.images.splits import ids_digest, in_sketch, parse_split
from cxrsearch.words import counted

Mode = Literal["frozen", "retrain"]

_UNKNOWN = "it is not known which images the encoder was trained on: if any is scored here, the result is too good"


@dataclass(frozen=True, eq=False)
class Seen:
    """What an encoder has seen of n images.

    Attributes:
        learned: bool (n,), the images it was trained on.
        chosen: bool (n,), the images by which its best epoch was chosen.
        spared: bool (n,), the images that its training left out because their patients are boxed.
        warning: one sentence where that is not known for certain; None otherwise.
    """

    learned: NDArray[np.bool_]
    chosen: NDArray[np.bool_]
    spared: NDArray[np.bool_]
    warning: str | None = None


def seen_by(encoder: Json | None, catalogue: Catalogue, boxes: Boxes | None = None) -> Seen:
    """What the encoder of an index has seen.

    Args:
        encoder: its specification, as in a manifest; None for imported embeddings.
        catalogue: the images.
        boxes: the boxed images, whose patients a training may have left out; it did if it records these boxes.
    """
    nothing = Seen(*np.zeros((3, len(catalogue)), dtype=np.bool_))
    provenance = Provenance.from_json((encoder or {}).get("provenance") or {})
    if encoder is not None and saw_no_xray(str(encoder["label"]), provenance):
        return nothing
    trainings = [_seen_in(training, catalogue, nothing, boxes) for training in provenance.trainings()]
    warnings = dict.fromkeys(seen.warning for seen in trainings if seen.warning is not None)
    return Seen(
        np.logical_or.reduce([seen.learned for seen in trainings]),
        np.logical_or.reduce([seen.chosen for seen in trainings]),
        np.logical_and.reduce([seen.spared for seen in trainings]),
        "; ".join(warnings) or None,
    )


@dataclass(frozen=True)
class Knowledge:
    """What an encoder's provenance proves of a held-out finding.

    Attributes:
        mode: `retrain` if it was trained without the finding.
        sentence: that in words.
        clean: it is proven that the encoder has seen nothing of what is held out.
    """

    mode: Mode
    sentence: str
    clean: bool


def knowledge_of(encoder: Json | None, held: Holdout) -> Knowledge:
    """Whether an encoder was trained without what is held out, as far as its provenance proves.

    Args:
        encoder: its specification, as in a manifest; None for imported embeddings.
        held: the finding.
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
        said = f"encoder trained without {finding}, which its provenance records"
        if not held.strict or all(training.strict for training in trainings):
            return Knowledge("retrain", said, True)
        return Knowledge("retrain", f"{said}, but with other images of patients who have it", False)
    if all(own or training.split is None for own, training in zip(without, trainings, strict=True)):
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
    """What a reader must know of scored images that the encoder has seen.

    Args:
        seen: what the encoder has seen.
        scored: rows, int64, each once.
        allowed: score images that it has learned from; the warnings say so.
        noun: what is scored.
        fix: how not to score them.

    Raises:
        CxrsearchError: it has learned from some of them, and that is not allowed.
    """
    learned, chosen = int(seen.learned[scored].sum()), int(seen.chosen[scored].sum())
    if learned and not allowed:
        raise CxrsearchError(
            f"{_trained_on(learned, len(scored))} {noun}s that would be scored: the result would be too good",
            f"{fix}; --allow-seen goes on and says so in the result",
        )
    warnings = [] if seen.warning is None else [seen.warning]
    if learned:
        warnings.append(f"{_trained_on(learned, len(scored))} scored images: the result is too good")
    if chosen:
        warnings.append(f"{chosen} of the {len(scored)} scored images chose the encoder's best epoch")
    return warnings


def warn_of_fitted(seen: Seen, fit: NDArray[np.int64]) -> list[str]:
    """What a reader must know of images that both the encoder and second-stage models learn from."""
    learned = int(seen.learned[fit].sum())
    if not learned:
        return []
    return [
        f"{_trained_on(learned, len(fit))} images that second-stage models learn from, and its embeddings of these are "
        "better than of new images (--fit-on val takes others)"
    ]


def _trained_on(some: int, every: int) -> str:
    return f"the encoder was trained on {some} of the {every}"


def _seen_in(training: Provenance, catalogue: Catalogue, nothing: Seen, boxes: Boxes | None) -> Seen:
    """What one training saw."""
    if training.split is None:
        return replace(nothing, warning=_UNKNOWN)
    try:
        if not training.from_table:
            return _seen_without_table(training, training.split, catalogue, nothing)
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
    same = _is_train(learned, catalogue, training)
    return Seen(learned, chosen, spared, None if same else _differing(training, training.split, int(learned.sum())))


def _seen_without_table(training: Provenance, split: str, catalogue: Catalogue, nothing: Seen) -> Seen:
    """What a training that was given no table saw: each file was its own patient, or a DICOM header named it."""
    by_file = replace(catalogue, frame=catalogue.frame.assign(patient=catalogue.frame["id"]))
    for taken in (catalogue, by_file):
        parts = parse_split(split).assign(taken)
        if _is_train(parts == "train", catalogue, training):
            return Seen(parts == "train", parts == "val", nothing.spared)
    known = in_sketch(training.train_ids_sketch, catalogue.ids)
    if not known.any():
        return replace(nothing, warning=_UNKNOWN)
    learned = (parts == "train") | known
    warning = (
        f"the encoder was trained without a table on {counted(training.n_train or 0, 'image')}, and some of the images "
        f"here were among them: those that {split} by file puts there count as seen, though not all may have been"
    )
    return Seen(learned, (parts == "val") & ~known, nothing.spared, warning)


def _is_train(learned: NDArray[np.bool_], catalogue: Catalogue, training: Provenance) -> bool:
    """Whether these images are exactly those of the training part."""
    return ids_digest(np.array(catalogue.ids, dtype=object)[learned]) == training.train_ids_sha256


def _differing(training: Provenance, definition: str, here: int) -> str:
    sure = definition.startswith("patient-")  # a function of the patient's id alone
    said = (
        "no image of another part was among them" if sure else "that none of the others was among them is not certain"
    )
    trained = counted(training.n_train or 0, "image")
    return (
        f"the encoder was trained on {trained}, part train of {definition}, "
        f"which here has {counted(here, 'image')} and not the same ones: {said}"
    )
