"""Operations on rotated boxes on an NVIDIA GPU: numba-cuda kernels, one thread per pair, point or box."""

from typing import Any

import numba
import numpy as np
import torch
from numba import cuda
from torch import Tensor

from pseudolidar.kernels.cuda import launch, launch_blocks, rounded_product, rounded_product_float32
from pseudolidar.ops import box_geometry
from pseudolidar.ops.box_geometry import VERTICES
from pseudolidar.ops.boxes_reference import box_frames

# Bits of a mask's word.
_WORD = 64
# Threads that go through the masks; as many as there are words, and more have nothing to do.
_KEEPING_THREADS = 256
# Threads that list a region's points: for each a word of 64 points, then the next.
_COLLECTING_THREADS = 256


def _on_device(kernel: Any) -> Any:
    return cuda.jit(device=True)(kernel.py_func)


# The processor's own functions, compiled once more.
_rectangle_intersection = _on_device(box_geometry.rectangle_intersection)
_common_height = _on_device(box_geometry.common_height)
_common_extent = _on_device(box_geometry.common_extent)


def bev_iou(a: Tensor, b: Tensor) -> Tensor:
    """IoU (N, M) of boxes (N, 7) and (M, 7) in bird's eye view; see `ops.bev_iou`."""
    return _launch_iou(a, b, solid=False)


def iou_3d(a: Tensor, b: Tensor) -> Tensor:
    """IoU (N, M) of the volumes of boxes (N, 7) and (M, 7); see `ops.iou_3d`."""
    return _launch_iou(a, b, solid=True)


def _launch_iou(a: Tensor, b: Tensor, solid: bool) -> Tensor:
    iou = torch.empty((len(a), len(b)), dtype=torch.float64, device=a.device)
    launch(_fill_iou, iou.numel(), a.double(), b.double(), solid, iou)
    return iou.to(a.dtype)


@cuda.jit
def _fill_iou(a: Any, b: Any, solid: Any, iou: Any, pairs: Any) -> None:
    pair = cuda.grid(1)
    if pair < pairs:
        i, j = pair // len(b), pair % len(b)
        polygon = cuda.local.array((VERTICES, 2), numba.float64)
        scratch = cuda.local.array((VERTICES, 2), numba.float64)
        common, size_a, size_b = _rectangle_intersection(a[i], b[j], polygon, scratch), _area(a[i]), _area(b[j])
        if solid:
            common = rounded_product(common, _common_height(a[i], b[j]))
            size_a, size_b = rounded_product(size_a, a[i, 3]), rounded_product(size_b, b[j, 3])
        iou[i, j] = _iou(common, size_a, size_b)


@cuda.jit(device=True)
def _area(box: Any) -> Any:
    return abs(rounded_product(box[4], box[5]))


@cuda.jit(device=True)
def _iou(common: Any, size_a: Any, size_b: Any) -> Any:
    return common / (size_a + size_b - common) if common > 0.0 else 0.0


def nms_best_first(boxes: Tensor, number: Tensor, threshold: float, rotated: bool, count: int) -> Tensor:
    """int64 (B, count), the boxes (B, N, 7) of each scene that stay; takes B N^2 / 8 bytes of GPU memory.

    See `ops.nms_best_first`.
    """
    scenes, most, _ = boxes.shape
    words = -(-most // _WORD)
    masks = torch.empty((scenes, most, words), dtype=torch.int64, device=boxes.device)
    launch(_mask_rotated if rotated else _mask_axis_aligned, masks.numel(), boxes.double(), number, threshold, masks)
    suppressed = torch.zeros((scenes, words), dtype=torch.int64, device=boxes.device)
    kept = torch.full((scenes, count), -1, device=boxes.device)
    launch_blocks(_keep, scenes, _KEEPING_THREADS, masks, number, suppressed, kept)
    return kept


@cuda.jit
def _mask_axis_aligned(boxes: Any, number: Any, threshold: Any, masks: Any, words: Any) -> None:
    """Bit j of row i of a scene: whether box i, if it stays, suppresses box j, which comes after it."""
    item = cuda.grid(1)
    if item < words:
        # Neighbouring threads compare neighbouring boxes with the same ones.
        i, rest = item % masks.shape[1], item // masks.shape[1]
        word, scene = rest % masks.shape[2], rest // masks.shape[2]
        of_scene = boxes[scene]
        mask = np.int64(0)
        for j in range(max(i + 1, _WORD * word), min(number[scene], _WORD * (word + 1))):
            common_x = _common_extent(
                0.5 * abs(of_scene[i, 5]), 0.5 * abs(of_scene[j, 5]), of_scene[j, 0] - of_scene[i, 0]
            )
            common_z = _common_extent(
                0.5 * abs(of_scene[i, 4]), 0.5 * abs(of_scene[j, 4]), of_scene[j, 2] - of_scene[i, 2]
            )
            if _iou(rounded_product(common_x, common_z), _area(of_scene[i]), _area(of_scene[j])) > threshold:
                mask |= np.int64(1) << np.int64(j - _WORD * word)
        masks[scene, i, word] = mask


@cuda.jit
def _mask_rotated(boxes: Any, number: Any, threshold: Any, masks: Any, words: Any) -> None:
    """Bit j of row i, as in `_mask_axis_aligned`, with the IoU of rotated boxes."""
    item = cuda.grid(1)
    if item < words:
        i, rest = item % masks.shape[1], item // masks.shape[1]
        word, scene = rest % masks.shape[2], rest // masks.shape[2]
        of_scene = boxes[scene]
        polygon = cuda.local.array((VERTICES, 2), numba.float64)
        scratch = cuda.local.array((VERTICES, 2), numba.float64)
        mask = np.int64(0)
        for j in range(max(i + 1, _WORD * word), min(number[scene], _WORD * (word + 1))):
            common = _rectangle_intersection(of_scene[i], of_scene[j], polygon, scratch)
            if _iou(common, _area(of_scene[i]), _area(of_scene[j])) > threshold:
                mask |= np.int64(1) << np.int64(j - _WORD * word)
        masks[scene, i, word] = mask


@cuda.jit
def _keep(masks: Any, number: Any, suppressed: Any, kept: Any) -> None:
    """One block goes through a scene's boxes, a word at a time; `suppressed` (B, words) is zeros at first.

    Each thread finds alone which of a word's boxes stay; then all mark those that these suppress in later words.
    """
    scene, thread = cuda.blockIdx.x, cuda.threadIdx.x
    own = cuda.shared.array(_WORD, numba.int64)
    count, word = 0, 0
    while _WORD * word < number[scene] and count < kept.shape[1]:
        first, boxes = _WORD * word, min(_WORD, number[scene] - _WORD * word)
        if thread < boxes:
            own[thread] = masks[scene, first + thread, word]
        cuda.syncthreads()
        gone, staying = suppressed[scene, word], np.int64(0)
        for bit in range(boxes):
            if (gone >> np.int64(bit)) & 1 == 0 and count < kept.shape[1]:
                if thread == 0:
                    kept[scene, count] = first + bit
                staying |= np.int64(1) << np.int64(bit)
                gone |= own[bit]
                count += 1
        for later in range(word + 1 + thread, suppressed.shape[1], cuda.blockDim.x):
            mask = suppressed[scene, later]
            for bit in range(boxes):
                if (staying >> np.int64(bit)) & 1:
                    mask |= masks[scene, first + bit, later]
            suppressed[scene, later] = mask
        cuda.syncthreads()
        word += 1


def points_in_boxes(points: Tensor, boxes: Tensor) -> Tensor:
    """int64 (B, N), the lowest number of a box that holds the point, -1 for none; see `ops.points_in_boxes`."""
    box_of = torch.empty(points.shape[:2], dtype=torch.int64, device=points.device)
    launch(_label, box_of.numel(), points, box_frames(boxes), box_of)
    return box_of


@cuda.jit
def _label(points: Any, frames: Any, box_of: Any, items: Any) -> None:
    item = cuda.grid(1)
    if item < items:
        scene, i = item // points.shape[1], item % points.shape[1]
        box_of[scene, i] = -1
        for m in range(frames.shape[1]):
            if _inside(points, scene, i, frames, m):
                box_of[scene, i] = m
                break


@cuda.jit(device=True)
def _inside(points: Any, scene: Any, i: Any, frames: Any, m: Any) -> Any:
    dx = points[scene, i, 0] - frames[scene, m, 0]
    dy = points[scene, i, 1] - frames[scene, m, 1]
    dz = points[scene, i, 2] - frames[scene, m, 2]
    cos, sin = frames[scene, m, 6], frames[scene, m, 7]
    along = rounded_product_float32(cos, dx) - rounded_product_float32(sin, dz)
    across = rounded_product_float32(sin, dx) + rounded_product_float32(cos, dz)
    level = dy <= 0 and dy >= -frames[scene, m, 3]
    return level and abs(along) <= frames[scene, m, 4] and abs(across) <= frames[scene, m, 5]


def roi_pool_points(points: Tensor, boxes: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Indices (B, M, count) of the first points in each box and how many differ (B, M); see `ops.roi_pool_points`."""
    scenes, regions, words = len(boxes), boxes.shape[1], -(-points.shape[1] // _WORD)
    masks = torch.empty((scenes, regions, words), dtype=torch.int64, device=points.device)
    launch(_mask_points, masks.numel(), points, box_frames(boxes), masks)
    index = torch.empty((scenes, regions, count), dtype=torch.int64, device=points.device)
    found = torch.empty((scenes, regions), dtype=torch.int64, device=points.device)
    launch_blocks(_collect, found.numel(), _COLLECTING_THREADS, masks, index, found)
    return index, found


@cuda.jit
def _mask_points(points: Any, frames: Any, masks: Any, words: Any) -> None:
    """Bit i of row m: whether box m holds point i."""
    item = cuda.grid(1)
    if item < words:
        # Neighbouring threads have the same points, and the next box.
        m, rest = item % masks.shape[1], item // masks.shape[1]
        word, scene = rest % masks.shape[2], rest // masks.shape[2]
        mask = np.int64(0)
        for i in range(_WORD * word, min(points.shape[1], _WORD * (word + 1))):
            if _inside(points, scene, i, frames, m):
                mask |= np.int64(1) << np.int64(i - _WORD * word)
        masks[scene, m, word] = mask


@cuda.jit
def _collect(masks: Any, index: Any, found: Any) -> None:
    """A block for each region, whose threads take words of its mask side by side."""
    scene, m = cuda.blockIdx.x // masks.shape[1], cuda.blockIdx.x % masks.shape[1]
    thread, threads, slots = cuda.threadIdx.x, cuda.blockDim.x, index.shape[2]
    of_word = cuda.shared.array(_COLLECTING_THREADS, numba.int64)
    filled = 0
    for first in range(0, masks.shape[2], threads):
        word = first + thread
        mask = masks[scene, m, word] if word < masks.shape[2] else np.int64(0)
        of_word[thread] = 0
        for bit in range(_WORD):
            of_word[thread] += (mask >> np.int64(bit)) & 1
        cuda.syncthreads()
        slot = filled
        for other in range(threads):
            slot += of_word[other] if other < thread else 0
            filled += of_word[other]
        if of_word[thread] > 0:
            for bit in range(_WORD):
                if (mask >> np.int64(bit)) & 1 and slot < slots:
                    index[scene, m, slot] = _WORD * word + bit
                    slot += 1
        cuda.syncthreads()
    filled = min(filled, slots)
    if thread == 0:
        found[scene, m] = filled
    for slot in range(filled + thread, slots, threads):
        index[scene, m, slot] = index[scene, m, slot % filled] if filled > 0 else 0
