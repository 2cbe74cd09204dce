"""Images with their pixels as stored, since a calibration is made for those; damaged files are refused."""

import os
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pseudolidar.files import FormatError, read_bytes, require_file, require_suffix, saying_which_file, write_file
from pseudolidar.kitti.png import PNG_SIGNATURE, png_chunks, png_pixels

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")
"""Formats of images, written or found in a data set."""

_SPELLINGS = tuple(case(suffix) for suffix in IMAGE_SUFFIXES for case in (str.lower, str.upper, str.title))
_JPEG_SIGNATURE = b"\xff\xd8"
# A marker within or behind the data of a scan: there FF 00 stands for the byte FF, and D0 to D7 only restart the coder.
# Any number of FF may stand before it, of which the last is found: a pattern that starts with one byte is fast.
_JPEG_MARKER = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])", re.DOTALL)
_SOF = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_SOS, _EOI = 0xDA, 0xD9
# Markers without a length behind them: start of image, TEM.
_BARE = {0xD8, 0x01}


def image_path(folder: Path, name: str) -> Path:
    """The image of a name, PNG or JPEG, the suffix in any case; NAME.png where there is none. Several are a
    FormatError.
    """
    # Spelled as text: nine Paths take as long as a label file's parsing.
    spelled = (os.path.join(folder, f"{name}{suffix}") for suffix in _SPELLINGS)
    found = [Path(path) for path in spelled if os.path.isfile(path)]
    # File systems that ignore case have one file under several names.
    different = [path for place, path in enumerate(found) if not any(path.samefile(one) for one in found[:place])]
    if len(different) > 1:
        both = f"{different[1].name} too"
        raise FormatError(different[0], "file", both, "one image of a name: remove the one that is out of date")
    return different[0] if different else folder / f"{name}.png"


def image_names(folder: Path) -> list[str]:
    """Names, sorted, of a folder's images (`image_path`), without hidden files; empty without a folder."""
    if not folder.is_dir():
        return []
    files = (name for name in os.listdir(folder) if not name.startswith("."))
    return sorted({Path(name).stem for name in files if Path(name).suffix.lower() in IMAGE_SUFFIXES})


def read_image(path: str | Path) -> NDArray[np.uint8]:
    """Read an image as uint8 (H, W, 3), RGB: its pixels as they are stored.

    EXIF rotation, colour profiles and gamma are not applied, transparency is left out, grey fills all three channels.
    Bytes after the end of a PNG or JPEG are ignored.

    Raises:
        FormatError: no such file, a truncated or damaged one, another depth than 8 bits a channel, or CMYK.
    """
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
    image = decode_image(path, flags, "an 8-bit colour image (PNG or JPEG)")
    if image.dtype != np.uint8:
        raise FormatError(path, "pixels", f"{image.dtype} channels", "8 bits a channel")
    return image


def read_image_size(path: str | Path) -> tuple[int, int]:
    """(height, width) of an image as `read_image` reads it, px; only the file's header is read."""
    path = require_file(path, "an image (PNG or JPEG)")
    with saying_which_file(path):
        try:
            with Image.open(path) as image:
                width, height = image.size
        except (OSError, SyntaxError, ValueError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            # Pillow has several ways to say it.
            raise FormatError(path, "header", "no image", "an image (PNG or JPEG)") from error
    return height, width


def write_image(path: str | Path, rgb: NDArray[np.uint8]) -> None:
    """Write uint8 (H, W, 3) RGB; the suffix, one of `IMAGE_SUFFIXES`, says the format."""
    write_encoded(path, require_suffix(path, IMAGE_SUFFIXES, "an image"), rgb[..., ::-1])


def decode_image(path: str | Path, flags: int, what: str) -> NDArray[Any]:
    """Decode a whole file as OpenCV does with these `flags`, but to RGB; errors as of `read_image`.

    `what` is what the file should hold.
    """
    path, data = Path(path), read_bytes(path, what)
    # OpenCV decodes a truncated or damaged file into a picture with grey or black parts, without an error.
    if data.startswith(PNG_SIGNATURE):
        pixels = png_pixels(png_chunks(path, data, what))
        if pixels is not None:
            return pixels
    elif data.startswith(_JPEG_SIGNATURE):
        _require_whole_jpeg(path, data, what)
    image = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
    if image is None:
        raise FormatError(path, "file", f"{len(data)} bytes that do not decode", what)
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image) if image.shape[2:] == (3,) else image


def write_encoded(path: str | Path, suffix: str, pixels: NDArray[np.integer]) -> None:
    """Encode pixels, in OpenCV's order of channels, in the format of `suffix`, and write them."""
    # Level 1: half the time of the default for a few per cent more bytes.
    options = [cv2.IMWRITE_PNG_COMPRESSION, 1] if suffix == ".png" else []
    write_file(path, cv2.imencode(suffix, pixels, options)[1].data)


def _require_whole_jpeg(path: Path, data: bytes, what: str) -> None:
    """Go from marker to marker to the end of the image: a thumbnail in a segment, or a tail, has ends of its own."""
    position = len(_JPEG_SIGNATURE)
    has_scan = False
    while (found := _JPEG_MARKER.search(data, position)) is not None:
        marker, position = found[1][0], found.end()
        if marker == _EOI and has_scan:
            return
        if marker in _BARE or marker == _EOI:
            continue
        if marker in _SOF:
            _require_plain_pixels(path, data[position : position + 8])
        has_scan = has_scan or marker == _SOS
        position += max(2, int.from_bytes(data[position : position + 2], "big"))
    raise FormatError(path, f"byte {len(data)}", "the end of a truncated JPEG", f"{what}, complete")


def _require_plain_pixels(path: Path, frame_header: bytes) -> None:
    # Length, 2 bytes; bits; height and width, 2 bytes each; components.
    if len(frame_header) < 8:
        return
    if frame_header[2] != 8:
        raise FormatError(path, "pixels", f"{frame_header[2]} bits a channel", "8 bits a channel")
    if frame_header[7] not in (1, 3):
        found = f"{frame_header[7]} channels (CMYK?), which decoders turn into colours each in its own way"
        raise FormatError(path, "pixels", found, "3 channels, or 1 of grey")
