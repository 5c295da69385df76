import copy
import io
import os
import pickle
import re
import sys
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from cxrsearch.encoder._foreign import load_foreign
from cxrsearch.encoder.densenet import digest_weights
from cxrsearch.errors import CheckpointError
from cxrsearch.images.findings import NIH_FINDINGS
from cxrsearch.images.preprocess import Preprocess

XRV_OUTPUTS = [
    *("Atelectasis", "Consolidation", "Infiltration", "Pneumothorax", "Edema", "Emphysema", "Fibrosis", "Effusion"),
    *("Pneumonia", "Pleural_Thickening", "Cardiomegaly", "Nodule", "Mass", "Hernia", "", "Fracture", "", ""),
]


def old_name(name: str) -> str:
    """torchvision's names before its 0.3: `denselayer1.norm.1.weight`."""
    return re.sub(r"(denselayer\d+\.(?:norm|relu|conv))([12])", r"\1.\2", name)


def renamed(state: dict[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    return {change(name): value for name, value in state.items()}


def chexnet_name(name: str) -> str:
    return "module.densenet121." + old_name(name).replace("classifier.", "classifier.0.")


def without_counters(state: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}


def as_sequential(network: Any) -> Any:
    """The network with the head of CheXNet's descendants, Linear and Sigmoid, and old names, as a module."""
    module = copy.deepcopy(network)
    module.classifier = torch.nn.Sequential(module.classifier, torch.nn.Sigmoid())
    for layer in module.modules():
        layer._modules = OrderedDict(
            (re.sub(r"^(norm|relu|conv)([12])$", r"\1.\2", k), v) for k, v in layer._modules.items()
        )
    return module


def as_torch_0_3(network: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The same, with what modules and parameters were pickled as then: a backend, no counters, no newer attributes."""
    module = as_sequential(network)
    for layer in module.modules():
        layer._buffers.pop("num_batches_tracked", None)
        del layer.__dict__["_non_persistent_buffers_set"]
        layer._backend = _Backend()
    backends = ModuleType("torch.nn.backends.thnn")
    backends._get_thnn_function_backend = _get_thnn_function_backend  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.nn.backends.thnn", backends)
    monkeypatch.setattr(
        torch.nn.Parameter,
        "__reduce_ex__",
        lambda self, protocol: (torch.nn.Parameter, (self.data,), (True, False, OrderedDict())),
    )
    return module


def _get_thnn_function_backend() -> None:
    """Pickled by its name in torch 0.3."""


_get_thnn_function_backend.__module__ = "torch.nn.backends.thnn"


class _Backend:
    def __reduce__(self) -> Any:
        return _get_thnn_function_backend, ()


@pytest.fixture(scope="module")
def xrv_network(build: Any) -> Any:
    return build(18, channels=1)


@pytest.fixture
def xrv(torchvision: Any, xrv_network: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """torchxrayvision's network, of classes that exist as long as this fixture."""
    module = ModuleType("torchxrayvision.models")
    for name in ("DenseNet", "_DenseLayer", "_DenseBlock", "_Transition"):
        base = getattr(torchvision.models.densenet, name)
        setattr(module, name, type(name, (base,), {"__module__": "torchxrayvision.models"}))
    monkeypatch.setitem(sys.modules, "torchxrayvision", ModuleType("torchxrayvision"))
    monkeypatch.setitem(sys.modules, "torchxrayvision.models", module)
    network = copy.deepcopy(xrv_network)
    for part in network.modules():
        if type(part).__module__ == "torchvision.models.densenet":
            part.__class__ = getattr(module, type(part).__name__)
    network.register_buffer("op_threshs", torch.full((18,), torch.nan))
    return network


def save(content: object, file: Path, zipped: bool = True) -> Path:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Couldn't retrieve source code")
        torch.save(content, file, _use_new_zipfile_serialization=zipped)
    return file


LAYOUTS: dict[str, Callable[[Any], object]] = {
    "torchvision": lambda network: network.state_dict(),
    "torchvision, old names": lambda network: without_counters(renamed(network.state_dict(), old_name)),
    "arnoweng": lambda network: {
        "epoch": 3,
        "best_loss": 0.2,
        "state_dict": without_counters(renamed(network.state_dict(), chexnet_name)),
        "optimizer": {"state": {0: {"step": 3, "exp_avg": torch.ones(3)}}, "param_groups": [{"lr": 1e-4}]},
    },
    "thtang": lambda network: OrderedDict(renamed(network.state_dict(), chexnet_name)),
    "lightning": lambda network: {"state_dict": renamed(network.state_dict(), "model.{}".format)},
    "jrzech": lambda network: {"model": as_sequential(network), "epoch": 9, "rng_state": torch.get_rng_state()},
    "module": lambda network: network,
    "data parallel": lambda network: {"model": torch.nn.DataParallel(network)},
}


class Reference(NamedTuple):
    tensors: dict[str, torch.Tensor]
    digest: str


@pytest.fixture(scope="module")
def reference(network: Any) -> Reference:
    """The canonical tensors, taken from torchvision's network directly."""
    tensors = without_counters(network.state_dict())
    return Reference(tensors, digest_weights(tensors))


@pytest.mark.parametrize(
    ("layout", "zipped"),
    [
        *((layout, True) for layout in LAYOUTS),
        *((layout, False) for layout in ("arnoweng", "thtang", "jrzech", "module")),
    ],
)
def test_every_layout_gives_the_same_embeddings(
    layout: str, zipped: bool, network: Any, reference: Reference, file: Path, answers: Any, expected: Any
) -> None:
    encoder = load_foreign(save(LAYOUTS[layout](network), file, zipped), size=64)
    np.testing.assert_allclose(answers(encoder)[0].numpy(), expected[0], rtol=1e-4, atol=1e-5)
    ours = encoder.tensors()
    assert all(torch.equal(value, reference.tensors[name]) for name, value in ours.items())
    if layout in ("arnoweng", "thtang", "jrzech"):
        assert encoder.spec.findings == NIH_FINDINGS
        assert encoder.spec.note == "its 14 outputs are taken to be NIH's findings in NIH's order, as in CheXNet"
        assert encoder.spec.weights_sha256 == reference.digest
        np.testing.assert_allclose(answers(encoder)[1].numpy(), expected[1], rtol=1e-4, atol=1e-4)
    else:
        assert encoder.spec.findings is None
        assert encoder.spec.note == "its head of 14 outputs is left out: the file does not say what they stand for"
    assert encoder.spec.preprocess == Preprocess(64)
    assert encoder.spec.label == "weights.pth"
    assert encoder.state_dict()["features.norm5.num_batches_tracked"] == 0


def test_a_module_pickled_by_torch_0_3(
    network: Any, file: Path, answers: Any, expected: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        save({"model": as_torch_0_3(network, patch), "best_loss": 0.1}, file, zipped=False)
    assert b"_get_thnn_function_backend" in file.read_bytes()
    encoder = load_foreign(file, size=64)
    assert torch.equal(encoder.tensors()["features.conv0.weight"], network.features.conv0.weight)
    np.testing.assert_allclose(answers(encoder)[1].numpy(), expected[1], rtol=1e-4, atol=1e-4)
    assert encoder.spec.findings == NIH_FINDINGS


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before torch 1.6"])
def test_torchxrayvision_module(xrv: Any, zipped: bool, file: Path, answers: Any, pixels: Any) -> None:
    save(xrv, file, zipped)
    assert b"torchxrayvision" in file.read_bytes()
    encoder = load_foreign(file, size=64)
    images = torch.from_numpy(pixels.astype(np.float32)[:, None] * (2048 / 255) - 1024)
    with torch.inference_mode():
        expected = np.maximum(xrv.features(images).numpy(), 0).mean((2, 3))
    assert np.linalg.norm(answers(encoder)[0].numpy() - expected) < 1e-5 * np.linalg.norm(expected)
    assert encoder.spec.preprocess == Preprocess(64, normalisation="xrv", channels=1)
    assert encoder.spec.findings is None
    assert "18 outputs is left out" in encoder.spec.note


def test_named_outputs_are_kept_and_unnamed_ones_are_not(xrv: Any, file: Path, answers: Any) -> None:
    xrv.pathologies = XRV_OUTPUTS
    encoder = load_foreign(save(xrv, file), size=64)
    assert encoder.spec.findings == (*XRV_OUTPUTS[:14], "Fracture")
    assert encoder.spec.note == ""
    kept = [*range(14), 15]
    embedding, logits = answers(encoder)
    expected = embedding.numpy() @ xrv.classifier.weight.detach().numpy()[kept].T
    np.testing.assert_allclose(logits, expected + xrv.classifier.bias.detach().numpy()[kept], rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("names", [XRV_OUTPUTS[:17], ["Mass"] * 18, [1] * 18, ["No Finding"] + [""] * 17])
def test_names_that_cannot_be_meant_are_left_out(xrv: Any, names: Any, file: Path) -> None:
    xrv.pathologies = names
    assert load_foreign(save(xrv, file), size=64).spec.findings is None


@pytest.mark.parametrize(
    ("outputs", "findings"),
    [(8, NIH_FINDINGS[:8]), (15, None), (1000, None)],
)
def test_heads_of_other_sizes(build: Any, file: Path, outputs: int, findings: Any) -> None:
    network = build(outputs)
    spec = load_foreign(save(renamed(network.state_dict(), chexnet_name), file)).spec
    assert spec.findings == findings
    assert f"{outputs} outputs" in spec.note
    assert spec.preprocess == Preprocess(224)


def test_features_without_a_head(network: Any, file: Path) -> None:
    state = {name: value for name, value in network.state_dict().items() if "classifier" not in name}
    spec = load_foreign(save(state, file)).spec
    assert (spec.findings, spec.note) == (None, "")


@pytest.mark.parametrize("architecture", ["densenet169", "densenet201"])
def test_larger_architectures_are_recognised(build: Any, file: Path, architecture: str) -> None:
    network = build(2, architecture=architecture)
    name = f"module.{architecture}.{{}}".format
    encoder = load_foreign(save({"state_dict": renamed(network.state_dict(), name)}, file), size=64)
    assert encoder.spec.architecture == architecture
    assert torch.equal(encoder.tensors()["features.norm5.bias"], network.features.norm5.bias)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda s: s.pop("features.denseblock2.denselayer3.norm1.weight"),
            r"lacks features\.denseblock2.*norm1\.weight",
        ),
        (lambda s: s.update(temperature=torch.ones(1)), "has unexpected temperature —"),
        (lambda s: s.update({"module.features.norm5.bias": torch.ones(1024)}), "two tensors for 'features.norm5.bias'"),
        (lambda s: s.update({"classifier.bias": torch.ones(13)}), r"a weight of \(14, 1024\) and a bias of \(13,\)"),
        (lambda s: s.update({"classifier.weight": torch.tensor(1.0)}), r"a weight of \(\) and a bias"),
        (lambda s: s.update({"classifier.weight": torch.ones(14, 1024).to_sparse()}), "holds no state dict"),
        (lambda s: s.pop("classifier.bias"), r"has unexpected classifier\.weight"),
        (
            lambda s: s.update({"features.conv0.weight": torch.zeros(64, 2, 7, 7)}),
            r"shape \(64, 2, 7, 7\), not \(64, 3",
        ),
    ],
)
def test_nothing_is_left_unused_or_unfilled(network: Any, file: Path, change: Any, message: str) -> None:
    state = copy.deepcopy(network.state_dict())
    change(state)
    with pytest.raises(CheckpointError, match=message):
        load_foreign(save(state, file))


def loop() -> dict[str, Any]:
    content: dict[str, Any] = {}
    content["model"] = content
    return content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"net": {"a": torch.ones(1)}, "epoch": 3}, r"holds no state dict: found a dictionary of \['net', 'epoch'\]"),
        ([torch.ones(1)], "found list"),
        (torch.ones(1), "found Tensor"),
        ({}, "none at all"),
        (loop(), "holds no state dict"),
        ({"conv1.weight": torch.ones(1), "fc.bias": torch.ones(1)}, r"tensors such as conv1\.weight, fc\.bias"),
        (torch.nn.Conv2d(1, 1, 1), "tensors such as bias, weight"),
    ],
)
def test_other_contents_are_named(content: object, message: str, file: Path) -> None:
    with pytest.raises(CheckpointError, match=message):
        load_foreign(save(content, file))


@pytest.mark.parametrize("parts", [["x"], {"a": 1}, {"a": {}}, {"a": torch.ones(1)}])
def test_modules_without_their_parts(parts: Any, file: Path) -> None:
    module = torch.nn.Sequential()
    module.__dict__["_modules"] = parts
    with pytest.raises(CheckpointError, match="holds a module without its parts"):
        load_foreign(save({"model": module}, file))


def test_module_that_contains_itself(file: Path) -> None:
    module = torch.nn.Sequential()
    module._modules["again"] = module
    with pytest.raises(CheckpointError, match="holds a module without its parts"):
        load_foreign(save(module, file))


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"cannot read .*absent\.pth: No such file"):
        load_foreign(tmp_path / "absent.pth")


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before torch 1.6"])
def test_truncated(network: Any, file: Path, zipped: bool) -> None:
    whole = save(LAYOUTS["jrzech"](network), file, zipped).stat().st_size
    for length in (whole - 1, whole - 100, whole // 2, 300_000, 100_000, 5_000, 200, 30, 10, 4, 3, 1, 0):
        os.truncate(file, length)
        with pytest.raises(CheckpointError, match=r"weights\.pth is damaged, incomplete or not a checkpoint") as caught:
            load_foreign(file)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "data",
    [b"image,patient\n1,2\n", b"\x89PNG\r\n\x1a\n" + bytes(100), b"PK\x03\x04" + bytes(100), bytes(1000), b"\x80\x02."],
)
def test_files_of_another_kind(data: bytes, file: Path) -> None:
    file.write_bytes(data)
    with pytest.raises(CheckpointError, match=r"weights\.pth is damaged, incomplete or not a checkpoint"):
        load_foreign(file)


def test_torchscript_is_refused_without_torchs_advice(file: Path) -> None:
    torch.save({"a": torch.ones(1)}, file)
    buffer = io.BytesIO(file.read_bytes())
    with zipfile.ZipFile(buffer, "a") as archive:
        prefix = archive.namelist()[0].split("/")[0]
        archive.writestr(f"{prefix}/constants.pkl", b"")
    file.write_bytes(buffer.getvalue())
    with pytest.raises(CheckpointError) as caught:
        load_foreign(file)
    assert "weights_only" not in str(caught.value)


class Payload:
    """Runs a command when unpickled by anything that obeys pickles."""

    def __init__(self, function: Callable[..., Any], *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def payloads(marker: Path) -> dict[str, Payload]:
    return {
        "system": Payload(os.system, f"touch {marker}"),
        "open": Payload(open, str(marker), "w"),
        "exec": Payload(exec, f"open({str(marker)!r}, 'w').close()"),
        "touch": Payload(Path.touch, marker),
        "load": Payload(torch.load, str(marker)),
        "import": Payload(__import__, "antigravity"),
    }


HIDING_PLACES: dict[str, Callable[[Any, Payload], object]] = {
    "torchvision": lambda network, payload: {**network.state_dict(), "features.norm5.bias": payload},
    "arnoweng": lambda network, payload: {"state_dict": network.state_dict(), "optimizer": payload},
    "thtang": lambda network, payload: OrderedDict(renamed(network.state_dict(), chexnet_name) | {"module.x": payload}),
    "jrzech": lambda network, payload: {"model": hidden(as_sequential(network), payload), "epoch": 3},
    "module": lambda network, payload: hidden(copy.deepcopy(network), payload),
    "bare": lambda network, payload: payload,
}


def hidden(module: Any, payload: Payload) -> Any:
    module.features.conv0.extra = payload
    return module


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before torch 1.6"])
@pytest.mark.parametrize("place", HIDING_PLACES)
def test_a_payload_is_refused_and_never_runs(place: str, zipped: bool, build: Any, tmp_path: Path, file: Path) -> None:
    network = torch.nn.Module()
    network.features = torch.nn.Module()
    network.features.conv0 = torch.nn.Conv2d(1, 1, 1)
    network.features.norm5 = torch.nn.BatchNorm2d(1)
    network.classifier = torch.nn.Linear(1, 1)
    marker = tmp_path / "marker"
    for name, payload in payloads(marker).items():
        save(HIDING_PLACES[place](network, payload), file, zipped)
        with pytest.raises(
            CheckpointError, match=r"weights\.pth is refused: it asks for \S+, which weights do not need"
        ):
            load_foreign(file)
        assert not marker.exists(), name


def test_a_payload_in_torchxrayvisions_module(xrv: Any, tmp_path: Path, file: Path) -> None:
    marker = tmp_path / "marker"
    for zipped in (True, False):
        save(hidden(xrv, payloads(marker)["system"]), file, zipped)
        with pytest.raises(CheckpointError, match=r"asks for posix\.system"):
            load_foreign(file)
        assert not marker.exists()


def test_the_payload_would_run_elsewhere(tmp_path: Path) -> None:
    for name in ("system", "open", "exec", "touch"):
        marker = tmp_path / name
        opened = pickle.loads(pickle.dumps(payloads(marker)[name]))
        if name == "open":
            opened.close()
        assert marker.exists()


def test_the_allowance_ends_with_the_reading(network: Any, file: Path) -> None:
    before = set(torch.serialization.get_safe_globals())
    load_foreign(save({"model": network}, file), size=64)
    assert set(torch.serialization.get_safe_globals()) == before
    with pytest.raises(pickle.UnpicklingError, match=r"torchvision\.models\.densenet\.DenseNet"):
        torch.load(file, weights_only=True)
