"""A reference network, torchvision's, with random weights everywhere: no two tensors of one shape are alike."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cxrsearch.encoder.densenet import Encoder


@pytest.fixture(scope="session")
def torchvision() -> Any:
    """torchvision, imported even beside a build of torch that its compiled operators do not fit."""
    try:
        import torchvision
    except RuntimeError:  # its Python part wants these to exist; DenseNet does not use them
        library: Any = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        import torchvision
    return torchvision


@pytest.fixture(scope="session")
def build(torchvision: Any) -> Any:
    """`build(outputs, channels=3, architecture="densenet121")`: torchvision's network in evaluation mode."""

    def make(outputs: int, channels: int = 3, architecture: str = "densenet121") -> Any:
        network = getattr(torchvision.models, architecture)(num_classes=outputs)
        if channels == 1:
            network.features.conv0 = torch.nn.Conv2d(1, 64, 7, stride=2, padding=3, bias=False)
        generator = torch.Generator().manual_seed(7)
        with torch.no_grad():
            for name, value in network.state_dict().items():
                if name.endswith("running_var") or (name.endswith("weight") and value.ndim == 1):
                    value.uniform_(0.5, 1.5, generator=generator)
                elif name.endswith("num_batches_tracked"):
                    value.fill_(5)
                else:
                    fan_in = value[0].numel() if value.ndim > 1 else 100
                    value.normal_(0, (2 / fan_in) ** 0.5, generator=generator)
        return network.eval()

    return make


@pytest.fixture(scope="session")
def network(build: Any) -> Any:
    """DenseNet-121 with 14 outputs. Tests copy it before they change it."""
    return build(14)


@pytest.fixture(scope="session")
def pixels() -> NDArray[np.uint8]:
    """Two images of 64 x 64 pixels."""
    return np.random.default_rng(3).integers(0, 256, (2, 64, 64), dtype=np.uint8)


@pytest.fixture(scope="session")
def answers(pixels: NDArray[np.uint8]) -> Any:
    """`answers(encoder)`: embeddings and logits of the two images, in evaluation mode."""

    def of(encoder: Encoder) -> tuple[torch.Tensor, torch.Tensor | None]:
        with torch.inference_mode():
            embedding, logits = encoder.eval()(torch.from_numpy(pixels))
        return embedding, logits

    return of


@pytest.fixture(scope="session")
def expected(network: Any, pixels: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Embeddings and logits of the two images by torchvision's own forward pass, normalised as torchvision does."""
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    rgb = (pixels[:, None] / 255 - mean[:, None, None]) / std[:, None, None]
    images = torch.from_numpy(rgb.astype(np.float32))
    with torch.inference_mode():
        maps = network.features(images).numpy()
        logits = network(images).numpy()
    return np.maximum(maps, 0).mean(axis=(2, 3)), logits


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    """A file to write weights to; removed at once, for they are large."""
    path = tmp_path / "weights.pth"
    yield path
    path.unlink(missing_ok=True)
