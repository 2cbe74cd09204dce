"""Operations on point sets in plain PyTorch, on any device: what the kernels must equal, and their stand-in."""

from collections.abc import Iterator

import torch
from torch import Tensor

# Distances held at once by a search: 2^24 of float32 are 64 MiB.
_DISTANCES_AT_ONCE = 2**24


def furthest_point_sample(points: Tensor, count: int) -> Tensor:
    """Indices int64 (B, count); points float32 (B, N, 3)."""
    scenes = torch.arange(len(points), device=points.device)
    number = torch.arange(points.shape[1], device=points.device)
    # A point that is not finite is as good as taken.
    nearest = torch.where(points.isfinite().all(dim=-1), torch.inf, 0.0)
    index = torch.zeros((len(points), count), dtype=torch.int64, device=points.device)
    for i in range(1, count):
        distance = squared_distances(points, points[scenes, index[:, i - 1], None])
        # In this order a distance to a point with NaN changes nothing.
        nearest = torch.where(distance < nearest, distance, nearest)
        # Not every device's argmax names the first of equal ones.
        is_furthest = nearest == nearest.amax(dim=1, keepdim=True)
        index[:, i] = torch.where(is_furthest, number, len(number)).amin(dim=1)
    return index


def ball_query(points: Tensor, centres: Tensor, squared_radius: float, count: int) -> tuple[Tensor, Tensor]:
    """Indices int64 (B, M, count) and how many were found, int64 (B, M)."""
    number = torch.arange(points.shape[1], device=points.device)
    none = points.shape[1]
    index = torch.full((*centres.shape[:2], count), none, device=points.device)
    for part, distance in _in_parts(centres, points):
        hits = torch.where(distance < squared_radius, number, none)
        first = hits.topk(min(count, none), dim=-1, largest=False).values
        index[:, part, : first.shape[-1]] = first
    found = (index < none).sum(dim=-1)
    repeated = torch.where(found > 0, index[..., 0], 0)
    return torch.where(index < none, index, repeated[..., None]), found


def three_nearest(points: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Squared distances float32 (B, N, 3), ascending, and indices int64 (B, N, 3)."""
    squared = torch.full((*points.shape[:2], 3), torch.inf, device=points.device)
    index = torch.zeros((*points.shape[:2], 3), dtype=torch.int64, device=points.device)
    for part, distance in _in_parts(points, known):
        distance = torch.where(distance.isfinite(), distance, torch.inf)
        ascending = distance.sort(dim=-1, stable=True)
        nearest = ascending.values[..., :3]
        squared[:, part, : nearest.shape[-1]] = nearest
        index[:, part, : nearest.shape[-1]] = torch.where(nearest.isfinite(), ascending.indices[..., :3], 0)
    return squared, index


def group(features: Tensor, index: Tensor) -> Tensor:
    """Rows (B, K, C) of features (B, N, C); index int64 (B, K)."""
    return features[_scenes(index), index]


def group_backward(gradient: Tensor, index: Tensor, points: int) -> Tensor:
    """Gradient (B, N, C) of the features from that of their rows (B, K, C)."""
    summed = torch.zeros((len(index), points, gradient.shape[-1]), dtype=_wide(gradient), device=gradient.device)
    summed.index_put_((_scenes(index), index), gradient.to(summed.dtype), accumulate=True)
    return summed.to(gradient.dtype)


def interpolate(features: Tensor, index: Tensor, weight: Tensor) -> Tensor:
    """Weighted sums (B, N, C) of three rows of features (B, M, C) each; index and weight (B, N, 3)."""
    rows = features.to(_wide(features))[_scenes(index), index]
    weighted = rows * weight.to(rows.dtype)[..., None]
    return ((weighted[:, :, 0] + weighted[:, :, 1]) + weighted[:, :, 2]).to(features.dtype)


def interpolate_backward(gradient: Tensor, index: Tensor, weight: Tensor, points: int) -> Tensor:
    """Gradient (B, M, C) of the features from that of the sums (B, N, C)."""
    wide = gradient.to(_wide(gradient))
    of_rows = weight.to(wide.dtype)[..., None] * wide[:, :, None]
    return group_backward(of_rows.flatten(1, 2), index.flatten(1), points).to(gradient.dtype)


def interpolate_backward_weight(gradient: Tensor, features: Tensor, index: Tensor) -> Tensor:
    """Gradient (B, N, 3) of the weights from that of the sums (B, N, C)."""
    wide = gradient.to(_wide(gradient))
    return (features.to(wide.dtype)[_scenes(index), index] * wide[:, :, None]).sum(dim=-1)


def segment_max(rows: Tensor, starts: Tensor) -> tuple[Tensor, Tensor]:
    """Maxima (S, C) of the segments of rows (R, C), and the row int64 (S, C) of each first maximum, -1 for none."""
    shape = (len(starts) - 1, rows.shape[1])
    first_row, end_row = int(starts[0]), int(starts[-1])
    number = torch.arange(first_row, end_row, device=rows.device)[:, None].expand(-1, shape[1])
    rows = rows[first_row:end_row]
    segment = torch.repeat_interleave(starts.diff())[:, None].expand_as(number)
    largest = torch.full(shape, -torch.inf, dtype=rows.dtype, device=rows.device)
    largest.scatter_reduce_(0, segment, rows, "amax")
    none = end_row
    # NaN is the largest of all: it must reach the loss.
    is_largest = (rows == largest.gather(0, segment)) | rows.isnan()
    first = torch.full(shape, none, device=rows.device)
    first.scatter_reduce_(0, segment, torch.where(is_largest, number, none), "amin")
    return torch.where(first < none, largest, 0), torch.where(first < none, first, -1)


def segment_max_backward(gradient: Tensor, first: Tensor, rows: int) -> Tensor:
    """Gradient (R, C) of the rows from that of the maxima (S, C), and from the rows that they came from."""
    # One more row for the segments that are empty.
    summed = torch.zeros((rows + 1, gradient.shape[1]), dtype=gradient.dtype, device=gradient.device)
    return summed.scatter_(0, torch.where(first < 0, rows, first), gradient)[:rows]


def squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """Squared distances (...) of a (..., 3) to b (..., 3), broadcast; all backends keep this order of operations."""
    dx, dy, dz = (a - b).unbind(dim=-1)
    return (dx * dx + dy * dy) + dz * dz


def _in_parts(queries: Tensor, points: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Some of the queries (B, Q, 3) at a time, and their squared distances (B, part, N) to the points (B, N, 3)."""
    at_once = max(1, _DISTANCES_AT_ONCE // max(1, points.shape[0] * points.shape[1]))
    for first in range(0, queries.shape[1], at_once):
        part = slice(first, first + at_once)
        yield part, squared_distances(queries[:, part, None], points[:, None])


def _scenes(index: Tensor) -> Tensor:
    """The scene's number for each entry of an index (B, ...), to be broadcast."""
    return torch.arange(len(index), device=index.device).view(-1, *[1] * (index.ndim - 1))


def _wide(values: Tensor) -> torch.dtype:
    """The type of sums: at least float32."""
    return torch.promote_types(values.dtype, torch.float32)
