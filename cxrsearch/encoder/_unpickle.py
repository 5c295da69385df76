"""Read a file that `torch.save` wrote, without running any code that it names.

A pickle is a program. `torch.load(weights_only=True)` interprets only the part of it that builds tensors and
containers. It refuses every class or function that is not allowed by name. Nothing here bypasses it.

Some checkpoints hold a whole module instead of its tensors. The classes that a DenseNet consists of are allowed, one by
one. Each is replaced by `PickledModule`, so its attributes arrive as data. No code of torch, torchvision or
torchxrayvision (which need not be installed) handles them.

Before torch 1.6 such files had another form, which names each class together with its source text. `weights_only`
refuses that form, although it runs nothing. So the source texts are removed from the bytes first.
"""

import pickletools
import re
import warnings
from collections import deque
from io import BytesIO
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, BinaryIO

import torch

from cxrsearch.errors import CheckpointError

_Operation = tuple[pickletools.OpcodeInfo, Any, Any]  # with its argument and position
_FIX = "save the tensors alone, torch.save(model.state_dict(), file), and name that file"


class PickledModule:
    """A module in a file, as data.

    Attributes:
        state: the module's `__dict__`, with `_parameters`, `_buffers` and `_modules`.
    """

    state: dict[str, Any]

    def __setstate__(self, state: Any) -> None:
        self.state = state if isinstance(state, dict) else {}


def _take_class(kind: str, cls: object, *source: object) -> object:
    """Return the class from what old files write for it: ("module", class, source file, source text)."""
    return cls


_DENSENET = ("DenseNet", "_DenseLayer", "_DenseBlock", "_Transition")
_CLASSES = (
    "torch.nn.backends.thnn._get_thnn_function_backend",  # every module had it before torch 1.4
    "torch.nn.modules.activation.ReLU",
    "torch.nn.modules.activation.Sigmoid",
    "torch.nn.modules.batchnorm.BatchNorm2d",
    "torch.nn.modules.container.Sequential",
    "torch.nn.modules.conv.Conv2d",
    "torch.nn.modules.linear.Linear",
    "torch.nn.modules.pooling.AvgPool2d",
    "torch.nn.modules.pooling.MaxPool2d",
    "torch.nn.modules.upsampling.Upsample",
    "torch.nn.parallel.data_parallel.DataParallel",
    *(f"torchvision.models.densenet.{name}" for name in _DENSENET),
    *(f"torchxrayvision.models.{name}" for name in _DENSENET),
)
_ALLOWED: list[Any] = [*((PickledModule, name) for name in _CLASSES), (_take_class, "cxrsearch.named_class")]


def read_pickled(path: Path) -> object:
    """Read a file that `torch.save` wrote: tensors on the CPU, modules as `PickledModule`.

    Raises:
        CheckpointError: the file cannot be read, is damaged or of another kind, or names code that weights do not need.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror}", "name other --weights") from error
    with file, warnings.catch_warnings(), torch.serialization.safe_globals(_ALLOWED):
        warnings.simplefilter("ignore")  # torch suggests other, unsafe ways to load the file
        try:
            return torch.load(_drop_sources(file), map_location="cpu", weights_only=True)
        except Exception as error:  # a damaged or hostile file makes torch raise almost anything
            raise _make_refusal(path.name, error) from error


def _make_refusal(name: str, error: Exception) -> CheckpointError:
    """Make an error with our own text, because torch's advises to load the file unsafely."""
    match = re.search(r"GLOBAL (\S+)", str(error)) if isinstance(error, UnpicklingError) else None
    if match:
        return CheckpointError(f"{name} is refused: it asks for {match[1]}, which weights do not need", _FIX)
    return CheckpointError(f"{name} is damaged, incomplete or not a checkpoint ({type(error).__name__})", _FIX)


def _drop_sources(file: BinaryIO) -> BinaryIO:
    """Return the same file, or a copy without source texts if it has the form of torch before 1.6.

    That form is five pickles in a row (magic number, protocol, system, content, keys of the storages), followed by the
    bytes of the storages. The present form is a zip archive.
    """
    magic = file.read(4)
    file.seek(0)
    if magic == b"PK\x03\x04":
        return file
    for _ in range(3):
        deque(pickletools.genops(file), maxlen=0)
    content = list(pickletools.genops(file))
    file.seek(0)
    return BytesIO(_name_classes(file.read(), content))


def _name_classes(data: bytes, content: list[_Operation]) -> bytes:
    """Rewrite each ("module", class, source file, source text) in a pickle as a call of `_take_class` with the four.

    In a pickle the four stand between a MARK and a TUPLE, and a BINPERSID gives the tuple its meaning. To call a
    function with the tuple, its name is inserted before the MARK, and a REDUCE replaces the BINPERSID. Nothing else
    changes.

    Args:
        data: the whole file.
        content: the pickle's operations, with their positions in the file.
    """
    result, done, mark, keys = bytearray(), 0, 0, set()
    for i, (operation, argument, position) in enumerate(content):
        if operation.name == "MARK":
            mark = i
        elif "PUT" in operation.name and content[i - 1][1] == "module":
            keys.add(argument)  # the pickle may refer to the word by this number from here on
        elif operation.name == "BINPERSID":
            kind, kind_argument, _ = content[mark + 1]
            if kind_argument == "module" or ("GET" in kind.name and kind_argument in keys):
                start = content[mark][2]
                result += data[done:start] + b"ccxrsearch\nnamed_class\n" + data[start:position] + b"R"
                done = position + 1
    return bytes(result + data[done:])
