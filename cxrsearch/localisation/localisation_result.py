"""What an evaluation of maps came to: a row a finding, model, measure and T; as JSON and CSV."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd
from numpy.typing import NDArray

from cxrsearch.analysis.maps.box_scores import LEVELS
from cxrsearch.analysis.measures.bootstrap import Averages
from cxrsearch.files import Json
from cxrsearch.json_values import number, refusals
from cxrsearch.shown import Shown
from cxrsearch.words import images_of


@dataclass(frozen=True)
class LocalisationRow:
    """How often boxes are found.

    Attributes:
        finding: or `all`.
        model: `map`, `random` (noise as coarse as the map), `other image` (the finding's map of another patient
            who has it), or a paired difference such as `map - random`.
        measure: `iobb` or `iou`.
        level: T, which the overlap must exceed.
        accuracy: the share of a case's boxes that are found, averaged over cases, a finding in an image each; or a
            difference of two.
        low, high: its 95% patient-bootstrap interval, None under 10 patients.
        false_positives: boxes a case that overlap no reader's box by more than T.
        images, patients, boxes: how many.
    """

    finding: str
    model: str
    measure: str
    level: float
    accuracy: float
    low: float | None
    high: float | None
    false_positives: float
    images: int
    patients: int
    boxes: int


@dataclass(frozen=True, repr=False)
class LocalisationResult(Shown):
    """What an evaluation of maps came to.

    Attributes:
        encoder: what it is called.
        method: `cam` or `grad-cam`.
        cells: height and width of a map.
        split, part: what was scored, beside boxed images that were kept out of training.
        images, patients: scored.
        validation_images: boxed images that the thresholds were chosen by.
        thresholds: of each model, a share of a map's range.
        replicates, seed: of the bootstrap.
        rows: see `LocalisationRow`.
        warnings: what a reader must know.
        refused: image and reason for every boxed file that cannot be used.
    """

    encoder: str
    method: str
    cells: tuple[int, int]
    split: str
    part: str
    images: int
    patients: int
    validation_images: int
    thresholds: dict[str, float]
    replicates: int
    seed: int
    rows: tuple[LocalisationRow, ...]
    warnings: tuple[str, ...]
    refused: tuple[tuple[str, str], ...] = ()

    def heading(self) -> str:
        """What was scored, in words."""
        height, width = self.cells
        return (
            f"{self.encoder}, {self.method} of {height} x {width} cells: "
            f"{images_of(self.images, self.patients, 'boxed image')} (part {self.part} of {self.split})"
        )

    def row(self, finding: str, model: str, measure: str, level: float) -> LocalisationRow:
        """One of the rows."""
        key = (finding, model, measure, level)
        return next(row for row in self.rows if (row.finding, row.model, row.measure, row.level) == key)

    def to_frame(self) -> pd.DataFrame:
        """A row a finding, model, measure and T."""
        return pd.DataFrame([asdict(row) for row in self.rows])

    def to_json(self) -> Json:
        """The object that `cxrsearch evaluate-localisation --json` prints."""
        return asdict(self) | {
            "cells": list(self.cells),
            "warnings": list(self.warnings),
            "refused": refusals(self.refused),
        }


def rows_of(
    findings: Sequence[str], averages: Mapping[str, tuple[Averages, NDArray[Any]]]
) -> Iterator[LocalisationRow]:
    """The rows of every finding that has an image."""
    for group, finding in enumerate(findings):
        for model, (found, boxes) in averages.items():
            if not found.images[group]:
                continue
            counts = int(found.images[group]), int(found.patients[group]), int(boxes[group])
            for i, (measure, level) in enumerate(LEVELS):
                point, low, high = (float(values[group, i]) for values in (found.point, found.low, found.high))
                false = float(found.point[group, len(LEVELS) + i])
                yield LocalisationRow(finding, model, measure, level, point, number(low), number(high), false, *counts)
