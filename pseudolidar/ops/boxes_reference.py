"""Operations on rotated boxes in plain PyTorch, on any device with float64: what every kernel is held to."""

import torch
from torch import Tensor
from torch.nn.functional import pad

# Of a pair's size: how far beyond an edge a corner still counts as on it.
_ON_EDGE = 1e-12


def bev_iou(a: Tensor, b: Tensor) -> Tensor:
    """(N, M) IoU of boxes (N, 7) and (M, 7) in bird's eye view; see `ops.bev_iou`."""
    return _iou(_rotated_intersection(a, b), _area(a), _area(b)).to(a.dtype)


def bev_iou_axis_aligned(a: Tensor, b: Tensor) -> Tensor:
    """(N, M) IoU in bird's eye view as if every ry were 0; see `ops.bev_iou_axis_aligned`."""
    common = _extent(a, b, 0, 5) * _extent(a, b, 2, 4)
    return _iou(common, _area(a), _area(b)).to(a.dtype)


def iou_3d(a: Tensor, b: Tensor) -> Tensor:
    """(N, M) IoU of the volumes of boxes (N, 7) and (M, 7); see `ops.iou_3d`."""
    common = _rotated_intersection(a, b) * _common_height(a, b)
    return _iou(common, _area(a) * a[:, 3].double(), _area(b) * b[:, 3].double()).to(a.dtype)


def nms_best_first(boxes: Tensor, number: Tensor, threshold: float, rotated: bool, count: int) -> Tensor:
    """int64 (B, count), the boxes (B, N, 7) of each scene that stay; see `ops.nms_best_first`."""
    overlap = bev_iou if rotated else bev_iou_axis_aligned
    kept = torch.full((len(boxes), count), -1, device=boxes.device)
    for scene, of_scene in enumerate(boxes.double()):
        waiting = torch.arange(int(number[scene]), device=boxes.device)
        for slot in range(count):
            if not len(waiting):
                break
            best, waiting = waiting[:1], waiting[1:]
            kept[scene, slot] = best[0]
            waiting = waiting[~(overlap(of_scene[best], of_scene[waiting])[0] > threshold)]
    return kept


def by_score(scores: Tensor) -> Tensor:
    """Indices (..., N) by falling score: of equal scores the lowest first, NaN at the end."""
    return torch.sort(-scores, stable=True).indices


def points_in_boxes(points: Tensor, boxes: Tensor) -> Tensor:
    """int64 (B, N), the lowest number of a box that holds the point, -1 for none; see `ops.points_in_boxes`."""
    inside = _inside(points, boxes)
    # One more column, where every point is inside, for those that no box holds.
    box = pad(inside.transpose(1, 2).to(torch.uint8), (0, 1), value=1).argmax(dim=2)
    return torch.where(box == boxes.shape[1], -1, box)


def roi_pool_points(points: Tensor, boxes: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Indices (B, M, count) of the first points in each box and how many differ (B, M); see `ops.roi_pool_points`."""
    inside = _inside(points, boxes)
    found = inside.sum(dim=2).clamp(max=count)
    # Those inside first, each in the order of their indices.
    order = torch.sort((~inside).to(torch.uint8), dim=2, stable=True).indices
    slot = torch.arange(count, device=points.device) % found.clamp(min=1)[:, :, None]
    index = pad(order, (0, 1)).gather(2, slot)
    return torch.where(found[:, :, None] > 0, index, 0), found


def _inside(points: Tensor, boxes: Tensor) -> Tensor:
    """Whether box m holds point n: bool (B, M, N)."""
    x, y, z, height, half_length, half_width, cos, sin = box_frames(boxes)[..., None].unbind(dim=2)
    dx, dy, dz = (points[:, None, :, axis] - centre for axis, centre in enumerate((x, y, z)))
    along, across = cos * dx - sin * dz, sin * dx + cos * dz
    return (along.abs() <= half_length) & (across.abs() <= half_width) & (dy <= 0) & (dy >= -height)


def box_frames(boxes: Tensor) -> Tensor:
    """Boxes (B, M, 7) as points are compared with them, made once for all backends, so that they agree to the last bit.

    float32 (B, M, 8), contiguous: x, y and z of the bottom face's centre, height, half the length, half the width (m),
    cosine and sine of ry. Length and width count without their sign; for a box without volume, or with a negative
    height, half the length is -1, which no distance is within.
    """
    x, y, z, height, width, length, ry = boxes.unbind(dim=-1)
    length, width = length.abs(), width.abs()
    solid = (height > 0) & (width > 0) & (length > 0)
    half_length = torch.where(solid, length / 2, -1.0)
    angle = ry.double()
    return torch.stack((x, y, z, height, half_length, width / 2, angle.cos().float(), angle.sin().float()), dim=-1)


def _area(boxes: Tensor) -> Tensor:
    return (boxes[:, 4].double() * boxes[:, 5].double()).abs()


def _iou(common: Tensor, size_a: Tensor, size_b: Tensor) -> Tensor:
    """Intersection over union (N, M); 0 without intersection, or for NaN."""
    return torch.where(common > 0, common / (size_a[:, None] + size_b - common), 0).nan_to_num(0.0)


def _extent(a: Tensor, b: Tensor, centre: int, size: int) -> Tensor:
    """Common extent (N, M), along an axis, of intervals given by the columns of their centres and sizes."""
    half_a, half_b = a[:, None, size].double().abs() / 2, b[:, size].double().abs() / 2
    apart = b[:, centre].double() - a[:, None, centre].double()
    common = torch.minimum(half_a, apart + half_b) - torch.maximum(-half_a, apart - half_b)
    return common.minimum(2 * half_a).minimum(2 * half_b).clamp(min=0)


def _common_height(a: Tensor, b: Tensor) -> Tensor:
    """Common height (N, M), m, of boxes, which fill [y - h, y]."""
    height_a, height_b = a[:, None, 3].double(), b[:, 3].double()
    below = b[:, 1].double() - a[:, None, 1].double()
    common = below.clamp(max=0) - torch.maximum(-height_a, below - height_b)
    return common.minimum(height_a).minimum(height_b).clamp(min=0)


def _corners(boxes: Tensor) -> Tensor:
    """Corners (..., 4, 2) in x and z, one after the other around the box (..., 7)."""
    _, _, _, _, width, length, ry = boxes[..., None].unbind(dim=-2)
    along = length.abs() / 2 * boxes.new_tensor((1, 1, -1, -1))
    across = width.abs() / 2 * boxes.new_tensor((1, -1, -1, 1))
    cos, sin = ry.cos(), ry.sin()
    return torch.stack((cos * along + sin * across + boxes[..., :1], cos * across - sin * along + boxes[..., 2:3]), -1)


def _cross(u: Tensor, v: Tensor) -> Tensor:
    return u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]


def _rotated_intersection(a: Tensor, b: Tensor) -> Tensor:
    """Common area (N, M), m^2, of ground rectangles, in float64.

    The intersection is convex, and its corners are corners of one that lie in the other, or points where edges cross:
    taken together, sorted by their direction from their mean, they give its area.
    """
    a, b = a.double(), b.double()
    # With the centre of a as the origin no digits are lost far from the sensor.
    origin = a[:, None].clone()
    moved = b.expand(len(a), -1, -1).clone()
    moved[..., (0, 2)] -= origin[..., (0, 2)]
    origin[..., (0, 2)] = 0
    corners_a, corners_b = _corners(origin).expand(-1, len(b), -1, -1), _corners(moved)
    edges_a, edges_b = (corners.roll(-1, dims=2) - corners for corners in (corners_a, corners_b))
    # a's edge i, at s of its length, meets b's edge j, at t of its: 4 x 4 crossings.
    apart = corners_b[:, :, None] - corners_a[:, :, :, None]
    turn = _cross(edges_a[:, :, :, None], edges_b[:, :, None])
    s = _cross(apart, edges_b[:, :, None].expand_as(apart)) / turn
    t = _cross(apart, edges_a[:, :, :, None].expand_as(apart)) / turn
    crossing = corners_a[:, :, :, None] + s[..., None] * edges_a[:, :, :, None]
    crosses = (s >= 0) & (s <= 1) & (t >= 0) & (t <= 1)
    points = torch.cat((corners_a, corners_b, crossing.flatten(2, 3)), dim=2)
    taken = torch.cat((_on(corners_a, moved, a, b), _on(corners_b, origin, a, b), crosses.flatten(2, 3)), dim=2)
    points = torch.where(taken[..., None], points, 0)
    number = taken.sum(dim=2)[..., None].clamp(min=1)
    points = torch.where(taken[..., None], points - points.sum(dim=2, keepdim=True) / number[..., None], 0)
    # What is not taken comes before all others, and then stands where the last one does: that encloses nothing.
    direction = torch.where(taken, torch.atan2(points[..., 1], points[..., 0]), -4)
    direction, order = direction.sort(dim=2)
    points = points.gather(2, order[..., None].expand_as(points))
    points = torch.where(direction[..., None] == -4, points[:, :, -1:], points)
    area = _cross(points, points.roll(-1, dims=2)).sum(dim=2).abs() / 2
    return area.minimum(_area(a)[:, None]).minimum(_area(b))


def _on(corners: Tensor, boxes: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Whether corners (N, M, 4, 2) lie in ground rectangles of boxes (N or 1, M or 1, 7), edges included."""
    slack = _ON_EDGE * (a[:, None, 4:6].abs().sum(dim=2) + b[:, 4:6].abs().sum(dim=1))[..., None]
    x, _, z, _, width, length, ry = boxes[..., None].unbind(dim=2)
    dx, dz = corners[..., 0] - x, corners[..., 1] - z
    along, across = ry.cos() * dx - ry.sin() * dz, ry.sin() * dx + ry.cos() * dz
    return (along.abs() <= length.abs() / 2 + slack) & (across.abs() <= width.abs() / 2 + slack)
