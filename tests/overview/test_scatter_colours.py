from dataclasses import replace

import numpy as np
import pytest
from PIL import ImageColor

from cxrsearch.errors import CatalogueError, UsageError
from cxrsearch.images.catalogue import Catalogue
from cxrsearch.overview._scatter_colours import (
    QUIET,
    SCALE,
    Colouring,
    by_age,
    by_finding,
    by_novelty,
    by_view,
    highlight,
    rows_with,
)
from cxrsearch.report import style


def classes(colouring: Colouring) -> list[str]:
    """The class of each image."""
    return [colouring.classes[code] for code in colouring.codes]


def test_an_image_has_the_colour_of_its_rarest_common_finding(catalogue: Catalogue) -> None:
    colouring = by_finding(catalogue)
    # Mass 4, Edema 2, then those with 1 in the vocabulary's order; Effusion has no image, Emphysema is the seventh.
    thickening = "Fibrosis"  # of Pleural Thickening, Nodule and Fibrosis, equally rare, the last in that order
    expected = ["Edema", "Mass", "Edema", "No Finding", "Hernia", thickening, "other findings", "No Finding", "Mass"]
    assert classes(colouring) == expected
    assert colouring.classes == ("Mass", "Edema", "Hernia", "Fibrosis", "other findings", "No Finding")
    assert colouring.counts == [2, 2, 1, 1, 1, 2]
    assert colouring.colours == (*(style.CATEGORIES[i] for i in (0, 1, 3, 5)), style.INK_QUIET, QUIET)
    assert colouring.quiet == (False,) * 5 + (True,)
    assert colouring.name == "finding"
    assert colouring.codes.dtype == np.uint8


def test_views_and_unknown_ones(catalogue: Catalogue) -> None:
    colouring = by_view(catalogue)
    assert classes(colouring) == ["PA", "AP", "unknown", "PA", "PA", "AP", "unknown", "PA", "PA"]
    assert colouring.quiet == (False, False, True)


def test_ages_in_bands_of_twenty_years(catalogue: Catalogue) -> None:
    colouring = by_age(catalogue)
    bands = ["under 20", "under 20", "20-39", "20-39", "40-59", "60-79", "80 and over", "80 and over", "unknown"]
    assert classes(colouring) == bands
    assert colouring.colours == (*SCALE, QUIET)
    assert colouring.counts == [2, 2, 1, 1, 2, 1]


def test_novelty_in_bands_of_rank() -> None:
    distances = np.random.default_rng(0).permutation(np.arange(1, 201)).astype(np.float64)
    colouring = by_novelty(distances, 7)
    assert colouring.counts == [100, 50, 30, 18, 2]
    assert colouring.title == "Distance to neighbour 7 of other patients"
    highest = colouring.codes == 4
    assert sorted(distances[highest]) == [199, 200]
    assert colouring.classes[4] == "highest 1%, over 198"
    assert colouring.classes[1] == "50-75%, over 100.5"
    assert (np.diff(colouring.codes[np.argsort(distances)].astype(int)) >= 0).all()


def test_equal_distances_are_one_class() -> None:
    assert by_novelty(np.full(9, 2.0), 20).counts == [9]


def test_the_images_with_a_finding(catalogue: Catalogue) -> None:
    name, rows = rows_with(catalogue, "pleural thickening")
    assert name == "Pleural_Thickening"
    assert np.flatnonzero(rows).tolist() == [5]
    name, rows = rows_with(catalogue, "no finding")
    assert name == "No Finding"
    assert np.flatnonzero(rows).tolist() == [3, 7]
    with pytest.raises(UsageError, match=r"unknown finding 'Flu'; .*, and No Finding — choose one of these"):
        rows_with(catalogue, "Flu")


def test_one_finding_stands_out(catalogue: Catalogue) -> None:
    name, rows = rows_with(catalogue, "mass")
    alone = highlight(by_finding(catalogue), name, rows)
    assert alone.classes == ("Mass", "other images")
    assert alone.colours == (style.ACCENT, QUIET)
    assert np.flatnonzero(alone.codes == 0).tolist() == [0, 1, 4, 8]
    by_their_view = highlight(by_view(catalogue), name, rows)
    assert classes(by_their_view) == ["PA", "AP", *["other images"] * 2, "PA", *["other images"] * 3, "PA"]
    assert by_their_view.colours == (style.CATEGORIES[0], style.CATEGORIES[3], QUIET)
    assert by_their_view.title == "View: Mass"


def test_where_findings_are_not_known(catalogue: Catalogue) -> None:
    unknown = replace(catalogue, labels=None)
    for ask in (by_finding, lambda c: rows_with(c, "Mass")):
        with pytest.raises(CatalogueError, match=r"not known — build it with --labels"):
            ask(unknown)
    assert by_view(unknown).counts == by_view(catalogue).counts


@pytest.mark.parametrize("colour", [QUIET, *SCALE])
def test_every_colour_stands_out_from_what_it_lies_on(colour: str) -> None:
    def luminance(name: str) -> float:
        channels = [c / 255 for c in ImageColor.getrgb(name)[:3]]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return float(np.dot([0.2126, 0.7152, 0.0722], linear))

    assert (luminance(colour) + 0.05) / (luminance(style.PANEL) + 0.05) >= 3
    lightness = [luminance(step) for step in SCALE]
    assert lightness == sorted(lightness)
