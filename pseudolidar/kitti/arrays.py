"""Images, disparity maps and point files: read with clear errors, written whole or not at all."""

import zlib
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from pseudolidar.files import FormatError, read_npy, replacing, require_file

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

DISPARITY_SCALE = 256.0
"""KITTI's 16-bit disparity PNGs hold 256 times the disparity in px; 0 is unknown."""


def _decode(path: Path, flags: int, what: str) -> NDArray[np.generic]:
    require_file(path, what)
    data = np.fromfile(path, dtype=np.uint8)
    _require_whole_image(path, data.tobytes(), what)
    image = cv2.imdecode(data, flags) if data.size else None
    if image is None:
        raise FormatError(path, "file", f"{data.size} bytes that do not decode", what)
    return image


def _require_whole_image(path: Path, data: bytes, what: str) -> None:
    # OpenCV decodes a truncated or damaged file into a picture with grey or black parts, without an error.
    if data[:8] == _PNG_SIGNATURE:
        position = 8
        while True:
            length = int.from_bytes(data[position : position + 4], "big")
            kind = data[position + 4 : position + 8]
            checksum = data[position + 8 + length : position + 12 + length]
            if len(checksum) < 4:
                raise FormatError(path, f"byte {len(data)}", "the end of a truncated PNG", f"{what}, complete")
            if zlib.crc32(data[position + 4 : position + 8 + length]) != int.from_bytes(checksum, "big"):
                raise FormatError(path, f"byte {position}", "a damaged PNG (wrong checksum)", f"{what}, undamaged")
            if kind == b"IEND":
                return
            position += 12 + length
    if data[:2] == b"\xff\xd8" and b"\xff\xd9" not in data[-64:]:
        raise FormatError(path, f"byte {len(data)}", "the end of a truncated JPEG", f"{what}, complete")


def read_image(path: str | Path) -> NDArray[np.uint8]:
    """Read an image as uint8 (H, W, 3), RGB.

    Raises:
        FormatError: no such file, a truncated or damaged one, or another depth than 8 bits a channel.
    """
    image = _decode(Path(path), cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH, "an 8-bit colour image (PNG or JPEG)")
    if image.dtype != np.uint8:
        raise FormatError(path, "pixels", f"{image.dtype} channels", "8 bits a channel")
    return np.ascontiguousarray(image[..., ::-1]).astype(np.uint8, copy=False)


def read_image_size(path: str | Path) -> tuple[int, int]:
    """(height, width) of an image in px; only the file's header is read.

    Raises:
        FormatError: no such file, or no image.
    """
    path = require_file(path, "an image (PNG or JPEG)")
    try:
        with Image.open(path) as image:
            width, height = image.size
    except UnidentifiedImageError as error:
        raise FormatError(path, "header", "no image", "an image (PNG or JPEG)") from error
    return height, width


def write_image(path: str | Path, rgb: NDArray[np.uint8]) -> None:
    """Write uint8 (H, W, 3) RGB; the suffix says the format."""
    with replacing(path) as temporary:
        # Level 1: half the time of the default for a few per cent more bytes.
        if not cv2.imwrite(str(temporary), rgb[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1]):
            raise OSError(f"{path}: the image could not be written")


def read_disparity(path: str | Path) -> NDArray[np.float32]:
    """Read a disparity map, float32 (H, W) px, 0 where unknown.

    `.png` is KITTI's format (16 bit, 256 times the disparity), `.npy` holds floats.

    Raises:
        FormatError: no such file, another type or shape, or values that are NaN, infinite or negative.
    """
    path = Path(path)
    if path.suffix == ".png":
        raw = _decode(path, cv2.IMREAD_UNCHANGED, "a 16-bit one-channel PNG of 256 x disparity")
        if raw.dtype != np.uint16 or raw.ndim != 2:
            raise FormatError(path, "pixels", f"{raw.dtype} {raw.shape}", "uint16 (H, W), 256 x disparity in px")
        return raw.astype(np.float32) / np.float32(DISPARITY_SCALE)
    disparity = read_npy(path, "a disparity map, .png (16 bit) or .npy (float, (H, W), in px)")
    if disparity.ndim != 2 or not np.issubdtype(disparity.dtype, np.floating):
        raise FormatError(path, "array", f"{disparity.dtype} {disparity.shape}", "float (H, W) disparity in px")
    bad = ~np.isfinite(disparity) | (disparity < 0)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise FormatError(
            path,
            f"row {row}, column {column} ({int(bad.sum())} such pixels)",
            disparity[row, column],
            "a finite disparity in px, 0 where unknown",
        )
    return disparity.astype(np.float32, copy=False)


def write_disparity(path: str | Path, disparity: NDArray[np.floating]) -> None:
    """Write a disparity map (H, W) px: `.png` as 16 bit, 256 times the disparity, at most 255.996; `.npy` as float32.

    Raises:
        ValueError: another shape, or values that are NaN, infinite or negative.
    """
    path = Path(path)
    if disparity.ndim != 2 or not np.isfinite(disparity).all() or (disparity < 0).any():
        found = f"shape {disparity.shape}, {int((~np.isfinite(disparity) | (disparity < 0)).sum())} bad values"
        raise ValueError(f"{path}: disparity: found {found}, expected (H, W) of finite numbers, 0 where unknown")
    with replacing(path) as temporary:
        if path.suffix == ".png":
            scaled = np.clip(np.rint(disparity * DISPARITY_SCALE), 0, 65535).astype(np.uint16)
            if not cv2.imwrite(str(temporary), scaled, [cv2.IMWRITE_PNG_COMPRESSION, 1]):
                raise OSError(f"{path}: the disparity map could not be written")
        else:
            np.save(temporary, np.ascontiguousarray(disparity, dtype=np.float32))


def read_points(path: str | Path) -> NDArray[np.float32]:
    """Read a velodyne `.bin`: float32 (N, 4), x y z in m in the velodyne frame, and intensity.

    Raises:
        FormatError: no such file, a size that is no multiple of 16 bytes, NaN or infinity.
    """
    path = require_file(path, "float32 x 4 points (velodyne .bin)")
    size = path.stat().st_size
    if size % 16:
        raise FormatError(path, f"byte {size - size % 16}", f"{size % 16} bytes left over", "16 bytes a point")
    points = np.fromfile(path, dtype=np.float32).reshape(-1, 4)
    bad = ~np.isfinite(points).all(axis=1)
    if bad.any():
        place = f"point {int(bad.argmax())} ({int(bad.sum())} such points)"
        raise FormatError(path, place, points[bad.argmax()], "finite numbers")
    return points


def write_points(path: str | Path, points: NDArray[np.float32]) -> None:
    """Write a velodyne `.bin` from float32 (N, 4)."""
    if points.ndim != 2 or points.shape[1] != 4:
        raise ValueError(f"points: found shape {points.shape}, expected (N, 4): x y z intensity")
    with replacing(path) as temporary:
        np.ascontiguousarray(points, dtype=np.float32).tofile(temporary)
