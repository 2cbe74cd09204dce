"""The operations and networks on an NVIDIA GPU: against plain PyTorch there, and against what the card allows."""

import copy
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module

import torch
import torchvision
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from pseudolidar.benchmarks.cloud import HEIGHT, WIDTH, kitti_like_calibration, street_disparity
from pseudolidar.benchmarks.gpu_measure import Limits, copy_rate, gpu_table, kernel_table, product_rate
from pseudolidar.benchmarks.point_sets import street_points
from pseudolidar.benchmarks.pointrcnn import published_arithmetic
from pseudolidar.benchmarks.psmnet import PlainPSMNet
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
from pseudolidar.stereo import FrozenPSMNet, PSMNet, lidar_disparity
from pseudolidar.stereo.lidar_projection import lidar_projection
from pseudolidar.stereo.psmnet import channels_last
from pseudolidar.stereo.targets import by_torch
from pseudolidar.stereo.train import disparity_loss
from pseudolidar.tables import Table, print_tables

POINTS, CENTRES, NEIGHBOURS = 16_384, 4_096, 32
PROPOSALS, ROIS, ROI_POINTS = 9_000, 100, 512
STEREO_HEIGHT, STEREO_WIDTH = 384, 1248
CROP = (256, 512)

_PLAIN, _OURS = "plain PyTorch", "pseudolidar"
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def main(repetitions: int = 20, networks: bool = True) -> None:
    """Measure the kernels on this machine's GPU and print the tables.

    Args:
        repetitions: timed calls of each contender; of a training step a quarter of them.
        networks: those too, which take a minute.

    Raises:
        InputError: no GPU.
    """
    if not torch.cuda.is_available():
        raise InputError("device: found no NVIDIA GPU, expected one that PyTorch sees")
    limits = Limits(copy_rate(), product_rate(torch.float32))
    parts = [point_set_tables, box_tables, cloud_tables]
    for part in [*parts, network_tables] if networks else parts:
        for table in part(limits, repetitions):
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


def network_tables(limits: Limits, repetitions: int) -> Iterator[Table]:
    """PointRCNN on a scene, PSMNet on a pair of KITTI's size and in training; random weights."""
    torch.manual_seed(0)
    yield from _pointrcnn(limits, repetitions)
    yield _stereo_inference(repetitions)
    for batch in (4, 12):
        yield _stereo_training(batch, max(1, repetitions // 4))


def _stereo_inference(repetitions: int) -> Table:
    model = PSMNet().eval().cuda()
    plain = PlainPSMNet(model).cuda()
    pair = torch.randn(2, 1, 3, STEREO_HEIGHT, STEREO_WIDTH, device="cuda")
    contenders: dict[str, Callable[[], object]] = {}

    def as_published(dtype: torch.dtype) -> object:
        # The published code makes some tensors without naming a device.
        with torch.inference_mode(), torch.device("cuda"), torch.autocast("cuda", dtype, dtype != torch.float32):
            return plain(*pair)

    def by(network: torch.nn.Module) -> object:
        with torch.inference_mode():
            return network(*pair)

    for name, dtype in _DTYPES.items():
        contenders[f"{_PLAIN}, {name}"] = partial(as_published, dtype)
    for name, dtype in _DTYPES.items():
        contenders[f"FrozenPSMNet, {name}"] = partial(by, FrozenPSMNet(model, dtype))
    with FlopCounterMode(display=False) as counter:
        by(FrozenPSMNet(model))
    operations = counter.get_total_flops()
    limits = ", ".join(f"{operations / product_rate(dtype) * 1e3:.2f} ms in {name}" for name, dtype in _DTYPES.items())
    return gpu_table(
        repetitions,
        f"PSMNet, one pair: {STEREO_HEIGHT} x {STEREO_WIDTH} px, max_disparity 192",
        f"limit: our {operations / 1e9:.0f}e9 operations at the rate of a large matrix product: {limits} "
        "(float32 without TF32, which PyTorch's convolutions take)",
        contenders,
    )


def _stereo_training(batch: int, repetitions: int) -> Table:
    model = PSMNet().train().cuda()
    channels_last(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    pair = torch.randn(2, batch, 3, *CROP, device="cuda")
    target = torch.rand(batch, *CROP, device="cuda") * 100 + 1
    constant = target.new_ones(batch)

    def step(bfloat16: bool, checkpointing: bool) -> None:
        model.checkpointing = checkpointing
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cuda", torch.bfloat16, enabled=bfloat16):
            losses = [disparity_loss(output, target, "disparity", constant) for output in model(*pair)]
        torch.stack(losses).sum().backward()
        optimizer.step()

    return gpu_table(
        repetitions,
        f"PSMNet, training step: {batch} crops of {CROP[0]} x {CROP[1]} px, max_disparity 192",
        "float32: convolutions in TF32, as PyTorch takes them",
        {
            "float32": partial(step, False, False),
            "bfloat16": partial(step, True, False),
            "bfloat16, checkpointing": partial(step, True, True),
        },
    )


def _pointrcnn(limits: Limits, repetitions: int) -> Iterator[Table]:
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
