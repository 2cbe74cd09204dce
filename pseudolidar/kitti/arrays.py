"""Disparity maps and point files: read with clear errors, written whole or not at all."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pseudolidar.files import (
    FormatError,
    read_bytes,
    read_npy,
    require_file,
    require_suffix,
    saying_which_file,
    write_file,
    write_npy,
)
from pseudolidar.kitti.images import decode_image, read_image_size, write_encoded

DISPARITY_SUFFIXES = (".npy", ".png", ".pfm")
"""Formats of disparity maps, see `read_disparity`; where a folder has a frame in several, the first of them counts."""

# KITTI's 16-bit disparity PNGs hold 256 times the disparity in px; 0 is unknown.
_SCALE = 256.0
_WHAT = "a disparity map"
_ARRAY = "float (H, W) disparity in px"


def read_disparity(path: str | Path) -> NDArray[np.float32]:
    """Read a disparity map, float32 (H, W) px, 0 where unknown.

    `.png` is KITTI's format (16 bit, 256 times the disparity), `.npy` and `.pfm` (Middlebury, Scene Flow; infinity is
    unknown) hold floats.

    Raises:
        FormatError: no such file, another suffix, type or shape, or values that are NaN, infinite or negative.
    """
    path = Path(path)
    suffix = require_suffix(path, DISPARITY_SUFFIXES, _WHAT)
    if suffix == ".png":
        raw = decode_image(path, cv2.IMREAD_UNCHANGED, "a 16-bit one-channel PNG of 256 x disparity")
        if raw.dtype != np.uint16 or raw.ndim != 2:
            raise FormatError(path, "pixels", f"{raw.dtype} {raw.shape}", "uint16 (H, W), 256 x disparity in px")
        return raw.astype(np.float32) / np.float32(_SCALE)
    if suffix == ".pfm":
        disparity = read_pfm(path)
        disparity[np.isposinf(disparity)] = 0
    else:
        disparity = read_npy(path, "a disparity map, float (H, W), in px")
        if disparity.ndim != 2 or not np.issubdtype(disparity.dtype, np.floating):
            raise FormatError(path, "array", f"{disparity.dtype} {disparity.shape}", _ARRAY)
    bad = _is_bad(disparity)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        place = f"row {row}, column {column} ({int(bad.sum())} such pixels)"
        raise FormatError(path, place, disparity[row, column], "a finite disparity in px, 0 where unknown")
    return disparity.astype(np.float32, copy=False)


def _is_bad(disparity: NDArray[np.floating]) -> NDArray[np.bool_]:
    is_bad: NDArray[np.bool_] = ~np.isfinite(disparity) | (disparity < 0)
    return is_bad


def read_disparity_size(path: str | Path) -> tuple[int, int]:
    """(height, width) of a disparity map, px; of PNG and .npy only the header is read."""
    suffix = require_suffix(path, DISPARITY_SUFFIXES, _WHAT)
    if suffix == ".png":
        return read_image_size(path)
    if suffix == ".pfm":
        shape: tuple[int, ...] = read_pfm(path).shape
    else:
        with saying_which_file(path):
            try:
                shape = np.load(require_file(path, _WHAT), mmap_mode="r", allow_pickle=False).shape
            except (ValueError, EOFError) as error:
                raise FormatError(path, "header", f"no array ({error})", f"{_WHAT}, float (H, W), in px") from error
    if len(shape) != 2:
        raise FormatError(path, "array", f"shape {shape}", _ARRAY)
    return shape[0], shape[1]


def write_disparity(path: str | Path, disparity: NDArray[np.floating]) -> None:
    """Write a disparity map (H, W) px, 0 where unknown; the suffix says the format.

    `.png` holds 16 bits, 256 times the disparity, at most 255.996; `.npy` and `.pfm` float32, `.pfm` infinity for
    unknown.

    Raises:
        FormatError: another suffix.
        ValueError: another shape, or values that are NaN, infinite or negative.
    """
    suffix = require_suffix(path, DISPARITY_SUFFIXES, _WHAT)
    bad = int(_is_bad(disparity).sum())
    if disparity.ndim != 2 or bad:
        found = f"shape {disparity.shape}, {bad} bad values"
        raise ValueError(f"{path}: disparity: found {found}, expected (H, W) of finite numbers, 0 where unknown")
    if suffix == ".png":
        write_encoded(path, suffix, np.clip(np.rint(disparity * _SCALE), 0, 65535).astype(np.uint16))
    elif suffix == ".pfm":
        height, width = disparity.shape
        rows = np.where(disparity > 0, disparity, np.inf)[::-1].astype("<f4")
        write_file(path, f"Pf\n{width} {height}\n-1.0\n".encode() + rows.tobytes())
    else:
        write_npy(path, np.ascontiguousarray(disparity, dtype=np.float32))


def read_pfm(path: str | Path) -> NDArray[np.float32]:
    """Read a one-channel portable float map, float32 (H, W), as Middlebury and Scene Flow distribute disparities."""
    data = read_bytes(path, "a one-channel PFM")
    # Three lines: the kind, "width height", the scale, whose sign is the byte order.
    lines = data[:200].split(b"\n", 3)
    try:
        kind = lines[0].strip()
        width, height = (int(word) for word in lines[1].split())
        scale = float(lines[2])
        if kind != b"Pf" or width < 1 or height < 1 or scale == 0:
            raise ValueError
    except (ValueError, IndexError) as error:
        found = " / ".join(line[:20].decode(errors="replace") for line in lines[:3])
        raise FormatError(path, "header", repr(found), "Pf, width and height, scale, one a line") from error
    start = sum(len(line) + 1 for line in lines[:3])
    if len(data) - start != 4 * width * height:
        expected = f"{4 * width * height} bytes, 4 for each of {width} x {height} px"
        raise FormatError(path, "pixels", f"{len(data) - start} bytes", expected)
    values = np.frombuffer(data, "<f4" if scale < 0 else ">f4", offset=start).reshape(height, width)
    # The file holds the rows from the bottom up. A copy: what is mapped onto the bytes of a file is read-only.
    return np.array(values[::-1], np.float32, order="C")


def disparity_path(disparity_dir: str | Path, frame_id: str) -> Path:
    """The disparity file of a frame, with the first of `DISPARITY_SUFFIXES` that exists; FormatError if none does."""
    paths = [Path(disparity_dir) / f"{frame_id}{suffix}" for suffix in DISPARITY_SUFFIXES]
    found = next((path for path in paths if path.is_file()), None)
    if found is None:
        expected = f"a disparity map, {', '.join(DISPARITY_SUFFIXES[:-1])} or {DISPARITY_SUFFIXES[-1]}"
        raise FormatError(paths[0], "file", "nothing there", expected)
    return found


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
    finite = np.isfinite(points)
    if not finite.all():
        bad = ~finite.all(axis=1)
        place = f"point {int(bad.argmax())} ({int(bad.sum())} such points)"
        raise FormatError(path, place, points[bad.argmax()], "finite numbers")
    return points


def write_points(path: str | Path, points: NDArray[np.float32]) -> None:
    """Write a velodyne `.bin` from float32 (N, 4)."""
    if points.ndim != 2 or points.shape[1] != 4:
        raise ValueError(f"points: found shape {points.shape}, expected (N, 4): x y z intensity")
    write_file(path, np.ascontiguousarray(points, dtype="<f4").data)
