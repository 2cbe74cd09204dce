"""Portable float maps, as Middlebury and Scene Flow distribute disparities."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pseudolidar.files import FormatError, replacing, require_file, saying_which_file


def read_pfm(path: str | Path) -> NDArray[np.float32]:
    """Read a one-channel portable float map, float32 (H, W); files hold the rows from the bottom up.

    Raises:
        FormatError: no such file, another header than that of such a map, or another size than it says.
    """
    path = require_file(path, "a one-channel PFM")
    with saying_which_file(path):
        data = path.read_bytes()
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
    # A copy: what is mapped onto the bytes of a file is read-only.
    return np.array(values[::-1], np.float32, order="C")


def write_pfm(path: str | Path, values: NDArray[np.floating]) -> None:
    """Write a one-channel portable float map of (H, W), little-endian."""
    height, width = values.shape
    header = f"Pf\n{width} {height}\n-1.0\n"
    with replacing(path) as temporary:
        temporary.write_bytes(header.encode() + values[::-1].astype("<f4").tobytes())
