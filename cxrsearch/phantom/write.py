"""Writes a phantom to disk, in the file formats of NIH ChestX-ray14."""

import itertools
import multiprocessing
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import get_args

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from cxrsearch.errors import UsageError
from cxrsearch.files import translated, write_bytes
from cxrsearch.images.findings import NIH_FINDINGS, NO_FINDING
from cxrsearch.phantom._draw import draw_film
from cxrsearch.phantom._labels import Prevalence
from cxrsearch.phantom._patient import Film, sample_film, sample_patient
from cxrsearch.phantom._traits import Box
from cxrsearch.progress import Progress, silent

TABLE = "Data_Entry_2017.csv"
BOXES = "BBox_List_2017.csv"

_TABLE_HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)
_BOXES_HEADER = "Image Index,Finding Label,Bbox [x,y,w,h],,,"
_BOX_SIDE = 1024
"""The side, in pixels, of the images to which NIH's boxes refer."""

_SIZES = range(64, 2049)
_NOTICE = "SYNTHETIC: drawn by the phantom of cxrsearch. Not a patient, of no medical meaning."
_README = f"""{_NOTICE}

images/                 drawn chest X-rays, 8-bit grey PNG, marked SYNTHETIC in their top left corner
{TABLE}     their labels, in the format of NIH ChestX-ray14; the patients, sexes and ages are invented
{BOXES}      where each finding was drawn, in the pixels of a {_BOX_SIDE} x {_BOX_SIDE} image
"""

_Drawn = tuple[tuple[str, Box], ...]


@dataclass(frozen=True)
class PhantomSet:
    """What `make_phantom` wrote.

    Attributes:
        folder: the folder of the phantom.
        images: the number of images.
        patients: the number of patients.
        findings: the number of images with each finding of `NIH_FINDINGS`, and with `No Finding`.
    """

    folder: Path
    images: int
    patients: int
    findings: dict[str, int]


def make_phantom(
    out: Path,
    n: int,
    *,
    seed: int = 0,
    prevalence: Prevalence = "balanced",
    size: int = 512,
    workers: int = 1,
    progress: Progress = silent,
) -> PhantomSet:
    """Draw synthetic chest X-rays with known findings, in NIH's own file formats.

    An image depends only on the seed, its patient and its follow-up number. So a larger set with the same seed contains
    the smaller one byte for byte, and the number of workers changes nothing. A folder without its table was
    interrupted: delete it and draw again.

    Args:
        out: a folder that is absent or empty. It gets `images/`, `BBox_List_2017.csv`, a `README.txt` that says what
            this is, and last `Data_Entry_2017.csv`.
        n: the number of images, at least 1; a patient has several.
        seed: at least 0.
        prevalence: `balanced` (each finding in at least about 12% of the images) or `nih` (NIH's rates).
        size: side of the images in pixels, 64 to 2048.
        workers: the number of processes that draw, at least 1.
        progress: called with the number of images that are done.

    Raises:
        UsageError: an argument outside these bounds, or `out` is a file or is not empty.
        WriteError: a file cannot be written.
    """
    _check(n, seed, prevalence, size, workers)
    _check_folder(out)
    films = list(itertools.islice(_films(seed, prevalence, size), n))
    with translated("write", out):
        (out / "images").mkdir(parents=True, exist_ok=True)
    write_bytes(out / "README.txt", _README.encode())
    boxes: list[_Drawn] = []
    progress("draw", 0, n)
    with ExitStack() as stack:
        for drawn in _draw_all(stack, partial(_write_image, out / "images", seed), films, workers):
            boxes.append(drawn)
            progress("draw", len(boxes), n)
    _write_lines(out / BOXES, _BOXES_HEADER, _box_rows(films, boxes))
    _write_lines(out / TABLE, _TABLE_HEADER, map(_table_row, films))
    return _summary(out, films)


def _check(n: int, seed: int, prevalence: str, size: int, workers: int) -> None:
    for name, value, least in (
        ("the number of images", n, 1),
        ("the seed", seed, 0),
        ("the number of workers", workers, 1),
    ):
        if value < least:
            raise UsageError(f"{name} is {value}", f"give {least} or more")
    if size not in _SIZES:
        raise UsageError(f"image size {size}", f"choose one from {_SIZES[0]} to {_SIZES[-1]} pixels")
    if prevalence not in get_args(Prevalence):
        raise UsageError(f"unknown prevalence {prevalence!r}", f"choose one of {', '.join(get_args(Prevalence))}")


def _check_folder(out: Path) -> None:
    with translated("read", out):
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            what = "holds something already" if out.is_dir() else "is a file"
            raise UsageError(f"{out} {what}", "name a new or an empty folder: nothing is overwritten")


def _films(seed: int, prevalence: Prevalence, size: int) -> Iterator[Film]:
    """Yield every patient's films, without end."""
    for number in itertools.count(1):
        patient = sample_patient(seed, number)
        for follow_up in range(patient.images):
            yield sample_film(seed, patient, follow_up, prevalence, size)


def _draw_all(stack: ExitStack, draw: "partial[_Drawn]", films: Sequence[Film], workers: int) -> Iterator[_Drawn]:
    """Draw and write every film, in this process or in others; returns the boxes in the order of the films."""
    if workers == 1:
        return map(draw, films)
    context = multiprocessing.get_context("spawn")  # a forked copy of a threaded process can hang
    pool = stack.enter_context(ProcessPoolExecutor(workers, mp_context=context))
    return pool.map(draw, films, chunksize=8)


def _write_image(folder: Path, seed: int, film: Film) -> _Drawn:
    drawing = draw_film(seed, film)
    notice = PngInfo()
    notice.add_text("Comment", _NOTICE)
    notice.add_text("Software", "cxrsearch phantom")
    path = folder / film.image
    with translated("write", path):
        Image.fromarray(drawing.pixels).save(path, pnginfo=notice, compress_level=2)  # 6 is slower by a third
    return drawing.boxes


def _table_row(film: Film) -> str:
    patient, (width, height, spacing) = film.patient, film.original
    labels = "|".join(sorted(film.findings)) or NO_FINDING
    cells = (film.image, labels, film.follow_up, patient.number, film.age, patient.sex, film.view)
    return ",".join(map(str, (*cells, width, height, spacing, spacing)))


def _box_rows(films: Sequence[Film], boxes: Sequence[_Drawn]) -> Iterator[str]:
    for film, drawn in zip(films, boxes, strict=True):
        for finding, box in drawn:
            label = "Infiltrate" if finding == "Infiltration" else finding  # as in NIH's list of boxes
            yield ",".join([film.image, label, *(repr(side * _BOX_SIDE / film.frame.size) for side in box)])


def _write_lines(path: Path, header: str, rows: Iterator[str]) -> None:
    write_bytes(path, "".join(f"{line}\n" for line in (header, *rows)).encode())


def _summary(out: Path, films: Sequence[Film]) -> PhantomSet:
    counts = Counter(name for film in films for name in film.findings or (NO_FINDING,))
    findings = {name: counts[name] for name in (*NIH_FINDINGS, NO_FINDING)}
    return PhantomSet(out, len(films), len({film.patient.number for film in films}), findings)
