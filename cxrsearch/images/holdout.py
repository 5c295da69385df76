"""A held-out finding: the images that show it, and the vocabulary without it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxrsearch.errors import UsageError
from cxrsearch.images.catalogue import Catalogue
from cxrsearch.images.findings import Vocabulary


@dataclass(frozen=True)
class Holdout:
    """A finding that is held out of training or fitting.

    Attributes:
        finding: its canonical name.
        strict: also hold out every other image of the patients who have the finding in at least one image.
    """

    finding: str
    strict: bool = False

    def images(self, catalogue: Catalogue) -> NDArray[np.bool_]:
        """Mark the images that are held out, bool (n,).

        Raises:
            UsageError: the findings of the catalogue are unknown.
        """
        if catalogue.labels is None:
            raise UsageError("a finding held out of images whose findings are not known", "give the table, --labels")
        shows = np.array(catalogue.labels[:, catalogue.vocabulary.findings.index(self.finding)])
        if not self.strict:
            return shows
        groups = catalogue.patient_groups()
        return np.isin(groups, groups[shows])

    def rest(self, vocabulary: Vocabulary) -> Vocabulary:
        """Return the vocabulary without the finding.

        Raises:
            UsageError: no other finding is left.
        """
        others = tuple(name for name in vocabulary.findings if name != self.finding)
        if not others:
            raise UsageError(f"{self.finding} held out, and no other finding is left", "use more findings")
        return Vocabulary(others)

    def without(self, catalogue: Catalogue) -> Catalogue:
        """Return images that are not held out, with the other findings. Raises UsageError as `images` and `rest`."""
        kept = catalogue.take(np.flatnonzero(~self.images(catalogue)))
        assert kept.labels is not None
        column = kept.vocabulary.findings.index(self.finding)
        return Catalogue(kept.frame, self.rest(kept.vocabulary), np.delete(kept.labels, column, axis=1))


def hold_out(name: str, vocabulary: Vocabulary, *, strict: bool = False) -> Holdout:
    """Hold out the finding of this name, in any case, with spaces or underscores.

    Raises:
        UsageError: no such finding; see `Vocabulary.resolve`.
    """
    return Holdout(vocabulary.resolve(name), strict)
