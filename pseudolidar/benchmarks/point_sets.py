"""Sampling, neighbours and grouping against plain PyTorch and against the libraries that people would otherwise use."""

import importlib
import importlib.util
from collections.abc import Callable

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from pseudolidar.benchmarks.cloud import kitti_like_calibration, street_disparity
from pseudolidar.benchmarks.measure import benchmark_table, side_by_side
from pseudolidar.cloud import disparity_to_points
from pseudolidar.ops import ball_query, furthest_point_sample, group, segment_max, three_nearest
from pseudolidar.tables import Table, print_tables

# Of the heights 5 to 7 of its tree one of the two fastest here; its first point is not always the one asked for.
_FPSAMPLE_HEIGHT = 6
_NEIGHBOURS = 32
_PLAIN, _OURS = "plain PyTorch", "pseudolidar"


def main(points: int = 16384, samples: int = 4096, repetitions: int = 9) -> None:
    """Measure the operations on point sets on this machine and print the tables.

    Args:
        points: of the cloud; PointRCNN takes 16,384.
        samples: of its first set abstraction.
        repetitions: of each contender.
    """
    print_tables(point_set_tables(points, samples, repetitions))


def point_set_tables(points: int, samples: int, repetitions: int) -> list[Table]:
    """Sampling of one scene and of many small ones, balls of two radii, nearest points, rows gathered and summed."""
    cloud = street_points(points, seed=0)
    small = street_points(64 * 512, seed=1).view(64, 512, 3)
    centres = torch.gather(cloud, 1, furthest_point_sample(cloud, samples)[..., None].expand(-1, -1, 3))
    tables = [_sampling(cloud, samples, repetitions), _sampling(small, 128, repetitions)]
    tables += [_balls(cloud, centres, radius, repetitions) for radius in (0.1, 1.0)]
    return [*tables, _nearest(cloud, centres, repetitions), *_rows(cloud, centres, 32, repetitions)]


def street_points(count: int, seed: int) -> Tensor:
    """Float32 (1, N, 3): some points of a street's pseudo-LiDAR, m."""
    points = disparity_to_points(street_disparity(), kitti_like_calibration())
    chosen = np.random.default_rng(seed).choice(len(points), count, replace=False)
    return torch.from_numpy(np.ascontiguousarray(points[chosen, :3]))[None]


def plain_sample(points: Tensor, count: int) -> Tensor:
    """The loop as it is commonly written."""
    scenes, index = torch.arange(len(points)), torch.zeros(len(points), count, dtype=torch.int64)
    nearest = torch.full(points.shape[:2], torch.inf)
    for i in range(1, count):
        nearest = torch.minimum(nearest, (points - points[scenes, index[:, i - 1], None]).square().sum(dim=-1))
        index[:, i] = nearest.argmax(dim=1)
    return index


def plain_ball(points: Tensor, centres: Tensor, radius: float, count: int) -> Tensor:
    """All distances, and the lowest indices of those below the radius; the first fills up."""
    none = points.shape[1]
    hit = torch.where(torch.cdist(centres, points) < radius, torch.arange(none), none)
    first = hit.topk(count, largest=False).values
    return torch.where(first < none, first, first[..., :1])


def plain_nearest(points: Tensor, known: Tensor) -> Tensor:
    """All distances, and of each point the indices of the three smallest."""
    return torch.cdist(points, known).topk(3, largest=False).indices


def _sampling(points: Tensor, count: int, repetitions: int) -> Table:
    contenders: dict[str, Callable[[], object]] = {}
    if importlib.util.find_spec("fpsample") is not None:
        library, arrays = importlib.import_module("fpsample"), list(points.numpy())

        def by_library() -> None:
            for array in arrays:
                library.bucket_fps_kdline_sampling(array, count, h=_FPSAMPLE_HEIGHT, start_idx=0)

        contenders[f"fpsample, buckets, height {_FPSAMPLE_HEIGHT}"] = by_library
    contenders[_PLAIN] = lambda: plain_sample(points, count)
    contenders[_OURS] = lambda: furthest_point_sample(points, count)
    size = f"{len(points)} x {points.shape[1]} -> {count} points"
    return _table("Furthest point sampling", size, contenders, repetitions)


def _balls(points: Tensor, centres: Tensor, radius: float, repetitions: int) -> Table:
    def by_tree() -> object:
        return cKDTree(points[0].numpy()).query_ball_point(centres[0].numpy(), radius, return_sorted=True)

    contenders: dict[str, Callable[[], object]] = {
        "scipy, cKDTree": by_tree,
        _PLAIN: lambda: plain_ball(points, centres, radius, _NEIGHBOURS),
        _OURS: lambda: ball_query(points, centres, radius, _NEIGHBOURS),
    }
    size = f"{centres.shape[1]} centres in {points.shape[1]} points, {radius} m, {_NEIGHBOURS} neighbours"
    return _table("Ball query", size, contenders, repetitions)


def _nearest(points: Tensor, known: Tensor, repetitions: int) -> Table:
    threads = torch.get_num_threads()
    contenders: dict[str, Callable[[], object]] = {
        "scipy, cKDTree": lambda: cKDTree(known[0].numpy()).query(points[0].numpy(), k=3, workers=threads),
        _PLAIN: lambda: plain_nearest(points, known),
        _OURS: lambda: three_nearest(points, known),
    }
    size = f"{points.shape[1]} points, {known.shape[1]} known"
    return _table("Three nearest", size, contenders, repetitions)


def _rows(points: Tensor, centres: Tensor, channels: int, repetitions: int) -> list[Table]:
    index, _ = ball_query(points, centres, 1.0, _NEIGHBOURS)
    features = torch.randn((1, points.shape[1], channels), generator=torch.Generator().manual_seed(0))
    rows, flat = group(features, index), index.flatten()
    tracked = features.clone().requires_grad_()
    loose = rows.flatten(0, 2)
    starts = torch.arange(0, len(loose) + 1, _NEIGHBOURS)

    def ours_backward() -> object:
        return torch.autograd.grad(group(tracked, index), tracked, rows)

    def plain_backward() -> object:
        return torch.autograd.grad(tracked[:, flat], tracked, loose[None])

    size = f"{len(flat)} rows of {channels} from {points.shape[1]}"
    return [
        _table("Group", size, {_PLAIN: lambda: features[:, flat], _OURS: lambda: group(features, index)}, repetitions),
        _table("Group and its gradient", size, {_PLAIN: plain_backward, _OURS: ours_backward}, repetitions),
        _table(
            "Maximum of segments",
            f"{len(starts) - 1} segments of {_NEIGHBOURS} rows of {channels}",
            {
                _PLAIN: lambda: torch.segment_reduce(loose, "max", offsets=starts, axis=0),
                "PyTorch, all segments of one length": lambda: rows.max(dim=2),
                _OURS: lambda: segment_max(loose, starts),
            },
            repetitions,
        ),
    ]


def _table(title: str, size: str, contenders: dict[str, Callable[[], object]], repetitions: int) -> Table:
    return benchmark_table(title, size, torch.get_num_threads(), side_by_side(contenders, repetitions))
