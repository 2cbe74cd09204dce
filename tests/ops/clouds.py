"""Point sets that searches must get right: random, a street, and the adversarial ones."""

import torch
from torch import Tensor

ADVERSARIAL = (
    "equal",
    "duplicates",
    "plane",
    "line",
    "lattice",
    "one",
    "two",
    "not finite",
    "first not finite",
    "huge",
    "tiny",
)


def random_cloud(seed: int, scenes: int, count: int) -> Tensor:
    """Float32 (B, N, 3): ground and walls, dense near the origin and sparse far from it, m."""
    random = torch.Generator().manual_seed(seed)
    uniform = torch.rand((3, scenes, count), generator=random)
    z = 70 * uniform[0] ** 2
    x = (2 * uniform[1] - 1) * (2 + z)
    y = torch.where(torch.rand((scenes, count), generator=random) < 0.5, 1.65, 2 * uniform[2] - 1)
    return torch.stack([x, y, z], dim=-1)


def adversarial_cloud(kind: str, count: int = 300) -> Tensor:
    """Float32 (1, N, 3)."""
    points = random_cloud(0, 1, count)
    if kind == "equal":
        points[:] = points[:, :1].clone()
    elif kind == "duplicates":
        points[:, count // 3 : 2 * (count // 3)] = points[:, : count // 3]
    elif kind == "plane":
        points[..., 1] = 0
    elif kind == "line":
        points[..., 1:] = points[..., :1]
    elif kind == "lattice":
        points = (points / 8).round()
    elif kind in ("one", "two"):
        points = points[:, : 1 if kind == "one" else 2]
    elif kind in ("not finite", "first not finite"):
        points[0, 5:150:7, 1] = torch.nan
        points[0, 9] = -torch.inf
        points[0, 0, 2] = torch.nan if kind == "first not finite" else 1
    elif kind == "huge":
        # Some of the squares overflow.
        points *= 1e18
    elif kind == "tiny":
        # Squares are subnormal, or 0.
        points *= 1e-21
    else:
        raise ValueError(f"kind: found {kind!r}, expected one of {', '.join(ADVERSARIAL)}")
    return points
