"""Boxes and points that the tests of operations on rotated boxes share."""

import math

import torch
from torch import Tensor

# x y z h w l ry: boxes that are hard on overlaps, in front of the sensor and far from it.
BOX = (2.0, 1.5, 30.0, 1.5, 1.6, 3.9, 0.3)


def hard_boxes() -> Tensor:
    """float64 (N, 7): the same, turned by pi and pi / 2, touching, inside, tiny, huge, flat, negative, not finite."""
    x, y, z, height, width, length, ry = BOX
    along, across = (math.cos(ry), -math.sin(ry)), (math.sin(ry), math.cos(ry))
    boxes = [
        BOX,
        BOX,
        (x, y, z, height, width, length, ry + math.pi),
        (x, y, z, height, width, length, ry + math.pi / 2),
        (x + length * along[0], y, z + length * along[1], height, width, length, ry),
        (x + width * across[0], y, z + width * across[1], height, width, length, ry),
        (
            x + length * along[0] + width * across[0],
            y,
            z + length * along[1] + width * across[1],
            height,
            width,
            length,
            ry,
        ),
        (x, y - 0.2, z, height / 2, width / 2, length / 2, ry),
        (x, y - height, z, height, width, length, ry),
        (x, y, z, height, length, width, ry + math.pi / 2),
        (x, y, z, 1e-4, 1e-4, 1e-4, 1.0),
        (x, y, z, 1e4, 1e4, 1e4, -2.0),
        (x, y, z, height, -width, -length, ry),
        (x, y, z, -height, width, length, ry),
        (x, y, z, height, 0.0, length, ry),
        (x, y, z, 0.0, 0.0, 0.0, ry),
        (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
        (x, y, z, height, math.nan, length, ry),
        (math.nan, y, z, height, width, length, ry),
        (x, y, z, height, width, length, math.inf),
        (x, y, z, height, width, math.inf, ry),
        (-34.25, y, 69.75, height, width, length, 0.0),
        (-34.25, y, 69.75, height, width, length, 100 * math.pi),
    ]
    return torch.tensor(boxes, dtype=torch.float64)


def random_boxes(number: int, generator: torch.Generator, extent_m: float = 4.0) -> Tensor:
    """float64 (number, 7): crowded on a square of ground of that extent; every fifth is the one before it."""
    boxes = torch.rand(number, 7, generator=generator, dtype=torch.float64)
    low = torch.tensor((-extent_m / 2, -0.5, 20.0, 0.1, 0.1, 0.1, -7.0))
    size = torch.tensor((extent_m, 1.0, extent_m, 2.0, 3.0, 5.0, 14.0))
    boxes = low + size * boxes
    boxes[4::5] = boxes[3::5][: len(boxes[4::5])]
    return boxes


def crowded_points(scenes: int, number: int, generator: torch.Generator) -> Tensor:
    """float32 (scenes, number, 3) where `random_boxes` lie; some are the same, some not finite."""
    low = torch.tensor((-4.0, -2.0, 18.0))
    points = low + torch.rand(scenes, number, 3, generator=generator) * torch.tensor((8.0, 3.0, 8.0))
    points[:, 5::7] = points[:, :1]
    points[:, 3::50, 0] = math.nan
    points[:, 4::50, 2] = math.inf
    return points
