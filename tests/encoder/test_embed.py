"""The embedder gives the network's own answers; the loader gives every image once, in order."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from cxrsearch.encoder.densenet import Encoder, draw_tensors
from cxrsearch.encoder.embed import Embedder, load_batches, resolve_device, resolve_precision
from cxrsearch.errors import CheckpointError, CxrsearchError, UsageError
from cxrsearch.images.loading import LoadedImage, RefusedImage
from cxrsearch.images.preprocess import Preprocess
from cxrsearch.images.sources.folder import FolderSource

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 32, 32), dtype=np.uint8)


def encoder(findings: tuple[str, ...] | None = None) -> Encoder:
    tensors = draw_tensors("densenet121", 0)
    if findings:
        tensors["classifier.weight"] = torch.full((len(findings), 1024), 0.01)
        tensors["classifier.bias"] = torch.arange(len(findings), dtype=torch.float32)
    return Encoder(tensors, Preprocess(size=32), label="test", findings=findings)


def test_embeddings_are_the_networks_and_logits_are_the_heads() -> None:
    embeddings, logits = Embedder(encoder(("a", "b")), "cpu", "fp32")(PIXELS)
    with torch.no_grad():
        expected = encoder().eval()(torch.from_numpy(PIXELS))[0].numpy()
    np.testing.assert_allclose(embeddings, expected, rtol=1e-4, atol=1e-5)
    assert logits is not None
    np.testing.assert_allclose(logits, 0.01 * embeddings.sum(1, keepdims=True) + [[0, 1]], rtol=1e-4)
    assert Embedder(encoder(), "cpu", "fp32")(PIXELS)[1] is None


def test_equal_batches_give_equal_bytes_and_single_images_agree() -> None:
    embed = Embedder(encoder(), "cpu", "fp32")
    together = embed(PIXELS)[0]
    np.testing.assert_array_equal(together, embed(PIXELS)[0])
    alone = np.concatenate([embed(image[np.newaxis])[0] for image in PIXELS])
    np.testing.assert_allclose(alone, together, rtol=1e-4, atol=1e-5)


def test_bf16_is_close_to_fp32_and_another_encoder() -> None:
    fp32, bf16 = Embedder(encoder(), "cpu", "fp32"), Embedder(encoder(), "cpu", "bf16")
    a, b = fp32(PIXELS)[0], bf16(PIXELS)[0]
    cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    assert b.dtype == np.float32
    assert np.all(cosine > 0.999)
    assert not np.array_equal(a, b)
    assert fp32.fingerprint != bf16.fingerprint


def test_read_only_pixels_are_taken(recwarn: pytest.WarningsRecorder) -> None:
    pixels = PIXELS.copy()
    pixels.setflags(write=False)
    Embedder(encoder(), "cpu", "fp32")(pixels)
    assert not recwarn.list


def test_embeddings_that_are_not_finite_are_refused() -> None:
    embedder = Embedder(encoder(), "cpu", "fp32")
    with torch.no_grad():
        next(embedder.encoder.parameters()).fill_(torch.inf)
    with pytest.raises(CheckpointError, match="not finite"):
        embedder(PIXELS)


def test_a_full_memory_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> Any:
        raise torch.OutOfMemoryError

    embedder = Embedder(encoder(), "cpu", "fp32")
    monkeypatch.setattr(embedder.encoder, "forward", full)
    with pytest.raises(CxrsearchError, match=r"does not hold a batch of 5 images — use a smaller --batch-size"):
        embedder(PIXELS)


@pytest.mark.parametrize("name", ["tpu", "cuda:99", "meta", ""])
def test_unknown_devices_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="device"):
        resolve_device(name)


def test_precision_follows_the_device() -> None:
    cpu = torch.device("cpu")
    assert [resolve_precision(name, cpu) for name in ("auto", "fp32", "bf16")] == ["fp32", "fp32", "bf16"]
    with pytest.raises(UsageError, match="fp64"):
        resolve_precision("fp64", cpu)


@pytest.mark.gpu
def test_a_gpu_answers_as_the_cpu_does() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    expected = Embedder(encoder(), "cpu", "fp32")(PIXELS)[0]
    np.testing.assert_allclose(Embedder(encoder(), "cuda", "fp32")(PIXELS)[0], expected, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("workers", [0, 2])
def test_every_image_is_loaded_once_and_in_order(tmp_path: Path, workers: int) -> None:
    paths = []
    for number in range(7):
        paths.append(tmp_path / f"{number}.png")
        Image.fromarray(np.random.default_rng(number).integers(0, 256, (40, 40), dtype=np.uint8)).save(paths[-1])
    paths[3].write_bytes(b"")
    batches = [range(0, 3), range(3, 6), range(6, 7)]
    loaded = list(
        load_batches(
            FolderSource(tmp_path), [path.name for path in paths], batches, Preprocess(size=32), workers=workers
        )
    )
    assert [len(batch) for batch in loaded] == [3, 3, 1]
    flat = [image for batch in loaded for image in batch]
    assert isinstance(flat[3], RefusedImage)
    assert flat[3].reason.startswith("3.png is empty")
    for number, image in enumerate(flat):
        if number != 3:
            assert isinstance(image, LoadedImage)
            expected = Preprocess(size=32).stored_pixels(np.asarray(Image.open(paths[number])))
            np.testing.assert_array_equal(image.stored.pixels, expected)
            np.testing.assert_array_equal(image.network, Preprocess(size=32).network_pixels(expected))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent was killed")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_workers_end_with_the_process_that_started_them(tmp_path: Path, how: signal.Signals) -> None:
    for number in range(40):
        picture = np.random.default_rng(number).integers(0, 256, (40, 40), dtype=np.uint8)
        Image.fromarray(picture).save(tmp_path / f"{number}.png")
    code = (
        "import time; from pathlib import Path; from cxrsearch.encoder.embed import load_batches\n"
        "from cxrsearch.images.preprocess import Preprocess\n"
        "from cxrsearch.images.sources.folder import FolderSource\n"
        f"source = FolderSource(Path({str(tmp_path)!r}))\n"
        "rows = [range(i, i + 1) for i in range(40)]\n"
        "batches = load_batches(source, source.names(), rows, Preprocess(), workers=2)\n"
        "next(batches); print('ready', flush=True); time.sleep(600)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(how)
    process.wait()
    assert process.stdout.read() == ""  # which ends only when every worker has let go of it
    process.stdout.close()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process of its parent's death")
def test_a_worker_whose_parent_died_before_it_began_ends_at_once() -> None:
    code = (
        "import os, sys, time; from cxrsearch.encoder.embed import end_with_parent\n"
        "begin = end_with_parent()\n"
        "if os.fork(): os._exit(0)\n"
        "while os.getppid() == int(sys.argv[1]) or os.getppid() == begin.args[0]: time.sleep(0.01)\n"
        "begin(0); print('still here', flush=True)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, str(os.getpid())], stdout=subprocess.PIPE, text=True, check=True
    )
    assert ended.stdout == ""


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_mean_of_the_activations_is_the_embedding_to_the_byte(precision: str) -> None:
    embed = Embedder(encoder(), "cpu", precision)
    maps = embed.activations(PIXELS)
    assert maps.shape == (5, 1024, 1, 1)
    assert maps.dtype == np.float32
    assert maps.min() >= 0
    np.testing.assert_array_equal(maps.mean(axis=(2, 3)), embed(PIXELS)[0])


def test_gradients_predict_how_the_logits_change() -> None:
    embed = Embedder(encoder(("a", "b")), "cpu", "fp32")
    maps, gradients = embed.gradients(PIXELS[:1])
    assert (maps.shape, gradients.shape) == ((1, 1024, 2, 2), (2, 1, 1024, 2, 2))
    rest = embed.encoder.halves()[1]

    def logits(between: Any) -> Any:
        with torch.inference_mode():
            embedding = torch.relu(rest(torch.from_numpy(between))).mean((2, 3))
            return (0.01 * embedding.sum(1) + torch.arange(2)).numpy()

    np.testing.assert_allclose(logits(maps), embed(PIXELS[:1])[1][0], rtol=1e-4)  # type: ignore[index]
    step = np.float32(1e-3) * np.sign(gradients[0])  # along the gradient, where the change outgrows rounding
    change = logits(maps + step)[0] - logits(maps - step)[0]
    assert change == pytest.approx(2e-3 * float(np.abs(gradients[0]).sum()), rel=0.05)


def test_activations_and_gradients_that_are_not_finite_are_refused() -> None:
    embed = Embedder(encoder(("a",)), "cpu")
    with torch.no_grad():
        next(embed.encoder.parameters()).fill_(torch.inf)
    with pytest.raises(CheckpointError, match="not finite"):
        embed.activations(PIXELS)
    with pytest.raises(CheckpointError, match="not finite"):
        embed.gradients(PIXELS)
    with pytest.raises(UsageError, match="no trained head"):
        Embedder(encoder(), "cpu").gradients(PIXELS)
