"""The encoder: a DenseNet up to its last feature map, averaged over the image, and a head if one was trained.

Huang et al., Densely Connected Convolutional Networks, CVPR 2017 (https://arxiv.org/abs/1608.06993). The layers have
the names of torchvision's DenseNet. So its tensors, and those of every project built on it, fit by name. The tests
compare the two networks.

torchvision itself is not used, for two reasons. It can be imported only beside the build of torch that it was compiled
with. And it takes longer to import than torch: a query would spend more time on the import than on its answer.

*Canonical tensors* are an encoder's weights in one form, whatever file they come from: float32, by torchvision's names,
without the batch norms' `num_batches_tracked`. No result depends on that counter, and files older than torch 0.4 lack
it. A loaded encoder counts from 0.
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
    """A DenseNet that computes embeddings and, if a head was trained, the head's logits.

    It copies the tensors' values as float32 on the CPU. Move it to a device like any module.

    Args:
        tensors: canonical tensors, with the head's (`classifier.*`) if and only if there are `findings`.
        preprocess: how a radiograph becomes the network's input.
        label, note, findings, provenance: see `EncoderSpec`.

    Raises:
        CheckpointError: names and shapes of the tensors do not match one of the three architectures exactly, or a
            value is not finite.
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
        architecture = recognise_architecture(tensors, label)
        with torch.device("meta"):  # no memory and no random numbers for values that are replaced at once
            self.features = make_features(architecture, preprocess.channels)
            self.classifier = nn.Linear(block_channels(architecture)[-1], len(findings)) if findings else None
        _fill_module(self, tensors, f"{label} ({architecture})")
        scale, offset = preprocess.affine()
        self.scale: Tensor
        self.offset: Tensor
        self.register_buffer("scale", torch.from_numpy(scale), persistent=False)
        self.register_buffer("offset", torch.from_numpy(offset), persistent=False)
        digest = digest_weights(self.tensors())
        self.spec = EncoderSpec(architecture, preprocess, findings, digest, label, note, provenance)

    def feature_map(self, pixels: Tensor) -> Tensor:
        """Compute the last feature map, before its ReLU.

        Args:
            pixels: uint8 (b, size, size), from `Preprocess.network_pixels`.

        Returns:
            (b, dim, size / 32, size / 32), in the dtype that autocast chooses.
        """
        return cast(Tensor, self.features(self._normalise(pixels)))

    def activations(self, pixels: Tensor) -> Tensor:
        """Compute the ReLU of the last feature map. Its mean over the image is the embedding.

        Args:
            pixels: uint8 (b, size, size).

        Returns:
            float32 (b, dim, size / 32, size / 32).
        """
        return torch.relu(self.feature_map(pixels)).float()

    def halves(self) -> tuple[nn.Sequential, nn.Sequential]:
        """Split the convolutional part after the ReLU behind dense block 3. The halves share its layers.

        Between the halves lies (b, channels, size / 16, size / 16), normalised and rectified. It is twice as fine as
        the last feature map. The second half ends with the last feature map, before its ReLU.
        """
        names, parts = zip(*self.features.named_children(), strict=True)
        at = names.index("transition3")
        transition = list(cast(nn.Sequential, parts[at]))
        return nn.Sequential(*parts[:at], *transition[:2]), nn.Sequential(*transition[2:], *parts[at + 1 :])

    def gradients(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the activations between the halves, and the gradients of each finding's logit with respect to them.

        Args:
            pixels: uint8 (b, size, size).

        Returns:
            The activations, float32 (b, channels, size / 16, size / 16), not negative; and the gradients, float32
            (findings, b, channels, size / 16, size / 16).

        Raises:
            UsageError: the encoder has no trained head.
        """
        if self.classifier is None:
            raise UsageError(f"{self.spec.label} has no trained head to explain", "name an encoder that was trained")
        first, second = self.halves()
        with torch.no_grad():
            between = first(self._normalise(pixels))
        with torch.enable_grad():
            between.requires_grad_()
            embedding = torch.relu(second(between)).mean((2, 3), dtype=torch.float32)
            with torch.autocast(embedding.device.type, enabled=False):
                logits = self.classifier(embedding).sum(0)  # images do not interact, so a sum keeps each one's gradient
            gradients = [torch.autograd.grad(logit, between, retain_graph=True)[0] for logit in logits]
        return between.detach().float(), torch.stack(gradients).float()

    def _normalise(self, pixels: Tensor) -> Tensor:
        """Convert uint8 pixels to the network's input, (b, channels, size, size) in channels-last layout."""
        channels_last = pixels.unsqueeze(-1) * self.scale + self.offset
        return channels_last.permute(0, 3, 1, 2)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor | None]:
        """Embed a batch.

        Args:
            pixels: uint8 (b, size, size).

        Returns:
            Embeddings, float32 (b, dim): the ReLU of the last feature map, averaged over the image. And the head's
            logits, float32 (b, findings), whose sigmoid is a probability; None without a trained head. Both are
            computed without autocast: only the convolutions gain from it.
        """
        return self.pooled(torch.relu(self.feature_map(pixels)))

    def pooled(self, activations: Tensor) -> tuple[Tensor, Tensor | None]:
        """Compute embeddings and logits, as `forward`, from the ReLU of the last feature map (b, dim, h, w)."""
        embedding = activations.mean((2, 3), dtype=torch.float32)
        if self.classifier is None:
            return embedding, None
        with torch.autocast(embedding.device.type, enabled=False):
            return embedding, self.classifier(embedding)

    def set_dropout(self, rate: float) -> None:
        """Make every dense layer drop this share of its new values in training mode, like torchvision's `drop_rate`."""
        for module in self.modules():
            if isinstance(module, DenseLayer):
                module.dropout = rate

    def tensors(self) -> dict[str, Tensor]:
        """Return the present canonical tensors, contiguous and on the CPU, in alphabetical order."""
        state = {name: value for name, value in self.state_dict().items() if not name.endswith(_COUNTER)}
        return {name: state[name].detach().cpu().contiguous() for name in sorted(state)}


class DenseLayer(nn.Module):
    """Appends 32 channels to its input, computed from all the channels before them.

    Args:
        inputs: channels of the input.

    Attributes:
        dropout: share of the new values that is drop_values in training mode. It is not stored in any tensor.
    """

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.dropout = 0.0
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, _BOTTLENECK, kernel_size=1, bias=False)
        self.norm2 = nn.BatchNorm2d(_BOTTLENECK)
        self.conv2 = nn.Conv2d(_BOTTLENECK, GROWTH, kernel_size=3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Compute (b, inputs + 32, h, w) from (b, inputs, h, w)."""
        bottleneck = self.conv1(torch.relu_(self.norm1(x)))
        new = self.conv2(torch.relu_(self.norm2(bottleneck)))
        if self.dropout and self.training:
            new = drop_values(new, self.dropout)
        return torch.cat([x, new], 1)


def drop_values(values: Tensor, rate: float) -> Tensor:
    """Zero a share of the values at random and scale up the others, so that the expectation of each stays the same.

    Srivastava et al., Dropout, JMLR 2014. torch's dropout draws a double for every value, on one CPU thread: a tenth
    of a training step. 16 bits per value are enough; the share is `rate` to the nearest 65,536th.

    Args:
        values: any layout without gaps. Their number is a multiple of 4, which 32 channels guarantee.
        rate: the share, 0 <= rate < 1.

    Returns:
        Same shape, dtype and layout as `values`. The draws come from torch's generator of their device.
    """
    # One int64 draw holds the 16 bits of four values.
    least = round(rate * 2**16)
    bits = torch.empty(values.numel() // 4, dtype=torch.int64, device=values.device).random_(-(2**63), None)
    kept = bits.view(torch.int16).ge_(least - 2**15).to(values.dtype).mul_(2**16 / (2**16 - least))
    return values * kept.as_strided(values.shape, values.stride())


def make_features(architecture: Architecture, channels: int) -> nn.Sequential:
    """Make the convolutional part, which computes (b, dim, h / 32, w / 32) from (b, channels, h, w)."""
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
            modules[f"transition{block}"] = _make_transition(end)
        width = end // 2
    modules["norm5"] = nn.BatchNorm2d(ends[-1])
    return nn.Sequential(modules)


def _make_transition(inputs: int) -> nn.Sequential:
    return nn.Sequential(
        OrderedDict(
            norm=nn.BatchNorm2d(inputs),
            relu=nn.ReLU(inplace=True),
            conv=nn.Conv2d(inputs, inputs // 2, kernel_size=1, bias=False),
            pool=nn.AvgPool2d(kernel_size=2, stride=2),
        )
    )


def recognise_architecture(names: Iterable[str], label: str) -> Architecture:
    """Recognise the architecture by the names of its canonical tensors: by the number of layers in each block.

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
    content = f"blocks of {layers} layers" if any(layers) else f"tensors such as {_list_some(names)}"
    raise CheckpointError(f"{label} is none of {', '.join(LAYERS)}: it has {content}", "name other --weights")


def draw_tensors(architecture: Architecture, seed: int) -> dict[str, Tensor]:
    """Draw the canonical tensors of an untrained encoder (3 channels). They depend on architecture and seed alone.

    Convolutions are drawn as in He et al., ICCV 2015 (normal, fan-in), like torchvision's. Batch norms change nothing.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.device("meta"):
        shapes = {name: value.shape for name, value in make_features(architecture, 3).state_dict().items()}
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


def digest_weights(tensors: Tensors) -> str:
    """Compute the sha256 of canonical tensors: of names, shapes and bytes, in alphabetical order of the names."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(f"{name}{tuple(tensors[name].shape)}\n".encode())
        digest.update(tensors[name].numpy().data)
    return digest.hexdigest()


def _fill_module(module: nn.Module, tensors: Tensors, label: str) -> None:
    """Give every parameter and buffer of a module on the meta device its value. Every tensor must be used."""
    state = module.state_dict()
    counters = {name: torch.zeros_like(value, device="cpu") for name, value in state.items() if name.endswith(_COUNTER)}
    expected = state.keys() - counters.keys()
    for kind, names in (("lacks", expected - tensors.keys()), ("has unexpected", tensors.keys() - expected)):
        if names:
            raise CheckpointError(
                f"{label} {kind} {_list_some(names)}", "name a complete checkpoint of such a network alone"
            )
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


def _list_some(names: Iterable[str]) -> str:
    """Join the first three names, and say how many more there are."""
    ordered = sorted(names)
    more = f" and {len(ordered) - 3} more" if len(ordered) > 3 else ""
    return (", ".join(ordered[:3]) or "none at all") + more
