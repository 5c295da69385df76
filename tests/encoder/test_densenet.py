import copy
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import scipy
import torch

from cxrsearch.encoder.densenet import (
    Encoder,
    digest_weights,
    draw_tensors,
    drop_values,
    make_features,
    recognise_architecture,
)
from cxrsearch.encoder.spec import EncoderSpec, Provenance, block_channels
from cxrsearch.errors import CheckpointError
from cxrsearch.images.findings import NIH_FINDINGS
from cxrsearch.images.preprocess import Preprocess


def tensors_of(network: Any) -> dict[str, torch.Tensor]:
    return {k: v for k, v in network.state_dict().items() if not k.endswith("num_batches_tracked")}


@pytest.fixture(scope="module")
def encoder(network: Any) -> Encoder:
    return Encoder(tensors_of(network), Preprocess(64), label="test", findings=NIH_FINDINGS)


def test_embeddings_and_logits_are_torchvisions(encoder: Encoder, answers: Any, expected: Any, network: Any) -> None:
    embedding, logits = answers(encoder)
    np.testing.assert_allclose(embedding.numpy(), expected[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(logits.numpy(), expected[1], rtol=1e-4, atol=1e-4)
    weight, bias = (value.detach().numpy().astype(np.float64) for value in network.classifier.parameters())
    np.testing.assert_allclose(logits.numpy(), embedding.numpy() @ weight.T + bias, rtol=1e-4, atol=1e-5)


def test_feature_map_is_what_the_embedding_averages(encoder: Encoder, answers: Any, pixels: Any) -> None:
    with torch.inference_mode():
        feature_map = encoder.eval().feature_map(torch.from_numpy(pixels)).numpy()
    assert feature_map.shape == (2, 1024, 2, 2)
    assert feature_map.min() < 0
    np.testing.assert_allclose(np.maximum(feature_map, 0).mean((2, 3)), answers(encoder)[0], rtol=1e-5, atol=1e-6)


def test_single_channel_input_runs_from_minus_1024_to_1024(build: Any, answers: Any, pixels: Any) -> None:
    network = build(18, channels=1)
    images = torch.from_numpy(pixels.astype(np.float32)[:, None] / 255 * 2048 - 1024)
    with torch.inference_mode():
        expected = np.maximum(network.features(images).numpy(), 0).mean((2, 3))
    tensors = {k: v for k, v in tensors_of(network).items() if not k.startswith("classifier")}
    encoder = Encoder(tensors, Preprocess(64, normalisation="xrv", channels=1), label="test")
    embedding, logits = answers(encoder)
    assert np.linalg.norm(embedding.numpy() - expected) < 1e-5 * np.linalg.norm(expected)
    assert logits is None


def test_bfloat16_and_channels_last_answer_in_float32_and_nearly_the_same(network: Any, answers: Any) -> None:
    encoder = Encoder(tensors_of(network), Preprocess(64), label="test", findings=NIH_FINDINGS)
    plain, _ = answers(encoder)
    encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload, unused-ignore]
    last, _ = answers(encoder)
    with torch.autocast("cpu", torch.bfloat16):
        half, logits = answers(encoder)
    np.testing.assert_allclose(last.numpy(), plain.numpy(), rtol=1e-4, atol=1e-4)
    assert half.dtype == logits.dtype == torch.float32
    assert torch.nn.functional.cosine_similarity(half, plain).min() > 0.999
    assert not torch.equal(half, plain)
    weight, bias = encoder.tensors()["classifier.weight"], encoder.tensors()["classifier.bias"]
    np.testing.assert_allclose(logits.numpy(), half.numpy() @ weight.numpy().T + bias.numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("architecture", "dim"), [("densenet121", 1024), ("densenet169", 1664), ("densenet201", 1920)])
def test_the_three_architectures_have_torchvisions_tensors(architecture: Any, dim: int, torchvision: Any) -> None:
    with torch.device("meta"):
        theirs = getattr(torchvision.models, architecture)().state_dict()
        ours = make_features(architecture, 3).state_dict()
    assert {f"features.{name}": value.shape for name, value in ours.items()} == {
        name: value.shape for name, value in theirs.items() if not name.startswith("classifier")
    }
    assert recognise_architecture(theirs, "test") == architecture
    assert block_channels(architecture)[-1] == dim == theirs["classifier.weight"].shape[1]


@pytest.mark.parametrize("foreign", ["densenet161", "resnet18"])
def test_other_networks_are_none_of_the_three(foreign: str, torchvision: Any) -> None:
    with torch.device("meta"):
        names = getattr(torchvision.models, foreign)().state_dict()
    seen = {"densenet161": r"blocks of \[6, 12, 36, 24\]", "resnet18": r"bn1\.bias.*and 119 more"}[foreign]
    with pytest.raises(CheckpointError, match=f"test is none of densenet121.*{seen}"):
        recognise_architecture(names, "test")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("features.norm5.bias"), r"lacks features\.norm5\.bias —"),
        (lambda t: t.update(extra=t["classifier.bias"]), "has unexpected extra —"),
        (lambda t: t.update({"classifier.bias": torch.zeros(15)}), r"classifier\.bias: has shape \(15,\), not \(14,\)"),
        (lambda t: t["features.conv0.weight"][0, 0, 0].fill_(torch.nan), r"conv0\.weight: holds values .* not finite"),
        (lambda t: t.update({"classifier.bias": torch.full((14,), 1e300, dtype=torch.float64)}), "not finite"),
        (lambda t: t.update({"classifier.bias": torch.zeros(14, dtype=torch.int64)}), "plain floating-point"),
        (lambda t: t.update({"classifier.bias": torch.zeros(14).to_sparse()}), "plain floating-point"),
        (lambda t: t.update({"classifier.bias": torch.zeros(14, device="meta")}), "plain floating-point"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(network: Any, change: Any, message: str) -> None:
    tensors = copy.deepcopy(tensors_of(network))
    change(tensors)
    with pytest.raises(CheckpointError, match=message):
        Encoder(tensors, Preprocess(64), label="test", findings=NIH_FINDINGS)


def test_the_encoder_keeps_its_own_copy_of_the_weights(network: Any) -> None:
    tensors = copy.deepcopy(tensors_of(network))
    encoder = Encoder(tensors, Preprocess(64), label="test", findings=NIH_FINDINGS)
    tensors["classifier.bias"].fill_(9)
    assert torch.equal(encoder.tensors()["classifier.bias"], network.classifier.bias)
    assert all(value.requires_grad for value in encoder.parameters())


def test_half_precision_weights_are_taken_exactly(network: Any) -> None:
    halves = {name: value.half() for name, value in tensors_of(network).items()}
    encoder = Encoder(halves, Preprocess(64), label="test", findings=NIH_FINDINGS)
    assert torch.equal(encoder.tensors()["features.norm5.bias"].half(), halves["features.norm5.bias"])
    assert encoder.tensors()["features.norm5.bias"].dtype == torch.float32


def test_random_tensors_are_a_function_of_the_seed_alone() -> None:
    before = torch.get_rng_state()
    first, again, other = (draw_tensors("densenet121", seed) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert digest_weights(first) == digest_weights(again) != digest_weights(other)


def test_random_tensors_are_drawn_as_torchvision_does(torchvision: Any) -> None:
    theirs, ours = tensors_of(torchvision.models.densenet121()), draw_tensors("densenet121", 0)
    assert ours.keys() == {name for name in theirs if not name.startswith("classifier")}
    for name, value in ours.items():
        if value.ndim == 4:  # both standard deviations are estimates from the same number of values
            assert value.std().item() == pytest.approx(theirs[name].std().item(), rel=6 / value.numel() ** 0.5), name
        else:
            assert torch.equal(value, theirs[name]), name


def test_making_an_encoder_draws_no_random_numbers() -> None:
    before = torch.get_rng_state()
    Encoder(draw_tensors("densenet121", 0), Preprocess(64), label="test")
    assert torch.equal(torch.get_rng_state(), before)


def test_digest_sees_names_shapes_and_values() -> None:
    tensors = {"a": torch.tensor([1.0, 2.0]), "b": torch.zeros(2, 3)}
    changes = [
        {"a": tensors["a"], "c": tensors["b"]},
        {"a": tensors["a"], "b": torch.zeros(3, 2)},
        {"a": torch.tensor([1.0, 2.0000002]), "b": tensors["b"]},
    ]
    digests = {digest_weights(value) for value in (tensors, *changes)}
    assert len(digests) == 4
    assert digest_weights({"b": tensors["b"], "a": tensors["a"]}) == digest_weights(tensors)


def test_specification_survives_json(encoder: Encoder) -> None:
    provenance = Provenance("patient-hash:0.7/0.1/0.2", "ab" * 32, 12)
    for spec in (encoder.spec, replace(encoder.spec, findings=None, note="n", provenance=provenance)):
        assert EncoderSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec
    assert encoder.spec.dim == 1024
    assert encoder.spec.architecture == "densenet121"


def test_fingerprint_changes_with_what_changes_an_embedding_only(encoder: Encoder) -> None:
    spec = encoder.spec
    same = (spec, replace(spec, label="other", note="n", provenance=Provenance("s")))
    other = (
        replace(spec, architecture="densenet169"),
        replace(spec, weights_sha256="0" * 64),
        replace(spec, preprocess=Preprocess(65)),
    )
    prints = {s.fingerprint("fp32") for s in same}
    assert len(prints) == 1
    assert len(prints | {s.fingerprint("fp32") for s in other} | {spec.fingerprint("bf16")}) == 5
    assert len(spec.fingerprint("fp32")) == 16


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dropped_values_are_zero_or_scaled_and_so_are_their_gradients(layout: Any, dtype: torch.dtype) -> None:
    torch.manual_seed(3)
    values = (1 + torch.rand(4, 32, 9, 7)).to(dtype).contiguous(memory_format=layout).requires_grad_()
    found = drop_values(values, 0.25)
    torch.autograd.backward(found, torch.full_like(found, 3))
    assert found.dtype == dtype
    assert found.stride() == values.stride()
    kept = (found != 0).numpy()
    expected = np.where(kept, values.detach().float().numpy() * 4 / 3, 0)
    np.testing.assert_allclose(found.detach().float(), expected, rtol=2**-7 if dtype == torch.bfloat16 else 1e-6)
    assert values.grad is not None
    np.testing.assert_allclose(values.grad.float(), np.where(kept, 4, 0), rtol=2**-7)


@pytest.mark.parametrize("rate", [2**-16, 0.1, 0.5, 0.99])
def test_the_share_that_is_dropped_is_the_rate_and_each_value_has_its_own_lot(rate: float) -> None:
    torch.manual_seed(0)
    lots = (drop_values(torch.ones(64, 32, 32, 32), rate) == 0).flatten().numpy()
    low, high = scipy.stats.binom.interval(1 - 1e-6, lots.size, round(rate * 2**16) / 2**16)
    assert low <= lots.sum() <= high
    for apart in (1, 2, 3, 4, 32):  # four lots come from one 64-bit number
        both = (lots[apart:] & lots[:-apart]).sum()
        low, high = scipy.stats.binom.interval(1 - 1e-6, lots.size - apart, rate**2)
        assert low <= both <= high, apart


def test_dropping_is_a_function_of_the_generator_and_keeps_the_mean() -> None:
    torch.manual_seed(1)
    first, second = drop_values(torch.ones(64, 32, 32, 32), 0.9), drop_values(torch.ones(64, 32, 32, 32), 0.9)
    torch.manual_seed(1)
    again = drop_values(torch.ones(64, 32, 32, 32), 0.9)
    assert torch.equal(first, again)
    assert not torch.equal(first, second)
    assert float(first.double().mean()) == pytest.approx(1, abs=5 * 3 / 2**10.5)  # standard deviation 3, 2**21 values
    assert torch.equal(drop_values(first, 2**-18), first)
