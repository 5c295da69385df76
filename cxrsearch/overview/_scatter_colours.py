"""The colours of an embedding map: by finding, view, age or novelty, in a few classes that people can tell apart.

Ordered classes have colours ordered by lightness. A quiet class is background: it is drawn under the others.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from cxrsearch.arrays import Flags
from cxrsearch.errors import CatalogueError, UsageError
from cxrsearch.images.catalogue import Catalogue
from cxrsearch.images.findings import NO_FINDING
from cxrsearch.report import style

_Class = tuple[str, str, bool]

QUIET = "#6e7884"
"""The colour of the quiet classes."""
SCALE = style.SCALE

_AGES = (20, 40, 60, 80)
_SHARES = (50, 75, 90, 99)


@dataclass(frozen=True)
class Colouring:
    """A colour for each of n images.

    Attributes:
        name: the kind of colouring: `finding`, `view`, `age` or `novelty`.
        title: the legend's heading.
        classes: the legend's entries; each has at least one image.
        colours: the colour of each class, `#rrggbb`.
        quiet: for each class, whether it is drawn under the others.
        codes: uint8 (n,), the class of each image.
    """

    name: str
    title: str
    classes: tuple[str, ...]
    colours: tuple[str, ...]
    quiet: tuple[bool, ...]
    codes: NDArray[np.uint8]

    @property
    def counts(self) -> list[int]:
        """The number of images of each class."""
        return [int(count) for count in np.bincount(self.codes, minlength=len(self.classes))]

    @classmethod
    def of(cls, name: str, title: str, classes: Sequence[_Class], codes: NDArray[np.integer]) -> "Colouring":
        """Make a colouring without empty classes; `codes` are positions in `classes`."""
        present, renumbered = np.unique(codes, return_inverse=True)
        names, colours, quiet = zip(*(classes[code] for code in present), strict=True)
        return cls(name, title, names, colours, quiet, renumbered.astype(np.uint8))


def by_finding(catalogue: Catalogue) -> Colouring:
    """Colour by the six most frequent findings. An image with several of them has the colour of the rarest.

    Raises:
        CatalogueError: the findings are not known.
    """
    labels = _labels(catalogue)
    counts = labels.sum(axis=0)
    frequent = np.argsort(-counts, kind="stable")[: len(style.CATEGORIES)]
    names = [readable(catalogue.vocabulary.findings[finding]) for finding in frequent]
    classes = [(name, colour, False) for name, colour in zip(names, style.CATEGORIES, strict=False)]
    other, none = len(classes), len(classes) + 1
    codes = np.where(labels.any(axis=1), other, none)
    for code, finding in enumerate(frequent):  # rarer findings come later, and so overwrite the more frequent ones
        codes[labels[:, finding]] = code
    classes += [("other findings", style.INK_QUIET, False), (NO_FINDING, QUIET, True)]
    return Colouring.of("finding", "Finding (of several, the rarest)", classes, codes)


def by_view(catalogue: Catalogue) -> Colouring:
    """Colour by view: PA, AP and unknown."""
    codes = catalogue.frame["view"].map({"PA": 0, "AP": 1}).fillna(2).to_numpy(dtype=np.int64)
    classes = [("PA", style.CATEGORIES[0], False), ("AP", style.CATEGORIES[3], False), ("unknown", QUIET, True)]
    return Colouring.of("view", "View", classes, codes)


def by_age(catalogue: Catalogue) -> Colouring:
    """Colour by age in bands of twenty years, and unknown."""
    age = catalogue.frame["age"]
    bands = np.searchsorted(_AGES, age.fillna(0).to_numpy(dtype=np.int64), side="right")
    codes = np.where(age.isna().to_numpy(dtype=np.bool_), len(SCALE), bands)
    between = [f"{low}-{high - 1}" for low, high in pairwise(_AGES)]
    names = [f"under {_AGES[0]}", *between, f"{_AGES[-1]} and over"]
    classes = [(name, colour, False) for name, colour in zip(names, SCALE, strict=True)]
    return Colouring.of("age", "Age in years", [*classes, ("unknown", QUIET, True)], codes)


def by_novelty(distances: NDArray[np.float64], k: int) -> Colouring:
    """Colour by the distance to the k-th neighbour of another patient, float64 (n,): the lower half to the top 1%."""
    limits = np.percentile(distances, _SHARES)
    codes = np.searchsorted(limits, distances, side="left")
    between = [f"{low}-{high}%" for low, high in pairwise(_SHARES)]
    bands = zip([*between, f"highest {100 - _SHARES[-1]}%"], limits, strict=True)
    names = [f"lowest {_SHARES[0]}%", *(f"{band}, over {limit:.4g}" for band, limit in bands)]
    classes = [(name, colour, False) for name, colour in zip(names, SCALE, strict=True)]
    return Colouring.of("novelty", f"Distance to neighbour {k} of other patients", classes, codes)


def rows_with(catalogue: Catalogue, finding: str) -> tuple[str, Flags]:
    """A finding as the vocabulary writes it, or `No Finding`, and the images that have it, bool (n,).

    Raises:
        CatalogueError: the findings are not known.
        UsageError: no such finding; the message lists the vocabulary, and `No Finding`.
    """
    labels = _labels(catalogue)
    if finding.replace("_", " ").lower() == NO_FINDING.lower():
        return NO_FINDING, np.logical_not(labels.any(axis=1))
    try:
        name = catalogue.vocabulary.resolve(finding)
    except UsageError as error:
        raise UsageError(f"{error.problem}, and {NO_FINDING}", error.fix) from None
    rows: Flags = labels[:, catalogue.vocabulary.findings.index(name)]
    return name, rows


def highlight(colouring: Colouring, finding: str, rows: Flags) -> Colouring:
    """The colouring with all other images quiet. A colouring by finding keeps only the highlighted one."""
    if colouring.name == "finding":
        classes, codes = [(readable(finding), style.ACCENT, False)], np.where(rows, 0, 1)
    else:
        classes = list(zip(colouring.classes, colouring.colours, colouring.quiet, strict=True))
        codes = np.where(rows, colouring.codes, len(classes))
    title = "Finding" if colouring.name == "finding" else f"{colouring.title}: {readable(finding)}"
    return Colouring.of(colouring.name, title, [*classes, ("other images", QUIET, True)], codes)


def _labels(catalogue: Catalogue) -> Flags:
    if catalogue.labels is None:
        raise CatalogueError(
            "the findings of the index's images are not known", "build it with --labels TABLE, or use --colour view"
        )
    return catalogue.labels


def readable(finding: str) -> str:
    """A finding's name for people: with spaces, not underscores."""
    return finding.replace("_", " ")
