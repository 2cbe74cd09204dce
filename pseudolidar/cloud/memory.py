"""Memory for clouds that is used again: fresh memory takes the system longer to hand out than kernels take to fill."""

from collections import deque

import numpy as np
from numpy.typing import NDArray

# Smaller clouds come from numpy, whose allocator keeps what it needs for them.
_SMALLEST_POINTS = 1 << 16
# Blocks are whole multiples of this many points, 1 MiB, so that clouds of much the same size fit each other's.
_STEP_POINTS = 1 << 16
# What is kept for the next clouds, at most: this many blocks, none of more than 64 MiB.
_MOST_BLOCKS = 4
_LARGEST_POINTS = 1 << 22

# Its single operations are atomic; a lock could be waited for by the very thread that holds it, since memory comes back
# whenever the interpreter collects garbage.
_kept: deque[NDArray[np.float32]] = deque(maxlen=_MOST_BLOCKS)


class _Lent:
    """Owner of a block; numpy arrays on it, and views and tensors of them, keep it alive; then the block comes back."""

    def __init__(self, block: NDArray[np.float32]) -> None:
        self._block = block
        self.__array_interface__ = block.__array_interface__

    def __del__(self, kept: deque[NDArray[np.float32]] = _kept) -> None:
        if len(self._block) <= _LARGEST_POINTS:
            kept.append(self._block)  # full: the block that has been there longest goes


def empty_points(count: int) -> NDArray[np.float32]:
    """An array (count, 4) of any content, in memory that an earlier cloud no longer needs, if there is some."""
    if count < _SMALLEST_POINTS:
        return np.empty((count, 4), np.float32)
    block = None
    for _ in range(len(_kept)):
        try:
            candidate = _kept.pop()
        except IndexError:
            break
        if count <= len(candidate) <= 2 * count:
            block = candidate
            break
        _kept.appendleft(candidate)
    if block is None:
        block = np.empty((-(-count // _STEP_POINTS) * _STEP_POINTS, 4), np.float32)
    return np.asarray(_Lent(block))[:count]
