"""PNG and JPEG files become exactly the grey pixels they hold, and everything else one line that says why not."""

import hashlib
import io
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from PIL import Image, ImageFile

from cxrsearch.errors import CatalogueError, ImageError
from cxrsearch.images._checks import quietly, require_size
from cxrsearch.images.radiograph import decode_radiograph, load_radiograph, read_radiograph
from cxrsearch.images.sources.folder import find_images
from tests.images.tags import tags_of

Pixels = NDArray[np.uint8]

sides = st.integers(32, 48)
pictures = arrays(np.uint8, st.tuples(sides, sides)).filter(lambda a: a.min() < a.max())


def noise(height: int = 40, width: int = 56, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)


def encoded(pixels: NDArray[Any] | Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(buffer := io.BytesIO(), kind, **options)
    return buffer.getvalue()


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(rows: NDArray[Any], width: int, depth: int, colour_type: int, extra: bytes = b"") -> bytes:
    """A PNG written by hand: `rows` holds the bytes of each line."""
    header = struct.pack(">IIBBBBB", width, len(rows), depth, colour_type, 0, 0, 0)
    lines = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", lines) + chunk(b"IEND", b"")


def claimed(side: int) -> bytes:
    """A PNG whose header claims a side and which holds nothing."""
    return png(np.zeros((1, 1), np.uint8), side, 8, 0).replace(
        chunk(b"IHDR", struct.pack(">IIBBBBB", side, 1, 8, 0, 0, 0, 0)),
        chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)),
    )


def decoded(data: bytes) -> Pixels:
    return decode_radiograph(data, "x.png").pixels


def refusal(data: bytes) -> str:
    with pytest.raises(ImageError) as caught:
        decode_radiograph(data, "x.png")
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- what is read, and to which values


@settings(deadline=None, max_examples=30)
@given(pictures, st.sampled_from(["L", "LA", "RGB", "RGBA", "P"]))
def test_eight_bit_png_comes_back_exactly(pixels: Pixels, mode: str) -> None:
    data = encoded(Image.fromarray(pixels).convert(mode))
    read = decode_radiograph(data, "x.png")
    np.testing.assert_array_equal(read.pixels, pixels)
    assert read.pixels.dtype == np.uint8
    assert read.source_sha256 == hashlib.sha256(data).hexdigest()
    height, width = pixels.shape
    assert read.pixel_sha256 == hashlib.sha256(f"{height}x{width}\n".encode() + pixels.tobytes()).hexdigest()
    assert read.tags is None


@settings(deadline=None, max_examples=30)
@given(st.sampled_from([8, 10, 12, 14, 15, 16]), st.data())
def test_sixteen_bit_png_is_scaled_from_the_bits_it_uses(bits: int, data: st.DataObject) -> None:
    top = 2**bits - 1
    values = data.draw(arrays(np.uint16, (32, 33), elements=st.integers(0, top)))
    values[0, :2] = 0, top
    expected = (2 * 255 * values.astype(np.int64) + top) // (2 * top)  # rounded; there are no ties
    read = decode_radiograph(encoded(values), "x.png")
    np.testing.assert_array_equal(read.pixels, expected)
    assert read.description == f"PNG 16-bit grey, {bits} bits used"


@settings(deadline=None, max_examples=20)
@given(pictures, st.sampled_from([1, 257]))
def test_an_eight_bit_image_in_sixteen_bits_is_that_image(pixels: Pixels, factor: int) -> None:
    pixels[0, 0] |= 128  # below, its 16-bit copy cannot be told from 15 bits
    if pixels.min() == pixels.max():
        pixels[0, 1] ^= 1
    np.testing.assert_array_equal(decoded(encoded(pixels.astype(np.uint16) * factor)), pixels)


def test_a_thirteen_bit_image_counts_as_fourteen_bits() -> None:
    values = np.zeros((32, 32), np.uint16)
    values[0, :3] = 4096, 8191, 8000
    assert decoded(encoded(values))[0, :4].tolist() == [64, 127, 125, 0]  # x * 255 / 16383


@pytest.mark.parametrize(("colour_type", "channels"), [(2, 3), (4, 2), (6, 4)])
def test_of_sixteen_bits_with_alpha_or_colour_the_upper_eight_are_read(colour_type: int, channels: int) -> None:
    values = np.random.default_rng(0).integers(0, 65536, (32, 40)).astype(">u2")
    data = png(np.repeat(values, channels, axis=1), 40, 16, colour_type)
    np.testing.assert_array_equal(decoded(data), values // 256)
    assert decode_radiograph(data, "x").description.endswith("upper half of 16 bits")
    dark = png(np.repeat((values // 2).astype(">u2"), channels, axis=1), 40, 16, colour_type)
    assert "x.png would lose most of its grey levels" in refusal(dark)


@pytest.mark.parametrize(("depth", "step"), [(2, 85), (4, 17)])
def test_grey_of_few_bits_spans_black_to_white(depth: int, step: int) -> None:
    values = np.random.default_rng(0).integers(0, 2**depth, (32, 32), dtype=np.uint8)
    bits = np.unpackbits(values[..., None], axis=2)[..., 8 - depth :].reshape(32, -1)
    np.testing.assert_array_equal(decoded(png(np.packbits(bits, axis=1), 32, depth, 0)), values * step)


def test_a_palette_is_looked_up() -> None:
    indices = noise() % 4
    image = Image.fromarray(indices, "P")
    image.putpalette([grey for grey in (200, 10, 90, 255) for _ in range(3)])
    expected = np.array([200, 10, 90, 255])[indices]
    np.testing.assert_array_equal(decoded(encoded(image)), expected)
    np.testing.assert_array_equal(decoded(encoded(image, transparency=bytes([0, 7, 255, 1]))), expected)
    image.putpalette([200, 0, 0, 10, 10, 10, 90, 90, 90, 255, 255, 255])
    assert "in colour: its channels differ by up to 200" in refusal(encoded(image))


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_alpha_says_nothing_about_density(mode: str) -> None:
    image = Image.fromarray(noise()).convert(mode)
    image.putalpha(Image.fromarray(noise(seed=1)))
    np.testing.assert_array_equal(decoded(encoded(image)), noise())


def test_colour_beyond_the_noise_of_compression_is_refused() -> None:
    channels = np.repeat(np.random.default_rng(0).integers(20, 200, (40, 40, 1), dtype=np.uint8), 3, axis=2)
    channels[3, 4, 1] += 8
    got = decoded(encoded(channels))
    assert got[3, 4] - channels[3, 4, 0] == 5  # 0.587 x 8
    others = np.ones((40, 40), bool)
    others[3, 4] = False
    np.testing.assert_array_equal(got[others], channels[others][:, 0])
    for channel in (0, 1, 2):
        coloured = channels.copy()
        coloured[3, 4] = 20
        coloured[3, 4, channel] = 29
        assert "x.png is in colour: its channels differ by up to 9 grey levels" in refusal(encoded(coloured))


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("quality", [30, 95])
def test_jpeg_is_as_pillow_decodes_it(mode: str, quality: int) -> None:
    smooth = np.add.outer(np.arange(40) * 3, np.arange(56) * 2).astype(np.uint8)
    data = encoded(Image.fromarray(smooth).convert(mode), "JPEG", quality=quality)
    with Image.open(io.BytesIO(data)) as image:
        expected = np.asarray(image.convert("L"))
    read = decode_radiograph(data, "misnamed.png")
    np.testing.assert_array_equal(read.pixels, expected)
    assert np.abs(read.pixels.astype(int) - smooth).max() < 20
    assert read.description.startswith("JPEG")


TURNS: dict[int, Callable[[Pixels], Pixels]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.T,
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].T,
    8: np.rot90,
}


@pytest.mark.parametrize("orientation", TURNS)
def test_the_orientation_of_a_jpeg_is_followed(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    straight = decoded(encoded(noise(), "JPEG", quality=90))
    turned = decoded(encoded(noise(), "JPEG", quality=90, exif=exif))
    np.testing.assert_array_equal(turned, TURNS[orientation](straight))


def test_damaged_side_information_is_no_reason_to_refuse() -> None:
    """Neither does it warn: warnings are errors here."""
    exif = Image.Exif()
    exif[0x0112] = 1
    data = encoded(noise(), "JPEG", exif=exif)
    start = data.index(b"Exif\0\0") + 6
    for offset in range(4, 20):
        torn = data[: start + offset] + b"\xff" * 4 + data[start + offset + 4 :]
        assert decoded(torn).size == noise().size
    plain = encoded(noise())
    np.testing.assert_array_equal(decoded(plain[:33] + chunk(b"acTL", bytes(8)) + plain[33:]), noise())


def test_the_same_pixels_in_another_format_have_the_same_pixel_sha256() -> None:
    grey, colour = (decode_radiograph(encoded(Image.fromarray(noise()).convert(m)), "x") for m in ("L", "RGBA"))
    assert grey.pixel_sha256 == colour.pixel_sha256
    assert grey.source_sha256 != colour.source_sha256
    reshaped = decode_radiograph(encoded(noise().reshape(56, 40)), "x")
    assert reshaped.pixel_sha256 != grey.pixel_sha256


# --- what is refused


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "x.png is empty"),
        (b"\x00\x01\xfeBM", "x.png is neither PNG, JPEG nor DICOM: it begins with 00 01 fe 42 4d"),
        (b"hello world", "x.png is neither PNG, JPEG nor DICOM: it begins with 'hello wo'"),
        (encoded(noise(), "GIF"), "neither PNG, JPEG nor DICOM: it begins with 'GIF8"),
        (encoded(noise(), "TIFF"), "neither PNG, JPEG nor DICOM"),
        (encoded(noise(), "PPM"), "neither PNG, JPEG nor DICOM"),
        (encoded(np.zeros((64, 64), np.uint8)), "x.png shows nothing: every pixel has the grey level 0"),
        (encoded(np.full((64, 64), 255, np.uint8)), "every pixel has the grey level 255"),
        (encoded(np.zeros((64, 64), np.uint16)), "every pixel has the grey level 0"),
        (encoded(noise(1, 1)), "x.png has 1 x 1 pixels, fewer than 32 on a side"),
        (encoded(noise(400, 31)), "x.png has 31 x 400 pixels, fewer than 32 on a side"),
        (claimed(13_000), "x.png has 13000 x 13000 pixels, over the limit of 64 megapixels"),
        (claimed(8_001), "over the limit of 64 megapixels"),
        (claimed(60_000), "over the limit of 64 megapixels"),
        (encoded(Image.fromarray(noise()).convert("1")), "not 8- or 16-bit grey: its mode is '1'"),
        (encoded(Image.fromarray(noise()).convert("CMYK"), "JPEG"), "its mode is 'CMYK'"),
        (encoded(noise(), save_all=True, append_images=[Image.fromarray(noise(seed=1))]), "holds 2 frames"),
        (encoded(noise(), "MPO", save_all=True, append_images=[Image.fromarray(noise())]), "holds 2 frames"),
    ],
)
def test_what_is_no_radiograph_is_refused_with_the_reason(
    data: bytes, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "limit" in reason:
        monkeypatch.setattr(ImageFile.ImageFile, "load", lambda _: pytest.fail("decoded before the size was checked"))
    assert reason in refusal(data)


def test_the_smallest_images_that_are_accepted() -> None:
    for side in (32, 64):
        np.testing.assert_array_equal(decoded(encoded(noise(side, side))), noise(side, side))


def test_the_size_limit_is_64_megapixels() -> None:
    require_size(8_000, 8_000, "x")
    with pytest.raises(ImageError, match="64 megapixels"):
        require_size(8_000, 8_001, "x")


def test_an_opened_picture_is_read_as_its_file_is(tmp_path: Path) -> None:
    """Upright, with the same digest of its pixels, so that it is known again."""
    exif = Image.Exif()
    exif[0x0112] = 6  # turn right
    path = tmp_path / "x.jpg"
    path.write_bytes(encoded(noise(40, 56), "JPEG", exif=exif))
    file, picture = read_radiograph(path), load_radiograph(Image.open(path))
    assert file.pixels.shape == (56, 40)
    np.testing.assert_array_equal(picture.pixels, file.pixels)
    assert picture.pixel_sha256 == file.pixel_sha256


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (Image.open(io.BytesIO(encoded(noise(), "JPEG")[:-200])), "picture cannot be decoded: image file is truncated"),
        (Image.open(io.BytesIO(encoded(noise())[:-200])), "picture cannot be decoded"),
        (Image.fromarray(noise().astype("i4") - 5), "picture has grey levels of -5 to 250, not of 0 to 65535"),
        (Image.fromarray(noise().astype("i4") * 300), "picture has grey levels of 0 to 76500, not of 0 to 65535"),
        (Image.new("I", (0, 0)), "picture has 0 x 0 pixels, fewer than 32 on a side"),
    ],
    ids=["JPEG", "PNG", "negative", "over 16 bits", "empty"],
)
def test_a_picture_that_cannot_be_taken(image: Image.Image, reason: str) -> None:
    with pytest.raises(ImageError) as error:
        load_radiograph(image)
    assert str(error.value).startswith(reason)


def test_an_opened_16_bit_picture_in_colour_is_refused_where_its_file_is() -> None:
    dark = np.random.default_rng(0).integers(0, 32768, (32, 40)).astype(">u2")
    data = png(np.repeat(dark, 3, axis=1), 40, 16, 2)
    with pytest.raises(ImageError, match="would lose most of its grey levels"):
        load_radiograph(Image.open(io.BytesIO(data)))


def test_what_is_read_does_not_change_with_the_array() -> None:
    pixels = noise()
    radiograph, before = load_radiograph(pixels), pixels.copy()
    pixels[:] = 0
    np.testing.assert_array_equal(radiograph.pixels, before)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_truncated_file_is_refused_wherever_it_ends(kind: str) -> None:
    data = encoded(noise(), kind)
    for end in range(8, len(data) - (0 if kind == "PNG" else 1), 13):
        assert "x.png is truncated or damaged" in refusal(data[:end])


def test_no_flipped_bit_of_a_png_changes_its_pixels() -> None:
    pixels = noise(32, 32)
    data = encoded(pixels)
    refused = 0
    for position in range(8, len(data)):
        damaged = data[:position] + bytes([data[position] ^ 1 << position % 8]) + data[position + 1 :]
        try:
            np.testing.assert_array_equal(decoded(damaged), pixels)
        except ImageError:
            refused += 1
    assert refused > 0.95 * len(data)


def test_whatever_is_damaged_the_answer_is_an_image_error() -> None:
    rng = np.random.default_rng(0)
    image, reasons = Image.fromarray(noise()), []
    for data in (encoded(image), encoded(image.convert("P")), encoded(image, "JPEG"), encoded(noise().astype("u2"))):
        for _ in range(200):
            damaged = np.frombuffer(data, np.uint8).copy()
            damaged[rng.integers(4, len(data), 3)] = rng.integers(0, 256, 3)
            try:
                assert decoded(damaged.tobytes()[: rng.integers(4, 2 * len(data))]).dtype == np.uint8
            except ImageError as error:
                reasons.append(str(error))
    assert len(reasons) > 400
    assert not any("0x" in reason or "\n" in reason for reason in reasons)  # no address of an object


def test_what_a_decoder_throws_becomes_one_printable_line() -> None:
    line = r"^x is damaged: not \[31m a byte — repair the file or leave it out$"
    with pytest.raises(ImageError, match=line), quietly("x", "is damaged"):
        raise RuntimeError("not \x1b[31m\na byte")
    with pytest.raises(MemoryError), quietly("x", "is damaged"):
        raise MemoryError


@pytest.mark.parametrize("name", [b"zTXt", b"iCCP"])
def test_a_bomb_in_a_text_is_not_unpacked(name: bytes) -> None:
    bomb = chunk(name, b"k\0\0" + zlib.compress(bytes(80_000_000)))
    lines = noise(32, 32)
    assert "Decompressed data too large" in refusal(png(lines, 32, 8, 0, extra=bomb))


# --- files and folders


def test_reading_a_file_is_decoding_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "image.jpg"
    path.write_bytes(encoded(noise()))
    read = read_radiograph(path)
    np.testing.assert_array_equal(read.pixels, noise())
    assert read.description == "PNG 8-bit grey"


def test_paths_that_cannot_be_read_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "huge.png").touch()
    os.truncate(tmp_path / "huge.png", 600_000_000)
    reasons = {
        "missing.png": "cannot read .*missing.png: No such file or directory",
        ".": "is a folder or a device, not a file",
        "pipe": "pipe is a folder or a device, not a file",
        "huge.png": "huge.png has 600 MB, over the limit of 512 MB",
    }
    for name, reason in reasons.items():
        with pytest.raises(ImageError, match=reason):
            read_radiograph(tmp_path / name)
    (tmp_path / "secret.png").write_bytes(encoded(noise()))
    monkeypatch.setattr(Path, "open", denied)
    with pytest.raises(ImageError, match=r"cannot read .*secret.png: Permission denied — check the path"):
        read_radiograph(tmp_path / "secret.png")


def denied(path: object, *_: object) -> None:
    raise PermissionError(13, "Permission denied", str(path))


def test_tags_are_of_dicom_files_only(tmp_path: Path) -> None:
    (tmp_path / "x.dcm").write_bytes(encoded(noise()))
    with pytest.raises(ImageError, match=r"x\.dcm is not a DICOM file"):
        tags_of(tmp_path / "x.dcm")
    with pytest.raises(ImageError, match="No such file"):
        tags_of(tmp_path / "y.dcm")


def test_the_images_of_a_folder_are_found_in_the_order_of_their_paths(tmp_path: Path) -> None:
    dicom = bytes(128) + b"DICM"
    files = {
        "b.png": b"",
        "B.JPG": b"",
        "a/z.jpeg": b"",
        "a-1/x.dcm": b"",
        "a/deep/er/y.DICOM": b"",
        "IM0001": dicom,
        "1.2.840.113619.2": dicom,
        "notes": b"text",
        "1.2.3": b"text",
        "scan.ima": dicom,
        "table.csv": b"text",
        "photo.tiff": b"",
        "._b.png": b"",
        ".hidden/c.png": b"",
        "folder.png/inside.txt": b"",
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    os.mkfifo(tmp_path / "PIPE")
    found = [path.relative_to(tmp_path).as_posix() for path in find_images(tmp_path)]
    assert found == sorted(
        [
            "1.2.840.113619.2",
            "B.JPG",
            "IM0001",
            "a-1/x.dcm",
            "a/deep/er/y.DICOM",
            "a/z.jpeg",
            "b.png",
            "photo.tiff",
            "scan.ima",
        ]
    )


def test_links_to_folders_are_followed_once(tmp_path: Path) -> None:
    (tmp_path / "in" / "z").mkdir(parents=True)
    (tmp_path / "out").mkdir()
    (tmp_path / "in" / "z" / "1.png").touch()
    (tmp_path / "out" / "2.png").touch()
    for name in ("k", "a", "zz", "f"):
        (tmp_path / "in" / name).symlink_to(tmp_path / "in" / "z")
    (tmp_path / "in" / "loop").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "out").symlink_to(tmp_path / "out")
    found = [path.relative_to(tmp_path).as_posix() for path in find_images(tmp_path / "in")]
    assert found == ["in/a/1.png", "in/out/2.png"]


def test_a_folder_that_cannot_be_read_is_not_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CatalogueError, match="no folder"):
        find_images(tmp_path / "missing")
    (tmp_path / "locked").mkdir()
    scan = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: denied(path) if str(path).endswith("locked") else scan(path))
    with pytest.raises(CatalogueError, match=r"cannot read the folder .*locked: Permission denied"):
        find_images(tmp_path)


def test_png_needs_neither_pydicom_nor_torch() -> None:
    code = "import sys, cxrsearch.images.radiograph; sys.exit(len({'pydicom', 'torch', 'pandas'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=Path(__file__).parents[2]).returncode == 0


# --- real files


@pytest.mark.real_data
def test_the_original_files_are_read_exactly(real_data: Path) -> None:
    modes = set()
    for path in sorted((real_data / "nih" / "originals").glob("*.png")):
        with Image.open(path) as image:
            modes.add(image.mode)
            plain = np.asarray(image)
        np.testing.assert_array_equal(read_radiograph(path).pixels, plain if plain.ndim == 2 else plain[..., 0])
    assert modes == {"L", "RGBA"}


@pytest.mark.real_data
def test_of_other_pictures_those_in_colour_are_refused(real_data: Path) -> None:
    refused = {}
    for path in find_images(real_data / "ood"):
        try:
            read_radiograph(path)
        except ImageError as error:
            refused[path.name] = str(error)
    assert "has body part EXTREMITY" in refused.pop("RG3_J2KI.dcm")
    assert {name for name, reason in refused.items() if "is in colour" in reason} == set(refused)
    colour = {"astronaut", "chelsea", "coffee", "ihc", "logo", "retina", "rocket"}
    assert set(refused) == {f"{name}.png" for name in colour}
