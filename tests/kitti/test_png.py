"""Our decoder of PNGs beside OpenCV's: every filter, both kinds of pixels, and what it leaves alone."""

import itertools
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pseudolidar.kitti.png import PNG_SIGNATURE, png_chunks, png_pixels

RGB, GREY = (8, 2), (16, 0)


def png(size: tuple[int, int], kind: tuple[int, int], rows: bytes, parts: int = 1, between: bytes = b"") -> bytes:
    """A PNG of (height, width) px from filtered rows, its data in several chunks, perhaps behind another one."""
    packed = zlib.compress(rows)
    cuts = [len(packed) * part // parts for part in range(parts + 1)]
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", size[1], size[0], *kind, 0, 0, 0))]
    chunks += [(between, b"\0" * 6)] if between else []
    chunks += [(b"IDAT", packed[start:end]) for start, end in itertools.pairwise(cuts)]
    return PNG_SIGNATURE + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in [*chunks, (b"IEND", b"")]
    )


def decoded(data: bytes) -> NDArray[np.uint8] | NDArray[np.uint16] | None:
    return png_pixels(png_chunks(Path("some.png"), data, "a PNG"))


def by_opencv(data: bytes) -> NDArray[np.generic]:
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert pixels is not None
    return pixels[..., ::-1] if pixels.ndim == 3 else pixels


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from([RGB, GREY]),
    st.integers(1, 9),
    st.integers(1, 11),
    st.integers(0, 2**32 - 1),
    st.sampled_from([2, 256]),
    st.integers(1, 3),
)
def test_all_filters_are_undone_as_by_opencv(
    kind: tuple[int, int], height: int, width: int, seed: int, values: int, parts: int
) -> None:
    random = np.random.default_rng(seed)
    # Few values make ties between the predictions, many make overflows.
    rows = random.integers(0, values, (height, 1 + width * (3 if kind == RGB else 2)), np.uint8)
    rows[:, 0] = random.integers(0, 5, height)
    data = png((height, width), kind, rows.tobytes(), parts)
    found = decoded(data)
    assert found is not None and found.flags.c_contiguous
    assert found.dtype == (np.uint8 if kind == RGB else np.uint16)
    assert np.array_equal(found, by_opencv(data))


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(png((2, 2), (8, 6), bytes(2 * 9)), id="transparent"),
        pytest.param(png((2, 2), (8, 0), bytes(2 * 3)), id="8-bit grey"),
        pytest.param(png((2, 2), (16, 2), bytes(2 * 13)), id="16-bit colour"),
        pytest.param(png((2, 2), RGB, bytes(2 * 7), between=b"tRNS"), id="a transparent colour"),
        pytest.param(png((2, 2), RGB, bytes([5, 0, 0, 0, 0, 0, 0] * 2)), id="an unknown filter"),
        pytest.param(png((2, 2), RGB, bytes(2 * 7 - 1)), id="too few bytes"),
        pytest.param(png((2, 2), RGB, bytes(2 * 7 + 1)), id="too many bytes"),
        pytest.param(png((2**31 - 1, 2**31 - 1), RGB, bytes(7)), id="a size that the file can't hold"),
        pytest.param(png((0, 2), RGB, b""), id="no rows"),
    ],
)
def test_other_kinds_and_broken_ones_are_left_to_opencv(data: bytes) -> None:
    assert decoded(data) is None


def test_data_that_deflate_does_not_know_is_left_to_opencv() -> None:
    whole = png((2, 2), RGB, bytes(2 * 7))
    chunks = png_chunks(Path("some.png"), whole, "a PNG")
    assert png_pixels(chunks) is not None
    assert png_pixels([(kind, memoryview(b"nonsense") if kind == b"IDAT" else body) for kind, body in chunks]) is None
