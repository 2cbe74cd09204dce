"""Images of cameras and tools: the stored pixels are read, whatever decoders may do to them, or none."""

import io
import struct
import warnings
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from pseudolidar.files import FormatError
from pseudolidar.kitti import read_disparity, read_image, read_image_size, write_disparity, write_image

# Rotate by 90 degrees, among eight ways to turn a picture.
_EXIF_ROTATED = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"


@pytest.fixture
def picture() -> NDArray[np.uint8]:
    """Smooth, so that a JPEG keeps it within a few levels."""
    row, column = np.mgrid[:24, :40]
    channels = [row * 10, column * 6, 255 - row * 4 - column * 3]
    return np.stack(channels, axis=2).astype(np.uint8)


def encoded(picture: NDArray[np.uint8], kind: str, mode: str = "RGB", **options: object) -> bytes:
    """What Pillow makes of it."""
    buffer = io.BytesIO()
    Image.fromarray(picture).convert(mode).save(buffer, kind, **options)
    return buffer.getvalue()


def with_chunks(png: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """The PNG with more chunks behind its header."""
    added = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return png[:33] + added + png[33:]


def interlaced(picture: NDArray[np.uint8]) -> bytes:
    """An Adam7 PNG; Pillow and OpenCV write none."""
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    parts = [picture[top::down, left::right] for top, left, down, right in passes]
    lines = b"".join(b"\0" + line.tobytes() for part in parts if part.size for line in part)
    header = struct.pack(">IIBBBBB", picture.shape[1], picture.shape[0], 8, 2, 0, 0, 1)
    png = b"\x89PNG\r\n\x1a\n"
    for kind, data in ((b"IHDR", header), (b"IDAT", zlib.compress(lines)), (b"IEND", b"")):
        png += struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return png


def test_pngs_are_read_as_they_are_stored(tmp_path: Path, picture: NDArray[np.uint8]) -> None:
    plain = encoded(picture, "png")
    transparent = np.dstack([picture, np.arange(24 * 40, dtype=np.uint8).reshape(24, 40)])
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    exif = _EXIF_ROTATED.removeprefix(b"Exif\0\0")
    grey = encoded(picture, "png", "L")
    of_grey = np.repeat(np.array(Image.fromarray(picture).convert("L"))[..., None], 3, axis=2)
    palette = Image.fromarray(picture).convert("P", palette=Image.Palette.ADAPTIVE, colors=16)
    buffer = io.BytesIO()
    palette.save(buffer, "png")
    cases = {
        "gamma": (with_chunks(plain, (b"gAMA", struct.pack(">I", 100_000))), picture),
        "primaries": (with_chunks(plain, (b"gAMA", struct.pack(">I", 22_727)), (b"cHRM", bytes(32))), picture),
        "profile": (with_chunks(plain, (b"iCCP", b"p\0\0" + zlib.compress(profile))), picture),
        "rotation": (with_chunks(plain, (b"eXIf", exif)), picture),
        "background": (with_chunks(encoded(transparent, "png", "RGBA"), (b"bKGD", b"\0\xff\0\0\0\xff")), picture),
        "alpha": (encoded(transparent, "png", "RGBA"), picture),
        "one transparent colour": (with_chunks(plain, (b"tRNS", picture[0, 0].astype(">u2").tobytes())), picture),
        "grey": (grey, of_grey),
        "grey and alpha": (encoded(transparent, "png", "LA"), of_grey),
        "palette": (buffer.getvalue(), np.array(palette.convert("RGB"))),
        "interlaced": (interlaced(picture), picture),
        "trailing": (plain + bytes(300) + plain, picture),
    }
    for name, (data, expected) in cases.items():
        path = tmp_path / f"{name}.png"
        path.write_bytes(data)
        found = read_image(path)
        np.testing.assert_array_equal(found, expected, err_msg=name)
        assert read_image_size(path) == found.shape[:2], name


def test_jpegs_are_read_as_they_are_stored(tmp_path: Path, picture: NDArray[np.uint8]) -> None:
    plain = encoded(picture, "jpeg", quality=95, subsampling=0)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    thumbnail = _EXIF_ROTATED + plain
    cases = {
        "plain": plain,
        "rotation": encoded(picture, "jpeg", quality=95, subsampling=0, exif=_EXIF_ROTATED),
        "profile": encoded(picture, "jpeg", quality=95, subsampling=0, icc_profile=profile),
        "thumbnail": plain[:2] + b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail + plain[2:],
        "fill bytes": plain[:2] + b"\xff\xff\xff" + plain[2:],
        "trailing zeros": plain + bytes(5000),
        "trailing text": plain + b"camera 7, lane 3" * 9,
        "another picture behind it": plain + plain[: len(plain) // 2],
    }
    expected = read_pixels(tmp_path, plain)
    assert np.abs(expected.astype(int) - picture).max() <= 6
    for name, data in cases.items():
        np.testing.assert_array_equal(read_pixels(tmp_path, data), expected, err_msg=name)
    progressive = read_pixels(tmp_path, encoded(picture, "jpeg", quality=95, subsampling=0, progressive=True))
    np.testing.assert_array_equal(progressive, expected)
    restarts = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_RST_INTERVAL, 1])[1].tobytes()
    assert b"\xff\xd0" in restarts and read_pixels(tmp_path, restarts).shape == picture.shape
    grey = read_pixels(tmp_path, encoded(picture, "jpeg", "L", quality=95))
    assert (grey == grey[..., :1]).all()


def read_pixels(folder: Path, data: bytes) -> NDArray[np.uint8]:
    path = folder / "image.jpg"
    path.write_bytes(data)
    found = read_image(path)
    assert read_image_size(path) == found.shape[:2]
    return found


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("tail", [b"", bytes(200), b"text" * 50])
def test_a_jpeg_cut_off_anywhere_is_refused(
    tmp_path: Path, picture: NDArray[np.uint8], progressive: bool, tail: bytes
) -> None:
    data = encoded(picture, "jpeg", quality=95, progressive=progressive, exif=_EXIF_ROTATED + encoded(picture, "jpeg"))
    path = tmp_path / "image.jpg"
    # Not so short that the tail completes a length in a header.
    for length in range(2, len(data) - 1, 17):
        path.write_bytes(data[:length] + tail)
        with pytest.raises(FormatError, match=r"image\.jpg"):
            read_image(path)


def test_what_has_no_pixels_of_ours_is_refused(tmp_path: Path, picture: NDArray[np.uint8]) -> None:
    path = tmp_path / "image.jpg"
    path.write_bytes(encoded(picture, "jpeg", "CMYK"))
    with pytest.raises(FormatError, match=r"image\.jpg: pixels: found 4 channels \(CMYK\?\)"):
        read_image(path)
    twelve_bits = bytearray(encoded(picture, "jpeg"))
    twelve_bits[twelve_bits.index(b"\xff\xc0") + 4] = 12
    path.write_bytes(twelve_bits)
    with pytest.raises(FormatError, match="found 12 bits a channel, expected 8"):
        read_image(path)
    for shape in ((24, 40), (24, 40, 3), (24, 40, 4)):
        cv2.imwrite(str(tmp_path / "deep.png"), np.full(shape, 700, np.uint16))
        with pytest.raises(FormatError, match="found uint16 channels, expected 8 bits"):
            read_image(tmp_path / "deep.png")


def test_16_bits_of_a_disparity_are_those_that_are_stored(tmp_path: Path) -> None:
    path = tmp_path / "map.png"
    disparity = np.arange(24 * 40, dtype=np.float32).reshape(24, 40) / 256
    write_disparity(path, disparity)
    exif = _EXIF_ROTATED.removeprefix(b"Exif\0\0")
    for chunk in ((b"gAMA", struct.pack(">I", 100_000)), (b"sBIT", b"\x0c"), (b"eXIf", exif)):
        path.write_bytes(with_chunks(path.read_bytes(), chunk) + b"behind the end")
        np.testing.assert_array_equal(read_disparity(path), disparity)


@pytest.mark.parametrize("length", [0, 1, 8, 20, 30])
@pytest.mark.parametrize("name", ["image.png", "image.jpg"])
def test_a_size_is_not_read_from_half_a_header(
    tmp_path: Path, picture: NDArray[np.uint8], name: str, length: int
) -> None:
    path = tmp_path / name
    write_image(path, picture)
    path.write_bytes(path.read_bytes()[:length])
    with warnings.catch_warnings(), pytest.raises(FormatError, match=rf"{name}: header: found no image"):
        warnings.simplefilter("error")
        read_image_size(path)
