"""Load checkpoints of other projects: every known layout of a DenseNet for chest X-rays, to canonical tensors.

    torchvision       a state dict; `norm.1` for `norm1` in its files and in everything older than 0.3
    arnoweng, zoogzog {"state_dict": {"module.densenet121.features...", "module.densenet121.classifier.0..."}, ...}
    thtang            the same state dict, bare, with 8 outputs
    jrzech            {"model": a pickled module, ...}
    torchxrayvision   a pickled module: 1 channel, 18 outputs, input from -1024 to 1024

Every tensor must be used, and every parameter must get one, or the file is refused. These projects prepare the input
differently (resized to 224, or to 256 and cropped to 224), and no file records it. Here the input is always the
default: the whole image at 224 x 224.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from torch import Tensor, strided

from cxrsearch.encoder._unpickle import PickledModule, read_pickled
from cxrsearch.encoder.densenet import Encoder
from cxrsearch.errors import CheckpointError, VocabularyError
from cxrsearch.images.findings import NIH_FINDINGS, Vocabulary
from cxrsearch.images.preprocess import Preprocess

DEFAULT_SIZE = 224

_RENAMES = (
    (re.compile(r"^(module\.|model\.)+"), ""),
    (re.compile(r"^densenet(121|169|201)\."), ""),
    (re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.(?=[12]\.)"), r"\1"),
    (re.compile(r"^classifier\.0\."), "classifier."),
)
_IGNORED = re.compile(r"(^|\.)(op_threshs|num_batches_tracked)$")

_CHEXNET_HEADS = {14: NIH_FINDINGS, 8: NIH_FINDINGS[:8]}
"""The findings of the outputs of `classifier.0`, a Linear before a Sigmoid. The order is NIH's in all four projects:
`CLASS_NAMES` in arnoweng/CheXNet model.py and in zoogzog/chexnet ChexnetTrainer.py, `PRED_LABEL` in
jrzech/reproduce-chexnet cxr_dataset.py; thtang/CheXNet-with-localization train.py has the eight of ChestX-ray8."""


class _Content(NamedTuple):
    tensors: dict[str, Any]
    outputs: object


def load_foreign(path: Path, *, size: int | None = None, label: str | None = None) -> Encoder:
    """Load a checkpoint of any layout above.

    Args:
        path: the file.
        size: side of the network's input in pixels; 224 by default.
        label: the name of the weights, for people; the file's name by default.

    Raises:
        CheckpointError: the file has none of these layouts, is damaged, or is unsafe.
        UsageError: an invalid size.
    """
    label = label or path.name
    content = _unwrap(read_pickled(path), label)
    tensors = _rename_tensors(content.tensors, label)
    findings, note = _pop_head(tensors, content, label)
    return Encoder(
        tensors,
        _choose_preprocess(tensors, DEFAULT_SIZE if size is None else size),
        label=label,
        findings=findings,
        note=note,
    )


def _unwrap(content: object, label: str) -> _Content:
    """Find the tensors, by their names in the file, and the outputs' names if a module has them."""
    for _ in range(2):  # known files nest no deeper than {"model": {"state_dict": ...}}
        if isinstance(content, Mapping):
            content = content.get("state_dict", content.get("model", content))
    outputs = None
    if isinstance(content, PickledModule):
        outputs, content = _flatten(content, label)
    if not isinstance(content, Mapping) or not all(_is_plain(value) for value in content.values()):
        kind = f"a dictionary of {list(content)[:4]}" if isinstance(content, Mapping) else type(content).__name__
        fix = "save it with torch.save(model.state_dict(), file)"
        raise CheckpointError(f"{label} holds no state dict: found {kind}", fix)
    return _Content({str(name): value for name, value in content.items()}, outputs)


def _is_plain(value: object) -> bool:
    """Whether a value is a plain tensor: not sparse, nested or quantised."""
    return isinstance(value, Tensor) and value.layout is strided and not value.is_nested and not value.is_quantized


def _flatten(module: PickledModule, label: str) -> tuple[object, dict[str, object]]:
    """Return the names of a pickled module's outputs, if it has them, and its state dict."""
    try:
        return module.state.get("pathologies"), dict(_walk(module))
    except (AttributeError, RecursionError) as error:  # a damaged or hostile file
        raise CheckpointError(f"{label} holds a module without its parts", "use another copy of the file") from error


def _walk(module: PickledModule, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Yield a pickled module's parameters and buffers, named as in its state dict."""
    for kind in ("_parameters", "_buffers"):
        for name, value in module.state.get(kind, {}).items():
            if value is not None:
                yield f"{prefix}{name}", value
    for name, child in module.state.get("_modules", {}).items():
        if child is not None:
            yield from _walk(child, f"{prefix}{name}.")


def _rename_tensors(tensors: Mapping[str, Tensor], label: str) -> dict[str, Tensor]:
    renamed: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if _IGNORED.search(name):
            continue
        for pattern, replacement in _RENAMES:
            name = pattern.sub(replacement, name)
        if name in renamed:
            raise CheckpointError(f"{label} has two tensors for {name!r}", "name a checkpoint of one network")
        renamed[name] = tensor
    return renamed


def _pop_head(tensors: dict[str, Tensor], content: _Content, label: str) -> tuple[tuple[str, ...] | None, str]:
    """Return the findings that the head predicts, and a note. Outputs without a name are removed from `tensors`."""
    if not {"classifier.weight", "classifier.bias"} <= tensors.keys():
        return None, ""
    weight, bias = tensors.pop("classifier.weight"), tensors.pop("classifier.bias")
    if weight.ndim != 2 or bias.shape != weight.shape[:1]:
        problem = f"{label}: its head has a weight of {tuple(weight.shape)} and a bias of {tuple(bias.shape)}"
        raise CheckpointError(problem, "use another copy of the file")
    names, note = _name_outputs(len(weight), content)
    named = [i for i, name in enumerate(names) if name]
    try:
        findings = Vocabulary(tuple(names[i] for i in named)).findings
    except VocabularyError:
        return None, f"its head of {len(weight)} outputs is left out: the file does not say what they stand for"
    tensors["classifier.weight"], tensors["classifier.bias"] = weight[named], bias[named]
    return findings, note


def _name_outputs(count: int, content: _Content) -> tuple[Sequence[str], str]:
    """Name each output, and return a note. An untrained output has an empty name; no names at all if unknown."""
    outputs = content.outputs
    if isinstance(outputs, list) and len(outputs) == count and all(isinstance(name, str) for name in outputs):
        return outputs, ""
    sequential = any(name.endswith("classifier.0.weight") for name in content.tensors)
    if sequential and count in _CHEXNET_HEADS:
        note = f"its {count} outputs are taken to be NIH's findings in NIH's order, as in CheXNet"
        return _CHEXNET_HEADS[count], note
    return (), ""


def _choose_preprocess(tensors: Mapping[str, Tensor], size: int) -> Preprocess:
    """Choose the preprocessing. Only torchxrayvision has one channel; the others kept ImageNet's 3, mean and std."""
    first = tensors.get("features.conv0.weight")
    single = first is not None and first.ndim == 4 and first.shape[1] == 1
    normalisation: Literal["xrv", "imagenet"] = "xrv" if single else "imagenet"
    return Preprocess.for_size(size, normalisation=normalisation, channels=1 if single else 3)
