import hashlib
import os
import shutil
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import torch

from cxrsearch.encoder import weights as weights_module
from cxrsearch.encoder.checkpoint import BEST, load_checkpoint, save_checkpoint
from cxrsearch.encoder.densenet import Encoder, draw_tensors
from cxrsearch.encoder.weights import choose_weights, load_encoder
from cxrsearch.errors import CheckpointError, UsageError
from cxrsearch.images.preprocess import Preprocess


@pytest.fixture(scope="module")
def untrained() -> Encoder:
    return load_encoder("random:0")


def test_random_is_labelled_and_repeatable(untrained: Encoder) -> None:
    before = torch.get_rng_state()
    again = load_encoder("random:0")
    assert torch.equal(torch.get_rng_state(), before)
    assert again.spec == untrained.spec
    assert again.spec.label == "random:0 (untrained)"
    assert again.spec.findings is None
    assert "no medical meaning" in again.spec.note
    assert load_encoder("random:1").spec.weights_sha256 != again.spec.weights_sha256
    assert again.spec.preprocess == Preprocess(224)


def test_random_takes_architecture_and_size() -> None:
    spec = load_encoder("random:3", arch="densenet169", size=64).spec
    assert (spec.architecture, spec.dim, spec.preprocess.size) == ("densenet169", 1664, 64)


@pytest.mark.parametrize("weights", ["random", "random:", "random:-1", "random:x", "random:1.5", f"random:{2**63}"])
def test_random_needs_a_seed(weights: str) -> None:
    with pytest.raises(UsageError, match=r"needs a seed.*write random:0"):
        load_encoder(weights)


@pytest.mark.parametrize("options", [{"arch": "resnet50"}, {"size": 7}])
def test_impossible_options(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"unknown architecture 'resnet50'|input size 7"):
        load_encoder("random:0", **options)


def test_run_folder_means_its_best_checkpoint(untrained: Encoder, tmp_path: Path) -> None:
    best = tmp_path / BEST
    save_checkpoint(best, untrained)
    assert load_encoder(str(tmp_path)).spec == load_encoder(str(best)).spec == untrained.spec
    assert load_encoder(str(best), arch="densenet121", size=224).spec == untrained.spec
    with pytest.raises(CheckpointError, match=r"is a densenet121, not the densenet169 asked for — leave --arch out"):
        load_encoder(str(best), arch="densenet169")
    with pytest.raises(CheckpointError, match=r"made for images of 224 pixels, not 320 — leave --size out"):
        load_encoder(str(best), size=320)
    best.unlink()


def test_size_may_be_chosen_for_weights_of_others(network: Any, file: Path) -> None:
    torch.save(network.state_dict(), file)
    first, second = load_encoder(str(file)).spec, load_encoder(str(file), size=320).spec
    assert (first.preprocess.size, second.preprocess.size, second.preprocess.pixel_side) == (224, 320, 320)
    assert first.weights_sha256 == second.weights_sha256
    assert first.fingerprint("fp32") != second.fingerprint("fp32")
    assert first.label == "weights.pth"


def test_no_such_weights(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent", Path("/dev/null")):
        with pytest.raises(CheckpointError, match=r"no weights at .* — name a checkpoint file"):
            load_encoder(str(path))


@pytest.mark.parametrize("weights", ["x" * 5000, "~nobody-of-this-name/x.pth", "", "a\0b"])
def test_paths_that_cannot_be(weights: str) -> None:
    with pytest.raises(CheckpointError, match=r"(no weights at|cannot read) "):
        load_encoder(weights)


@pytest.fixture
def torch_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of torch's, and no network."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    def refuse(url: str, *_: object, **__: object) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    return tmp_path / "hub" / "checkpoints"


def test_imagenet_files_are_torchvisions(torchvision: Any) -> None:
    for architecture, name in weights_module._IMAGENET_FILES.items():
        weights = torchvision.models.get_model_weights(architecture).DEFAULT
        assert weights.url == weights_module._IMAGENET_URL + name


def test_imagenet_offline_says_which_file_to_put_where(torch_home: Path) -> None:
    for arch, name in (("densenet121", "densenet121-a639ec97.pth"), ("densenet201", "densenet201-c1103571.pth")):
        with pytest.raises(CheckpointError) as caught:
            load_encoder("imagenet", arch=arch)
        assert "no route to host" in caught.value.problem
        assert caught.value.fix == f"put that file at {torch_home / name}, or name other weights by their path"
        assert list(torch_home.iterdir()) == []


@pytest.fixture
def published(build: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file as torchvision would publish it, with the digest of this one in the name that is looked for."""
    source = tmp_path / "source.pth"
    torch.save(build(1000).state_dict(), source)
    name = f"densenet121-{hashlib.sha256(source.read_bytes()).hexdigest()[:8]}.pth"
    monkeypatch.setitem(weights_module._IMAGENET_FILES, "densenet121", name)
    return source.rename(tmp_path / name)


def test_imagenet_from_the_cache(torch_home: Path, published: Path, build: Any) -> None:
    torch_home.mkdir(parents=True)
    shutil.move(published, torch_home)
    spec = load_encoder("imagenet", size=256).spec
    assert (spec.label, spec.findings, spec.preprocess) == ("imagenet", None, Preprocess(256))
    assert "1000 outputs is left out" in spec.note
    with (torch_home / published.name).open("r+b") as file:
        file.write(b"X")
    with pytest.raises(CheckpointError, match=r"is damaged or another file: its sha256 starts \w{8} — delete it"):
        load_encoder("imagenet")
    (torch_home / published.name).unlink()


def test_imagenet_is_downloaded_once(torch_home: Path, published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def download(url: str, path: str, prefix: str, progress: bool) -> None:
        calls.append((url, prefix, progress))
        shutil.move(published, path)

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    assert load_encoder("imagenet").spec == load_encoder("imagenet").spec
    digest = published.name.removeprefix("densenet121-").removesuffix(".pth")
    assert calls == [(f"https://download.pytorch.org/models/{published.name}", digest, False)]
    (torch_home / published.name).unlink()


def test_default_weights(tmp_path: Path) -> None:
    assert choose_weights({}, tmp_path) == "imagenet"
    for age, run in ((30, "a"), (10, "b"), (20, "c")):
        best = tmp_path / "runs" / run / BEST
        best.parent.mkdir(parents=True)
        best.touch()
        os.utime(best, (10_000 - age, 10_000 - age))
    (tmp_path / "runs" / "unfinished").mkdir()
    assert choose_weights({}, tmp_path) == str(tmp_path / "runs" / "b")
    assert choose_weights({"CXRSEARCH_WEIGHTS": "x.pth"}, tmp_path) == "x.pth"


def test_own_and_foreign_files_of_the_same_weights_are_one_encoder(file: Path, tmp_path: Path) -> None:
    tensors = draw_tensors("densenet121", 5)
    torch.save({"state_dict": {f"module.densenet121.{name}": value for name, value in tensors.items()}}, file)
    foreign = load_encoder(str(file))
    save_checkpoint(tmp_path / BEST, foreign)
    own = load_checkpoint(tmp_path / BEST)
    (tmp_path / BEST).unlink()
    assert own.spec == foreign.spec
    assert own.spec.weights_sha256 == load_encoder("random:5").spec.weights_sha256
