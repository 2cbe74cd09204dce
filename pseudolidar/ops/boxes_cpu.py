"""Operations on rotated boxes on the processor: numba kernels, boxes or points divided over threads."""

from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pseudolidar.kernels import cpu_kernel, in_chunks
from pseudolidar.ops.box_geometry import VERTICES, common_extent, common_height, rectangle_intersection
from pseudolidar.ops.boxes_reference import box_frames

# What is worth a thread, which starts after some 0.1 ms.
_PAIRS_WORTH_A_THREAD = 4_000
_TESTS_WORTH_A_THREAD = 400_000
# Points or boxes compared in one go, in vector registers: bytes of as many whole words.
_LANES = 64

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Integers = NDArray[np.int64]
Flags = NDArray[np.uint8]
Words = NDArray[np.uint64]


def bev_iou(a: Tensor, b: Tensor) -> Tensor:
    """IoU (N, M) of boxes (N, 7) and (M, 7) in bird's eye view; see `ops.bev_iou`."""
    return _iou(a, b, solid=False)


def iou_3d(a: Tensor, b: Tensor) -> Tensor:
    """IoU (N, M) of the volumes of boxes (N, 7) and (M, 7); see `ops.iou_3d`."""
    return _iou(a, b, solid=True)


def _iou(a: Tensor, b: Tensor, solid: bool) -> Tensor:
    iou = np.empty((len(a), len(b)))
    in_chunks(partial(_fill_iou, _doubles(a), _doubles(b), solid, iou), iou.size // _PAIRS_WORTH_A_THREAD, None)
    return torch.from_numpy(iou).to(a.dtype)


@cpu_kernel
def _fill_iou(a: Doubles, b: Doubles, solid: bool, iou: Doubles, chunk: int, chunks: int) -> None:
    polygon, scratch = np.zeros((VERTICES, 2)), np.zeros((VERTICES, 2))
    for i in range(chunk, len(a), chunks):
        for j in range(len(b)):
            common, size_a, size_b = rectangle_intersection(a[i], b[j], polygon, scratch), _area(a[i]), _area(b[j])
            if solid:
                common, size_a, size_b = common * common_height(a[i], b[j]), size_a * a[i, 3], size_b * b[j, 3]
            iou[i, j] = common / (size_a + size_b - common) if common > 0.0 else 0.0


@cpu_kernel
def _area(box: Doubles) -> float:
    return float(abs(box[4] * box[5]))


def nms_best_first(boxes: Tensor, number: Tensor, threshold: float, rotated: bool, count: int) -> Tensor:
    """int64 (B, count), the boxes (B, N, 7) of each scene that stay; see `ops.nms_best_first`. A thread a scene."""
    kept = np.full((len(boxes), count), -1)
    suppress = partial(_suppress, _doubles(boxes), number.numpy(), threshold, rotated, kept)
    in_chunks(suppress, min(len(boxes), boxes.shape[1] * kept.size // _PAIRS_WORTH_A_THREAD), None)
    return torch.from_numpy(kept)


@cpu_kernel
def _suppress(
    boxes: Doubles, number: Integers, threshold: float, rotated: bool, kept: Integers, chunk: int, chunks: int
) -> None:
    for scene in range(chunk, len(boxes), chunks):
        of_scene = boxes[scene, : number[scene]]
        if rotated:
            _suppress_rotated(of_scene, threshold, kept[scene])
        else:
            _suppress_axis_aligned(of_scene, threshold, kept[scene])


@cpu_kernel
def _suppress_axis_aligned(boxes: Doubles, threshold: float, kept: Integers) -> None:
    """Fill `kept` with the rows that stay, up to its size."""
    # Of the boxes kept x, z, half length, half width and area, a block of each, compared in vector registers.
    blocks = np.zeros((-(-len(kept) // _LANES), 5, _LANES))
    above = np.zeros(_LANES, np.uint8)
    words = above.view(np.uint64)
    count = 0
    for i in range(len(boxes)):
        if count == len(kept):
            break
        x, z, own = boxes[i, 0], boxes[i, 2], _area(boxes[i])
        half_length, half_width = 0.5 * abs(boxes[i, 5]), 0.5 * abs(boxes[i, 4])
        stays = True
        for block in range(-(-count // _LANES)):
            for k in range(_LANES):
                common = common_extent(blocks[block, 2, k], half_length, x - blocks[block, 0, k])
                common *= common_extent(blocks[block, 3, k], half_width, z - blocks[block, 1, k])
                # NaN, of two boxes without area, is above nothing.
                above[k] = common / (blocks[block, 4, k] + own - common) > threshold
            if _some(words):
                stays = False
                break
        if stays:
            block, k = count // _LANES, count % _LANES
            blocks[block, 0, k], blocks[block, 1, k], blocks[block, 4, k] = x, z, own
            blocks[block, 2, k], blocks[block, 3, k] = half_length, half_width
            kept[count] = i
            count += 1


@cpu_kernel
def _some(words: Words) -> bool:
    some = words[0]
    for word in range(1, len(words)):
        some |= words[word]
    return bool(some != 0)


@cpu_kernel
def _suppress_rotated(boxes: Doubles, threshold: float, kept: Integers) -> None:
    """Fill `kept` with the rows that stay, up to its size."""
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


def points_in_boxes(points: Tensor, boxes: Tensor) -> Tensor:
    """int64 (B, N), the lowest number of a box that holds the point, -1 for none; see `ops.points_in_boxes`."""
    box_of = np.empty(points.shape[:2], np.int64)
    label = partial(_label, _blocks(points), box_frames(boxes).numpy(), box_of)
    in_chunks(label, box_of.size * boxes.shape[1] // _TESTS_WORTH_A_THREAD, None)
    return torch.from_numpy(box_of)


@cpu_kernel
def _label(blocks: Floats, frames: Floats, box_of: Integers, chunk: int, chunks: int) -> None:
    inside = np.zeros(_LANES, np.uint8)
    words = inside.view(np.uint64)
    labels = np.zeros(_LANES, np.int64)
    for scene in range(len(blocks)):
        for block in range(chunk, blocks.shape[1], chunks):
            labels[:] = -1
            # From the last box to the first: the lowest number stays.
            for m in range(frames.shape[1] - 1, -1, -1):
                if _test(blocks, scene, block, frames, m, inside, words):
                    for k in range(_LANES):
                        labels[k] = m if inside[k] else labels[k]
            first = block * _LANES
            for k in range(min(_LANES, box_of.shape[1] - first)):
                box_of[scene, first + k] = labels[k]


def roi_pool_points(points: Tensor, boxes: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Indices (B, M, count) of the first points in each box and how many differ (B, M); see `ops.roi_pool_points`."""
    index, found = np.empty((*boxes.shape[:2], count), np.int64), np.empty(boxes.shape[:2], np.int64)
    collect = partial(_collect, _blocks(points), box_frames(boxes).numpy(), index, found)
    in_chunks(collect, found.size * points.shape[1] // _TESTS_WORTH_A_THREAD, None)
    return torch.from_numpy(index), torch.from_numpy(found)


@cpu_kernel
def _collect(blocks: Floats, frames: Floats, index: Integers, found: Integers, chunk: int, chunks: int) -> None:
    inside = np.zeros(_LANES, np.uint8)
    words = inside.view(np.uint64)
    count = index.shape[2]
    for scene in range(len(blocks)):
        for m in range(chunk, index.shape[1], chunks):
            found[scene, m] = 0
        # Box by box inside, so that a block is fetched once, and not the whole scene for every box.
        for block in range(blocks.shape[1]):
            for m in range(chunk, index.shape[1], chunks):
                if found[scene, m] < count and _test(blocks, scene, block, frames, m, inside, words):
                    filled = found[scene, m]
                    for k in range(_LANES):
                        if inside[k] and filled < count:
                            index[scene, m, filled] = block * _LANES + k
                            filled += 1
                    found[scene, m] = filled
        for m in range(chunk, index.shape[1], chunks):
            filled = found[scene, m]
            for slot in range(filled, count):
                index[scene, m, slot] = index[scene, m, slot - filled] if filled else 0


@cpu_kernel
def _test(blocks: Floats, scene: int, block: int, frames: Floats, m: int, inside: Flags, words: Words) -> bool:
    """Set a byte for each of a block's points that box m holds, clear those of the others; whether any is set."""
    centre_x, bottom, centre_z = frames[scene, m, 0], frames[scene, m, 1], frames[scene, m, 2]
    height, half_length, half_width = frames[scene, m, 3], frames[scene, m, 4], frames[scene, m, 5]
    cos, sin = frames[scene, m, 6], frames[scene, m, 7]
    for i in range(_LANES):
        dx = blocks[scene, block, 0, i] - centre_x
        dy = blocks[scene, block, 1, i] - bottom
        dz = blocks[scene, block, 2, i] - centre_z
        along, across = cos * dx - sin * dz, sin * dx + cos * dz
        # Bitwise: no branches, so that it becomes vector code. Comparisons with NaN are false.
        level = (dy <= np.float32(0)) & (dy >= -height)
        inside[i] = (np.abs(along) <= half_length) & (np.abs(across) <= half_width) & level
    return _some(words)


def _doubles(boxes: Tensor) -> Doubles:
    return boxes.double().contiguous().numpy()


def _blocks(points: Tensor) -> Floats:
    """Points (B, N, 3) as float32 (B, blocks, 3, _LANES), tested side by side; NaN, which no box holds, at the end."""
    scenes, number, _ = points.shape
    padded = np.full((scenes, -(-number // _LANES) * _LANES, 3), np.nan, np.float32)
    padded[:, :number] = points.numpy()
    return np.ascontiguousarray(padded.reshape(scenes, -1, _LANES, 3).swapaxes(2, 3))
