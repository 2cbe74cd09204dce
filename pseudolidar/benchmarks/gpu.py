"""The operations and networks on an NVIDIA GPU: against plain PyTorch there, and against what the card allows."""

import copy
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib import import_module

import torch
import torchvision
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from pseudolidar.benchmarks.cloud import HEIGHT, WIDTH, kitti_like_calibration, street_disparity
from pseudolidar.benchmarks.gpu_measure import Limits, copy_rate, gpu_table, kernel_table, product_rate
from pseudolidar.benchmarks.gpu_stereo import stereo_tables
from pseudolidar.benchmarks.point_sets import street_points
from pseudolidar.benchmarks.pointrcnn import published_arithmetic
from pseudolidar.cloud import LIDAR_GRID, disparity_to_points
from pseudolidar.cloud import reference as plain_clouds
from pseudolidar.cloud.grid import grid_cells
from pseudolidar.detectors.pointnet2 import fold_batch_norm
from pseudolidar.detectors.pointrcnn import PointRCNN
from pseudolidar.files import InputError
from pseudolidar.kernels.cuda import cuda_kernels_run
from pseudolidar.kernels.graphs import RecordedKernels
from pseudolidar.ops import (
    ball_query,
    bev_iou,
    boxes_reference,
    furthest_point_sample,
    group,
    nms,
    point_sets_reference,
    points_in_boxes,
    roi_pool_points,
    segment_max,
    three_nearest,
)
from pseudolidar.stereo import lidar_disparity
from pseudolidar.stereo.lidar_projection import lidar_projection
from pseudolidar.stereo.targets import by_torch
from pseudolidar.tables import Table, print_tables

POINTS, CENTRES, NEIGHBOURS = 16_384, 4_096, 32
PROPOSALS, ROIS, ROI_POINTS = 9_000, 100, 512

_PLAIN, _OURS = "plain PyTorch", "pseudolidar"
_PARTS = ("point_sets", "boxes", "clouds", "pointrcnn", "stereo")


def main(
    repetitions: int = 20, parts: Sequence[str] = _PARTS, weights: str | None = None, align_corners: bool | None = None
) -> None:
    """Measure the kernels on this machine's GPU and print the tables.

    Args:
        repetitions: timed calls of each contender; of a training step a quarter of them.
        parts: point_sets, boxes, clouds, pointrcnn, stereo: all of them, or some.
        weights, align_corners: of PSMNet, as in `benchmarks.psmnet`.

    Raises:
        InputError: no GPU, or no such part.
    """
    if not torch.cuda.is_available():
        raise InputError("device: found no NVIDIA GPU, expected one that PyTorch sees")
    if unknown := [part for part in parts if part not in _PARTS]:
        raise InputError(f"parts: found {unknown[0]!r}, expected some of {', '.join(_PARTS)}")
    limits = Limits(copy_rate(), product_rate(torch.float32))
    tables: dict[str, Callable[[], Iterator[Table]]] = {
        "point_sets": lambda: point_set_tables(limits, repetitions),
        "boxes": lambda: box_tables(limits, repetitions),
        "clouds": lambda: cloud_tables(limits, repetitions),
        "pointrcnn": lambda: pointrcnn_tables(limits, repetitions),
        "stereo": lambda: stereo_tables(repetitions, weights, align_corners),
    }
    for part in parts:
        for table in tables[part]():
            print_tables([table])


def point_set_tables(limits: Limits, repetitions: int) -> Iterator[Table]:
    """Sampling, searches and rows, at the sizes of PointRCNN."""
    random, reference, table = torch.Generator().manual_seed(0), point_sets_reference, partial(gpu_table, repetitions)
    cloud = street_points(POINTS, seed=0).cuda()
    small = street_points(64 * 512, seed=1).view(64, 512, 3).cuda()
    centres = group(cloud, furthest_point_sample(cloud, CENTRES))
    index, _ = ball_query(cloud, centres, 1.0, NEIGHBOURS)
    features = torch.randn((1, POINTS, 128), generator=random).cuda().requires_grad_()
    still, flat = features.detach(), index.flatten(1)
    rows = group(still, flat)
    starts = torch.arange(0, flat.numel() + 1, NEIGHBOURS, device="cuda")

    def with_gradient(gathered: Callable[[], Tensor]) -> object:
        return torch.autograd.grad(gathered(), features, rows)

    for points, count in ((cloud, CENTRES), (small, 128)):
        scenes, number, _ = points.shape
        yield table(
            f"Furthest point sampling: {scenes} x {number} -> {count} points",
            f"{limits.pairs(scenes * number * count)}; {_sampled_alike(points, count)}",
            _samplings(points, count),
        )
    for radius in (0.1, 1.0):
        yield table(
            f"Ball query: {CENTRES} centres in {POINTS} points, {radius} m, {NEIGHBOURS} neighbours",
            limits.pairs(POINTS * CENTRES),
            {
                _PLAIN: partial(reference.ball_query, cloud, centres, radius**2, NEIGHBOURS),
                _OURS: partial(ball_query, cloud, centres, radius, NEIGHBOURS),
            },
        )
    yield table(
        f"Three nearest: {POINTS} points, {CENTRES} known",
        limits.pairs(POINTS * CENTRES),
        {_PLAIN: lambda: reference.three_nearest(cloud, centres), _OURS: lambda: three_nearest(cloud, centres)},
    )
    yield table(
        f"Group: {flat.numel()} rows of 128 from {POINTS}",
        limits.moved(rows, still, flat),
        {_PLAIN: lambda: reference.group(still, flat), _OURS: lambda: group(still, index)},
    )
    yield table(
        f"Group and its gradient: {flat.numel()} rows of 128 from {POINTS}",
        limits.moved(rows, still, flat, rows, still, flat),
        {
            _PLAIN: lambda: with_gradient(lambda: features[:, flat[0]]),
            _OURS: lambda: with_gradient(lambda: group(features, flat)),
        },
    )
    yield table(
        f"Maximum of segments: {len(starts) - 1} of {NEIGHBOURS} rows of 128",
        limits.moved(rows),
        {
            _PLAIN: lambda: torch.segment_reduce(rows[0], "max", offsets=starts, axis=0),
            "all segments of one length": lambda: rows.view(-1, NEIGHBOURS, 128).max(dim=1),
            _OURS: lambda: segment_max(rows[0], starts),
        },
    )


def _samplings(points: Tensor, count: int) -> dict[str, Callable[[], object]]:
    contenders: dict[str, Callable[[], object]] = {
        _PLAIN: lambda: point_sets_reference.furthest_point_sample(points, count),
        _OURS: lambda: furthest_point_sample(points, count),
        "the processor, and copies": lambda: furthest_point_sample(points.cpu(), count).cuda(),
    }
    if cuda_kernels_run():
        sample = import_module("pseudolidar.ops.sampling_cuda").sample
        contenders |= {f"pseudolidar, {warps} warps": partial(sample, points, count, warps) for warps in (4, 8, 16, 32)}
    return contenders


def _sampled_alike(points: Tensor, count: int) -> str:
    same = torch.equal(furthest_point_sample(points, count).cpu(), furthest_point_sample(points.cpu(), count))
    return f"indices {'equal to' if same else 'DIFFERENT from'} the processor's"


def box_tables(limits: Limits, repetitions: int) -> Iterator[Table]:
    """Suppression, IoU, points in boxes, at the sizes of PointRCNN."""
    random, table = torch.Generator().manual_seed(0), partial(gpu_table, repetitions)
    cloud = street_points(POINTS, seed=0).cuda()
    boxes = street_boxes(PROPOSALS, random)
    scores, corners = torch.rand(PROPOSALS, generator=random).cuda(), _corners(boxes)
    rois = boxes[:ROIS][None]
    masks = torch.empty(PROPOSALS * PROPOSALS // 8, dtype=torch.uint8, device="cuda")
    yield table(
        f"Non-maximum suppression, axis-aligned: {PROPOSALS} boxes, IoU 0.8",
        limits.moved(boxes, masks),
        {
            "torchvision": lambda: torchvision.ops.nms(corners, scores, 0.8),
            _OURS: lambda: nms(boxes, scores, 0.8, False),
            "pseudolidar, rotated": lambda: nms(boxes, scores, 0.8, True),
        },
    )
    yield table(
        "Rotated IoU in bird's eye view: 512 x 512 boxes",
        limits.moved(boxes[:1024], torch.empty(512, 512)),
        {
            _PLAIN: lambda: boxes_reference.bev_iou(boxes[:512], boxes[512:1024]),
            _OURS: lambda: bev_iou(boxes[:512], boxes[512:1024]),
        },
    )
    yield table(
        f"Points in boxes: {POINTS} points, {ROIS} boxes",
        limits.moved(cloud, rois, torch.empty(POINTS, dtype=torch.int64)),
        {_PLAIN: lambda: boxes_reference.points_in_boxes(cloud, rois), _OURS: lambda: points_in_boxes(cloud, rois)},
    )
    yield table(
        f"RoI pooling: {ROI_POINTS} of {POINTS} points in each of {ROIS} boxes",
        limits.moved(cloud, rois, torch.empty(ROIS * ROI_POINTS, dtype=torch.int64)),
        {
            _PLAIN: lambda: boxes_reference.roi_pool_points(cloud, rois, ROI_POINTS),
            _OURS: lambda: roi_pool_points(cloud, rois, ROI_POINTS),
        },
    )


def cloud_tables(limits: Limits, repetitions: int) -> Iterator[Table]:
    """Clouds and LiDAR disparity, at the size of KITTI's images."""
    table = partial(gpu_table, repetitions)
    calibration, size = kitti_like_calibration(), (HEIGHT, WIDTH)
    disparity = torch.from_numpy(street_disparity()).cuda()
    projection, cells = (
        plain_clouds.make_projection(calibration, size, 1.0, None, None, None, 1.0),
        grid_cells(LIDAR_GRID),
    )
    dense = disparity_to_points(disparity, calibration, 1.0)
    sparse = disparity_to_points(disparity, calibration, 1.0, grid=LIDAR_GRID)
    sweep, to_image = dense[::4].contiguous(), lidar_projection(calibration, size)
    yield table(
        f"Dense cloud: {HEIGHT} x {WIDTH} px, {len(dense)} points",
        limits.moved(disparity, dense),
        {
            _PLAIN: lambda: plain_clouds.dense_points(disparity, projection),
            _OURS: lambda: disparity_to_points(disparity, calibration, 1.0),
        },
    )
    yield table(
        f"Sparse cloud: {HEIGHT} x {WIDTH} px, {len(sparse)} points",
        limits.moved(disparity, sparse),
        {
            _PLAIN: lambda: plain_clouds.sparse_points(disparity, projection, cells),
            _OURS: lambda: disparity_to_points(disparity, calibration, 1.0, grid=LIDAR_GRID),
        },
    )
    yield table(
        f"LiDAR to disparity: {len(sweep)} points, {HEIGHT} x {WIDTH} px",
        limits.moved(sweep, disparity),
        {
            _PLAIN: lambda: by_torch(sweep, to_image, "nearest"),
            _OURS: lambda: lidar_disparity(sweep, calibration, size),
        },
    )


def pointrcnn_tables(limits: Limits, repetitions: int) -> Iterator[Table]:
    """PointRCNN on a scene; random weights."""
    torch.manual_seed(0)
    published = PointRCNN().eval().cuda()
    model = copy.deepcopy(published)
    fold_batch_norm(model)
    x, y, z = street_points(POINTS, seed=0).cuda().unbind(dim=2)
    scene = torch.stack([-y, -z, x], dim=2)

    def by(network: Callable[[Tensor], object]) -> object:
        with torch.inference_mode():
            return network(scene)

    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        model(scene)
    limit_s = counter.get_total_flops() / limits.rate
    recorded, on_host = RecordedKernels(lambda cloud: model.both_stages(cloud).boxes), scene.cpu()
    contenders = {
        "layers as published": lambda: by(lambda cloud: published_arithmetic(published, cloud)),
        _OURS: lambda: by(model),
        "pseudolidar, recorded; copies too": lambda: by(lambda cloud: recorded(on_host, cloud.device)),
        "pseudolidar, RPN alone": lambda: by(model.rpn),
    }
    note = f"limit {limit_s * 1e3:.2f} ms: our operations at the rate of a float32 matrix product"
    yield gpu_table(repetitions, f"PointRCNN, one frame: {POINTS} points", note, contenders)
    yield kernel_table("PointRCNN, one frame: the kernels that take longest", contenders[_OURS])


def street_boxes(count: int, random: torch.Generator) -> Tensor:
    """Float32 (count, 7) on the GPU: cars on a street, several for each place, as an RPN proposes them."""
    low = torch.tensor((-30.0, 1.5, 2.0, 1.4, 1.5, 3.5, -3.0))
    size = torch.tensor((60.0, 0.4, 70.0, 0.3, 0.3, 0.8, 6.0))
    places = low + size * torch.rand((count // 10 + 1, 7), generator=random)
    boxes = places.repeat_interleave(10, dim=0)[:count]
    return (boxes + 0.1 * torch.randn((count, 7), generator=random)).cuda()


def _corners(boxes: Tensor) -> Tensor:
    """What torchvision takes: x1 y1 x2 y2 on the ground, (N, 4)."""
    x, _, z, _, width, length, _ = boxes.unbind(dim=1)
    return torch.stack([x - length / 2, z - width / 2, x + length / 2, z + width / 2], dim=1)
