"""DICOM values become the grey levels that the standard gives, and what is no chest radiograph is refused."""

import importlib.util
import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels.processing import apply_modality_lut, apply_voi, apply_windowing
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, JPEG2000Lossless, RLELossless

from cxrsearch.errors import ImageError
from cxrsearch.images import _dicom as dicom
from cxrsearch.images import _dicom_file as dicom_file
from cxrsearch.images.dicom_tags import DicomTags
from cxrsearch.images.radiograph import Radiograph, decode_radiograph, read_radiograph
from tests.images.tags import tags_of

BUNDLED = Path(pydicom.__file__).parent / "data" / "test_files"


def data_file(name: str) -> Path:
    """A file of pydicom-data."""
    spec = importlib.util.find_spec("data_store")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return next(Path(spec.submodule_search_locations[0]).rglob(name))


def radiograph(values: NDArray[Any], **tags: Any) -> Dataset:
    """A CR object with these stored values, all bits used; None takes a tag away."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = ComputedRadiographyImageStorage
    dataset.SOPInstanceUID = "1.2.3"
    dataset.Modality = "CR"
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = values.shape
    dataset.BitsAllocated = dataset.BitsStored = 8 * values.itemsize
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(values.dtype.kind == "i")
    dataset.add_new("PixelData", "OW", values.tobytes())
    for name, value in tags.items():
        if value is None:
            del dataset[name]
        else:
            setattr(dataset, name, value)
    return dataset


def written(dataset: Dataset) -> bytes:
    pydicom.dcmwrite(buffer := io.BytesIO(), dataset, enforce_file_format=True)
    return buffer.getvalue()


def read(values: NDArray[Any], **tags: Any) -> Radiograph:
    return decode_radiograph(written(radiograph(values, **tags)), "x.dcm")


def grey(first: Sequence[int], dtype: Any = np.uint16, fill: Any = 0, **tags: Any) -> list[int]:
    """Grey levels of the first stored values of an image that is `fill` elsewhere."""
    values = np.full((32, 32), fill, dtype)
    values[0, : len(first)] = first
    levels: list[int] = read(values, **tags).pixels[0, : len(first)].tolist()
    return levels


def refusal(dataset: Dataset) -> str:
    with pytest.raises(ImageError) as caught:
        decode_radiograph(written(dataset), "x.dcm")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def lut(entries: NDArray[Any], first: int, bits: int) -> list[Dataset]:
    item = Dataset()
    item.add_new("LUTDescriptor", "SS" if first < 0 else "US", [len(entries) % 2**16, first, bits])
    item.add_new("LUTData", "OW", entries.tobytes() + b"\0" * (entries.nbytes % 2))
    return [item]


RAMP = np.arange(32 * 128, dtype=np.uint16).reshape(32, 128)

# --- grey levels


def test_without_a_window_the_smallest_value_is_black_and_the_largest_white() -> None:
    assert grey([1000, 2000, 3000], fill=1000) == [0, 128, 255]
    assert grey([-500, 0, 500], np.int16, fill=-500) == [0, 128, 255]
    assert grey([10, 110, 210], np.uint8, fill=10) == [0, 128, 255]  # 127.5 is rounded to even
    assert grey([0, 1, 65535], fill=0) == [0, 0, 255]
    assert read(RAMP).description == "DICOM CR MONOCHROME2 16-bit, all values from 0 to 4095"


def test_a_window_is_applied_by_the_formula_of_the_standard() -> None:
    # (x - (c - 0.5)) / (w - 1) + 0.5 with c = 2048, w = 1024: black up to 1536, white from 2559
    first = [0, 1536, 1792, 2048, 2304, 2559, 4095]
    assert grey(first, WindowCenter="2048", WindowWidth="1024") == [0, 0, 64, 128, 191, 255, 255]
    assert grey(first, WindowCenter=["2048", "100"], WindowWidth=["1024", "50"]) == [0, 0, 64, 128, 191, 255, 255]
    read_as = read(RAMP, WindowCenter=["2048", "100"], WindowWidth=["1024", "50"])
    assert read_as.description == "DICOM CR MONOCHROME2 16-bit, window 2048/1024"


def test_a_window_refers_to_rescaled_values() -> None:
    tags = {"RescaleSlope": "2", "RescaleIntercept": "-1000", "WindowCenter": "0.5", "WindowWidth": "201"}
    # 2 x - 1000 from -100 to 100
    assert grey([449, 450, 475, 500, 525, 550, 551], **tags) == [0, 0, 64, 128, 191, 255, 255]


def test_a_negative_slope_turns_the_image_over_once() -> None:
    tags = {"RescaleSlope": "-1", "RescaleIntercept": "4095"}
    assert grey([0, 1024, 4095], fill=0, **tags) == [255, 191, 0]
    assert grey([0, 1024, 4095], fill=0, PhotometricInterpretation="MONOCHROME1", **tags) == [0, 64, 255]


@pytest.mark.parametrize("shape", [None, "INVERSE"])
def test_monochrome1_is_inverted_exactly_once(shape: str | None) -> None:
    tags = {"PhotometricInterpretation": "MONOCHROME1"} | ({"PresentationLUTShape": shape} if shape else {})
    assert grey([0, 100, 400], **tags) == [255, 191, 0]
    assert grey([0, 1536, 1792, 4095], WindowCenter="2048", WindowWidth="1024", **tags) == [255, 255, 191, 0]


@pytest.mark.parametrize(
    ("centre", "width"), [("10", "0"), ("10", "0.5"), ("10", "-3"), ("10", ""), ("", "5"), (["", "10"], ["5", "5"])]
)
def test_a_window_that_cannot_be_meant_is_none(centre: str | list[str], width: str | list[str]) -> None:
    assert grey([0, 50, 100], WindowCenter=centre, WindowWidth=width) == [0, 128, 255]


def test_a_window_of_width_one_is_a_threshold() -> None:
    assert grey([99, 100, 101], WindowCenter="100", WindowWidth="1") == [0, 255, 255]
    assert grey([99, 100, 101], WindowCenter="100.5", WindowWidth="1") == [0, 0, 255]


@settings(deadline=None, max_examples=25)
@given(
    st.floats(100, 4000).map(lambda c: round(c, 2)),
    st.floats(1.5, 6000).map(lambda w: round(w, 2)),
    st.sampled_from(["LINEAR", "LINEAR_EXACT", "SIGMOID"]),
)
def test_windows_agree_with_those_of_pydicom(centre: float, width: float, function: str) -> None:
    tags = {"BitsStored": 12, "HighBit": 11, "WindowCenter": centre, "WindowWidth": width, "VOILUTFunction": function}
    with np.errstate(over="ignore"):
        share = apply_windowing(RAMP, radiograph(RAMP, **tags)) / 4095
    np.testing.assert_allclose(read(RAMP, **tags).pixels, 255 * share, rtol=0, atol=0.5 + 1e-6)
    np.testing.assert_allclose(dicom.apply_window(RAMP.astype(float), centre, width, function), share, atol=1e-9)


def test_padding_is_black_and_leaves_the_range_alone() -> None:
    assert grey([2000, 100, 150, 200], fill=100, PixelPaddingValue=2000) == [0, 0, 128, 255]
    inverted = {"PixelPaddingValue": 2000, "PhotometricInterpretation": "MONOCHROME1"}
    assert grey([2000, 100, 150, 200], fill=100, **inverted) == [0, 255, 128, 0]
    limits = {"PixelPaddingValue": 3000, "PixelPaddingRangeLimit": 2000}
    assert grey([1999, 2000, 2500, 3000, 3001], fill=1999, **limits) == [0, 0, 0, 0, 255]
    assert grey([-2000, -100, 100], np.int16, fill=-100, PixelPaddingValue=-2000) == [0, 0, 255]


def test_luts_come_before_windows_and_hold_their_ends() -> None:
    voi = lut(np.array([100, 1000, 3000, 4095], "<u2"), first=10, bits=12)
    levels = grey([0, 10, 11, 12, 13, 14, 4000], VOILUTSequence=voi, WindowCenter="5", WindowWidth="2")
    assert levels == [6, 6, 62, 187, 255, 255, 255]  # 255 / 4095 times the entry
    modality = lut(np.array([0, 500, 1000], "<u2"), first=-1, bits=16)
    tags = {"ModalityLUTSequence": modality, "WindowCenter": "500.5", "WindowWidth": "1001"}
    assert grey([-5, -1, 0, 1, 2, 99], np.int16, **tags) == [0, 0, 128, 255, 255, 255]


@pytest.mark.parametrize("dtype", ["u1", "<u2"])
def test_a_lut_of_eight_bits_may_have_more_than_256_entries(dtype: str) -> None:
    voi = lut((np.arange(4096) // 16).astype(dtype), first=0, bits=8)
    np.testing.assert_array_equal(read(RAMP, VOILUTSequence=voi).pixels, RAMP // 16)


@pytest.mark.parametrize("name", ["mlut_18.dcm", "vlut_04.dcm"])
def test_luts_agree_with_those_of_pydicom(name: str) -> None:
    dataset = pydicom.dcmread(data_file(name))
    values = np.asarray(apply_voi(apply_modality_lut(dataset.pixel_array, dataset), dataset), np.float64)
    assert (values.min(), values.max()) == (0, 65535)
    np.testing.assert_array_equal(read_radiograph(data_file(name)).pixels, np.round(values * (255 / 65535)))


# --- real radiographs and compression


def test_a_real_chest_radiograph_by_the_formula_and_by_anatomy() -> None:
    path = data_file("RG1_UNCR.dcm")
    got = read_radiograph(path)
    stored = np.frombuffer(pydicom.dcmread(path).PixelData, "<u2")[: 1955 * 1841].reshape(1955, 1841).astype(float)
    expected = np.round(255 * (1 - np.clip((stored - 14999.5) / 29999 + 0.5, 0, 1)))
    np.testing.assert_array_equal(got.pixels, expected)
    assert got.description == "DICOM CR MONOCHROME1 15-bit, view PA, window 15000/30000"
    assert got.tags == DicomTags("9RG1", "PA", "F", None)
    assert got.tags == tags_of(path)
    air, lung, spine = got.pixels[100:140, 20:120], got.pixels[500:560, 700:760], got.pixels[900:1000, 850:920]
    assert air.mean() < 0.8 * lung.mean() < 0.7 * spine.mean()


def test_jpeg_2000_gives_the_same_pixels() -> None:
    plain, packed = (read_radiograph(data_file(f"RG1_{kind}.dcm")) for kind in ("UNCR", "J2KR"))
    assert packed.pixel_sha256 == plain.pixel_sha256
    np.testing.assert_array_equal(packed.pixels, plain.pixels)


@pytest.mark.parametrize("kind", ["jpeg_ls_lossless", "jp2klossless", "RLE", "expb", "implicit"])
def test_other_transfer_syntaxes_give_the_same_pixels(kind: str) -> None:
    """Of small MR images that are said to be radiographs."""
    plain, packed = (pydicom.dcmread(BUNDLED / f"MR_small{suffix}.dcm") for suffix in ("", f"_{kind}"))
    plain.Modality = packed.Modality = "DX"
    assert decode_radiograph(raw(packed), "x").pixel_sha256 == decode_radiograph(raw(plain), "x").pixel_sha256


def raw(dataset: Dataset) -> bytes:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of values that other people wrote
        pydicom.dcmwrite(buffer := io.BytesIO(), dataset)
    return buffer.getvalue()


def test_lossless_jpeg_is_as_pillow_decodes_it() -> None:
    dataset = pydicom.dcmread(data_file("JPGLosslessP14SV1_1s_1f_8b.dcm"))
    frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
    with Image.open(io.BytesIO(frame)) as image:
        expected = dicom.apply_window(np.asarray(image, np.float64), dataset.WindowCenter, dataset.WindowWidth)
    dataset.Modality = "CR"
    np.testing.assert_array_equal(decode_radiograph(raw(dataset), "x").pixels, np.round(255 * expected))


# --- tags


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({}, DicomTags(None, None, None, None)),
        (
            {"PatientID": " 0012 ", "ViewPosition": "AP", "PatientSex": "F", "PatientAge": "058Y"},
            DicomTags("0012", "AP", "F", 58),
        ),
        ({"PatientAge": "018M", "ViewPosition": "LL", "PatientSex": "O"}, DicomTags(None, None, None, 1)),
        ({"PatientAge": "030D", "ViewPosition": "LATERAL"}, DicomTags(None, None, None, 0)),
        ({"PatientAge": "130Y", "PatientSex": ""}, DicomTags(None, None, None, None)),
        ({"PatientID": "", "PatientAge": ""}, DicomTags(None, None, None, None)),
    ],
)
def test_tags_say_what_is_known(tags: dict[str, str], expected: DicomTags, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(written(radiograph(RAMP, **tags)))
    assert tags_of(tmp_path / "x") == expected
    got = read_radiograph(tmp_path / "x")
    assert got.tags == expected
    np.testing.assert_array_equal(got.pixels, np.round(RAMP * (255 / 4095)))


def test_tags_are_read_without_the_pixels(tmp_path: Path) -> None:
    packed = radiograph(RAMP, PatientID="p")
    packed.compress(RLELossless)
    for dataset, reason in ((radiograph(RAMP, PatientID="p"), "cannot be decoded"), (packed, "has lost its pixels")):
        (tmp_path / "x").write_bytes(written(dataset)[:-20])
        assert tags_of(tmp_path / "x").patient_id == "p"
        with pytest.raises(ImageError, match=f"x {reason}"):
            read_radiograph(tmp_path / "x")


def test_values_that_break_the_standard_do_not_warn() -> None:
    data = written(radiograph(RAMP, PatientAge="058Y", PatientID="p"))
    got = decode_radiograph(data.replace(b"058Y", b"58??"), "x")
    assert got.tags == DicomTags("p", None, None, None)


# --- what is accepted, and what is refused


@pytest.mark.parametrize(
    "tags",
    [
        {"Modality": "DX"},
        {"Modality": "RG"},
        {"Modality": "OT"},
        {"Modality": "SC"},
        {"Modality": None},
        {"BodyPartExamined": "CHEST"},
        {"BodyPartExamined": "THORAX"},
        {"BodyPartExamined": "CHEST_ABDOMEN"},
        {"BodyPartExamined": "UNKNOWN"},
        {"BodyPartExamined": ""},
        {"BurnedInAnnotation": "YES"},
        {"PresentationIntentType": "FOR PRESENTATION"},
        {"NumberOfFrames": 1},
        {"ViewPosition": "LL"},
    ],
)
def test_chest_radiographs_are_accepted(tags: dict[str, Any]) -> None:
    got = read(RAMP, **tags)
    np.testing.assert_array_equal(got.pixels, np.round(RAMP * (255 / 4095)))
    assert ("view LL" in got.description) == ("ViewPosition" in tags)
    assert ("without modality" in got.description) == (tags.get("Modality", "CR") is None)


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        *(({"Modality": kind}, f"has modality {kind}: it is not") for kind in ("CT", "MR", "US", "SR", "PR", "SEG")),
        ({"BodyPartExamined": "LEG"}, "x.dcm has body part LEG, not the chest — leave it out, or, if the tag is wrong"),
        ({"BodyPartExamined": "L SPINE"}, "has body part L SPINE, not the chest"),
        ({"PresentationIntentType": "FOR PROCESSING"}, "holds raw detector values"),
        ({"NumberOfFrames": 3}, "x.dcm holds 3 frames, not one image"),
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, "photometric interpretation is RGB"),
        ({"SamplesPerPixel": 3}, "is MONOCHROME2, with 3 sample(s) per pixel"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "photometric interpretation is PALETTE COLOR"),
        ({"PhotometricInterpretation": None}, "photometric interpretation is missing"),
        ({"PixelData": None}, "x.dcm has lost its pixels: it was cut short"),
        ({"PixelData": None, "Rows": None}, "x.dcm holds no image (Computed Radiography Image Storage)"),
        ({"Rows": 13_000, "Columns": 13_000}, "x.dcm has 13000 x 13000 pixels, over the limit of 64 megapixels"),
        ({"Rows": 31}, "x.dcm has 128 x 31 pixels, fewer than 32 on a side"),
        ({"Rows": None}, "x.dcm is a damaged DICOM file"),
        ({"BitsAllocated": 32}, "x.dcm has 32 bits per pixel"),
        ({"WindowCenter": "1", "WindowWidth": "2"}, "x.dcm shows nothing: every pixel has the grey level 255"),
    ],
)
def test_what_is_no_chest_radiograph_is_refused(
    tags: dict[str, Any], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "shows nothing" not in reason:
        monkeypatch.setattr(dicom, "read_stored_values", lambda *_: pytest.fail("decoded before it was refused"))
    assert reason in refusal(radiograph(RAMP + np.uint16(10), **tags))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("RG3_UNCR.dcm", "has body part EXTREMITY, not the chest"),
        ("693_J2KR.dcm", "has modality CT"),
        ("MR2_UNCR.dcm", "has modality MR"),
        ("US1_J2KR.dcm", "has modality US"),
        ("SC_rgb.dcm", "is not grey: its photometric interpretation is RGB"),
        ("SC_ybr_full_uncompressed.dcm", "photometric interpretation is YBR_FULL"),
        ("SC_rgb_2frame.dcm", "holds 2 frames"),
        ("liver.dcm", "has modality SEG"),
    ],
)
def test_real_files_of_other_kinds_are_refused(name: str, reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        read_radiograph(data_file(name))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("reportsi.dcm", "has modality SR"),
        ("waveform_ecg.dcm", "has modality ECG"),
        ("dicomdirtests/DICOMDIR", r"holds no image \(Media Storage Directory Storage\)"),
        ("no_meta.dcm", "is neither PNG, JPEG nor DICOM"),
        ("JPEGLSNearLossless_16.dcm", "has 10 x 50 pixels"),
    ],
)
def test_files_that_pydicom_brings_are_refused(name: str, reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        read_radiograph(BUNDLED / name)


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, RLELossless])
def test_a_damaged_compressed_image_is_refused(syntax: str) -> None:
    dataset = radiograph(RAMP, BitsStored=12, HighBit=11)
    dataset.compress(syntax)
    np.testing.assert_array_equal(decode_radiograph(written(dataset), "x").pixels, np.round(RAMP * (255 / 4095)))
    frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
    dataset.PixelData = encapsulate([frame[: len(frame) // 2]])
    assert "x.dcm cannot be decoded" in refusal(dataset)
    whole = written(dataset)
    with pytest.raises(ImageError, match="lost its pixels"):
        decode_radiograph(whole[:-20], "x")


def test_a_compression_that_nothing_undoes_names_the_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = radiograph(RAMP)
    dataset.compress(JPEG2000Lossless)
    monkeypatch.setattr(dicom_file, "get_decoder", lambda _: SimpleNamespace(is_available=False))
    reason = "x.dcm is compressed as JPEG 2000 Image Compression (Lossless Only), which no installed package decodes"
    fix = "install pylibjpeg-openjpeg (JPEG 2000) and python-gdcm (other kinds of JPEG)"
    assert refusal(dataset) == f"{reason} — {fix}"
    monkeypatch.undo()
    video = written(dataset).replace(b"1.2.840.10008.1.2.4.90", b"1.2.840.10008.1.2.4.92")
    with pytest.raises(ImageError, match=r"JPEG 2000 Part 2 .* — export it without compression"):
        decode_radiograph(video, "x.dcm")


def test_whatever_is_damaged_the_answer_is_an_image_error() -> None:
    rng = np.random.default_rng(0)
    tags = {"PatientAge": "018M", "WindowCenter": "2000", "WindowWidth": "4000", "ViewPosition": "PA"}
    data = written(radiograph(RAMP, **tags))
    header = data.index(b"018M") + 400
    reasons = []
    for _ in range(400):
        damaged = np.frombuffer(data, np.uint8).copy()
        damaged[rng.integers(132, header, 3)] = rng.integers(0, 256, 3)
        try:
            got = decode_radiograph(damaged.tobytes()[: rng.integers(140, 3 * len(data))], "x")
            assert got.pixels.dtype == np.uint8
        except ImageError as error:
            reasons.append(str(error))
    assert len(reasons) > 100
    assert all(reason.isprintable() for reason in reasons)
