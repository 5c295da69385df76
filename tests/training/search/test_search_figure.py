"""The figure of a search by its pixels."""

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import ImageColor
from scipy import ndimage

from cxrsearch.report import style
from cxrsearch.training.search._search_figure import search_plot
from cxrsearch.training.search._space import Choices, Range, SearchSpace
from cxrsearch.training.search.trial import State, Trial

SPACE = SearchSpace({"lr": Range(1e-5, 1e-1, log=True), "dropout": Choices((0.1, 0.2, 0.3))})
COMPLETE, PRUNED, FAILED, BEST = style.CATEGORIES[0], style.INK_QUIET, style.CATEGORIES[3], style.CATEGORIES[2]
TOP, MIDDLE = 98, 374
"""Where the first row of panels begins, and the second."""


def trial(number: int, lr: float, dropout: float, auroc: float | None, state: State = "complete") -> Trial:
    return Trial(number, {"lr": lr, "dropout": dropout}, () if auroc is None else (auroc - 0.1, auroc), state)


TRIALS = [
    trial(0, 1e-4, 0.1, 0.6),
    trial(1, 1e-3, 0.3, 0.7),
    trial(2, 1e-2, 0.2, 0.65),
    trial(3, 3e-2, 0.2, 0.62, "pruned"),
    trial(4, 9e-2, 0.1, None, "failed"),
]


def drawn(trials: list[Trial], space: SearchSpace = SPACE) -> NDArray[np.uint8]:
    return np.asarray(search_plot(trials, space, title="Search first"))


def marks(pixels: NDArray[np.uint8], colour: str, rows: slice) -> NDArray[np.float64]:
    """The centre of every mark of a colour in some rows, (n, 2) of y and x, from left to right."""
    here = (pixels[rows] == ImageColor.getrgb(colour)).all(axis=2)
    blobs, n = ndimage.label(here, structure=np.ones((3, 3)))
    sizes = ndimage.sum_labels(here, blobs, range(1, n + 1))
    kept = [i + 1 for i, size in enumerate(sizes) if size >= 12]
    centres = np.array(ndimage.center_of_mass(here, blobs, kept)).reshape(-1, 2)
    return centres[centres[:, 1].argsort()]


def test_trials_stand_where_their_number_and_auroc_put_them() -> None:
    found = marks(drawn(TRIALS), COMPLETE, slice(TOP, MIDDLE))
    assert len(found) == 3
    (y0, x0), (y1, x1), (y2, x2) = found
    assert x1 - x0 == pytest.approx(x2 - x1, abs=1)
    assert y1 < y2 < y0
    assert (y0 - y2) / (y0 - y1) == pytest.approx(0.5, abs=0.02)


def test_trials_stand_where_their_values_put_them() -> None:
    """Rates by order of magnitude in the panel on the left; choices, in the order of the space, on the right."""
    pixels = drawn(TRIALS)
    half = pixels.shape[1] // 2
    found = marks(pixels, COMPLETE, slice(MIDDLE, None))
    rates, choices = found[found[:, 1] < half], found[found[:, 1] >= half]
    assert len(rates) == len(choices) == 3
    assert rates[1, 1] - rates[0, 1] == pytest.approx(rates[2, 1] - rates[1, 1], abs=1)
    assert rates[1, 0] < rates[2, 0] < rates[0, 0]
    assert choices[1, 1] - choices[0, 1] == pytest.approx(choices[2, 1] - choices[1, 1], abs=1)
    assert choices[2, 0] < choices[1, 0] < choices[0, 0]


def test_failed_trials_stand_at_the_bottom_and_pruned_ones_at_their_best() -> None:
    pixels = drawn(TRIALS)
    (failed,) = marks(pixels, FAILED, slice(TOP, MIDDLE))
    (pruned,) = marks(pixels, PRUNED, slice(TOP, 290))
    complete = marks(pixels, COMPLETE, slice(TOP, MIDDLE))
    assert failed[0] > complete[:, 0].max() > pruned[0] > complete[2, 0]
    assert complete[2, 1] < pruned[1] < failed[1]


def test_the_best_so_far_is_a_rising_line_and_the_best_is_ringed() -> None:
    pixels = drawn(TRIALS)
    line = np.argwhere((pixels[TOP:MIDDLE] == ImageColor.getrgb(BEST)).all(axis=2))
    first, best, _ = marks(pixels, COMPLETE, slice(TOP, MIDDLE))
    assert line[:, 0].max() == pytest.approx(first[0], abs=2)
    right = line[line[:, 1] > best[1] + 30]
    assert np.abs(right[:, 0] - best[0]).max() <= 2
    around = np.hypot(*(line - best).T)
    assert ((around > 6) & (around < 9)).sum() > 30


def test_panels_are_in_rows_of_four_and_long_names_are_cut() -> None:
    choices = Choices(("imagenet", "/a/very/long/path/to/some/run/of/a/network/best.safetensors"))
    names = ["lr", "dropout", "ema", "margin", "flip"]
    few, many = ({name: Range(0.0, 0.5) for name in names[:n]} for n in (1, 5))
    assert search_plot([], SearchSpace(few), title="").size == (3 * 340 + 32, 746)
    wide = search_plot([], SearchSpace(many), title="")
    assert wide.size == (4 * 340 + 32, 1026)
    cut = np.asarray(search_plot([], SearchSpace({"weights": choices}), title="m$a$" * 100))
    edge = cut[:, -24:]
    assert (edge == ImageColor.getrgb(style.BACKGROUND)).all()


def test_the_same_trials_give_the_same_pixels() -> None:
    assert np.array_equal(drawn(TRIALS), drawn(list(TRIALS)))
    assert not np.array_equal(drawn(TRIALS), drawn(TRIALS[:4]))
