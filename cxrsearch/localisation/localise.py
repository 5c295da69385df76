"""Localise the findings of one image: heat maps, boxes, and what makes it like another image."""

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
"""A share of a heat map's range. `evaluate-localisation` prints the threshold that validation chooses."""


@dataclass(frozen=True, eq=False)
class Localised:
    """Where the network sees the findings of one image.

    Attributes:
        image: its path as the caller wrote it, `array` or `picture`.
        pixels: uint8 (side, side), its stored pixels.
        encoder: the encoder's name.
        found: the heat maps of F findings: those that were named, else all, the most probable first.
        shown: float64 (F, side, side), the heat maps at the size of the stored pixels.
        threshold: the threshold of the boxes, a share of each heat map's range.
        boxes: for each finding float64 (m, 4): left, top, width and height in pixels of the original image, the box
            with the highest peak first. Empty if a heat map is nowhere positive. None if no boxes were requested.
        size: width and height of the original image.
        cell: width and height of a cell of the heat maps, in pixels of the original image.
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
        """One sentence on the resolution of the heat maps."""
        height, width = self.found.maps.shape[1:]
        across, down = self.cell
        return (
            f"The heat maps have {width} x {height} cells of {across:.0f} x {down:.0f} pixels each: nothing smaller "
            "can be located or outlined."
        )

    def stored_boxes(self, finding: int) -> Floats:
        """A finding's boxes in stored pixels, float64 (m, 4); empty if no boxes were requested.

        Args:
            finding: its position in `found`.
        """
        if self.boxes is None:
            return np.zeros((0, 4))
        return self.boxes[finding] / _factors(self.size, len(self.pixels))

    def peak(self, finding: int) -> str:
        """The highest point of a finding's heat map, as `x, y` in pixels of the original image.

        Args:
            finding: its position in `found`.
        """
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
    """The regions that make an image and an indexed image alike.

    Attributes:
        image: the image's path, as the caller wrote it.
        other: the id of the indexed image.
        pixels: uint8 (side, side), the stored pixels of the image.
        other_pixels: uint8 (side, side), the stored pixels of the indexed image.
        maps: two heat maps, float64 (h, w); the mean of either is `product`.
        shown: the two heat maps at the size of the stored pixels, float64 (side, side).
        product: the inner product of the two embeddings.
        cosine: the cosine of the angle between them.
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
        image_map, other_map = self.maps
        return {"image": self.image, "against": self.other, "product": self.product, "cosine": self.cosine} | {
            "map": image_map.tolist(),
            "against_map": other_map.tolist(),
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
    """Show where a trained head sees the findings of an image.

    Args:
        embedder: `Index.embedder`, or an embedder of any weights with a trained head.
        image: a PNG, JPEG or DICOM file, or its pixels; see `Index.query`.
        findings: names in any spelling that the vocabulary accepts; empty: all findings, the most probable first.
        method: `cam` or `grad-cam`.
        boxes: also draw boxes around the regions that reach the threshold.
        threshold: a share of each heat map's range, in (0, 1).

    Returns:
        The heat maps, and the boxes if requested.

    Raises:
        UsageError: no trained head, an unknown finding or method, or a threshold outside (0, 1).
        ImageError: the image cannot be used.
    """
    if not 0 < threshold < 1:
        raise UsageError(f"threshold {threshold}", "use a share of the heat map's range, between 0 and 1")
    spec = embedder.spec
    if spec.findings is None:
        raise UsageError(f"{spec.label} has no trained head, so no finding can be located", "name trained weights")
    rows = _rows_of(spec.findings, findings)
    radiograph = load_radiograph(image)
    stored = spec.preprocess.stored_pixels(radiograph.pixels)
    every = finding_maps(embedder, embed_images(embedder, [stored])[0], method)
    assert every is not None
    maps = _select(every, rows if rows else np.argsort(-every.probabilities, kind="stable").tolist())
    enlarged = np.stack([on_stored(spec.preprocess, values) for values in maps.maps])
    size = radiograph.pixels.shape[1], radiograph.pixels.shape[0]
    placed = [_boxes(values, threshold) * _factors(size, len(stored)) for values in enlarged] if boxes else None
    placed_boxes = None if placed is None else tuple(placed)
    side = spec.preprocess.window()[1] / len(stored)
    cell = size[0] * side / maps.maps.shape[2], size[1] * side / maps.maps.shape[1]
    return Localised(name_image(image), stored, spec.label, maps, enlarged, threshold, placed_boxes, size, cell)


def compare_image(index: Index, image: ImageLike, against: str) -> Alike:
    """Find the regions that make an image like an indexed image.

    Args:
        index: an open index with pixels.
        image: a PNG, JPEG or DICOM file, or its pixels; see `Index.query`.
        against: the id of the indexed image, or its row as `#12`.

    Returns:
        The heat maps of both images.

    Raises:
        UsageError: no such indexed image, or an index without pixels or of imported embeddings.
        ImageError: the image cannot be used.
    """
    row = _row(index, against)
    preprocess = index.embedder.spec.preprocess
    stored = preprocess.stored_pixels(load_radiograph(image).pixels)
    theirs = index.require_pixels(row)
    image_embedded, other_embedded = index.embed([stored, theirs])
    image_map, other_map = similarity_maps(image_embedded, other_embedded)
    embeddings = np.concatenate([image_embedded.embedding, other_embedded.embedding])
    lengths = np.linalg.norm(embeddings.astype(np.float64), axis=1)
    product = float(image_map.mean())
    maps = image_map, other_map
    enlarge = on_stored(preprocess, image_map), on_stored(preprocess, other_map)
    cosine = product / max(float(lengths.prod()), np.finfo(np.float64).tiny)  # an embedding may be all zeros
    return Alike(name_image(image), index.catalogue.ids[row], stored, theirs, maps, enlarge, product, cosine)


def _boxes(values: Floats, threshold: float) -> Floats:
    """The boxes of a heat map in stored pixels; none if it speaks against its finding everywhere."""
    return map_boxes(values, threshold)[0] if values.max() > 0 else np.zeros((0, 4))


def _rows_of(predicted: Sequence[str], findings: Sequence[str]) -> list[int]:
    vocabulary = Vocabulary(tuple(predicted))
    return list(dict.fromkeys(predicted.index(vocabulary.resolve(name)) for name in findings))


def _select(maps: FindingMaps, rows: Sequence[int]) -> FindingMaps:
    at = list(rows)
    names = tuple(maps.findings[row] for row in at)
    return FindingMaps(names, maps.maps[at], maps.logits[at], maps.probabilities[at], maps.method)


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
    """The factors from stored pixels to pixels of the original, (left, top, width, height)."""
    width, height = size
    return np.array([width, height, width, height]) / side
