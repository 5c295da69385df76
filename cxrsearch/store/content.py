"""What an index holds beside its shards: catalogue, report and manifest, made from the records of finished shards."""

from collections import Counter
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import pandas as pd

from cxrsearch.encoder.checkpoint import save_checkpoint
from cxrsearch.encoder.embed import Embedder
from cxrsearch.errors import ImageError
from cxrsearch.files import Json, write_json, written_atomically
from cxrsearch.images.findings import NO_FINDING
from cxrsearch.images.matching import Matched
from cxrsearch.json_values import refusals
from cxrsearch.store.layout import CATALOGUE, ENCODER, REPORT, TYPICALITY
from cxrsearch.store.manifest import Manifest
from cxrsearch.store.writer import ShardRecord
from cxrsearch.words import counted, group_by_reason
from cxrsearch_indexes import VectorIndex

_FIX = {
    True: "repair or remove them, or build without --strict",
    False: "no image is left to index: name a folder of readable images",
}
_REASONS = 5  # an error names at most this many
UNLISTED = "the table has no row for it"
_SOFTWARE: tuple[str, ...] = ("cxrsearch", "numpy")
_EMBEDDING_SOFTWARE = ("pillow", "torch")


class IndexContent:
    """What an index holds beside its shards.

    Args:
        matched: the images, as the shards' plan lists them.
        records: the records of all shards, in order.
    """

    def __init__(self, matched: Matched, records: Sequence[ShardRecord]) -> None:
        self.matched = matched
        rows = [image["row"] for record in records for image in record.images]
        self.catalogue = matched.catalogue.take(rows)
        names = matched.catalogue.paths
        unlisted = [(name, UNLISTED) for name in matched.unlisted]
        refused = [(names[entry["row"]], entry["reason"]) for record in records for entry in record.refused]
        self.refused = sorted(unlisted + refused)
        filled = [record.images for record in records if record.images]
        self._files = pd.DataFrame(
            [
                {"source_sha256": image["source_sha256"], "pixel_sha256": image["pixel_sha256"]}
                | {"read_as": image["description"], "shard": shard, "offset": offset}
                for shard, images in enumerate(filled)
                for offset, image in enumerate(images)
            ]
        )

    @property
    def own_patients(self) -> int:
        """Number of indexed images whose patient is unknown, so each counts as a separate patient."""
        frame = self.catalogue.frame
        return int(frame["patient"].eq(frame["id"]).sum()) if self.matched.own_patients else 0

    def require_images(self, strict: bool) -> None:
        """Raise ImageError if no image is left or, if `strict`, if any was refused."""
        if len(self.catalogue) == 0 or (strict and self.refused):
            raise make_refusal(self.refused, strict)

    def write(self, folder: Path, embedder: Embedder | None, reference: Json) -> None:
        """Write the encoder (if there is one), the report, the reference of typicality and the catalogue.

        Raises:
            WriteError: the disk is full or read-only.
        """
        if embedder is not None:
            save_checkpoint(folder / ENCODER, embedder.encoder)
        write_json(folder / REPORT, self.report())
        write_json(folder / TYPICALITY, reference)
        self._write_catalogue(folder / CATALOGUE)

    def _write_catalogue(self, path: Path) -> None:
        findings = None
        if self.catalogue.labels is not None:
            findings = ["|".join(self.catalogue.findings(row) or [NO_FINDING]) for row in range(len(self.catalogue))]
        frame = self.catalogue.frame.assign(findings=pd.Series(findings, dtype="string"))
        with written_atomically(path) as file:
            pd.concat([frame, self._files], axis=1).to_parquet(file, index=False)

    def report(self) -> Json:
        """Return the report: how the images were read, and which were refused."""
        return {
            "images": len(self.catalogue),
            "read_as": dict(sorted(Counter(self._files["read_as"]).items())),
            "refused": refusals(self.refused),
            "rows_without_image": self.matched.rows_without_image,
            "own_patients": self.own_patients,
        }

    def summary(self) -> Json:
        """Return the counts that `cxrsearch info` prints."""
        labels = self.catalogue.labels
        counts = None
        if labels is not None:
            counts = dict(zip(self.catalogue.vocabulary.findings, labels.sum(axis=0).tolist(), strict=True))
            counts[NO_FINDING] = int((~labels.any(axis=1)).sum())
        return {
            "patients": len(set(self.catalogue.patients)),
            "refused": len(self.refused),
            "rows_without_image": self.matched.rows_without_image,
            "findings": counts,
            "views": dict(sorted(Counter(self.catalogue.frame["view"].dropna()).items())),
        }

    def manifest(
        self, embedder: Embedder | None, vectors: VectorIndex, plan: str, split: dict[str, str | None]
    ) -> Manifest:
        """Make the manifest, still without files and generation. Imported embeddings have no embedder."""
        encoder, images_root, software = None, "", _SOFTWARE
        if embedder is not None:
            encoder = embedder.spec.to_json() | {"precision": embedder.precision, "fingerprint": embedder.fingerprint}
            images_root, software = self.matched.source.location, (*_SOFTWARE, *_EMBEDDING_SOFTWARE)
        return Manifest(
            n=vectors.n,
            dim=vectors.dim,
            kind=vectors.kind,
            metric=vectors.metric,
            findings=self.catalogue.vocabulary.findings,
            labelled=self.catalogue.labels is not None,
            encoder=encoder,
            images_root=images_root,
            patient_source=self.matched.patient_source,
            patient_salt=self.matched.patient_salt,
            split=split,
            summary=self.summary(),
            software={name: version(name) for name in software},
            plan=plan,
        )


def make_refusal(refused: Sequence[tuple[str, str]], strict: bool = True) -> ImageError:
    """Make the error for refused images, given by name and reason.

    Args:
        refused: the images.
        strict: no image may be refused; otherwise the error is that none is left.
    """
    groups = group_by_reason(refused)
    reasons = [f"{reason} ({_give_example(images)})" for reason, images in groups[:_REASONS]]
    more = f", {len(groups) - _REASONS} other reasons" if len(groups) > _REASONS else ""
    return ImageError(f"{counted(len(refused), 'image')} refused: {', '.join(reasons)}{more}", _FIX[strict])


def _give_example(images: Sequence[str]) -> str:
    return images[0] if len(images) == 1 else f"{counted(len(images), 'image')}, as {images[0]}"
