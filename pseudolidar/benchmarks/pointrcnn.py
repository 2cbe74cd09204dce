"""PointRCNN on one scene of the published size, computed as the published code does and as we do; shares of the ops."""

import copy
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from pseudolidar.benchmarks.measure import Measured, benchmark_table, side_by_side
from pseudolidar.benchmarks.point_sets import street_points
from pseudolidar.detectors.pointnet2 import (
    FeaturePropagation,
    SetAbstraction,
    SharedLayer,
    SharedMLP,
    fold_batch_norm,
)  # fmt: skip
from pseudolidar.detectors.pointrcnn import PointRCNN, PointRCNNDetector
from pseudolidar.detectors.pointrcnn.rcnn import RCNNHead
from pseudolidar.detectors.pointrcnn.rpn import Backbone, RPNOutput, propose
from pseudolidar.files import InputError
from pseudolidar.kitti import Calibration, read_points
from pseudolidar.ops import ball_query, furthest_point_sample, group, interpolate, three_nearest
from pseudolidar.tables import Row, Table, print_tables

_GROUPS = {
    "furthest_point_sample": "furthest point sampling",
    "ball_query": "ball query",
    "three_nearest": "three nearest",
    "interpolate": "interpolation",
    "segment_max": "maximum over neighbours",
    "roi_pool_points": "RoI pooling",
    "nms": "suppression",
    "aten::mm": "matrix products",
    "aten::addmm": "matrix products",
    "aten::index_select": "gathering rows",
    "aten::copy_": "copies",
}
_OTHERS = "all else"


def main(
    points: int = 16384,
    weights: str | None = None,
    sweep: str | None = None,
    calib: str | None = None,
    repetitions: int = 5,
) -> None:
    """Print time and memory per frame, what each op takes of it, and how far the results are apart.

    Args:
        points: of the scene.
        weights: a checkpoint that `load_detector` reads; None: random ones of the published car model.
        sweep, calib: a LiDAR sweep (.bin) and its calibration file; None: a street of simple shapes.
        repetitions: timed calls of each.
    """
    print_tables(pointrcnn_tables(points, weights, sweep, calib, repetitions))


def pointrcnn_tables(
    points: int, weights: str | None, sweep: str | None, calib: str | None, repetitions: int
) -> list[Table]:
    """One table of whole frames, one of the ops' shares."""
    published = _random_model() if weights is None else PointRCNNDetector.from_checkpoint(Path(weights)).model
    model = copy.deepcopy(published)
    fold_batch_norm(model)
    scene = _scene(points, sweep, calib)
    found: dict[str, Tensor] = {}

    def contender(name: str, network: Callable[[Tensor], tuple[Tensor, Tensor]]) -> None:
        with torch.inference_mode():
            rois, rcnn_reg = network(scene)
            found[name] = torch.cat([rois.flatten(), rcnn_reg.flatten()])

    def ours(cloud: Tensor) -> tuple[Tensor, Tensor]:
        output = model(cloud)
        return output.rois, output.rcnn_reg

    rows = side_by_side(
        {
            "layers as published": lambda: contender("published", lambda cloud: published_arithmetic(published, cloud)),
            "PointRCNN": lambda: contender("ours", ours),
        },
        repetitions,
    )
    difference = float((found["published"] - found["ours"]).abs().max())
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        model(scene)
    rate = _product_rate()
    limit = counter.get_total_flops() / 2 / rate
    notes = (
        "layers as published: convolutions on every neighbour, repetitions too, with our operations; "
        f"RoIs and refinements differ by at most {difference:.1e}.",
        f"Limit: {counter.get_total_flops() / 2e9:.1f}e9 multiplications at {rate / 1e9:.0f}e9 a second, "
        f"the rate of one large matrix product here: {limit:.2f} s.",
    )
    size = f"{points:,} points, {'random weights' if weights is None else Path(weights).name}"
    frame = benchmark_table("PointRCNN, one frame", size, torch.get_num_threads(), rows, notes)
    return [frame, _shares(model, scene, rows[-1])]


def published_arithmetic(model: PointRCNN, points: Tensor) -> tuple[Tensor, Tensor]:
    """RoIs (B, R, 7) and refinements (R, C) of a network in evaluation, layer by layer as the published code has it.

    Neighbours are filled up to the full number and convolved as images of (channels, centres, neighbours); batch norm
    follows each convolution.
    """
    features = _backbone(model.rpn.backbone_net, points)
    heads = [head[2](head[0](features)) for head in (model.rpn.rpn_cls_layer, model.rpn.rpn_reg_layer)]
    rpn = RPNOutput(features, heads[0], heads[1])
    rois = propose(model.boxes_of_points(points, rpn), rpn.rpn_cls[..., 0], model.proposals)
    network: RCNNHead = model.rcnn_net
    local, pooled, _ = (part.flatten(0, 1) for part in network.pool(points, rpn, rois))
    raised = _convolved(network.xyz_up_layer, local.permute(0, 2, 1)[..., None])
    merged = _convolved(network.merge_down_layer, torch.cat([raised, pooled.permute(0, 2, 1)[..., None]], dim=1))
    coordinates, carried = local[..., :3].contiguous(), merged[..., 0].permute(0, 2, 1).contiguous()
    for abstraction in network.SA_modules:
        assert isinstance(abstraction, SetAbstraction)
        coordinates, carried = _abstraction(abstraction, coordinates, carried)
    return rois, network.reg_layer(carried[:, 0])


def _backbone(backbone: Backbone, points: Tensor) -> Tensor:
    levels: list[tuple[Tensor, Tensor | None]] = [(points, None)]
    for abstraction in backbone.SA_modules:
        assert isinstance(abstraction, SetAbstraction)
        levels.append(_abstraction(abstraction, *levels[-1]))
    known, features = levels.pop()
    assert features is not None
    for propagation in reversed(backbone.FP_modules):
        assert isinstance(propagation, FeaturePropagation)
        finer, own = levels.pop()
        squared_distance, index = three_nearest(finer, known)
        closeness = 1 / (squared_distance.sqrt() + 1e-8)
        carried = interpolate(features, index, closeness / closeness.sum(dim=2, keepdim=True))
        joined = carried if own is None else torch.cat([carried, own], dim=2)
        features = _convolved(propagation.mlp, joined.permute(0, 2, 1)[..., None])[..., 0].permute(0, 2, 1).contiguous()
        known = finer
    return features


def _abstraction(module: SetAbstraction, points: Tensor, features: Tensor | None) -> tuple[Tensor, Tensor]:
    scales = [layers for layers in module.mlps if isinstance(layers, SharedMLP)]
    if module.centres is None:
        joined = points if features is None else torch.cat([points, features], dim=2)
        pooled = _convolved(scales[0], joined.permute(0, 2, 1)[:, :, None]).amax(dim=3)
        return points[:, :1], pooled.permute(0, 2, 1)
    centres = group(points, furthest_point_sample(points, module.centres))
    parts = []
    for layers, radius, neighbours in zip(scales, module.radii, module.neighbours, strict=True):
        index, _ = ball_query(points, centres, radius, neighbours)
        grouped = group(points, index) - centres[:, :, None]
        if features is not None:
            grouped = torch.cat([grouped, group(features, index)], dim=3)
        parts.append(_convolved(layers, grouped.permute(0, 3, 1, 2)).amax(dim=3))
    return centres, torch.cat(parts, dim=1).permute(0, 2, 1).contiguous()


def _convolved(layers: SharedMLP, image: Tensor) -> Tensor:
    """(B, channels, centres, neighbours) through every layer."""
    for layer in layers:
        assert isinstance(layer, SharedLayer)
        image = functional.conv2d(image, layer.conv.weight, layer.conv.bias)
        if layer.bn is not None:
            norm = layer.bn["bn"]
            assert isinstance(norm, torch.nn.BatchNorm1d)
            mean, variance = norm.get_buffer("running_mean"), norm.get_buffer("running_var")
            image = functional.batch_norm(image, mean, variance, norm.weight, norm.bias, eps=norm.eps)
        image = torch.relu(image)
    return image


def _shares(model: PointRCNN, scene: Tensor, frame: Measured) -> Table:
    """What each op takes of a frame, by the profiler."""
    with torch.inference_mode(), profile(activities=[ProfilerActivity.CPU]) as profiler:
        model(scene)
    seconds: dict[str, float] = defaultdict(float)
    for event in profiler.key_averages():
        name = event.key.removeprefix("pseudolidar::")
        seconds[_GROUPS.get(name, _OTHERS)] += event.self_cpu_time_total * 1e-6
    total = sum(seconds.values())
    ordered = sorted(seconds.items(), key=lambda entry: (entry[0] == _OTHERS, -entry[1]))
    return Table(
        f"PointRCNN, one frame: share of each op of {frame.seconds * 1e3:.0f} ms",
        (("", "%", "ms"),),
        tuple(Row((name, 100 * own / total, own / total * frame.seconds * 1e3)) for name, own in ordered),
        ("Shares by PyTorch's profiler, which slows what it watches; times are those shares of the measured frame.",),
    )


def _random_model() -> PointRCNN:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return PointRCNN().eval()


def _scene(points: int, sweep: str | None, calib: str | None) -> Tensor:
    """A cloud (1, points, 3), rectified camera frame."""
    if (sweep is None) != (calib is None):
        raise InputError(f"sweep and calib: found {sweep} and {calib}, expected both or none")
    if sweep is None or calib is None:
        x, y, z = street_points(points, seed=0).unbind(dim=2)
        return torch.stack([-y, -z, x], dim=2)
    cloud = torch.from_numpy(Calibration.from_file(calib).velodyne_to_rect(read_points(sweep))).float()
    ahead = cloud[(cloud[:, 2] > 0) & (cloud[:, 2] < 70) & (cloud[:, 0].abs() < 40)]
    order = torch.randperm(len(ahead), generator=torch.Generator().manual_seed(0))
    return ahead[order[torch.arange(points) % len(ahead)]][None]


def _product_rate(size: int = 2048, repetitions: int = 20) -> float:
    """Multiplications a second of a matrix product, at best."""
    matrix = torch.randn(size, size, generator=torch.Generator().manual_seed(0))
    times = [side_by_side({"product": lambda: matrix @ matrix}, 1)[0].seconds for _ in range(repetitions)]
    return size**3 / min(times)
