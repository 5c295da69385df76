"""The training and the validation part of a data set, every image of them read."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

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
    """What there is to learn from.

    Attributes:
        split: its definition.
        holdout: the finding that was left out, with its images; None: none was.
        findings: the vocabulary, without it; empty where the labels are not learnt.
        ids: the image ids of `train` and `val`, refused images left out.
        train, val: the images.
        refused: image and reason for every file of the two parts that cannot be used.
        unlisted: files in the folder that the table does not name.
        boxes: whose patients' images were left out of `train`; None: nobody's.
        spared: how many images that were.
        table_warnings: what a user should know of the table.
        from_table: a table gave the patients.
        own_patients: files that are their own patient for want of a better.
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
        """The same images, and nothing to know of them."""
        train, val = (replace(part, labels=np.zeros((len(part), 0), np.bool_)) for part in (self.train, self.val))
        return replace(self, findings=(), train=train, val=val)

    def settings(self) -> Json:
        """What of it decides the result."""
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
        """What a user should know."""
        warnings = list(self.table_warnings)
        if self.boxes is not None:
            images = counted(self.spared, "image of a boxed patient was", "images of boxed patients were")
            warnings.append(f"{images} left out of the training part")
        if self.unlisted:
            files = counted(self.unlisted, "file in the folder is", "files in the folder are")
            warnings.append(f"{files} not in the table, and not used")
        if self.own_patients:
            files = counted(self.own_patients, "file counts", "files count")
            warnings.append(f"{files} as a patient each: images of one patient may be in both parts")
        return warnings + (self._label_warnings() if self.findings else [])

    def _label_warnings(self) -> list[str]:
        """What the labels cannot teach."""
        warnings = []
        shown = np.atleast_1d(self.train.labels.any(axis=0))
        absent = [name for name, known in zip(self.findings, shown, strict=True) if not known]
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
    """Read the table, hold a finding out, apply the split, and decode what the pixel cache does not hold.

    Images of the patients of `boxes` are left out of the training part. Without a table, findings are not known.

    Raises:
        CatalogueError: the table, the folder or the split cannot be used, or a part is empty.
        CxrsearchError: see `fill_cache`.
    """
    matched = read_images(source, table, vocabulary, progress=progress)
    definition = parse_split(split)
    catalogue = matched.catalogue if holdout is None else holdout.without(matched.catalogue)
    rows = {part: definition.rows(catalogue, part) for part in ("train", "val")}
    learnt = rows["train"] if boxes is None else rows["train"][~boxes.of_patients(catalogue)[rows["train"]]]
    if not len(learnt):
        raise SplitError("every image of part train is of a boxed patient", "train on more images, or with them")
    spared = len(rows["train"]) - len(learnt)
    rows["train"] = learnt
    chosen = catalogue.take(np.concatenate([rows["train"], rows["val"]]))
    kept = PixelCache(cache, preprocess)
    found = fill_cache(source, chosen.paths, kept, preprocess, workers=workers, progress=progress)
    n = len(rows["train"])
    refused = [(i, image) for i, image in enumerate(found) if isinstance(image, RefusedImage)]
    train = [i for i, image in enumerate(found[:n]) if isinstance(image, str)]
    val = [i for i, image in enumerate(found) if i >= n and isinstance(image, str)]
    _require_usable("train", found[:n])
    _require_usable("val", found[n:])
    return Parts(
        split=split,
        holdout=holdout,
        findings=() if catalogue.labels is None else catalogue.vocabulary.findings,
        ids={"train": [chosen.ids[i] for i in train], "val": [chosen.ids[i] for i in val]},
        train=_examples(kept, chosen, train, found),
        val=_examples(kept, chosen, val, found),
        refused=tuple((chosen.ids[i], image.reason) for i, image in refused),
        unlisted=len(matched.unlisted),
        boxes=boxes,
        spared=spared,
        table_warnings=matched.catalogue.warnings,
        from_table=table is not None,
        own_patients=matched.own_patients,
    )


def _require_usable(part: Part, found: Sequence[str | RefusedImage]) -> None:
    reasons = [image.reason for image in found if isinstance(image, RefusedImage)]
    if len(reasons) == len(found):
        raise SplitError(f"no image of part {part} can be used: {reasons[0]}", "check the folder of images")


def _examples(
    cache: PixelCache, catalogue: Catalogue, rows: Sequence[int], found: Sequence[str | RefusedImage]
) -> Examples:
    labels = np.zeros((len(catalogue), 0), np.bool_) if catalogue.labels is None else catalogue.labels
    return Examples(cache, [str(found[row]) for row in rows], labels[list(rows)])
