"""Which images an encoder has learned from: a score on these would be too good, so it is refused or said.

A checkpoint records the split it was trained on and a digest of the training part's ids. Here the split is applied to
the images at hand: that is what it learned from, for certain where the digests agree.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxrsearch.errors import CatalogueError
from cxrsearch.files import Json
from cxrsearch.images.catalogue import Catalogue
from cxrsearch.images.splits import ids_digest, parse_split

_NOT_TRAINED_ON_XRAYS = ("imagenet", "random:")


@dataclass(frozen=True, eq=False)
class Seen:
    """What an encoder has seen of n images.

    Attributes:
        learned: bool (n,), the images it was trained on.
        chosen: bool (n,), the images by which its best epoch was chosen.
        warning: one sentence where that is not known for certain; None otherwise.
    """

    learned: NDArray[np.bool_]
    chosen: NDArray[np.bool_]
    warning: str | None = None


def seen_by(encoder: Json | None, catalogue: Catalogue) -> Seen:
    """What the encoder of an index has seen.

    Args:
        encoder: its specification, as in a manifest; None for imported embeddings.
        catalogue: the images.
    """
    nothing = np.zeros(len(catalogue), dtype=np.bool_)
    if encoder is not None and str(encoder["label"]).startswith(_NOT_TRAINED_ON_XRAYS):
        return Seen(nothing, nothing)
    provenance: Json = (encoder or {}).get("provenance") or {}
    definition = provenance.get("split")
    unknown = "it is not known which images the encoder was trained on: if any is scored here, the result is too good"
    if definition is None:
        return Seen(nothing, nothing, unknown)
    try:
        parts = parse_split(definition).assign(catalogue)
    except CatalogueError as error:
        return Seen(nothing, nothing, f"{unknown} (its split {definition} cannot be applied: {error.problem})")
    learned, chosen = parts == "train", parts == "val"
    ids = np.array(catalogue.ids, dtype=object)
    if ids_digest(ids[learned]) == provenance.get("train_ids_sha256"):
        return Seen(learned, chosen)
    return Seen(learned, chosen, _differing(definition, provenance, int(learned.sum())))


def _differing(definition: str, provenance: Json, here: int) -> str:
    sure = definition.startswith("patient-")  # a function of the patient's id alone
    said = (
        "no image of another part was among them" if sure else "that none of the others was among them is not certain"
    )
    return (
        f"the encoder was trained on {provenance.get('n_train')} images, part train of {definition}; "
        f"{here} images here are in that part, which are not the same ones: {said}"
    )
