"""Label and result files of many frames into one struct of arrays, read by several threads in large pieces."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from pseudolidar.evaluation.parsing import parse_files
from pseudolidar.files import FormatError, InputError, read_lines
from pseudolidar.kernels import in_chunks
from pseudolidar.kitti import Objects, read_objects, read_split
from pseudolidar.kitti.frames import TESTING

_PIECE_BYTES = 1 << 20
"""Read by a thread before it parses: small enough for the processor's cache, thousands of files in a few dozen."""
_SMALLEST_CHUNK = 64
"""Files for which a thread is worth its start."""


@dataclass(frozen=True, eq=False)
class StackedObjects(Sequence[Objects]):
    """F frames as a sequence of `Objects`, stored in flat arrays for kernels.

    Frame f has the rows start[f] to start[f + 1] of `objects`; `start` is int64 (F + 1,). `line`, int64 (N,), is each
    object's line in its file, from 1; without files, its place in its frame.
    """

    objects: Objects
    start: NDArray[np.int64]
    line: NDArray[np.int64]

    @classmethod
    def stack(cls, frames: Sequence[Objects], scored: bool) -> "StackedObjects":
        """Stack frames; a `StackedObjects` comes back as it is."""
        if isinstance(frames, StackedObjects):
            return frames
        counts = np.array([len(frame) for frame in frames], np.int64)
        start = starts_of(counts)
        objects = Objects.concatenate([Objects.empty(scored), *frames])
        return cls(objects, start, np.arange(start[-1]) - np.repeat(start[:-1], counts) + 1)

    @override
    def __len__(self) -> int:
        return len(self.start) - 1

    @overload
    def __getitem__(self, index: int) -> Objects: ...
    @overload
    def __getitem__(self, index: slice) -> list[Objects]: ...
    @override
    def __getitem__(self, index: int | slice) -> Objects | list[Objects]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        frame = range(len(self))[index]
        return self.objects[self.start[frame] : self.start[frame + 1]]

    @override
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


def read_folders(
    labels_dir: str | Path,
    results_dir: str | Path,
    split_file: str | Path | None = None,
    missing_results: str = "error",
) -> tuple[list[str], StackedObjects, StackedObjects]:
    """Frame ids, labels by frame and detections by frame, of the frames to evaluate.

    These are the frames of `split_file` or, without one, all frames in `labels_dir`. Each needs a result file: a
    detector that finds nothing writes an empty one, so a missing file is most often a run that broke off. With
    `missing_results="empty"` it stands for no detections. A result file without a label file is always an error.

    Raises:
        FormatError: no such folder, no label files, a missing or broken file, a result file for an unknown frame.
        InputError: `missing_results` is neither error nor empty.
    """
    if missing_results not in ("error", "empty"):
        raise InputError(f"missing_results: found {missing_results!r}, expected error or empty")
    labelled = _frame_ids(labels_dir, "a folder with KITTI label files")
    scored = _frame_ids(results_dir, "a folder with KITTI result files")
    if not labelled:
        raise FormatError(labels_dir, "folder", "no .txt files", "a KITTI label file for each frame")
    unknown = sorted(scored - labelled)
    if unknown:
        others = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
        path = Path(results_dir) / f"{unknown[0]}.txt"
        expected = f"only frames that have labels in {labels_dir}"
        raise FormatError(path, "file", f"results for frame {unknown[0]}{others}", expected)
    frame_ids = sorted(labelled)
    if split_file is not None:
        frame_ids = read_split(split_file)
        for number, frame_id in enumerate(frame_ids, start=1):
            if frame_id not in labelled:
                raise FormatError(split_file, f"entry {number}", frame_id, f"a frame that has labels in {labels_dir}")
    missing = [frame_id for frame_id in frame_ids if frame_id not in scored]
    if missing and missing_results == "error":
        raise FormatError(
            Path(results_dir) / f"{missing[0]}.txt",
            "file",
            f"nothing there ({len(missing)} of {len(frame_ids)} frames have no result file)",
            "a result file for each frame, empty where nothing was detected; split_file=FILE evaluates the frames of a "
            "split alone, missing_results=empty counts a missing file as no detections",
        )
    labels = read_frames([os.path.join(labels_dir, f"{frame_id}.txt") for frame_id in frame_ids], scored=False)
    paths = [os.path.join(results_dir, f"{frame_id}.txt") if frame_id in scored else None for frame_id in frame_ids]
    return frame_ids, labels, read_frames(paths, scored=True)


def _frame_ids(folder: str | Path, what: str) -> set[str]:
    folder = Path(folder)
    if not folder.is_dir():
        if folder.parent.name == TESTING:
            what += f": KITTI's {TESTING}/ has no labels, its server alone scores it"
        raise FormatError(folder, "folder", "a file" if folder.exists() else "nothing there", what)
    return {name[:-4] for name in os.listdir(folder) if name.endswith(".txt") and not name.startswith(".")}


def read_frames(paths: Sequence[str | None], scored: bool) -> StackedObjects:
    """Read the files of many frames at once, with the results and errors of `pseudolidar.kitti.read_objects`.

    `paths` are label files or, with `scored`, result files; None is a frame without objects.
    """

    def of_chunk(chunk: int, chunks: int) -> list[StackedObjects]:
        return _read_chunk(paths[len(paths) * chunk // chunks : len(paths) * (chunk + 1) // chunks], scored)

    by_chunk = in_chunks(of_chunk, len(paths) // _SMALLEST_CHUNK, None)
    pieces = [piece for pieces in by_chunk for piece in pieces]
    if len(pieces) == 1:
        return pieces[0]
    return StackedObjects(
        Objects.concatenate([Objects.empty(scored), *(piece.objects for piece in pieces)]),
        starts_of(np.concatenate([np.diff(piece.start) for piece in pieces])),
        np.concatenate([piece.line for piece in pieces]),
    )


def _read_chunk(paths: Sequence[str | None], scored: bool) -> list[StackedObjects]:
    """Files through one buffer, parsed whenever it is full: no string for each file, no new memory for each."""
    buffer = bytearray(_PIECE_BYTES)
    pieces: list[StackedObjects] = []
    start, first = [0], 0

    def parse(end: int) -> None:
        text = np.frombuffer(buffer, np.uint8, count=start[-1])
        objects, rows, line, doubtful = parse_files(text, np.array(start), scored)
        piece = StackedObjects(objects, rows, line)
        if doubtful.any():
            piece = _read_again(piece, np.flatnonzero(doubtful).tolist(), paths[first:end], scored)
        pieces.append(piece)

    for i, path in enumerate(paths):
        size = 0
        while path is not None:
            size = _read_into(memoryview(buffer)[start[-1] :], path, scored)
            if start[-1] + size < len(buffer):
                break
            # The file may go on behind the end of the buffer.
            if i > first:
                parse(i)
                start, first = [0], i
            else:
                buffer = bytearray(2 * len(buffer))
        start.append(start[-1] + size)
    parse(len(paths))
    return pieces


def _read_into(buffer: memoryview, path: str, scored: bool) -> int:
    try:
        handle = os.open(path, os.O_RDONLY)
        try:
            return os.preadv(handle, [buffer], 0)
        finally:
            os.close(handle)
    except OSError:
        # Says what is there instead of a file, or what the system said.
        read_objects(path, scored)
        raise


def _read_again(
    piece: StackedObjects, doubtful: list[int], paths: Sequence[str | None], scored: bool
) -> StackedObjects:
    """Read doubtful files word by word: an unusual one is put in place, a bad one is an error."""
    again: dict[int, Objects] = {}
    lines: dict[int, list[int]] = {}
    for i in doubtful:
        path = Path(paths[i] or "")
        again[i] = read_objects(path, scored)
        lines[i] = [number for number, _ in read_lines(path, "KITTI results" if scored else "KITTI labels")]
    whole = StackedObjects.stack([again.get(i, frame) for i, frame in enumerate(piece)], scored)
    for i in range(len(piece)):
        whole.line[whole.start[i] : whole.start[i + 1]] = lines.get(i, piece.line[piece.start[i] : piece.start[i + 1]])
    return whole
