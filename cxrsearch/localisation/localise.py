"""One image, and where its findings are believed to be: maps, boxes, and what made it like another image."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cxrsearch.analysis.maps.box_overlap import map_boxes
from cxrsearch.arrays import Floats
from cxrsearch.encoder.embed import Embedder
from cxrsearch.errors import UsageError
from cxrsearch.files import Json
from cxrsearch.images.findings import Vocabulary
from cxrsearch.images.preprocess import Pixels
from cxrsearch.images.radiograph import ImageLike, load_radiograph, name_image
from cxrsearch.query.embedded import embed_images
from cxrsearch.query.index import Index
from cxrsearch.query.maps import FindingMaps, Method, finding_maps, on_stored, similarity_maps

THRESHOLD = 0.5
"""Of a map's range; the one that validation chooses is printed by `evaluate-localisation`."""


@dataclass(frozen=True, eq=False)
class Localised:
    """Where findings of one image are believed to be.

    Attributes:
        image: its path as it was given, `array` or `picture`.
        pixels: uint8 (side, side), its stored pixels.
        encoder: what the encoder is called.
        found: the maps of the F findings asked for, the most probable first, unless they were named.
        shown: float64 (F, side, side), the maps over the stored pixels.
        threshold: of the boxes, a share of each map's range.
        boxes: for each finding float64 (m, 4), left, top, width and height in pixels of the original image, that of
            the highest peak first; none where a map is nowhere positive; None where none were asked for.
        size: width and height of the original image.
        cell: width and height of a cell of the maps, in pixels of the original image.
    """

    image: str
    pixels: Pixels
    encoder: str
    found: FindingMaps
    shown: Floats
    threshold: float
    boxes: tuple[Floats, ...] | None
    size: tuple[int, int]
    cell: tuple[float, float]

    def resolution(self) -> str:
        """How fine the maps are, in a sentence."""
        height, width = self.found.maps.shape[1:]
        across, down = self.cell
        return (
            f"The maps have {width} x {height} cells of {across:.0f} x {down:.0f} pixels each: nothing smaller can be "
            "located or outlined."
        )

    def stored_boxes(self, finding: int) -> Floats:
        """A finding's boxes in stored pixels, float64 (m, 4); none where none were asked for."""
        if self.boxes is None:
            return np.zeros((0, 4))
        return self.boxes[finding] / _factors(self.size, len(self.pixels))

    def peak(self, finding: int) -> str:
        """Where a finding's map is highest, as `x, y` in pixels of the original image."""
        y, x = np.unravel_index(int(self.shown[finding].argmax()), self.shown[finding].shape)
        factor = _factors(self.size, len(self.pixels))
        return f"{(x + 0.5) * factor[0]:.0f}, {(y + 0.5) * factor[1]:.0f}"

    def to_json(self) -> Json:
        """The object that `cxrsearch localise --json` prints."""
        columns = zip(self.found.findings, self.found.probabilities, self.found.logits, self.found.maps, strict=True)
        findings = [
            {"finding": finding, "probability": float(p), "logit": float(logit), "map": values.tolist()}
            | ({} if self.boxes is None else {"boxes": self.boxes[number].tolist()})
            for number, (finding, p, logit, values) in enumerate(columns)
        ]
        heading: Json = {"image": self.image, "encoder": self.encoder, "method": self.found.method}
        threshold = {} if self.boxes is None else {"threshold": self.threshold}
        heading |= {"width": self.size[0], "height": self.size[1], "cell": list(self.cell)}
        return heading | threshold | {"findings": findings}


@dataclass(frozen=True, eq=False)
class Alike:
    """Which regions make an image and an indexed one alike.

    Attributes:
        image: the image's path as it was given.
        other: the id of the indexed one.
        pixels, other_pixels: uint8 (side, side), the stored pixels of both.
        maps: float64 (h, w) of both; the mean of either is `product`.
        shown: float64 (side, side) of both, over the stored pixels.
        product: the inner product of the embeddings.
        cosine: of the angle between them.
    """

    image: str
    other: str
    pixels: Pixels
    other_pixels: Pixels
    maps: tuple[Floats, Floats]
    shown: tuple[Floats, Floats]
    product: float
    cosine: float

    def to_json(self) -> Json:
        """The object that `cxrsearch localise --against --json` prints."""
        own, other = self.maps
        return {"image": self.image, "against": self.other, "product": self.product, "cosine": self.cosine} | {
            "map": own.tolist(),
            "against_map": other.tolist(),
        }


def localise_image(
    embedder: Embedder,
    image: ImageLike,
    *,
    findings: Sequence[str] = (),
    method: Method = "cam",
    boxes: bool = False,
    threshold: float = THRESHOLD,
) -> Localised:
    """Find where the findings of an image are believed to be.

    Args:
        embedder: `Index.embedder`, or one of any weights.
        image: a PNG, JPEG or DICOM file, or its pixels; see `Index.query`.
        findings: which, in any spelling that the vocabulary takes; none: all, the most probable first.
        method: `cam` or `grad-cam`.
        boxes: also put boxes around what reaches the threshold.
        threshold: a share of each map's range, between 0 and 1.

    Raises:
        UsageError: no trained head, an unknown finding or method, a threshold outside (0, 1).
        ImageError: the image cannot be used.
    """
    if not 0 < threshold < 1:
        raise UsageError(f"threshold {threshold}", "use a share of the map's range, between 0 and 1")
    spec = embedder.spec
    if spec.findings is None:
        raise UsageError(f"{spec.label} has no trained head, so no finding can be located", "name trained weights")
    rows = _asked(spec.findings, findings)
    radiograph = load_radiograph(image)
    stored = spec.preprocess.stored_pixels(radiograph.pixels)
    every = finding_maps(embedder, embed_images(embedder, [stored])[0], method)
    assert every is not None
    found = _taken(every, rows if rows else np.argsort(-every.probabilities, kind="stable").tolist())
    shown = np.stack([on_stored(spec.preprocess, values) for values in found.maps])
    size = radiograph.pixels.shape[1], radiograph.pixels.shape[0]
    placed = [_boxes(values, threshold) * _factors(size, len(stored)) for values in shown] if boxes else None
    whole = None if placed is None else tuple(placed)
    side = spec.preprocess.window()[1] / len(stored)
    cell = size[0] * side / found.maps.shape[2], size[1] * side / found.maps.shape[1]
    return Localised(name_image(image), stored, spec.label, found, shown, threshold, whole, size, cell)


def compare_image(index: Index, image: ImageLike, against: str) -> Alike:
    """Find which regions make an image like an indexed one, which is named by its id, or by its row as `#12`.

    Raises:
        UsageError: no such indexed image, or an index without pixels or of imported embeddings.
        ImageError: the image cannot be used.
    """
    row = _row(index, against)
    preprocess = index.embedder.spec.preprocess
    stored = preprocess.stored_pixels(load_radiograph(image).pixels)
    theirs = index.require_pixels(row)
    image_embedded, other_embedded = index.embed([stored, theirs])
    own, other = similarity_maps(image_embedded, other_embedded)
    embeddings = np.concatenate([image_embedded.embedding, other_embedded.embedding])
    lengths = np.linalg.norm(embeddings.astype(np.float64), axis=1)
    product = float(own.mean())
    shown = on_stored(preprocess, own), on_stored(preprocess, other)
    cosine = product / max(float(lengths.prod()), np.finfo(np.float64).tiny)
    return Alike(name_image(image), index.catalogue.ids[row], stored, theirs, (own, other), shown, product, cosine)


def _boxes(values: Floats, threshold: float) -> Floats:
    """Boxes of a map over the stored pixels; none of one that speaks against its finding everywhere."""
    return map_boxes(values, threshold)[0] if values.max() > 0 else np.zeros((0, 4))


def _asked(known: Sequence[str], findings: Sequence[str]) -> list[int]:
    vocabulary = Vocabulary(tuple(known))
    return list(dict.fromkeys(known.index(vocabulary.resolve(name)) for name in findings))


def _taken(found: FindingMaps, rows: Sequence[int]) -> FindingMaps:
    at = list(rows)
    names = tuple(found.findings[row] for row in at)
    return FindingMaps(names, found.maps[at], found.logits[at], found.probabilities[at], found.method)


def _row(index: Index, against: str) -> int:
    ids = index.catalogue.ids
    if against in ids:
        return ids.index(against)
    number = against.removeprefix("#")
    if against.startswith("#") and number.isdecimal() and int(number) < len(index):
        return int(number)
    fix = f"name the id of an indexed image, as {ids[0]}, or its row from #0 to #{len(index) - 1}"
    raise UsageError(f"no image {against!r} in the index", fix)


def _factors(size: tuple[int, int], side: int) -> Floats:
    """What stored pixels are to be multiplied by for pixels of the original, (left, top, width, height)."""
    width, height = size
    return np.array([width, height, width, height]) / side
