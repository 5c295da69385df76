"""Read the training and the validation part of a data set."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cxrsearch.arrays import Integers
from cxrsearch.errors import SplitError
from cxrsearch.files import Json, digest_bytes
from cxrsearch.images.boxes import Boxes
from cxrsearch.images.catalogue import Catalogue
from cxrsearch.images.findings import Vocabulary
from cxrsearch.images.holdout import Holdout
from cxrsearch.images.loading import RefusedImage
from cxrsearch.images.matching import read_images
from cxrsearch.images.pixel_cache import PixelCache
from cxrsearch.images.preprocess import Preprocess
from cxrsearch.images.sources.source import ImageSource
from cxrsearch.images.splits import digest_ids, parse_split
from cxrsearch.images.tables import Part
from cxrsearch.progress import Progress
from cxrsearch.training._batches import Examples, fill_cache
from cxrsearch.words import counted


@dataclass(frozen=True, eq=False)
class Parts:
    """The images and labels of a training.

    Attributes:
        split: the definition of the split.
        holdout: the held-out finding, left out with its images; None: no finding.
        findings: the vocabulary without the held-out finding; empty if the labels are not learnt.
        ids: the image ids of `train` and `val`, without refused images.
        train: the training images.
        val: the validation images.
        refused: image and reason for every file of the two parts that cannot be used.
        unlisted: number of files in the folder that the table does not name.
        boxes: the boxes whose patients were left out of `train`; None: nobody was left out.
        spared: number of images that were left out for `boxes`.
        table_warnings: what a user should know about the table.
        from_table: whether the patients come from a table.
        own_patients: number of files that count as their own patient, because nothing names a patient.
    """

    split: str
    holdout: Holdout | None
    findings: tuple[str, ...]
    ids: dict[Part, list[str]]
    train: Examples
    val: Examples
    refused: tuple[tuple[str, str], ...]
    unlisted: int
    boxes: Boxes | None = None
    spared: int = 0
    table_warnings: tuple[str, ...] = ()
    from_table: bool = True
    own_patients: int = 0

    def without_labels(self) -> "Parts":
        """The same images without findings and labels."""
        train, val = (replace(part, labels=np.zeros((len(part), 0), np.bool_)) for part in (self.train, self.val))
        return replace(self, findings=(), train=train, val=val)

    def settings(self) -> Json:
        """The settings that affect the result; files and labels as digests."""
        held_out = {} if self.holdout is None else {"held_out": self.holdout.finding, "strict": self.holdout.strict}
        boxes = {} if self.boxes is None else {"boxes_sha256": self.boxes.sha256}
        return (held_out | boxes) | {
            "split": self.split,
            "findings": list(self.findings),
            "train_ids_sha256": digest_ids(self.ids["train"]),
            "val_ids_sha256": digest_ids(self.ids["val"]),
            "files": digest_bytes("\n".join([*self.train.sha256s, *self.val.sha256s]).encode()),
            "labels": digest_bytes(self.train.labels.tobytes() + self.val.labels.tobytes()),
        }

    def warnings(self) -> list[str]:
        """What a user should know about the images and labels."""
        warnings = list(self.table_warnings)
        if self.boxes is not None:
            images = counted(self.spared, "image of a boxed patient was", "images of boxed patients were")
            warnings.append(f"{images} left out of the training part")
        if self.unlisted:
            files = counted(self.unlisted, "file in the folder is", "files in the folder are")
            warnings.append(f"{files} not in the table, and not used")
        if self.own_patients:
            files = counted(self.own_patients, "file counts as its", "files count, each as its")
            warnings.append(f"{files} own patient: images of one patient may be in both parts")
        return warnings + (self._label_warnings() if self.findings else [])

    def _label_warnings(self) -> list[str]:
        """Warnings about findings that cannot be trained or validated."""
        warnings = []
        present = np.atleast_1d(self.train.labels.any(axis=0))
        absent = [name for name, some in zip(self.findings, present, strict=True) if not some]
        if absent:
            warnings.append(f"no training image shows {', '.join(absent)}: these outputs are not trained")
        labels = self.val.labels
        if not (labels.any(axis=0) & ~labels.all(axis=0)).any():
            warnings.append(
                "no finding is both present and absent in the validation part, so no AUROC can be computed: the best "
                "epoch is chosen by the validation loss"
            )
        return warnings


def read_parts(
    source: ImageSource,
    table: Path | None,
    vocabulary: Vocabulary,
    split: str,
    cache: Path,
    preprocess: Preprocess,
    *,
    holdout: Holdout | None = None,
    boxes: Boxes | None = None,
    workers: int,
    progress: Progress,
) -> Parts:
    """Read the table, hold a finding out, apply the split, and decode images that the pixel cache does not hold.

    Images of the patients of `boxes` are left out of the training part. Without a table, findings are not known.

    Args:
        source: the folder of images.
        table: NIH's table or a plain CSV, or None.
        vocabulary: the findings of the table.
        split: the definition of the split.
        cache: folder of the pixel cache.
        preprocess: how images are decoded.
        holdout: the finding to hold out, or None.
        boxes: NIH's table of boxes, or None.
        workers: decoding processes.
        progress: called while images are read.

    Raises:
        CatalogueError: the table, the folder or the split cannot be used, or a part is empty.
        CxrsearchError: see `fill_cache`.
    """
    matched = read_images(source, table, vocabulary, progress=progress)
    catalogue = matched.catalogue if holdout is None else holdout.without(matched.catalogue)
    rows = {part: parse_split(split).rows(catalogue, part) for part in ("train", "val")}
    everyone, rows["train"] = len(rows["train"]), _leave_out(boxes, catalogue, rows["train"])
    chosen = catalogue.take(np.concatenate([rows["train"], rows["val"]]))
    pixels = PixelCache(cache, preprocess)
    files = fill_cache(source, chosen.paths, pixels, preprocess, workers=workers, progress=progress)
    n = len(rows["train"])
    train = [i for i, image in enumerate(files[:n]) if isinstance(image, str)]
    val = [i for i, image in enumerate(files) if i >= n and isinstance(image, str)]
    _require_usable("train", files[:n])
    _require_usable("val", files[n:])
    return Parts(
        split=split,
        holdout=holdout,
        findings=() if catalogue.labels is None else catalogue.vocabulary.findings,
        ids={"train": [chosen.ids[i] for i in train], "val": [chosen.ids[i] for i in val]},
        train=_examples(pixels, chosen, train, files),
        val=_examples(pixels, chosen, val, files),
        refused=tuple((chosen.ids[i], f.reason) for i, f in enumerate(files) if isinstance(f, RefusedImage)),
        unlisted=len(matched.unlisted),
        boxes=boxes,
        spared=everyone - n,
        table_warnings=matched.catalogue.warnings,
        from_table=table is not None,
        own_patients=matched.own_patients,
    )


def _leave_out(boxes: Boxes | None, catalogue: Catalogue, rows: Integers) -> Integers:
    """The rows of patients without a boxed image. Raises SplitError if none is left."""
    if boxes is None:
        return rows
    left = rows[~boxes.of_patients(catalogue)[rows]]
    if not len(left):
        fix = "train on more images, or include boxed patients"
        raise SplitError("every image of part train is of a boxed patient", fix)
    return left


def _require_usable(part: Part, files: Sequence[str | RefusedImage]) -> None:
    reasons = [image.reason for image in files if isinstance(image, RefusedImage)]
    if len(reasons) == len(files):
        raise SplitError(f"no image of part {part} can be used: {reasons[0]}", "check the folder of images")


def _examples(
    cache: PixelCache, catalogue: Catalogue, rows: Sequence[int], files: Sequence[str | RefusedImage]
) -> Examples:
    labels = np.zeros((len(catalogue), 0), np.bool_) if catalogue.labels is None else catalogue.labels
    return Examples(cache, [str(files[row]) for row in rows], labels[list(rows)])
