"""One finding held out of an index: the known images, the head, and every score of the scored images."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cxrsearch.analysis.models.logistic import Logistic
from cxrsearch.analysis.models.model import Sample
from cxrsearch.analysis.novelty.head_scores import Head
from cxrsearch.analysis.novelty.neighbours import K
from cxrsearch.analysis.novelty.references import at_random, by_rare_view, ceiling
from cxrsearch.analysis.novelty.score_registry import SCORES, create
from cxrsearch.analysis.novelty.selection import Choice, choose
from cxrsearch.arrays import Embeddings, Flags, Floats, Integers
from cxrsearch.errors import CatalogueError, UsageError
from cxrsearch.images.holdout import Holdout
from cxrsearch.progress import Progress
from cxrsearch.protocol.rows import Rows
from cxrsearch.protocol.samples import load_head, require_labels, sample
from cxrsearch.query.index import Index

_UNCHOSEN = Choice(None, {"knn": K, "class-knn": K}, {}, ())
OWN_HEAD, FITTED_HEAD = "the network's own", "a logistic regression of the known images"


@dataclass(frozen=True, eq=False)
class NoveltySetup:
    """Everything that the scores of a held-out finding need.

    Attributes:
        index: its embeddings and labels are used.
        held: the held-out finding.
        rows: the rows of fit and choose are without the finding; scored is the whole part.
        known: the images of fit.
        choosing: the images of choose; None if there are none.
        cases: the images of the training part that show the finding; None if there are none.
        supervised: the images of fit and choose before the finding was held out, for the ceiling.
        head: a head for the known findings.
        outputs: the columns of the labels that the head's outputs belong to.
        whose: the head's origin.
        seed: seed of samples.
        warnings: what a reader must know. Scores that cannot be computed add to it.
    """

    index: Index
    held: Holdout
    rows: Rows
    known: Sample
    choosing: Sample | None
    cases: Sample | None
    supervised: tuple[Sample, Sample]
    head: Head
    outputs: Integers
    whose: str
    seed: int
    warnings: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, index: Index, held: Holdout, parts: Rows, seed: int, progress: Progress) -> "NoveltySetup":
        """Hold a finding out.

        Raises:
            CatalogueError: no image without it is left to learn from.
        """
        out = held.images(index.catalogue)
        rows = Rows(parts.fit[~out[parts.fit]], parts.choose[~out[parts.choose]], parts.scored)
        if not len(rows.fit):
            raise CatalogueError(
                f"all {len(parts.fit)} images to learn from show {held.finding}: no other image is left",
                "hold out another finding, or use a split with more images",
            )
        known, choosing = (
            sample(index.stored, rows.fit),
            sample(index.stored, rows.choose) if len(rows.choose) else None,
        )
        labels = require_labels(index.stored)[:, index.manifest.findings.index(held.finding)]
        cases = parts.fit[labels[parts.fit]]
        head, outputs, whose = _head(index, held, known, choosing, progress)
        return cls(
            index,
            held,
            rows,
            known,
            choosing,
            sample(index.stored, cases) if len(cases) else None,
            (sample(index.stored, parts.fit), sample(index.stored, parts.choose)),
            head,
            outputs,
            whose,
            seed,
        )

    @property
    def finding(self) -> int:
        """The column of the held-out finding."""
        return self.index.manifest.findings.index(self.held.finding)

    @property
    def labels(self) -> Flags:
        """The labels of the scored images, bool (m, F)."""
        return require_labels(self.index.stored)[self.rows.scored]

    @property
    def patients(self) -> NDArray[np.int64]:
        """The patients of the scored images as numbers, int64 (m,)."""
        return self.index.catalogue.patient_groups()[self.rows.scored]

    def choose(self, names: list[str], progress: Progress) -> Choice:
        """The score and the k that validation prefers; see `selection.choose`."""
        if not names:
            return _UNCHOSEN
        if self.choosing is None:
            self.warnings.append(f"no validation image without {self.held.finding} is left: k = {K}")
            return _UNCHOSEN
        choice = choose(names, self.known, self.choosing, self.head, self.outputs, seed=self.seed, progress=progress)
        if choice.score is None:
            self.warnings.append(f"no other finding can be held out of the validation part: no best score, k = {K}")
        return choice

    def scores(
        self, names: tuple[str, ...], choice: Choice, embeddings: Embeddings, progress: Progress
    ) -> dict[str, Floats | None]:
        """Every score of the scored images. A score that cannot be computed is None, and a warning says why."""
        scores: dict[str, Floats | None] = {}
        for done, name in enumerate(names):
            progress("scoring", done, len(names))
            try:
                scores[name] = self._score(name, choice, embeddings)
            except UsageError as error:
                scores[name] = None
                self.warnings.append(f"no {name}: {error.problem}")
        progress("scoring", len(names), len(names))
        return scores

    def _score(self, name: str, choice: Choice, embeddings: Embeddings) -> Floats:
        if name in SCORES:
            score = create(name, self.head, k=choice.k.get(name, K), seed=self.seed)
            return score.fit(self.known.embeddings, self.known.labels).score(embeddings)
        if name == "view":
            views = self.index.catalogue.frame["view"]
            return by_rare_view(views.iloc[self.rows.fit], views.iloc[self.rows.scored])
        if name == "random":
            return at_random(len(embeddings), self.seed)
        return ceiling(*self.supervised, self.finding, embeddings)


def _head(
    index: Index, held: Holdout, known: Sample, choosing: Sample | None, progress: Progress
) -> tuple[Head, Integers, str]:
    """The network's head without the held-out finding's output; or a logistic regression, if there is no head."""
    findings = index.manifest.findings
    network = load_head(index.stored, [name for name in findings if name != held.finding])
    if network is not None:
        weight, bias, names = network
        return Head(weight, bias), np.array([findings.index(name) for name in names]), OWN_HEAD
    learned = Logistic(progress=progress).learn(known, known if choosing is None else choosing)
    if learned is None:
        return Head(np.zeros((known.dim, 0)), np.zeros(0)), np.array([], dtype=np.int64), FITTED_HEAD
    return Head(*learned.linear.plain()), learned.findings, FITTED_HEAD
