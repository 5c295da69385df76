"""Embed images in batches. Worker processes decode while the network runs.

Memory: `workers` x 2 batches of decoded images, and one batch on the device. The embeddings of one image at different
batch sizes and thread counts agree to about 1e-5 relative in fp32. Equal batches and threads give equal bytes.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from cxrsearch.encoder.densenet import Encoder
from cxrsearch.encoder.heap import keep_freed_memory
from cxrsearch.errors import CheckpointError, CxrsearchError, UsageError
from cxrsearch.images.loading import LoadedImage, RefusedImage, load_image
from cxrsearch.images.pixel_cache import PixelCache
from cxrsearch.images.preprocess import Pixels, Preprocess
from cxrsearch.images.sources.source import ImageSource

Precision = Literal["fp32", "bf16"]
PRECISIONS = ("auto", "fp32", "bf16")
_PR_SET_PDEATHSIG = 1  # linux/prctl.h

_Answer = TypeVar("_Answer")


def resolve_device(name: str) -> torch.device:
    """Return the device of this name; `auto` is the first CUDA device, else the CPU.

    Raises:
        UsageError: this machine has no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"unknown device {name!r}", "use auto, cpu, cuda or cuda:N") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UsageError(
            f"device {name!r} asked for, but torch sees {torch.cuda.device_count()} CUDA devices", "use --device cpu"
        )
    if device.type not in ("cpu", "cuda"):
        raise UsageError(f"device {name!r} is not supported", "use auto, cpu, cuda or cuda:N")
    return device


def resolve_precision(name: str, device: torch.device) -> Precision:
    """Return `fp32` or `bf16`; `auto` is bf16 on a GPU that supports it, and fp32 elsewhere.

    Raises:
        UsageError: an unknown name.
    """
    if name not in PRECISIONS:
        raise UsageError(f"unknown precision {name!r}", f"use one of {', '.join(PRECISIONS)}")
    if name == "auto":
        return "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "fp32"
    return "bf16" if name == "bf16" else "fp32"


def cores() -> int:
    """Count the processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True, eq=False)
class Look:
    """The activations, embeddings and logits of a batch of b images.

    Attributes:
        activations: the rectified last feature maps, float32 (b, dim, h, w), h = w = size // 32.
        embeddings: the means of the activations over the image, float32 (b, dim).
        logits: float32 (b, findings), or None without a trained head.
    """

    activations: NDArray[np.float32]
    embeddings: NDArray[np.float32]
    logits: NDArray[np.float32] | None


class Embedder:
    """An encoder on a device, in inference mode and channels-last layout.

    Args:
        encoder: the network; it is moved to the device.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        precision: `auto`, `fp32` (which also turns TF32 off in cuDNN, for the whole process), or `bf16` (autocast).

    Raises:
        UsageError: an unknown device or precision.
    """

    def __init__(self, encoder: Encoder, device: str = "auto", precision: str = "auto") -> None:
        self.device = resolve_device(device)
        self.precision = resolve_precision(precision, self.device)
        if self.precision == "fp32":  # cuDNN would round to TF32, whose 10 bits move an embedding by up to .002
            torch.backends.cudnn.allow_tf32 = False
        if self.device.type == "cpu":
            keep_freed_memory()
        self.encoder = encoder.eval().to(self.device)
        self.encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload, unused-ignore]  # the stubs do not know it
        self.spec = encoder.spec
        self.fingerprint = encoder.spec.fingerprint(self.precision)

    def __call__(self, network_pixels: Pixels) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Embed a batch.

        Args:
            network_pixels: uint8 (b, size, size).

        Returns:
            Embeddings, float32 (b, dim), and the head's logits, float32 (b, findings), or None without a trained head.

        Raises:
            CheckpointError: an embedding is not finite.
            CxrsearchError: the batch does not fit into the device's memory.
        """
        embeddings, logits = self._compute(self.encoder, network_pixels)
        if not torch.isfinite(embeddings).all():
            raise CheckpointError("the encoder's embeddings are not finite", "the weights are damaged: use others")
        return embeddings.cpu().numpy(), None if logits is None else logits.cpu().numpy()

    def look(self, network_pixels: Pixels) -> "Look":
        """Embed a batch and keep its last feature maps, in one pass through the network.

        Args:
            network_pixels: uint8 (b, size, size).

        Raises:
            CheckpointError, CxrsearchError: as for a call.
        """
        maps, (embeddings, logits) = self._compute(self._look, network_pixels)
        activations = self._require_finite(maps.float())
        return Look(activations, embeddings.cpu().numpy(), None if logits is None else logits.cpu().numpy())

    def _look(self, pixels: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor | None]]:
        activations = torch.relu(self.encoder.feature_map(pixels))
        return activations, self.encoder.pooled(activations)

    def activations(self, network_pixels: Pixels) -> NDArray[np.float32]:
        """Compute the rectified last feature maps of a batch. Their means over the image are the embeddings.

        Args:
            network_pixels: uint8 (b, size, size).

        Returns:
            float32 (b, dim, h, w), h = w = size // 32.

        Raises:
            CheckpointError, CxrsearchError: as for a call.
        """
        return self._require_finite(self._compute(self.encoder.activations, network_pixels))

    def gradients(self, network_pixels: Pixels) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Compute the rectified maps behind dense block 3 and the gradients of the logits; see `Encoder.gradients`.

        Args:
            network_pixels: uint8 (b, size, size).

        Returns:
            float32 (b, channels, h, w) and (findings, b, channels, h, w), h = w = size // 16.

        Raises:
            UsageError: the encoder has no trained head.
            CheckpointError, CxrsearchError: as for a call.
        """
        maps, gradients = self._compute(self.encoder.gradients, network_pixels, inference=False)
        return self._require_finite(maps), self._require_finite(gradients)

    def _compute(self, network: Callable[[Tensor], _Answer], network_pixels: Pixels, inference: bool = True) -> _Answer:
        """Run a part of the network on a batch, on this embedder's device and in its precision."""
        autocast = torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")
        with torch.inference_mode(inference), autocast:
            try:
                pixels = torch.from_numpy(np.require(network_pixels, requirements="W"))  # torch wants it writable
                return network(pixels.to(self.device))
            except torch.OutOfMemoryError as error:
                raise CxrsearchError(
                    f"the memory of {self.device} does not hold a batch of {len(network_pixels)} images",
                    "use a smaller --batch-size",
                ) from error

    @staticmethod
    def _require_finite(maps: Tensor) -> NDArray[np.float32]:
        if not torch.isfinite(maps).all():
            raise CheckpointError("the encoder's feature maps are not finite", "the weights are damaged: use others")
        array: NDArray[np.float32] = maps.cpu().numpy()
        return array


class _SourceImages(Dataset[LoadedImage | RefusedImage]):
    def __init__(
        self, source: ImageSource, names: Sequence[str], preprocess: Preprocess, cache: PixelCache | None
    ) -> None:
        self._source, self._names, self._preprocess, self._cache = source, names, preprocess, cache

    def __getitem__(self, row: int) -> LoadedImage | RefusedImage:
        return load_image(self._source, self._names[row], self._preprocess, self._cache)


def end_with_parent() -> Callable[[int], None]:
    """Make a `worker_init_fn` that ends a worker when this process is killed. A full queue would block it forever."""
    return partial(_end_with, os.getpid())


def _end_with(parent: int, _: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # the parent was killed before this worker could ask for the signal
            os._exit(1)


def load_batches(
    source: ImageSource,
    names: Sequence[str],
    batches: Sequence[Sequence[int]],
    preprocess: Preprocess,
    *,
    cache: PixelCache | None = None,
    workers: int = 0,
) -> Iterator[list[LoadedImage | RefusedImage]]:
    """Load images in worker processes, batch by batch and in order.

    Args:
        source: the images.
        names: their names in the source.
        batches: positions in `names`, from 0.
        preprocess: how a radiograph becomes the network's input.
        cache: pixels of images that were decoded before; None: no cache.
        workers: number of worker processes; 0 loads in this process.

    Raises:
        CxrsearchError: a worker process was killed, usually because memory ran out.
    """
    loader = DataLoader(
        _SourceImages(source, names, preprocess, cache),
        batch_sampler=batches,  # type: ignore[arg-type]  # a list of lists is such a sampler
        num_workers=workers,
        collate_fn=list,
        worker_init_fn=end_with_parent(),
    )
    iterator = iter(loader)
    while True:
        try:
            batch = next(iterator)
        except StopIteration:
            return
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            raise CxrsearchError(
                "a decoding process was killed, probably because memory ran out", "use fewer --workers"
            ) from error
        yield batch
