"""The encoder: a DenseNet up to its last feature map, averaged over the image, and a head where one was trained.

Huang et al., Densely Connected Convolutional Networks, CVPR 2017 (https://arxiv.org/abs/1608.06993). The layers carry
the names of torchvision's DenseNet, so that its tensors, and those of everybody who built on it, fit by name; the test
suite holds the two against each other. The network itself is these few lines, not torchvision's, because torchvision
imports only beside the one build of torch that it was compiled with, and takes longer to import than torch: a query
would spend more time on that than on its answer.

*Canonical tensors* are an encoder's weights as every file format yields them: float32 by those names, without the
batch norms' `num_batches_tracked`, which no result depends on and files older than torch 0.4 lack (a loaded encoder
counts from 0).
"""

import hashlib
import re
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import cast

import torch
from torch import Tensor, nn

from cxrsearch.encoder.spec import (
    GROWTH,
    INITIAL,
    LAYERS,
    UNKNOWN,
    Architecture,
    EncoderSpec,
    Provenance,
    block_channels,
)
from cxrsearch.errors import CheckpointError, UsageError
from cxrsearch.images.preprocess import Preprocess

Tensors = Mapping[str, Tensor]

_BOTTLENECK = 128
_COUNTER = "num_batches_tracked"


class Encoder(nn.Module):
    """A DenseNet that answers with embeddings and, where a head was trained, with its logits.

    It takes on the tensors' values as float32 on the CPU; move it as any module.

    Args:
        tensors: canonical tensors; the head's (`classifier.*`) are there exactly when `findings` are.
        preprocess: how a radiograph becomes its input.
        label, note, findings, provenance: see `EncoderSpec`.

    Raises:
        CheckpointError: the tensors are not exactly those of one of the three architectures, in name and shape, or
            hold values that are not finite.
    """

    def __init__(
        self,
        tensors: Tensors,
        preprocess: Preprocess,
        *,
        label: str,
        findings: tuple[str, ...] | None = None,
        note: str = "",
        provenance: Provenance = UNKNOWN,
    ) -> None:
        super().__init__()
        architecture = architecture_of(tensors, label)
        with torch.device("meta"):  # neither memory nor random numbers for values that are replaced at once
            self.features = densenet_features(architecture, preprocess.channels)
            self.classifier = nn.Linear(block_channels(architecture)[-1], len(findings)) if findings else None
        _fill(self, tensors, f"{label} ({architecture})")
        scale, offset = preprocess.affine()
        self.scale: Tensor
        self.offset: Tensor
        self.register_buffer("scale", torch.from_numpy(scale), persistent=False)
        self.register_buffer("offset", torch.from_numpy(offset), persistent=False)
        digest = weights_digest(self.tensors())
        self.spec = EncoderSpec(architecture, preprocess, findings, digest, label, note, provenance)

    def feature_map(self, pixels: Tensor) -> Tensor:
        """The last feature map, before its ReLU.

        Args:
            pixels: uint8 (b, size, size), as `Preprocess.network_pixels` gives them.

        Returns:
            (b, dim, size / 32, size / 32), in the dtype that autocast chooses.
        """
        return cast(Tensor, self.features(self._normalised(pixels)))

    def activations(self, pixels: Tensor) -> Tensor:
        """The ReLU of the last feature map, whose mean over the image is the embedding.

        Args:
            pixels: uint8 (b, size, size).

        Returns:
            float32 (b, dim, size / 32, size / 32).
        """
        return torch.relu(self.feature_map(pixels)).float()

    def halves(self) -> tuple[nn.Sequential, nn.Sequential]:
        """The convolutional part cut in two, sharing its layers: up to the ReLU behind dense block 3, and the rest.

        Between them lies (b, channels, size / 16, size / 16), normalised and rectified, which is twice as fine as the
        last feature map. The second half ends in that one, before its ReLU.
        """
        names, parts = zip(*self.features.named_children(), strict=True)
        at = names.index("transition3")
        transition = list(cast(nn.Sequential, parts[at]))
        return nn.Sequential(*parts[:at], *transition[:2]), nn.Sequential(*transition[2:], *parts[at + 1 :])

    def gradients(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """What lies between the halves, and how each finding's logit, summed over the batch, changes with it.

        Args:
            pixels: uint8 (b, size, size).

        Returns:
            Activations, float32 (b, channels, size / 16, size / 16), not negative, and the gradients, float32
            (findings, b, channels, size / 16, size / 16).

        Raises:
            UsageError: no trained head.
        """
        if self.classifier is None:
            raise UsageError(f"{self.spec.label} has no trained head to explain", "name an encoder that was trained")
        first, second = self.halves()
        with torch.no_grad():
            between = first(self._normalised(pixels))
        with torch.enable_grad():
            between.requires_grad_()
            embedding = torch.relu(second(between)).mean((2, 3), dtype=torch.float32)
            with torch.autocast(embedding.device.type, enabled=False):
                logits = self.classifier(embedding).sum(0)
            gradients = [torch.autograd.grad(logit, between, retain_graph=True)[0] for logit in logits]
        return between.detach().float(), torch.stack(gradients).float()

    def _normalised(self, pixels: Tensor) -> Tensor:
        """The network's input, (b, channels, size, size) in channels-last layout."""
        channels_last = pixels.unsqueeze(-1) * self.scale + self.offset
        return channels_last.permute(0, 3, 1, 2)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor | None]:
        """Embed a batch.

        Args:
            pixels: uint8 (b, size, size).

        Returns:
            Embeddings, float32 (b, dim): the ReLU of the last feature map, averaged over the image; and the head's
            logits, float32 (b, findings), whose sigmoid is a probability, or None without a trained head. Both leave
            autocast behind: only the convolutions are worth it.
        """
        return self.pooled(torch.relu(self.feature_map(pixels)))

    def pooled(self, activations: Tensor) -> tuple[Tensor, Tensor | None]:
        """Embeddings and logits, as `forward` returns them, of the ReLU of the last feature map."""
        embedding = activations.mean((2, 3), dtype=torch.float32)
        if self.classifier is None:
            return embedding, None
        with torch.autocast(embedding.device.type, enabled=False):
            return embedding, self.classifier(embedding)

    def set_dropout(self, rate: float) -> None:
        """Let every dense layer drop this share of its new values in training mode, as torchvision's `drop_rate`."""
        for module in self.modules():
            if isinstance(module, DenseLayer):
                module.dropout = rate

    def tensors(self) -> dict[str, Tensor]:
        """The canonical tensors as they are now, contiguous and on the CPU, in alphabetical order."""
        state = {name: value for name, value in self.state_dict().items() if not name.endswith(_COUNTER)}
        return {name: state[name].detach().cpu().contiguous() for name in sorted(state)}


class DenseLayer(nn.Module):
    """Appends 32 channels, computed from all the channels before them, to its input.

    Attributes:
        dropout: share of the new values that is dropped in training mode; no tensor depends on it.
    """

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.dropout = 0.0
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, _BOTTLENECK, kernel_size=1, bias=False)
        self.norm2 = nn.BatchNorm2d(_BOTTLENECK)
        self.conv2 = nn.Conv2d(_BOTTLENECK, GROWTH, kernel_size=3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Take (b, inputs, h, w) to (b, inputs + 32, h, w)."""
        bottleneck = self.conv1(torch.relu_(self.norm1(x)))
        new = self.conv2(torch.relu_(self.norm2(bottleneck)))
        if self.dropout and self.training:
            new = dropped(new, self.dropout)
        return torch.cat([x, new], 1)


def dropped(values: Tensor, rate: float) -> Tensor:
    """Zero a share of the values at random and scale up the others, so that none changes in expectation.

    Srivastava et al., Dropout, JMLR 2014. torch's own draws a double for every value, on one thread of a CPU: a tenth
    of a training step. 16 bits a value suffice; the share is `rate` to the nearest 65,536th.

    Args:
        values: of any layout without gaps, a multiple of 4 in number, as 32 channels always are.
        rate: the share, 0 <= rate < 1.

    Returns:
        As `values`; drawn by torch's generator of their device.
    """
    least = round(rate * 2**16)
    bits = torch.empty(values.numel() // 4, dtype=torch.int64, device=values.device).random_(-(2**63), None)
    kept = bits.view(torch.int16).ge_(least - 2**15).to(values.dtype).mul_(2**16 / (2**16 - least))
    return values * kept.as_strided(values.shape, values.stride())


def densenet_features(architecture: Architecture, channels: int) -> nn.Sequential:
    """The convolutional part: (b, channels, h, w) to (b, dim, h / 32, w / 32)."""
    modules: OrderedDict[str, nn.Module] = OrderedDict(
        conv0=nn.Conv2d(channels, INITIAL, kernel_size=7, stride=2, padding=3, bias=False),
        norm0=nn.BatchNorm2d(INITIAL),
        relu0=nn.ReLU(inplace=True),
        pool0=nn.MaxPool2d(kernel_size=3, stride=2, padding=1),
    )
    width, ends = INITIAL, block_channels(architecture)
    for block, (layers, end) in enumerate(zip(LAYERS[architecture], ends, strict=True), start=1):
        named = {f"denselayer{i + 1}": DenseLayer(width + i * GROWTH) for i in range(layers)}
        modules[f"denseblock{block}"] = nn.Sequential(OrderedDict(named))
        if block < len(ends):
            modules[f"transition{block}"] = _transition(end)
        width = end // 2
    modules["norm5"] = nn.BatchNorm2d(ends[-1])
    return nn.Sequential(modules)


def _transition(inputs: int) -> nn.Sequential:
    return nn.Sequential(
        OrderedDict(
            norm=nn.BatchNorm2d(inputs),
            relu=nn.ReLU(inplace=True),
            conv=nn.Conv2d(inputs, inputs // 2, kernel_size=1, bias=False),
            pool=nn.AvgPool2d(kernel_size=2, stride=2),
        )
    )


def architecture_of(names: Iterable[str], label: str) -> Architecture:
    """The architecture whose canonical tensors have these names, judged by the number of layers in each block.

    Raises:
        CheckpointError: it is none of the three.
    """
    names, layers = list(names), [0, 0, 0, 0]
    for name in names:
        if match := re.match(r"features\.denseblock([1-4])\.denselayer(\d+)\.", name):
            block, layer = int(match[1]) - 1, int(match[2])
            layers[block] = max(layers[block], layer)
    for architecture, expected in LAYERS.items():
        if tuple(layers) == expected:
            return architecture
    found = f"blocks of {layers} layers" if any(layers) else f"tensors such as {_few(names)}"
    raise CheckpointError(f"{label} is none of {', '.join(LAYERS)}: it has {found}", "name other --weights")


def random_tensors(architecture: Architecture, seed: int) -> dict[str, Tensor]:
    """Canonical tensors of an untrained encoder (3 channels), a function of the seed alone.

    Convolutions are drawn as in He et al., ICCV 2015 (normal, fan-in), as torchvision does; batch norms pass through.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.device("meta"):
        shapes = {name: value.shape for name, value in densenet_features(architecture, 3).state_dict().items()}
    tensors = {}
    for name, shape in shapes.items():
        value = torch.zeros(shape, dtype=torch.float32)
        if len(shape) == 4:
            nn.init.kaiming_normal_(value, generator=generator)
        elif name.endswith(("weight", "running_var")):
            value.fill_(1)
        if not name.endswith(_COUNTER):
            tensors[f"features.{name}"] = value
    return tensors


def weights_digest(tensors: Tensors) -> str:
    """sha256 of canonical tensors: their names, shapes and bytes, in alphabetical order of the names."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(f"{name}{tuple(tensors[name].shape)}\n".encode())
        digest.update(tensors[name].numpy().data)
    return digest.hexdigest()


def _fill(module: nn.Module, tensors: Tensors, label: str) -> None:
    """Give every parameter and buffer of a module on the meta device its value, and use every tensor."""
    state = module.state_dict()
    counters = {name: torch.zeros_like(value, device="cpu") for name, value in state.items() if name.endswith(_COUNTER)}
    expected = state.keys() - counters.keys()
    for kind, names in (("lacks", expected - tensors.keys()), ("has unexpected", tensors.keys() - expected)):
        if names:
            raise CheckpointError(f"{label} {kind} {_few(names)}", "name a complete checkpoint of such a network alone")
    copies = {name: _copy(tensors[name], state[name].shape, f"{label}, {name}") for name in sorted(expected)}
    module.load_state_dict(copies | counters, strict=True, assign=True)


def _copy(tensor: Tensor, shape: torch.Size, what: str) -> Tensor:
    if tensor.shape != shape:
        problem = f"{what}: has shape {tuple(tensor.shape)}, not {tuple(shape)}"
        raise CheckpointError(problem, "name weights of a plain DenseNet")
    if tensor.layout is not torch.strided or tensor.device.type != "cpu" or not tensor.is_floating_point():
        raise CheckpointError(f"{what}: is not made of plain floating-point numbers", "save the weights as float32")
    copy = torch.empty(shape, dtype=torch.float32).copy_(tensor.detach())
    if not torch.isfinite(copy).all():
        raise CheckpointError(f"{what}: holds values that are not finite", "the training diverged: use other weights")
    return copy


def _few(names: Iterable[str]) -> str:
    """The first three names, and how many more there are."""
    ordered = sorted(names)
    more = f" and {len(ordered) - 3} more" if len(ordered) > 3 else ""
    return (", ".join(ordered[:3]) or "none at all") + more
