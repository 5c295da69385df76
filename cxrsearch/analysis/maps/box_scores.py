"""How often the boxes of a heat map hit a reader's boxes: T(IoBB) and T(IoU) of Wang et al. 2017 (CVPR, section 4.2).

A *case* is a finding in an image in which a reader boxed it. A reader's box is found if one of the heat map's boxes
overlaps it by more than T. A case scores the share of its boxes that are found. A box of the heat map that overlaps
none of the reader's boxes by more than T is a false positive at that T.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrsearch.analysis.maps.box_overlap import iobb, iou, map_boxes
from cxrsearch.analysis.measures.bootstrap import Averages, PatientBootstrap
from cxrsearch.arrays import Floats
from cxrsearch.errors import UsageError

LEVELS: tuple[tuple[str, float], ...] = (
    *(("iobb", level) for level in (0.1, 0.25, 0.5, 0.75, 0.9)),
    *(("iou", level) for level in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)),
)
"""Measure and T in the tables of Wang et al."""

THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(2, 20))
"""Shares of a heat map's range, from which validation chooses."""

DEFAULT_THRESHOLD = 0.5

MapOf = Callable[[int], Floats]
"""Gives the heat map, float64 (side, side), of a case by its number."""


@dataclass(frozen=True, eq=False)
class Case:
    """A finding in an image, and where readers saw it.

    Attributes:
        image: the row of the image.
        finding: the column of the finding.
        patient: the patient of the image.
        boxes: float64 (n, 4), left, top, width and height in pixels of the heat map.
    """

    image: int
    finding: int
    patient: str
    boxes: Floats


def case_scores(values: Floats, boxes: Floats, threshold: float) -> tuple[Floats, Floats]:
    """A case's share of found boxes, and its number of false positives, at each of `LEVELS`: float64 (12,) each."""
    detected = map_boxes(values, threshold)[0]
    overlaps = {"iobb": iobb(detected, boxes), "iou": iou(detected, boxes)}
    hits = [overlaps[measure] > level for measure, level in LEVELS]
    shares = [hit.any(axis=0).mean() for hit in hits]
    return np.array(shares, dtype=np.float64), np.array([(~hit.any(axis=1)).sum() for hit in hits], dtype=np.float64)


def choose_threshold(cases: Sequence[Case], map_of: MapOf) -> float:
    """Choose the threshold with the highest mean of each reader's box's best IoU; the lowest of equal ones.

    IoU is used because IoBB alone would choose the smallest boxes. Without cases, the result is `DEFAULT_THRESHOLD`.
    """
    if not cases:
        return DEFAULT_THRESHOLD
    totals = np.zeros(len(THRESHOLDS))
    for row, case in enumerate(cases):
        values = map_of(row)
        for number, threshold in enumerate(THRESHOLDS):
            overlap = iou(map_boxes(values, threshold)[0], case.boxes)
            totals[number] += overlap.max(axis=0).mean() if len(overlap) else 0.0
    return THRESHOLDS[int(totals.argmax())]


def score_cases(cases: Sequence[Case], map_of: MapOf, threshold: float, draws: int = 1) -> Floats:
    """Score every case: shares found, then false positives, float64 (n, 24), each the mean over `draws` heat maps.

    The heat map of draw d of case i is `map_of(i * draws + d)`.
    """
    scores = np.zeros((len(cases), 2 * len(LEVELS)))
    for row, case in enumerate(cases):
        for draw in range(draws):
            scores[row] += np.concatenate(case_scores(map_of(row * draws + draw), case.boxes, threshold))
    averaged: Floats = scores / draws
    return averaged


def average_cases(
    cases: Sequence[Case], scores: Floats, findings: int, *, replicates: int, seed: int
) -> tuple[Averages, NDArray[Any]]:
    """Average the scores over each finding's cases, and over all cases, with 95% patient-bootstrap intervals.

    Args:
        cases: n cases.
        scores: float64 (n, M).
        findings: the number of findings, F.
        replicates, seed: of the bootstrap.

    Returns:
        Averages of F + 1 groups, the last of all cases; groups of fewer than 10 patients have no interval. An image
        counts once in `images`, however many of its findings are boxed. And the number of boxes in each group, int64
        (F + 1,).

    Raises:
        UsageError: there are no cases.
    """
    if not cases:
        raise UsageError("no boxed image to score", "name images that the table of boxes has")
    groups = np.zeros((len(cases), findings + 1), dtype=np.bool_)
    groups[np.arange(len(cases)), [case.finding for case in cases]] = True
    groups[:, -1] = True
    bootstrap = PatientBootstrap([case.patient for case in cases], replicates, seed)
    boxes = np.array([len(case.boxes) for case in cases])
    rows = np.array([case.image for case in cases])
    images = np.array([len(np.unique(rows[group])) for group in groups.T])
    return replace(bootstrap.averages(scores, groups), images=images), boxes @ groups
