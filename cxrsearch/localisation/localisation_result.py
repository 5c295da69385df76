"""The result of an evaluation of heat maps: one row per finding, model, measure and T; as JSON and CSV."""

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
    """How often the readers' boxes are found. A case is one finding in one image.

    Attributes:
        finding: the finding, or `all`.
        model: `map`, `random` (noise as coarse as the heat map), `other image` (the finding's heat map of another
            patient who has it), or a paired difference such as `map - random`.
        measure: `iobb` or `iou`.
        level: T, which the overlap must exceed.
        accuracy: the share of a case's boxes that are found, averaged over cases; or a difference of two such means.
        low: lower end of the 95% patient-bootstrap interval; None under 10 patients.
        high: upper end of that interval; None under 10 patients.
        false_positives: boxes per case that overlap no reader's box by more than T.
        images: number of images.
        patients: number of patients.
        boxes: number of readers' boxes.
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
    """The result of an evaluation of heat maps.

    Attributes:
        encoder: the encoder's name.
        method: `cam` or `grad-cam`.
        cells: height and width of a heat map.
        split: the definition of the split.
        part: the part that was scored, together with boxed images that were kept out of the training.
        images: number of scored images.
        patients: number of their patients.
        validation_images: number of boxed images that chose the thresholds.
        thresholds: the threshold of each model, a share of a heat map's range.
        replicates: bootstrap replicates.
        seed: seed of the bootstrap.
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
        """What was scored, in one line."""
        height, width = self.cells
        return (
            f"{self.encoder}, {self.method} of {height} x {width} cells: "
            f"{images_of(self.images, self.patients, 'boxed image')} (part {self.part} of {self.split})"
        )

    def row(self, finding: str, model: str, measure: str, level: float) -> LocalisationRow:
        """The row of a finding, model, measure and T."""
        key = (finding, model, measure, level)
        return next(row for row in self.rows if (row.finding, row.model, row.measure, row.level) == key)

    def to_frame(self) -> pd.DataFrame:
        """A table with one row per finding, model, measure and T."""
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
    """The rows of every finding that has an image.

    Args:
        findings: the names of the groups.
        averages: by model, the averages and the number of boxes of each group.
    """
    for group, finding in enumerate(findings):
        for model, (mean, boxes) in averages.items():
            if not mean.images[group]:
                continue
            counts = int(mean.images[group]), int(mean.patients[group]), int(boxes[group])
            for i, (measure, level) in enumerate(LEVELS):
                point, low, high = (float(values[group, i]) for values in (mean.point, mean.low, mean.high))
                false = float(mean.point[group, len(LEVELS) + i])
                yield LocalisationRow(finding, model, measure, level, point, number(low), number(high), false, *counts)
