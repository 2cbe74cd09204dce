"""Objects of many frames in one struct of arrays."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
from numpy.typing import NDArray

from pseudolidar.kitti import Objects


@dataclass(frozen=True, eq=False)
class StackedObjects(Sequence[Objects]):
    """F frames of objects, a sequence of `Objects`, of which kernels see the flat arrays.

    Attributes:
        objects: N objects, frame after frame.
        start: int64 (F + 1,); frame f has the rows start[f] to start[f + 1].
        line: int64 (N,), the line of its file in which each object stands, from 1; without files, its place in its
            frame.
    """

    objects: Objects
    start: NDArray[np.int64]
    line: NDArray[np.int64]

    @classmethod
    def stack(cls, frames: Sequence[Objects], scored: bool) -> "StackedObjects":
        """Frames one after the other; what is stacked already comes back as it is."""
        if isinstance(frames, StackedObjects):
            return frames
        counts = np.array([len(frame) for frame in frames], np.int64)
        start = starts_of(counts)
        objects = Objects.concatenate([Objects.empty(scored), *frames])
        return cls(objects, start, np.arange(start[-1]) - np.repeat(start[:-1], counts) + 1)

    def __len__(self) -> int:
        return len(self.start) - 1

    @overload
    def __getitem__(self, index: int) -> Objects: ...
    @overload
    def __getitem__(self, index: slice) -> list[Objects]: ...
    def __getitem__(self, index: int | slice) -> Objects | list[Objects]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        frame = range(len(self))[index]
        return self.objects[self.start[frame] : self.start[frame + 1]]

    def __iter__(self) -> Iterator[Objects]:
        return (self[frame] for frame in range(len(self)))

    @property
    def frame(self) -> NDArray[np.int64]:
        """The frame of each object, int64 (N,)."""
        return np.repeat(np.arange(len(self)), np.diff(self.start))

    def where(self, mask: NDArray[np.bool_]) -> "StackedObjects":
        """The same frames with only the objects of a mask (N,)."""
        if mask.all():
            return self
        return StackedObjects(self.objects[mask], starts_of(mask)[self.start], self.line[mask])


def starts_of(counts: NDArray[np.int64] | NDArray[np.bool_]) -> NDArray[np.int64]:
    """Where each frame's rows begin, int64 (F + 1,), from how many it has, (F,)."""
    start = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=start[1:])
    return start
