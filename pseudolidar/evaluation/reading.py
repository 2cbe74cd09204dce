"""Label and result files of many frames, read by several threads in large pieces."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pseudolidar.evaluation.parsing import parse_files
from pseudolidar.evaluation.stacked import StackedObjects, starts_of
from pseudolidar.files import read_lines
from pseudolidar.kernels import in_chunks
from pseudolidar.kitti import Objects, read_objects

_PIECE_BYTES = 1 << 20
"""What a thread reads before it parses: small enough for the processor's cache, thousands of files in a few dozen."""
_SMALLEST_CHUNK = 64
"""Files for which a thread is worth its start."""


def read_frames(paths: Sequence[str | None], scored: bool) -> StackedObjects:
    """Read the files of many frames in one go, as `pseudolidar.kitti.read_objects` would one after the other.

    Args:
        paths: KITTI label files or, with `scored`, result files; None is a frame without objects.
        scored: whether the lines end in a score.

    Raises:
        FormatError: a file is missing or not as it should be.
    """

    def of_chunk(chunk: int, chunks: int) -> list[StackedObjects]:
        return _read_band(paths[len(paths) * chunk // chunks : len(paths) * (chunk + 1) // chunks], scored)

    pieces = in_chunks(of_chunk, len(paths) // _SMALLEST_CHUNK, None)
    return _joined([piece for band in pieces for piece in band], scored)


def _read_band(paths: Sequence[str | None], scored: bool) -> list[StackedObjects]:
    """Files through one buffer, parsed whenever it is full: neither a string a file nor fresh memory for each."""
    buffer = bytearray(_PIECE_BYTES)
    pieces: list[StackedObjects] = []
    start, first = [0], 0

    def parse(end: int) -> None:
        text = np.frombuffer(buffer, np.uint8, count=start[-1])
        piece, doubtful = parse_files(text, np.array(start), scored)
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
    """Files that hold more than plain lines, read word by word: an unusual one is put in place, a bad one an error."""
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


def _joined(pieces: list[StackedObjects], scored: bool) -> StackedObjects:
    if len(pieces) == 1:
        return pieces[0]
    return StackedObjects(
        Objects.concatenate([Objects.empty(scored), *(piece.objects for piece in pieces)]),
        starts_of(np.concatenate([np.diff(piece.start) for piece in pieces])),
        np.concatenate([piece.line for piece in pieces]),
    )
