"""How fast radiographs are read, and how far the stored pixels are from those of other decoders, in one run.

    python benchmarks/decode.py [FOLDER] [--side 256] [--rounds 5]

FOLDER holds PNG files; `nih/originals` of CXRSEARCH_TEST_DATA (or of ../shared/data) where there is one, phantoms of
1024 px otherwise. One thread; every contender takes a file to `side` x `side` grey pixels:

    cxrsearch      read_radiograph (both sha256, checksums, the checks of what it is), then Preprocess.stored_pixels
    pillow L       Pillow, convert("L"), bilinear: the least that gives the same pixels
    pillow RGB     Pillow, convert("RGB"), bilinear: what most training code does
    torchvision    decode_png to grey, antialiased bilinear

Ratios hold inside one run only; rounds take turns, and the fastest counts.
"""

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import torch
from _headline import headline
from numpy.typing import NDArray
from PIL import Image

from cxrsearch.images.preprocess import Preprocess
from cxrsearch.images.radiograph import read_radiograph
from cxrsearch.images.sources.folder import find_images

Pixels = NDArray[np.uint8]
Reader = Callable[[Path], Pixels]


def pillow(mode: str, side: int) -> Reader:
    def read(path: Path) -> Pixels:
        with Image.open(path) as image:
            small = np.asarray(image.convert(mode).resize((side, side), Image.Resampling.BILINEAR))
        return small if mode == "L" else small[..., 0]

    return read


def torchvision(side: int) -> Reader:
    """Raises RuntimeError or ImportError where torchvision is missing or was built for another torch."""
    from torchvision.io import ImageReadMode, decode_png, read_file
    from torchvision.transforms.v2.functional import resize

    def read(path: Path) -> Pixels:
        image: Any = decode_png(read_file(str(path)), mode=ImageReadMode.GRAY)
        small: Pixels = resize(image, [side, side], antialias=True)[0].numpy()
        return small

    return read


def contenders(side: int) -> dict[str, Reader]:
    """Functions from a path to uint8 (side, side)."""
    preprocess = Preprocess(size=min(side, 224), pixel_side=side)
    readers: dict[str, Reader] = {
        "cxrsearch": lambda path: preprocess.stored_pixels(read_radiograph(path).pixels),
        "pillow L": pillow("L", side),
        "pillow RGB": pillow("RGB", side),
    }
    try:
        readers["torchvision"] = torchvision(side)
    except (ImportError, RuntimeError) as error:
        print(f"torchvision cannot be measured: {error}\n")
    return readers


def compare(paths: list[Path], side: int, rounds: int) -> None:
    readers = contenders(side)
    fastest = dict.fromkeys(readers, float("inf"))
    images: dict[str, Pixels] = {}
    for _ in range(rounds):
        for name, read in readers.items():
            start = time.perf_counter()
            images[name] = np.stack([read(path) for path in paths])
            fastest[name] = min(fastest[name], time.perf_counter() - start)
    print(f"{'':14}{'images/s':>10}{'x RGB':>8}{'furthest':>10}{'differ':>9}")
    for name, seconds in fastest.items():
        distance = np.abs(images[name].astype(int) - images["cxrsearch"])
        ratio = fastest["pillow RGB"] / seconds
        print(f"{name:14}{len(paths) / seconds:10.1f}{ratio:8.2f}{distance.max():10d}{np.mean(distance > 0):9.2%}")
    headline("decode and resize, against Pillow RGB", fastest["pillow RGB"] / fastest["cxrsearch"])


def originals(phantoms: Path) -> Path:
    """The folder of real originals, or a few phantoms where there is none."""
    data = os.environ.get("CXRSEARCH_TEST_DATA", Path(__file__).parents[2] / "shared" / "data")
    folder = Path(data) / "nih" / "originals"
    if folder.is_dir():
        return folder
    from cxrsearch.phantom.write import make_phantom

    make_phantom(phantoms, 24, size=1024)
    return phantoms / "images"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        paths = find_images(options.folder or originals(Path(temporary)))
        print(f"{len(paths)} files in {paths[0].parent.name}, {options.side} px, 1 of {os.cpu_count()} cores,")
        print(f"Python {platform.python_version()}, Pillow {PIL.__version__}, torch {torch.__version__}\n")
        compare(paths, options.side, options.rounds)


if __name__ == "__main__":
    main()
