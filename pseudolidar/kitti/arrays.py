"""Disparity maps and point files: read with clear errors, written whole or not at all."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pseudolidar.files import (
    FormatError,
    read_npy,
    replacing,
    require_file,
    require_output_file,
    require_suffix,
    saying_which_file,
    write_npy,
)
from pseudolidar.kitti.images import decode_image, read_image_size, write_encoded
from pseudolidar.kitti.pfm import read_pfm, write_pfm

DISPARITY_SCALE = 256.0
"""KITTI's 16-bit disparity PNGs hold 256 times the disparity in px; 0 is unknown."""

DISPARITY_SUFFIXES = (".npy", ".png", ".pfm")
"""Formats of disparity maps, see `read_disparity`; where a folder has a frame in several, the first of them counts."""

_WHAT = "a disparity map"


def read_disparity(path: str | Path) -> NDArray[np.float32]:
    """Read a disparity map, float32 (H, W) px, 0 where unknown.

    `.png` is KITTI's format (16 bit, 256 times the disparity), `.npy` holds floats, `.pfm` too: Middlebury's and Scene
    Flow's format, where infinity is unknown.

    Raises:
        FormatError: no such file, another suffix, type or shape, or values that are NaN, infinite or negative.
    """
    path = Path(path)
    suffix = require_suffix(path, DISPARITY_SUFFIXES, _WHAT)
    if suffix == ".png":
        raw = decode_image(path, cv2.IMREAD_UNCHANGED, "a 16-bit one-channel PNG of 256 x disparity")
        if raw.dtype != np.uint16 or raw.ndim != 2:
            raise FormatError(path, "pixels", f"{raw.dtype} {raw.shape}", "uint16 (H, W), 256 x disparity in px")
        return raw.astype(np.float32) / np.float32(DISPARITY_SCALE)
    if suffix == ".pfm":
        disparity = read_pfm(path)
        disparity[np.isposinf(disparity)] = 0
    else:
        disparity = read_npy(path, "a disparity map, float (H, W), in px")
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


def read_disparity_size(path: str | Path) -> tuple[int, int]:
    """(height, width) of a disparity map, px; of PNG and .npy only the header is read.

    Raises:
        FormatError: no such file, another suffix, or something else in it.
    """
    suffix = require_suffix(path, DISPARITY_SUFFIXES, _WHAT)
    if suffix == ".png":
        return read_image_size(path)
    if suffix == ".pfm":
        height, width = read_pfm(path).shape
        return height, width
    path = require_file(path, _WHAT)
    with saying_which_file(path):
        try:
            shape = np.load(path, mmap_mode="r", allow_pickle=False).shape
        except (ValueError, EOFError) as error:
            raise FormatError(path, "header", f"no array ({error})", "a disparity map, float (H, W), in px") from error
    if len(shape) != 2:
        raise FormatError(path, "array", f"shape {shape}", "float (H, W) disparity in px")
    return shape[0], shape[1]


def require_disparity_output(path: str | Path) -> None:
    """Before the work: see that a disparity map can be written to a file of this name.

    Raises:
        FormatError: another suffix than `DISPARITY_SUFFIXES`, or a folder of that name.
    """
    require_output_file(path, DISPARITY_SUFFIXES, _WHAT)


def write_disparity(path: str | Path, disparity: NDArray[np.floating]) -> None:
    """Write a disparity map (H, W) px, 0 where unknown; the suffix says the format.

    `.png` holds 16 bits, 256 times the disparity, at most 255.996; `.npy` float32; `.pfm` float32, infinity where
    unknown.

    Raises:
        FormatError: another suffix.
        ValueError: another shape, or values that are NaN, infinite or negative.
    """
    path = Path(path)
    suffix = require_suffix(path, DISPARITY_SUFFIXES, _WHAT)
    if disparity.ndim != 2 or not np.isfinite(disparity).all() or (disparity < 0).any():
        found = f"shape {disparity.shape}, {int((~np.isfinite(disparity) | (disparity < 0)).sum())} bad values"
        raise ValueError(f"{path}: disparity: found {found}, expected (H, W) of finite numbers, 0 where unknown")
    if suffix == ".png":
        scaled = np.clip(np.rint(disparity * DISPARITY_SCALE), 0, 65535).astype(np.uint16)
        write_encoded(path, suffix, scaled)
    elif suffix == ".pfm":
        write_pfm(path, np.where(disparity > 0, disparity, np.inf))
    else:
        write_npy(path, np.ascontiguousarray(disparity, dtype=np.float32))


def disparity_path(disparity_dir: str | Path, frame_id: str) -> Path:
    """The disparity file of a frame, in the first of `DISPARITY_SUFFIXES` that is there.

    Raises:
        FormatError: none is there.
    """
    for suffix in DISPARITY_SUFFIXES:
        path = Path(disparity_dir) / f"{frame_id}{suffix}"
        if path.is_file():
            return path
    expected = f"a disparity map, {', '.join(DISPARITY_SUFFIXES[:-1])} or {DISPARITY_SUFFIXES[-1]}"
    raise FormatError(Path(disparity_dir) / f"{frame_id}{DISPARITY_SUFFIXES[0]}", "file", "nothing there", expected)


def read_points(path: str | Path) -> NDArray[np.float32]:
    """Read a velodyne `.bin`: float32 (N, 4), x y z in m in the velodyne frame, and intensity.

    Raises:
        FormatError: no such file, a size that is no multiple of 16 bytes, NaN or infinity.
    """
    path = require_file(path, "float32 x 4 points (velodyne .bin)")
    size = path.stat().st_size
    if size % 16:
        raise FormatError(path, f"byte {size - size % 16}", f"{size % 16} bytes left over", "16 bytes a point")
    with saying_which_file(path):
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
        temporary.write_bytes(np.ascontiguousarray(points, dtype="<f4").data)
