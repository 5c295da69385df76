"""How fast images become embeddings, against a plain loop, in one run on one machine.

    python benchmarks/embed.py [FOLDER] [--images 96] [--size 224]

The peer is the usual PyTorch loop: one process, Pillow's `convert("RGB")` and resize, eager fp32, gradients off. Ours
decodes in worker processes while the network runs. FOLDER defaults to a phantom.
"""

import argparse
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from _headline import headline
from PIL import Image

from cxrsearch.building.build import build_index
from cxrsearch.encoder.densenet import Encoder
from cxrsearch.encoder.embed import Embedder, load_batches
from cxrsearch.encoder.weights import load_encoder
from cxrsearch.images.loading import LoadedImage
from cxrsearch.images.pixel_cache import PixelCache
from cxrsearch.images.sources.folder import FolderSource, find_images
from cxrsearch.phantom.write import make_phantom
from cxrsearch.store.reader import open_stored

BATCH = 16
MEAN, STD = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)


def plain(paths: list[Path], encoder: Encoder) -> np.ndarray:
    """The peer: decode, resize, normalise, embed, one after the other."""
    side = (encoder.spec.preprocess.size,) * 2
    found = []
    with torch.no_grad():
        for start in range(0, len(paths), BATCH):
            batch = []
            for path in paths[start : start + BATCH]:
                picture = Image.open(path).convert("RGB").resize(side, Image.Resampling.BILINEAR)
                batch.append((torch.from_numpy(np.array(picture)).permute(2, 0, 1) / 255 - MEAN) / STD)
            maps = encoder.features(torch.stack(batch))
            found.append(torch.relu(maps).mean((2, 3)).numpy())
    return np.concatenate(found)


def ours(paths: list[Path], embedder: Embedder, cache: PixelCache | None = None, workers: int = 0) -> np.ndarray:
    """The product: worker processes, channels last, inference mode."""
    batches = [range(start, min(start + BATCH, len(paths))) for start in range(0, len(paths), BATCH)]
    source, names = FolderSource(Path("/")), [path.resolve().relative_to("/").as_posix() for path in paths]
    found = []
    for batch in load_batches(source, names, batches, embedder.spec.preprocess, cache=cache, workers=workers):
        usable = [image for image in batch if isinstance(image, LoadedImage)]
        found.append(embedder(np.stack([image.network for image in usable]))[0])
        if cache is not None:
            for image in usable:
                cache.add(image.stored)
    if cache is not None:
        cache.flush()
    return np.concatenate(found)


def whole(folder: Path, size: int, index: Path, cache: Path) -> np.ndarray:
    """`build-index`, end to end."""
    build_index(folder, index=index, weights="random:0", size=size, precision="fp32", batch_size=BATCH, cache=cache)
    return np.concatenate(open_stored(index).blocks)


def rate(images: int, run: Callable[[], np.ndarray]) -> tuple[float, np.ndarray]:
    start = time.perf_counter()
    found = run()
    return images / (time.perf_counter() - start), found


def centred_cosine(a: np.ndarray, b: np.ndarray) -> float:
    """The smallest cosine between corresponding rows, both centred on a's mean."""
    a, b = a - a.mean(0), b - a.mean(0)
    return float(np.min((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)))


def main() -> None:
    """Measure and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--images", type=int, default=96)
    parser.add_argument("--size", type=int, default=224)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder
        if folder is None:
            folder = make_phantom(Path(temporary) / "phantom", arguments.images).folder / "images"
        paths = find_images(folder)[: arguments.images]
        size, n = arguments.size, len(paths)
        encoder = load_encoder("random:0", size=size).eval()
        plain(paths[:BATCH], encoder)  # warm the caches of disk and allocator
        peer, reference = rate(n, lambda: plain(paths, encoder))
        embedders = {name: Embedder(load_encoder("random:0", size=size), "auto", name) for name in ("fp32", "bf16")}
        device = embedders["fp32"].device
        print(
            f"{n} images, {size} px, DenseNet-121, batch {BATCH}, {device}, {torch.get_num_threads()} threads,", end=" "
        )
        print(f"torch {torch.__version__}, {platform.machine()}")
        print(f"{'':32}{'images/s':>9}{'ratio':>7}{'smallest centred cosine':>25}")
        print(f"{'plain loop (peer)':32}{peer:9.1f}{1.0:7.2f}{1.0:25.6f}")
        cache = PixelCache(Path(temporary) / "cache", embedders["fp32"].spec.preprocess)
        for title, precision, kept, workers in (
            ("fp32, no workers", "fp32", None, 0),
            ("fp32, 1 worker", "fp32", None, 1),
            ("fp32, 2 workers", "fp32", None, 2),
            ("fp32, 1 worker, fills cache", "fp32", cache, 1),
            ("fp32, 1 worker, from cache", "fp32", cache, 1),
            ("bf16, 1 worker", "bf16", None, 1),
        ):
            embedder = embedders[precision]
            embedder(np.zeros((BATCH, size, size), dtype=np.uint8))  # the first batch chooses kernels
            got, found = rate(n, lambda e=embedder, c=kept, w=workers: ours(paths, e, c, w))  # type: ignore[misc]
            print(f"{title:32}{got:9.1f}{got / peer:7.2f}{centred_cosine(reference, found):25.6f}")
        chosen = Path(temporary) / "chosen"
        chosen.mkdir()
        for path in paths:
            (chosen / path.name).symlink_to(path.resolve())
        for title, index in (("build-index, cold, fills cache", "one"), ("build-index, from cache", "two")):
            place, kept_in = Path(temporary) / index, Path(temporary) / "kept"
            got, found = rate(n, lambda i=place, c=kept_in: whole(chosen, size, i, c))  # type: ignore[misc]
            print(f"{title:32}{got:9.1f}{got / peer:7.2f}{centred_cosine(reference, found):25.6f}")
            headline(f"{title}, against a plain fp32 loop", got / peer)


if __name__ == "__main__":
    main()
