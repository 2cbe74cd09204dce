"""Operations on rotated boxes on the processor: numba kernels, boxes or points shared out over threads."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pseudolidar.kernels import cpu_kernel, in_chunks
from pseudolidar.ops.box_geometry import VERTICES, common_extent, common_height, rectangle_intersection
from pseudolidar.ops.boxes_reference import box_frames, by_score

# Items that are worth a thread: it starts after some 0.1 ms.
_SMALLEST_SHARE_OF_PAIRS = 4_000
_SMALLEST_SHARE_OF_TESTS = 400_000
# Points tested in one go, in vector registers: bytes of as many whole words.
_CHUNK = 64

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Integers = NDArray[np.int64]
Flags = NDArray[np.uint8]
Words = NDArray[np.uint64]


def bev_iou(a: Tensor, b: Tensor) -> Tensor:
    """(N, M) intersection over union of boxes (N, 7) and (M, 7) in bird's eye view; see `ops.bev_iou`."""
    return _rotated(a, b, solid=False)


def iou_3d(a: Tensor, b: Tensor) -> Tensor:
    """(N, M) intersection over union of the volumes of boxes (N, 7) and (M, 7); see `ops.iou_3d`."""
    return _rotated(a, b, solid=True)


def _rotated(a: Tensor, b: Tensor, solid: bool) -> Tensor:
    overlaps = np.empty((len(a), len(b)))
    boxes_a, boxes_b = _doubles(a), _doubles(b)

    def fill(share: int, shares: int) -> None:
        _fill_rotated(boxes_a, boxes_b, solid, share, shares, overlaps)

    in_chunks(fill, overlaps.size // _SMALLEST_SHARE_OF_PAIRS, None)
    return torch.from_numpy(overlaps).to(a.dtype)


@cpu_kernel
def _fill_rotated(a: Doubles, b: Doubles, solid: bool, share: int, shares: int, overlaps: Doubles) -> None:
    polygon, scratch = np.zeros((VERTICES, 2)), np.zeros((VERTICES, 2))
    for i in range(share, len(a), shares):
        for j in range(len(b)):
            common, size_a, size_b = rectangle_intersection(a[i], b[j], polygon, scratch), _area(a[i]), _area(b[j])
            if solid:
                common, size_a, size_b = common * common_height(a[i], b[j]), size_a * a[i, 3], size_b * b[j, 3]
            overlaps[i, j] = common / (size_a + size_b - common) if common > 0.0 else 0.0


@cpu_kernel
def _area(box: Doubles) -> float:
    return abs(box[4] * box[5])


def nms(boxes: Tensor, scores: Tensor, threshold: float, rotated: bool, max_kept: int) -> Tensor:
    """int64 (K,), indices of the boxes that stay, the best first; see `ops.nms`."""
    order = by_score(scores)
    best_first = _doubles(boxes[order])
    kept = np.empty(min(len(boxes), max_kept), np.int64)
    number = (_suppress_rotated if rotated else _suppress_axis_aligned)(best_first, threshold, kept)
    return order[torch.from_numpy(kept[:number])]


@cpu_kernel
def _suppress_axis_aligned(boxes: Doubles, threshold: float, kept: Integers) -> int:
    """Fill `kept` with the rows that stay, as many as it has room for, and count them."""
    # Of the boxes kept x, z, half length, half width and area, a chunk of each, compared in vector registers.
    chunks = np.zeros((-(-len(kept) // _CHUNK), 5, _CHUNK))
    above = np.zeros(_CHUNK, np.uint8)
    words = above.view(np.uint64)
    count = 0
    for i in range(len(boxes)):
        if count == len(kept):
            break
        x, z, own = boxes[i, 0], boxes[i, 2], _area(boxes[i])
        half_length, half_width = 0.5 * abs(boxes[i, 5]), 0.5 * abs(boxes[i, 4])
        stays = True
        for chunk in range(-(-count // _CHUNK)):
            for k in range(_CHUNK):
                common = common_extent(chunks[chunk, 2, k], half_length, x - chunks[chunk, 0, k])
                common *= common_extent(chunks[chunk, 3, k], half_width, z - chunks[chunk, 1, k])
                # NaN, of two boxes without area, is above nothing.
                above[k] = common / (chunks[chunk, 4, k] + own - common) > threshold
            if _some(words):
                stays = False
                break
        if stays:
            chunk, k = count // _CHUNK, count % _CHUNK
            chunks[chunk, 0, k], chunks[chunk, 1, k], chunks[chunk, 4, k] = x, z, own
            chunks[chunk, 2, k], chunks[chunk, 3, k] = half_length, half_width
            kept[count] = i
            count += 1
    return count


@cpu_kernel
def _some(words: Words) -> bool:
    """Whether any of the bytes in these words is set."""
    some = words[0]
    for word in range(1, len(words)):
        some |= words[word]
    return some != 0


@cpu_kernel
def _suppress_rotated(boxes: Doubles, threshold: float, kept: Integers) -> int:
    """Fill `kept` with the rows that stay, as many as it has room for, and count them."""
    polygon, scratch = np.zeros((VERTICES, 2)), np.zeros((VERTICES, 2))
    x, z, radius = np.zeros(len(kept)), np.zeros(len(kept)), np.zeros(len(kept))
    count = 0
    for i in range(len(boxes)):
        if count == len(kept):
            break
        own, own_radius = _area(boxes[i]), 0.5 * np.hypot(boxes[i, 4], boxes[i, 5])
        stays = True
        for k in range(count):
            dx, dz, reach = boxes[i, 0] - x[k], boxes[i, 2] - z[k], own_radius + radius[k]
            if dx * dx + dz * dz <= reach * reach:
                common = rectangle_intersection(boxes[kept[k]], boxes[i], polygon, scratch)
                if common > 0.0 and common / (_area(boxes[kept[k]]) + own - common) > threshold:
                    stays = False
                    break
        if stays:
            x[count], z[count], radius[count], kept[count] = boxes[i, 0], boxes[i, 2], own_radius, i
            count += 1
    return count


def points_in_boxes(points: Tensor, boxes: Tensor) -> Tensor:
    """int64 (B, N), the lowest number of a box that holds the point, -1 for none; see `ops.points_in_boxes`."""
    chunks, frames = _chunks(points), box_frames(boxes).numpy()
    box_of = np.empty(points.shape[:2], np.int64)

    def label(share: int, shares: int) -> None:
        _label(chunks, frames, share, shares, box_of)

    in_chunks(label, box_of.size * boxes.shape[1] // _SMALLEST_SHARE_OF_TESTS, None)
    return torch.from_numpy(box_of)


@cpu_kernel
def _label(chunks: Floats, frames: Floats, share: int, shares: int, box_of: Integers) -> None:
    inside = np.zeros(_CHUNK, np.uint8)
    words = inside.view(np.uint64)
    labels = np.zeros(_CHUNK, np.int64)
    for scene in range(len(chunks)):
        for chunk in range(share, chunks.shape[1], shares):
            labels[:] = -1
            # From the last box to the first: the lowest number stays.
            for m in range(frames.shape[1] - 1, -1, -1):
                if _test(chunks, scene, chunk, frames, m, inside, words):
                    for k in range(_CHUNK):
                        labels[k] = m if inside[k] else labels[k]
            first = chunk * _CHUNK
            for k in range(min(_CHUNK, box_of.shape[1] - first)):
                box_of[scene, first + k] = labels[k]


def roi_pool_points(points: Tensor, boxes: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Indices (B, M, count) of the first points in each box and how many differ (B, M); see `ops.roi_pool_points`."""
    chunks, frames = _chunks(points), box_frames(boxes).numpy()
    index, found = np.empty((*boxes.shape[:2], count), np.int64), np.empty(boxes.shape[:2], np.int64)

    def collect(share: int, shares: int) -> None:
        _collect(chunks, frames, share, shares, index, found)

    in_chunks(collect, found.size * points.shape[1] // _SMALLEST_SHARE_OF_TESTS, None)
    return torch.from_numpy(index), torch.from_numpy(found)


@cpu_kernel
def _collect(chunks: Floats, frames: Floats, share: int, shares: int, index: Integers, found: Integers) -> None:
    inside = np.zeros(_CHUNK, np.uint8)
    words = inside.view(np.uint64)
    count = index.shape[2]
    for scene in range(len(chunks)):
        for m in range(share, index.shape[1], shares):
            found[scene, m] = 0
        # Box by box inside, so that a chunk is fetched once, and not the whole scene for every box.
        for chunk in range(chunks.shape[1]):
            for m in range(share, index.shape[1], shares):
                if found[scene, m] < count and _test(chunks, scene, chunk, frames, m, inside, words):
                    filled = found[scene, m]
                    for k in range(_CHUNK):
                        if inside[k] and filled < count:
                            index[scene, m, filled] = chunk * _CHUNK + k
                            filled += 1
                    found[scene, m] = filled
        for m in range(share, index.shape[1], shares):
            filled = found[scene, m]
            for slot in range(filled, count):
                index[scene, m, slot] = index[scene, m, slot - filled] if filled else 0


@cpu_kernel
def _test(chunks: Floats, scene: int, chunk: int, frames: Floats, m: int, inside: Flags, words: Words) -> bool:
    """Set a byte for each of a chunk's points that box m holds, clear those of the others; whether any is set."""
    centre_x, bottom, centre_z = frames[scene, m, 0], frames[scene, m, 1], frames[scene, m, 2]
    height, half_length, half_width = frames[scene, m, 3], frames[scene, m, 4], frames[scene, m, 5]
    cos, sin = frames[scene, m, 6], frames[scene, m, 7]
    for i in range(_CHUNK):
        dx = chunks[scene, chunk, 0, i] - centre_x
        dy = chunks[scene, chunk, 1, i] - bottom
        dz = chunks[scene, chunk, 2, i] - centre_z
        along, across = cos * dx - sin * dz, sin * dx + cos * dz
        # Bitwise: no branches, so that it becomes vector code. Comparisons with NaN are false.
        level = (dy <= np.float32(0)) & (dy >= -height)
        inside[i] = (np.abs(along) <= half_length) & (np.abs(across) <= half_width) & level
    return _some(words)


def _doubles(boxes: Tensor) -> Doubles:
    return boxes.double().contiguous().numpy()


def _chunks(points: Tensor) -> Floats:
    """Points (B, N, 3) as float32 (B, chunks, 3, _CHUNK), tested side by side; NaN, which no box holds, at the end."""
    scenes, number, _ = points.shape
    padded = np.full((scenes, -(-number // _CHUNK) * _CHUNK, 3), np.nan, np.float32)
    padded[:, :number] = points.numpy()
    return np.ascontiguousarray(padded.reshape(scenes, -1, _CHUNK, 3).swapaxes(2, 3))
