"""Each finding against the same film drawn without it."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from cxrsearch.images.findings import NIH_FINDINGS
from cxrsearch.phantom._draw import DrawnFilm
from cxrsearch.phantom._patient import Film
from cxrsearch.phantom._traits import box_of
from cxrsearch.phantom.signs import SIGNS

RESHAPING = {"Atelectasis", "Cardiomegaly", "Emphysema"}
PATIENTS = (1, 2, 5)

Draw = Callable[..., DrawnFilm]


def inside(drawing: DrawnFilm, margin: float = 0.0) -> NDArray[np.bool_]:
    """True within any of the drawing's boxes, grown by a share of the film's side."""
    side = len(drawing.pixels)
    mask = np.zeros((side, side), dtype=np.bool_)
    for _, (left, top, width, height) in drawing.boxes:
        grown = np.array([top, left, top + height, left + width]) + np.array([-1, -1, 1, 1]) * margin * side
        first_row, first_column, last_row, last_column = np.clip(grown.round(), 0, side).astype(int)
        mask[first_row:last_row, first_column:last_column] = True
    return mask


def change(draw: Draw, patient: int, finding: str, size: int = 256) -> tuple[DrawnFilm, NDArray[np.float64]]:
    """A drawing with a finding, and its difference from that without."""
    drawing = draw(patient, finding, size=size)
    return drawing, drawing.pixels.astype(np.float64) - draw(patient, size=size).pixels


def test_every_finding_has_a_sign() -> None:
    assert set(SIGNS) == set(NIH_FINDINGS)


@pytest.mark.parametrize("finding", NIH_FINDINGS)
@pytest.mark.parametrize("patient", PATIENTS)
def test_the_box_holds_the_sign(draw: Draw, patient: int, finding: str) -> None:
    drawing, difference = change(draw, patient, finding)
    assert {name for name, _ in drawing.boxes} == {finding}
    for _, (left, top, width, height) in drawing.boxes:
        assert 0 <= left < left + width <= 256
        assert 0 <= top < top + height <= 256
    energy = difference**2
    if finding not in RESHAPING:  # those move lungs and ribs as well
        assert energy[inside(drawing, 0.03)].sum() > 0.9 * energy.sum()
    assert energy[inside(drawing)].mean() > 3 * energy[~inside(drawing, 0.03)].mean()


@pytest.mark.parametrize("finding", sorted(set(NIH_FINDINGS) - RESHAPING - {"Hernia", "Pneumothorax"}))
@pytest.mark.parametrize("patient", PATIENTS)
def test_the_sign_is_bright_and_visible_on_a_film_of_128_pixels(draw: Draw, patient: int, finding: str) -> None:
    drawing, difference = change(draw, patient, finding, size=128)
    assert difference[inside(drawing)].mean() > 3.0


@pytest.mark.parametrize("patient", PATIENTS)
def test_a_pneumothorax_is_dark_outside_its_line_and_bright_within(draw: Draw, patient: int) -> None:
    drawing, difference = change(draw, patient, "Pneumothorax", size=128)
    dark, bright = np.quantile(difference[inside(drawing)], [0.1, 0.9])
    assert dark < -10
    assert bright > 4


@pytest.mark.parametrize("patient", PATIENTS)
def test_emphysema_darkens_the_lungs(draw: Draw, patient: int) -> None:
    drawing, difference = change(draw, patient, "Emphysema", size=128)
    assert difference[inside(drawing)].mean() < -5


@pytest.mark.parametrize("patient", PATIENTS)
def test_a_hernia_holds_gas_above_fluid(draw: Draw, patient: int) -> None:
    drawing, difference = change(draw, patient, "Hernia")
    ((_, (left, top, width, height)),) = drawing.boxes
    middle = difference[:, left + width // 3 : left + 2 * width // 3]
    gas, fluid = middle[top + height // 5 : top + 2 * height // 5], middle[top + 3 * height // 5 : top + height]
    assert gas.mean() < fluid.mean() - 8


@pytest.mark.parametrize("patient", PATIENTS)
def test_a_wide_heart_takes_more_than_half_the_chest(film: Callable[..., Film], draw: Draw, patient: int) -> None:
    ((_, (_, _, width, _)),) = draw(patient, "Cardiomegaly").boxes
    taken = film(patient)
    assert width / 256 * taken.frame.width > 0.55 * 2 * taken.anatomy.half_width


@pytest.mark.parametrize("patient", range(1, 9))
def test_nodules_are_below_and_masses_above_three_centimetres(
    film: Callable[..., Film], draw: Draw, patient: int
) -> None:
    centimetres = film(patient).frame.width / 512
    assert all(width * centimetres < 3.1 for _, (_, _, width, _) in draw(patient, "Nodule", size=512).boxes)
    assert all(width * centimetres > 3.0 for _, (_, _, width, _) in draw(patient, "Mass", size=512).boxes)


def test_all_findings_at_once_stay_inside_the_film(draw: Draw) -> None:
    drawing = draw(2, *NIH_FINDINGS)
    assert {name for name, _ in drawing.boxes} == set(NIH_FINDINGS)
    assert all(min(box) >= 0 and max(box[0] + box[2], box[1] + box[3]) <= 256 for _, box in drawing.boxes)


def test_a_box_encloses_what_reaches_a_quarter() -> None:
    extent = np.zeros((10, 12), np.float32)
    extent[3:5, 2:9] = 0.3
    extent[4, 5] = 1.0
    extent[8, 8] = 0.2
    assert box_of(extent) == (2, 3, 7, 2)
