"""Hostile and damaged DICOM files are one line, and never the end of the process; sound ones keep their values."""

import importlib.util
import io
import warnings
import zlib
from pathlib import Path
from typing import Any

import gdcm
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEGBaseline8Bit

from cxrsearch.errors import ImageError
from cxrsearch.images import _dicom_file as dicom_file
from cxrsearch.images.radiograph import decode_radiograph, read_radiograph
from tests.images.tags import tags_of

BUNDLED = Path(pydicom.__file__).parent / "data" / "test_files"
PACKED = ["lossless JPEG", "JPEG-LS", "JPEG 2000", "JPEG baseline", "RLE"]


def sample(kind: str, **tags: Any) -> Dataset:
    """A small image of another modality, said to be a radiograph of DOE^JANE."""
    if kind == "lossless JPEG":
        spec = importlib.util.find_spec("data_store")
        assert spec is not None
        assert spec.origin is not None
        path = next(Path(spec.origin).parent.rglob("JPEG-LL.dcm"))
    else:
        suffix = {"JPEG-LS": "_jpeg_ls_lossless", "JPEG 2000": "_jp2klossless", "RLE": "_RLE"}.get(kind, "")
        path = BUNDLED / f"MR_small{suffix}.dcm"
    dataset = pydicom.dcmread(path)
    if kind == "JPEG baseline":
        Image.fromarray(slope()).save(jpeg := io.BytesIO(), "JPEG", quality=95)
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 8, 8, 7, 0
        dataset.PixelData = encapsulate([jpeg.getvalue()])
        dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    dataset.update({"Modality": "DX", "BodyPartExamined": "CHEST", "PatientName": "DOE^JANE"} | tags)
    return dataset


def slope() -> NDArray[np.uint8]:
    return np.add.outer(np.arange(64) * 2, np.arange(64) * 2).astype(np.uint8)


def written(dataset: Dataset) -> bytes:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of values that other people wrote
        pydicom.dcmwrite(buffer := io.BytesIO(), dataset)
    return buffer.getvalue()


def frame_of(dataset: Dataset) -> bytes:
    return next(generate_frames(dataset.PixelData, number_of_frames=1))


def refusal(dataset: Dataset) -> str:
    with pytest.raises(ImageError) as caught:
        decode_radiograph(written(dataset), "x.dcm")
    assert "\n" not in str(caught.value)
    assert "DOE" not in str(caught.value)
    return str(caught.value)


def test_jpeg_baseline_is_as_pillow_decodes_it() -> None:
    dataset = sample("JPEG baseline", WindowCenter="128", WindowWidth="256")
    with Image.open(io.BytesIO(frame_of(dataset))) as image:
        expected = np.asarray(image)
    got = decode_radiograph(written(dataset), "x")
    np.testing.assert_array_equal(got.pixels, expected)
    assert np.abs(got.pixels.astype(int) - slope()).max() < 8
    assert "DOE" not in got.description


@pytest.mark.parametrize("syntax", ["JPEGLosslessProcess14_1", "JPEGLSLossless"])
@pytest.mark.parametrize("signed", [0, 1])
def test_lossless_compression_keeps_values_of_sixteen_bits(syntax: str, signed: int, tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 65536, (64, 64)).astype("<u2")
    dataset = sample("plain", PixelRepresentation=signed, PixelData=values.tobytes())
    for tag in ("SmallestImagePixelValue", "LargestImagePixelValue", "WindowCenter", "WindowWidth"):
        del dataset[tag]
    (tmp_path / "plain").write_bytes(written(dataset))
    reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
    reader.SetFileName(str(tmp_path / "plain"))
    assert reader.Read()
    change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, syntax)))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer.SetFileName(str(tmp_path / "packed"))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    assert "JPEG" in pydicom.dcmread(tmp_path / "packed").file_meta.TransferSyntaxUID.name
    pixels = read_radiograph(tmp_path / "packed").pixels
    np.testing.assert_array_equal(pixels, read_radiograph(tmp_path / "plain").pixels)
    stored = values.view("<i2" if signed else "<u2").astype(float)
    low, high = stored.min(), stored.max()
    np.testing.assert_array_equal(pixels, np.round(255 * ((stored - low) / (high - low))))


@pytest.mark.parametrize("kind", PACKED)
def test_a_truncated_frame_is_refused_and_nothing_else_is_said(kind: str, capfd: pytest.CaptureFixture[str]) -> None:
    dataset = sample(kind)
    frame = frame_of(dataset)
    for end in np.linspace(len(frame) // 8, len(frame) - 8, 6, dtype=int):
        dataset.PixelData = encapsulate([frame[:end]])
        assert "cannot be decoded" in refusal(dataset)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("kind", "position", "value"),
    [
        ("lossless JPEG", 6, 255),  # gdcm ends the process at each of these
        ("lossless JPEG", 16, 255),
        ("JPEG-LS", 6, 255),
    ],
)
def test_no_damage_ends_the_process(kind: str, position: int, value: int, capfd: pytest.CaptureFixture[str]) -> None:
    dataset = sample(kind)
    frame = bytearray(frame_of(dataset))
    start = frame.index(b"\xff\xc3" if kind == "lossless JPEG" else b"\xff\xf7") - 2
    frame[start + position] = value
    dataset.PixelData = encapsulate([bytes(frame)])
    assert "x.dcm cannot be decoded" in refusal(dataset)
    assert capfd.readouterr() == ("", "")


def test_lossless_jpeg_that_its_decoder_complains_of_is_refused() -> None:
    """gdcm gives pixels for it, other ones than there were."""
    dataset = sample("lossless JPEG")
    frame = bytearray(frame_of(dataset))
    assert decode_radiograph(written(dataset), "x").pixels.shape == (1024, 256)
    middle = len(frame) // 2
    frame[middle : middle + 4] = bytes(4)
    dataset.PixelData = encapsulate([bytes(frame)])
    assert "the compressed pixels are damaged" in refusal(dataset)


@pytest.mark.parametrize("kind", ["JPEG 2000", "JPEG baseline", "RLE"])
def test_whatever_is_flipped_the_answer_is_pixels_or_an_image_error(
    kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    dataset, reasons = sample(kind), []
    frame = frame_of(dataset)
    for _ in range(150):
        damaged = np.frombuffer(frame, np.uint8).copy()
        damaged[rng.integers(2, 120, 2)] = rng.integers(0, 256, 2)
        dataset.PixelData = encapsulate([damaged.tobytes()])
        try:
            assert decode_radiograph(written(dataset), "x").pixels.shape == (64, 64)
        except ImageError as error:
            reasons.append(str(error))
    assert len(reasons) > 10
    assert not any("\n" in reason or "DOE" in reason for reason in reasons)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("kind", PACKED[:-1])
def test_a_frame_of_another_size_than_its_tags_say_is_refused_before_it_is_decoded(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number of pixels agrees, so a decoder would give them, scrambled."""
    dataset = sample(kind)
    rows, columns = dataset.Rows, dataset.Columns
    monkeypatch.setattr("cxrsearch.images._dicom.read_stored_values", lambda *_: pytest.fail("decoded"))
    dataset.Rows, dataset.Columns = rows // 2, columns * 2
    told = f"its tags say {columns * 2} x {rows // 2} pixels, and its compressed image {columns} x {rows}"
    assert f"x.dcm contradicts itself: {told}" in refusal(dataset)


def test_a_frame_that_claims_to_be_huge_is_refused_before_it_is_decoded() -> None:
    dataset = sample("JPEG 2000")
    frame = frame_of(dataset)
    start = frame.index(b"\xff\x4f\xff\x51") + 8
    huge = frame[:start] + (60_000).to_bytes(4) * 2 + frame[start + 8 :]
    dataset.PixelData = encapsulate([huge])
    assert "and its compressed image 60000 x 60000" in refusal(dataset)


def test_a_deflated_file_has_the_same_pixels_and_tags(tmp_path: Path) -> None:
    plain, deflated = sample("plain", PatientAge="018M"), sample("plain", PatientAge="018M")
    deflated.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    assert len(written(deflated)) < len(written(plain))
    for dataset, name in ((plain, "plain"), (deflated, "deflated")):
        (tmp_path / name).write_bytes(written(dataset))
    got = read_radiograph(tmp_path / "deflated")
    np.testing.assert_array_equal(got.pixels, read_radiograph(tmp_path / "plain").pixels)
    assert tags_of(tmp_path / "deflated") == got.tags
    assert got.tags is not None
    assert got.tags.age == 1


def test_a_deflated_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = sample("plain")
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    head = written(dataset)
    meta = head[: 144 + int.from_bytes(head[140:144], "little")]
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    bomb = meta + packer.compress(bytes(30_000_000)) + packer.flush()
    assert len(bomb) < 100_000
    (tmp_path / "x.dcm").write_bytes(bomb)
    monkeypatch.setattr(dicom_file, "MAX_UNPACKED", 20_000_000)
    monkeypatch.setattr(pydicom, "dcmread", lambda *_, **__: pytest.fail("unpacked"))
    for read in (read_radiograph, tags_of):
        with pytest.raises(ImageError, match=r"x\.dcm unpacks to over 20 MB"):
            read(tmp_path / "x.dcm")


def test_bits_above_those_stored_are_left_out() -> None:
    values = (np.arange(64 * 64).reshape(64, 64) % 4096).astype("<u2")
    tags = {"BitsStored": 12, "HighBit": 11, "WindowCenter": "2048", "WindowWidth": "4096"}
    unsigned = sample("plain", PixelRepresentation=0, PixelData=(values | 0xA000).tobytes(), **tags)
    del unsigned["SmallestImagePixelValue"], unsigned["LargestImagePixelValue"]
    expected = np.round(values * (255 / 4095))
    np.testing.assert_array_equal(decode_radiograph(written(unsigned), "x").pixels, expected)
    tags |= {"WindowCenter": "0"}
    signed = sample("plain", PixelRepresentation=1, PixelData=((values - 2048) & 0xFFF).tobytes(), **tags)
    del signed["SmallestImagePixelValue"], signed["LargestImagePixelValue"]
    np.testing.assert_array_equal(decode_radiograph(written(signed), "x").pixels, expected)


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ({"BitsStored": 12, "HighBit": 15}, "x.dcm has 12-bit values that end at bit 15"),
        ({"VOILUTFunction": "CUBIC", "WindowCenter": "1", "WindowWidth": "9"}, "the VOI LUT function CUBIC is unknown"),
        ({"RescaleSlope": "1e999", "RescaleIntercept": "0"}, "its rescale or window is not a finite number"),
    ],
)
def test_grey_levels_that_cannot_be_made_out_are_not_made_up(tags: dict[str, Any], reason: str) -> None:
    assert reason in refusal(sample("plain", **tags))


@pytest.mark.parametrize(
    ("descriptor", "reason"),
    [
        ([300, 0, 8], "256 LUT entries up to 255 are declared as 300 of 8 bits"),
        ([256, 0, 7], "256 LUT entries up to 255 are declared as 256 of 7 bits"),
    ],
)
def test_a_lut_that_is_not_as_described_is_refused(descriptor: list[int], reason: str) -> None:
    item = Dataset()
    item.add_new("LUTDescriptor", "US", descriptor)
    item.add_new("LUTData", "OW", np.arange(256, dtype=np.uint8).tobytes())
    if descriptor[0] > 256:
        item.add_new("LUTData", "US", list(range(256)))
    assert reason in refusal(sample("plain", VOILUTSequence=[item]))
