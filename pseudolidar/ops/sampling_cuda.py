"""Furthest point sampling on an NVIDIA GPU: points in small boxes, most of which a sample skips whole.

As on the processor (`searches_cpu`), but the boxes are smaller, and one block tests all of them at once.
"""

import functools
import math
import warnings
from typing import Any

import numba
import torch
from numba import cuda
from torch import Tensor
from torch.nn.functional import pad

from pseudolidar.kernels.cuda import float32_bits, launch_blocks
from pseudolidar.kernels.warps import LANES, lowest_bit, wait_for_warp, warp_ballot, warp_max
from pseudolidar.ops import searches_cpu
from pseudolidar.ops.point_sets_cuda import squared

# Of the block that samples a scene, unless there are too few points: fewer warps have more points to go through, more
# of them more to compare.
_WARPS = 16
# Of the most warps that a block may have: their lanes, and twice their number.
_MOST_WARPS = 32
_BOXES = 1024
_PLACES = 64
_MORTON_BITS = 10


def furthest_point_sample(points: Tensor, count: int) -> Tensor:
    """Indices int64 (B, count); points float32 (B, N, 3). A block of threads per scene."""
    if not numba.config.ENABLE_CUDASIM and not _samples_as_the_processor():
        return searches_cpu.furthest_point_sample(points.cpu(), count).to(points.device)
    return sample(points, count)


@functools.cache
def _samples_as_the_processor() -> bool:
    """Whether this GPU's warps do what the kernel expects of them: tried once, on points with ties; warns if not."""
    points = torch.rand((2, 20_000, 3), generator=torch.Generator().manual_seed(0))
    points[1] = (8 * points[1]).round()
    if torch.equal(sample(points.cuda(), 99).cpu(), searches_cpu.furthest_point_sample(points, 99)):
        return True
    warnings.warn("Furthest points are sampled on the processor: the GPU's kernel chose others", stacklevel=2)
    return False


def sample(points: Tensor, count: int, most_warps: int = _WARPS) -> Tensor:
    """`furthest_point_sample` by the kernel, with 1 to 32 warps at most for a scene."""
    scenes, number, _ = points.shape
    warps = min(most_warps, -(-number // LANES))
    # Each lane of the block has a box, whose points its warp goes through together, several for each lane if need be.
    rounds = -(-number // (warps * LANES * LANES))
    boxes = -(-number // (rounds * LANES))
    finite = points.isfinite().all(dim=-1)
    # Neighbours in space share a box, unless each warp has but one, which it may as well go through.
    order = _along_a_curve(points, finite) if boxes > warps else torch.arange(number, device=points.device)
    order = order.expand(scenes, -1)
    spare = boxes * rounds * LANES - number
    # A point that is not finite, or fills up, is as good as taken.
    nearest = pad(torch.where(finite.gather(1, order), torch.inf, 0.0), (0, spare))
    after = pad((number - 1 - order).to(torch.int32), (0, spare))
    ordered = pad(points.take_along_dim(order[..., None], dim=1).transpose(1, 2), (0, spare))
    index = torch.zeros((scenes, count), dtype=torch.int64, device=points.device)
    launch_blocks(
        _sample, scenes, warps * LANES, points, ordered.contiguous(), nearest.contiguous(), after.contiguous(), rounds,
        index,
    )  # fmt: skip
    return index


def _along_a_curve(points: Tensor, finite: Tensor) -> Tensor:
    """Order int64 (B, N) of the points along Morton's curve through each scene, with points that aren't finite
    anywhere.
    """
    still = torch.where(finite[..., None], points, 0).double()
    low, high = still.aminmax(dim=1, keepdim=True)
    # One scale for all axes: boxes as round as can be.
    scale = (2**_MORTON_BITS - 1) / (high - low).amax(dim=2, keepdim=True).clamp(min=1e-30)
    cell = ((still - low) * scale).to(torch.int64)
    # Two zeros between any two bits.
    for shift, mask in ((16, 0x030000FF), (8, 0x0300F00F), (4, 0x030C30C3), (2, 0x09249249)):
        cell = (cell | (cell << shift)) & mask
    code: Tensor = cell[..., 0] | (cell[..., 1] << 1) | (cell[..., 2] << 2)
    return code.argsort(dim=1)


@cuda.jit(device=True)
def _beyond(low: Any, high: Any, value: Any) -> Any:
    """How far a value is from an interval, rounded as a difference from one of its points is."""
    return max(max(low - value, value - high), numba.float32(0))


@cuda.jit
def _sample(points: Any, ordered: Any, nearest: Any, after: Any, rounds: Any, index: Any) -> None:
    """Points rank by their squared distance to the nearest sample, and among equal ones by how many come after.

    Distances are compared by their bits, as int32. Box b is that of lane b // W of warp b % W, of W warps: a street's
    next boxes keep several warps busy. Their points lie one after the other in `ordered` (B, 3, K), `nearest` (B, K)
    and `after` (B, K). A lane knows its box's corners and the rank of its furthest point; that point's coordinates are
    in `box_x` to `box_z`.
    """
    scene, thread, warps = cuda.blockIdx.x, cuda.threadIdx.x, cuda.blockDim.x // LANES
    warp, lane = thread // LANES, thread % LANES
    xs, ys, zs = ordered[scene, 0], ordered[scene, 1], ordered[scene, 2]
    nearest_of_scene, after_of_scene = nearest[scene], after[scene]
    box_x = cuda.shared.array(_BOXES, numba.float32)
    box_y = cuda.shared.array(_BOXES, numba.float32)
    box_z = cuda.shared.array(_BOXES, numba.float32)
    # The warps' furthest points, of this sample and, since a slow warp may still read them, of the one before.
    warp_bits = cuda.shared.array(_PLACES, numba.int32)
    warp_after = cuda.shared.array(_PLACES, numba.int32)
    warp_x = cuda.shared.array(_PLACES, numba.float32)
    warp_y = cuda.shared.array(_PLACES, numba.float32)
    warp_z = cuda.shared.array(_PLACES, numba.float32)

    own = lane * warps + warp
    has_box = own * rounds * LANES < xs.shape[0]
    low_x = low_y = low_z = numba.float32(math.inf)
    high_x = high_y = high_z = numba.float32(-math.inf)
    if has_box:
        for k in range(own * rounds * LANES, (own + 1) * rounds * LANES):
            # Unsigned: a signed index may count from an array's end.
            i = numba.uint64(k)
            if nearest_of_scene[i] > 0:
                low_x, low_y, low_z = min(low_x, xs[i]), min(low_y, ys[i]), min(low_z, zs[i])
                high_x, high_y, high_z = max(high_x, xs[i]), max(high_y, ys[i]), max(high_z, zs[i])
    # Before the first of them changes.
    wait_for_warp()

    own_bits, own_after = numba.int32(0), numba.int32(-1)
    x, y, z = points[scene, 0, 0], points[scene, 0, 1], points[scene, 0, 2]
    for s in range(1, index.shape[1]):
        # Rounding keeps order: to the last bit no point of the box is nearer.
        least = squared(_beyond(low_x, high_x, x), _beyond(low_y, high_y, y), _beyond(low_z, high_z, z))
        waiting = warp_ballot(has_box and (s == 1 or float32_bits(least) < own_bits))
        while waiting != 0:
            owner = lowest_bit(waiting)
            waiting = waiting & (waiting - 1)
            box = owner * warps + warp
            far_bits, far_after = numba.int32(0), numba.int32(-1)
            far_x = far_y = far_z = numba.float32(0)
            for r in range(rounds):
                i = numba.uint64((box * rounds + r) * LANES + lane)
                point_x, point_y, point_z, before = xs[i], ys[i], zs[i], nearest_of_scene[i]
                distance, point_after = squared(point_x - x, point_y - y, point_z - z), after_of_scene[i]
                # In this order a distance that is NaN changes nothing.
                before = distance if distance < before else before
                nearest_of_scene[i] = before
                bits = float32_bits(before)
                if bits > far_bits or (bits == far_bits and point_after > far_after):
                    far_bits, far_after = bits, point_after
                    far_x, far_y, far_z = point_x, point_y, point_z
            top_bits = warp_max(far_bits)
            top_after = warp_max(far_after if far_bits == top_bits else numba.int32(-1))
            if far_bits == top_bits and far_after == top_after:
                box_x[box], box_y[box], box_z[box] = far_x, far_y, far_z
            if lane == owner:
                own_bits, own_after = top_bits, top_after
        wait_for_warp()
        top_bits = warp_max(own_bits)
        top_after = warp_max(own_after if own_bits == top_bits else numba.int32(-1))
        first = s % 2 * _MOST_WARPS
        if own_bits == top_bits and own_after == top_after:
            warp_bits[first + warp], warp_after[first + warp] = top_bits, top_after
            warp_x[first + warp], warp_y[first + warp], warp_z[first + warp] = box_x[own], box_y[own], box_z[own]
        cuda.syncthreads()
        far_bits, far_after, far_warp = numba.int32(0), numba.int32(-1), numba.int32(-1)
        for other in range(lane, warps, LANES):
            bits, point_after = warp_bits[first + other], warp_after[first + other]
            if bits > far_bits or (bits == far_bits and point_after > far_after):
                far_bits, far_after, far_warp = bits, point_after, numba.int32(other)
        top_bits = warp_max(far_bits)
        if top_bits == 0:
            # All are taken; the rest is index 0.
            break
        top_after = warp_max(far_after if far_bits == top_bits else numba.int32(-1))
        furthest = warp_max(far_warp if far_bits == top_bits and far_after == top_after else numba.int32(-1))
        x, y, z = warp_x[first + furthest], warp_y[first + furthest], warp_z[first + furthest]
        if thread == 0:
            index[scene, s] = points.shape[1] - 1 - top_after
