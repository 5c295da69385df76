"""Maps of an index's answers: exact sums, and what cannot be asked."""

from pathlib import Path

import numpy as np
import pytest
import scipy.special

from cxrsearch.building.build import build_index
from cxrsearch.building.imported import import_embeddings
from cxrsearch.encoder.embed import Embedder
from cxrsearch.errors import UsageError
from cxrsearch.images.findings import NIH_FINDINGS
from cxrsearch.query.embedded import Embedded
from cxrsearch.query.index import Index, open_index
from cxrsearch.query.maps import finding_maps, similarity_maps
from tests.conftest import SMALL, DataSet
from tests.trained import trained_encoder


@pytest.fixture(scope="module")
def index(trained_index: Path) -> Index:
    return open_index(trained_index, device="cpu")


def test_the_mean_of_each_map_and_the_bias_is_the_logit(index: Index, data_set: DataSet) -> None:
    pixels = index.stored_pixels(3)
    assert pixels is not None
    found = index.finding_maps(pixels)
    assert found is not None
    assert found.findings == NIH_FINDINGS
    assert found.maps.shape == (14, 2, 2)
    encoder = trained_encoder()
    assert encoder.classifier is not None
    bias = encoder.classifier.bias.detach().numpy()
    np.testing.assert_allclose(found.maps.mean(axis=(1, 2)) + bias, found.logits, rtol=1e-9)
    _, logits = Embedder(encoder, "cpu", "fp32")(encoder.spec.preprocess.network_pixels(pixels)[None])
    assert logits is not None
    np.testing.assert_allclose(found.logits, logits[0], rtol=1e-4, atol=1e-4)
    predictions = index.query(data_set.images / "03.png", k=1).head
    assert predictions is not None
    np.testing.assert_allclose(found.probabilities, predictions[1], rtol=1e-4)
    np.testing.assert_allclose(scipy.special.logit(found.probabilities), found.logits, rtol=1e-6)


def test_grad_cam_is_finer_not_negative_and_of_the_same_logits(index: Index) -> None:
    pixels = index.stored_pixels(0)
    assert pixels is not None
    cam, grad = index.finding_maps(pixels), index.finding_maps(pixels, method="grad-cam")
    assert cam is not None
    assert grad is not None
    assert grad.maps.shape == (14, 4, 4)
    assert grad.maps.min() >= 0
    assert grad.maps.max() > 0
    np.testing.assert_array_equal(cam.logits, grad.logits)
    assert (cam.method, grad.method) == ("cam", "grad-cam")


def test_both_similarity_maps_have_the_inner_product_as_their_mean(index: Index) -> None:
    pixels = index.stored_pixels(1)
    assert pixels is not None
    own, other = index.similarity_maps(pixels, 6)
    vectors = np.concatenate(index.stored.blocks).astype(np.float64)
    product = float(vectors[1] @ vectors[6])
    assert own.mean() == pytest.approx(product, rel=1e-4)
    assert other.mean() == pytest.approx(own.mean(), rel=1e-9)
    assert not np.allclose(own, other)


def test_a_map_is_where_the_image_differs(index: Index) -> None:
    """Of two images that differ in one corner only, the maps differ most there."""
    pixels = index.stored_pixels(0)
    assert pixels is not None
    changed = pixels.copy()
    changed[:40, :40] = 255
    a, b = index.finding_maps(pixels), index.finding_maps(changed)
    assert a is not None
    assert b is not None
    change = np.abs(a.maps - b.maps).mean(axis=0)
    assert change.argmax() == 0


def test_without_a_head_there_are_no_maps(small_index: Path) -> None:
    index = open_index(small_index, device="cpu")
    pixels = index.stored_pixels(0)
    assert pixels is not None
    assert index.finding_maps(pixels) is None
    assert index.finding_maps(pixels, method="grad-cam") is None
    assert index.similarity_maps(pixels, 1)[0].shape == (1, 1)


def test_what_cannot_be_meant_is_refused(index: Index) -> None:
    pixels = index.stored_pixels(0)
    assert pixels is not None
    with pytest.raises(UsageError, match=r"row 10 of an index of 10 images — name a row from 0 to 9"):
        index.similarity_maps(pixels, 10)
    with pytest.raises(UsageError, match="row -1"):
        index.similarity_maps(pixels, -1)
    with pytest.raises(UsageError, match=r"uint8 \(256, 256\)"):
        index.finding_maps(pixels[:100, :100])
    with pytest.raises(UsageError, match=r"float64 \(256, 256\)"):
        index.finding_maps(pixels.astype(np.float64))
    with pytest.raises(UsageError, match="unknown method"):
        finding_maps(Embedder(trained_encoder(), "cpu"), index.embed([pixels])[0], "saliency")  # type: ignore[arg-type]


def test_an_index_without_pixels_has_no_maps_of_its_images(index: Index, data_set: DataSet, tmp_path: Path) -> None:
    pixels = index.stored_pixels(0)
    assert pixels is not None
    build_index(data_set.images, index=tmp_path / "index", pixels=False, **SMALL)
    with pytest.raises(UsageError, match="keeps no pixels"):
        open_index(tmp_path / "index", device="cpu").similarity_maps(pixels, 0)


def test_imported_embeddings_have_no_maps(index: Index, data_set: DataSet, tmp_path: Path) -> None:
    pixels = index.stored_pixels(0)
    assert pixels is not None
    np.save(tmp_path / "x.npy", np.random.default_rng(0).random((10, 4), dtype=np.float32))
    import_embeddings(tmp_path / "x.npy", data_set.labels, index=tmp_path / "index")
    imported = open_index(tmp_path / "index")
    for ask in (lambda: imported.finding_maps(pixels), lambda: imported.similarity_maps(pixels, 0)):
        with pytest.raises(UsageError, match="import"):
            ask()


def test_an_image_goes_through_the_network_once(index: Index, data_set: DataSet) -> None:
    """A query, its heat maps and what it shares with two indexed images: one pass each for query and indexed image."""
    passes: list[int] = []
    hook = index.embedder.encoder.features.register_forward_hook(lambda _, inputs, output: passes.append(len(output)))
    try:
        answer = index.query(data_set.images / "03.png", k=2)
        maps = index.finding_maps(answer)
        similar = index.similarity_maps(answer, 5)
        assert passes == [1, 1]
        again = index.similarity_maps(answer.pixels, 5)
        assert passes == [1, 1, 1, 1]
    finally:
        hook.remove()
    assert maps is not None
    same = index.finding_maps(answer.pixels)
    assert same is not None
    np.testing.assert_array_equal(maps.maps, same.maps)
    np.testing.assert_array_equal(similar[0], again[0])


def test_a_stored_embedding_has_no_maps() -> None:
    stored = Embedded(np.zeros((0, 0), np.uint8), np.zeros((1, 4), np.float32))
    with pytest.raises(UsageError, match="an image without its feature map has no heat maps"):
        similarity_maps(stored, stored)
