"""PointNet++ (Qi et al., NeurIPS 2017): set abstraction and feature propagation (its sections 3.2 to 3.4)."""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from pseudolidar.files import InputError
from pseudolidar.ops import ball_query, furthest_point_sample, group, interpolate, segment_max, three_nearest

# In evaluation on a processor: rows of a matrix that go through all layers before the next ones do, so that a layer
# finds in the cache what the one before left there.
_ROWS_AT_ONCE = 2**13


class SharedLayer(nn.Module):
    """A layer of a shared MLP: linear, batch norm, ReLU, on each row of (..., channels) alone.

    The weights have the names and shapes of a 1 x 1 convolution, so that published PyTorch checkpoints load; on rows of
    a matrix it is several times as fast on a CPU. Without `batch_norm` the linear part has a bias. The stored weights
    are (outer, inner, 1) with `dims` 1, (outer, inner, 1, 1) with 2.
    """

    def __init__(self, inner: int, outer: int, batch_norm: bool = True, relu: bool = True, dims: int = 2) -> None:
        super().__init__()
        bias = not batch_norm
        self.conv = nn.Conv1d(inner, outer, 1, bias=bias) if dims == 1 else nn.Conv2d(inner, outer, 1, bias=bias)
        self.bn = nn.ModuleDict({"bn": nn.BatchNorm1d(outer)}) if batch_norm else None
        self.relu = relu

    def affine(self) -> tuple[Tensor, Tensor | None]:
        """Matrix (outer, inner) and bias (outer,) of the linear part; in evaluation they include batch norm."""
        matrix = self.conv.weight.flatten(1)
        if self.training or self.bn is None:
            return matrix, self.conv.bias
        norm = self.bn["bn"]
        assert isinstance(norm, nn.BatchNorm1d)
        scale = norm.weight * torch.rsqrt(norm.get_buffer("running_var") + norm.eps)
        return matrix * scale[:, None], norm.bias - norm.get_buffer("running_mean") * scale

    def finish(self, rows: Tensor) -> Tensor:
        """Batch norm (in training only) and ReLU on rows (rows, outer), in place."""
        if self.bn is not None and self.training:
            rows = self.bn["bn"](rows)
        return torch.relu_(rows) if self.relu else rows

    def forward(self, rows: Tensor) -> Tensor:
        """(..., inner) -> (..., outer)."""
        (matrix, bias), flat = self.affine(), rows.flatten(0, -2)
        if self.relu and bias is not None and not torch.is_grad_enabled():
            # The same numbers; on a GPU without one more way through the memory for ReLU. It has no gradient.
            finished = torch._addmm_activation(bias, flat, matrix.T)
        else:
            # As a matrix: autograd copies what is changed in place through a view.
            finished = self.finish(functional.linear(flat, matrix, bias))
        return finished.view(*rows.shape[:-1], -1)


@torch.no_grad()
def fold_batch_norm(network: nn.Module) -> None:
    """Make batch norm a part of the weights of each `SharedLayer`, in place: in evaluation the same outputs, sooner.

    For a network that is not trained any further.
    """
    for layer in network.eval().modules():
        if isinstance(layer, SharedLayer) and layer.bn is not None:
            matrix, bias = layer.affine()
            assert bias is not None
            layer.conv.weight = nn.Parameter(matrix.view_as(layer.conv.weight), requires_grad=False)
            layer.conv.bias = nn.Parameter(bias, requires_grad=False)
            layer.bn = None


class SharedMLP(nn.Sequential):
    """Several `SharedLayer`, named layer0, layer1, ... as in published checkpoints."""

    def __init__(self, channels: Sequence[int], batch_norm: bool = True) -> None:
        super().__init__()
        self.out_channels = channels[-1]
        for i, (inner, outer) in enumerate(itertools.pairwise(channels)):
            self.add_module(f"layer{i}", SharedLayer(inner, outer, batch_norm))

    @property
    def first(self) -> SharedLayer:
        """The first layer; callers compute its linear part themselves."""
        layer = self[0]
        assert isinstance(layer, SharedLayer)
        return layer

    def after_first_product(self, rows: Tensor) -> Tensor:
        """The MLP's output, given what the first layer's affine part gives: (rows, channels), changed in place."""
        rows = self.first.finish(rows)
        for layer in itertools.islice(self, 1, None):
            rows = layer(rows)
        return rows


class SetAbstraction(nn.Module):
    """Features around chosen centres: a ball query for neighbours, a shared MLP on each, the maximum.

    With several scales this is PointNet++'s multi-scale grouping (MSG). The first layer is linear, so its product with
    the features is computed once per point and gathered. Coordinates enter it relative to their centre, neighbour by
    neighbour: the difference of two products would lose digits. In evaluation on a CPU the repetitions that fill up to
    `neighbours` are not computed: the maximum is the same without them.

    Args:
        centres: their number, chosen by furthest point sampling; None: one group of all points, not centred.
        radii, neighbours: m, and the most neighbours of a centre, one per scale; empty for one group.
        feature_channels: of the points, beside their coordinates; 0 for none.
        channels: of the MLP's layers, one sequence per scale.
    """

    def __init__(
        self,
        centres: int | None,
        radii: Sequence[float],
        neighbours: Sequence[int],
        feature_channels: int,
        channels: Sequence[Sequence[int]],
        batch_norm: bool = True,
    ) -> None:
        super().__init__()
        scales = 1 if centres is None else len(radii)
        if len(channels) != scales or (centres is not None and len(neighbours) != scales):
            found = f"{len(radii)} radii, {len(neighbours)} neighbours, {len(channels)} channels"
            raise InputError(f"scales: found {found}, expected as many of each, or one group's channels alone")
        self.centres = centres
        self.radii = tuple(radii)
        self.neighbours = tuple(neighbours)
        self.mlps = nn.ModuleList([SharedMLP((3 + feature_channels, *outer), batch_norm) for outer in channels])

    def forward(
        self, points: Tensor, features: Tensor | None, in_sampling_order: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Centres (B, M, 3) and their features (B, M, out_channels); for one group the origin, M = 1.

        The points are float32 (B, N, 3) m, their features (B, N, feature_channels) or None. Points `in_sampling_order`
        are the centres of another set abstraction: sampled again, the first of them are chosen, so that this is not
        computed.
        """
        if self.centres is None:
            (mlp,) = self._scales
            matrix, bias = mlp.first.affine()
            rows = _coordinate_product(points.flatten(0, 1), matrix, bias)
            if features is not None:
                rows = rows + functional.linear(features.flatten(0, 1), matrix[:, 3:])
            pooled = _max_of_each(mlp.after_first_product(rows), points.shape[1])
            return torch.zeros_like(points[:, :1]), pooled[:, None]
        if in_sampling_order and self.centres <= points.shape[1]:
            # Where all were taken, point 0 follows again and again: the same centres, though under other indices.
            centres = points[:, : self.centres].contiguous()
        else:
            centres = group(points, furthest_point_sample(points, self.centres))
        scales = zip(self._scales, self.radii, self.neighbours, strict=True)
        return centres, torch.cat([self._around(centres, points, features, *scale) for scale in scales], dim=2)

    @property
    def out_channels(self) -> int:
        """Channels of the output features, all scales together."""
        return sum(mlp.out_channels for mlp in self._scales)

    @property
    def _scales(self) -> list[SharedMLP]:
        return [mlp for mlp in self.mlps if isinstance(mlp, SharedMLP)]

    def _around(
        self, centres: Tensor, points: Tensor, features: Tensor | None, mlp: SharedMLP, radius: float, neighbours: int
    ) -> Tensor:
        matrix, bias = mlp.first.affine()
        index, found = ball_query(points, centres, radius, neighbours)
        products = None if features is None else functional.linear(features, matrix[:, 3:])
        # A GPU is done with the repetitions before the host has counted what is there.
        if self.training or points.device.type != "cpu":
            relative = group(points, index) - centres[:, :, None]
            rows = _coordinate_product(relative.flatten(0, 2), matrix, bias)
            if products is not None:
                rows += group(products, index).flatten(0, 2)
            return _max_of_each(mlp.after_first_product(rows), neighbours).view(*centres.shape[:2], -1)

        # Neighbours that are there, those of all centres of all scenes one after the other.
        batch, count, _ = centres.shape
        lengths = found.clamp(min=1)
        there = torch.arange(neighbours, device=index.device) < lengths[..., None]
        of_scene = torch.arange(batch, device=index.device)[:, None, None] * points.shape[1]
        neighbour = (index + of_scene)[there]
        starts = functional.pad(lengths.flatten().cumsum(0), (1, 0))
        all_points, all_centres = points.flatten(0, 1)[None], centres.flatten(0, 1)
        all_products = None if products is None else products.flatten(0, 1)[None]
        pooled = []
        for first, end in _parts(starts):
            chosen = neighbour[starts[first] : starts[end]][None]
            owner = torch.repeat_interleave(all_centres[first:end], lengths.flatten()[first:end], dim=0)
            rows = _coordinate_product(group(all_points, chosen)[0] - owner, matrix, bias)
            if all_products is not None:
                rows += group(all_products, chosen)[0]
            pooled.append(segment_max(mlp.after_first_product(rows), starts[first : end + 1] - starts[first]))
        return torch.cat(pooled).view(batch, count, -1)


def _parts(starts: Tensor) -> list[tuple[int, int]]:
    """Ranges of segments that have about `_ROWS_AT_ONCE` rows each."""
    bounds = torch.searchsorted(starts, torch.arange(0, int(starts[-1]), _ROWS_AT_ONCE)).tolist()
    bounds.append(len(starts) - 1)
    return [(first, end) for first, end in itertools.pairwise(bounds) if first < end]


class FeaturePropagation(nn.Module):
    """Features of known points carried to more points: the three nearest by inverse distance, then a shared MLP.

    The first layer's product is computed on the known points and then interpolated: both are linear. `own_channels` are
    those of features that the other points have already; 0 for none.
    """

    def __init__(self, known_channels: int, own_channels: int, channels: Sequence[int]) -> None:
        super().__init__()
        self.known_channels = known_channels
        self.mlp = SharedMLP((known_channels + own_channels, *channels))

    def forward(self, points: Tensor, known: Tensor, own_features: Tensor | None, known_features: Tensor) -> Tensor:
        """Features (B, N, channels[-1]) of points float32 (B, N, 3) from those of known points float32 (B, M, 3).

        `known_features` are (B, M, known_channels), `own_features` (B, N, own_channels) or None.
        """
        matrix, bias = self.mlp.first.affine()
        squared_distance, index = three_nearest(points, known)
        closeness = 1 / (squared_distance.sqrt() + 1e-8)
        weight = closeness / closeness.sum(dim=2, keepdim=True)
        products = functional.linear(known_features, matrix[:, : self.known_channels])
        rows = interpolate(products, index, weight).flatten(0, 1)
        if own_features is not None:
            rows = rows + functional.linear(own_features.flatten(0, 1), matrix[:, self.known_channels :])
        if bias is not None:
            rows = rows + bias.to(rows.dtype)
        return self.mlp.after_first_product(rows).view(*points.shape[:2], -1)


def _max_of_each(rows: Tensor, count: int) -> Tensor:
    """The maximum over each `count` rows that follow each other: (G * count, C) -> (G, C)."""
    if rows.device.type != "cpu":
        # A third of the time of a kernel that knows of segments of any length. Where no gradient is to go to the first
        # maximum, it need not be known which that is.
        groups = rows.view(-1, count, rows.shape[1])
        return groups.max(dim=1).values if rows.requires_grad else groups.amax(dim=1)
    starts = torch.arange(0, len(rows) + 1, count, device=rows.device)
    pooled: Tensor = segment_max(rows, starts)
    return pooled


def _coordinate_product(coordinates: Tensor, matrix: Tensor, bias: Tensor | None) -> Tensor:
    """Coordinates (..., 3) times the first three columns of `matrix`, in float32 before the product is rounded."""
    with torch.autocast(coordinates.device.type, enabled=False):
        product = functional.linear(coordinates.float(), matrix[:, :3].float(), None if bias is None else bias.float())
    dtype = torch.get_autocast_dtype(coordinates.device.type)
    return product.to(dtype) if torch.is_autocast_enabled(coordinates.device.type) else product
