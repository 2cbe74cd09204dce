"""Triangle meshes of the town's things: the type, a few primitives and what joins them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Mesh:
    """Triangles with a normal at every corner and a material each.

    The object frame is KITTI's: x forward (length), y down with 0 at the bottom face, z to the object's left (width).

    corners: float32 (T, 3, 3) m. normals: float32 (T, 3, 3), unit. material: int32 (T,), see materials.py.
    """

    corners: Floats
    normals: Floats
    material: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.material)

    @cached_property
    def bounds(self) -> tuple[Floats, Floats]:
        """Lowest and highest coordinates, (3,) each."""
        flat = self.corners.reshape(-1, 3)
        return flat.min(0), flat.max(0)

    @cached_property
    def indexed(self) -> tuple[Floats, NDArray[np.int32]]:
        """The same triangles as vertices (V, 3) and their numbers (T, 3): Embree takes these in faster."""
        vertices, numbers = np.unique(self.corners.reshape(-1, 3), axis=0, return_inverse=True)
        return vertices, numbers.reshape(-1, 3).astype(np.int32)

    def moved(self, offset: Sequence[float]) -> Mesh:
        """The mesh shifted by offset (forward, left, up) m."""
        forward, left, up = offset
        return Mesh(self.corners + np.array([forward, -up, left], np.float32), self.normals, self.material)

    def leaning(self, angle: float) -> Mesh:
        """The mesh turned about its origin and the left axis by angle (rad): forward, where it is positive."""
        cos, sin = np.cos(angle), np.sin(angle)
        rotation = _TO_KITTI @ np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]], np.float64) @ _TO_KITTI.T
        turn = rotation.T.astype(np.float32)
        return Mesh(self.corners @ turn, self.normals @ turn, self.material)

    def settled(self) -> Mesh:
        """The mesh shifted so that its box stands on the ground, centred about the origin; its size is kept."""
        low, high = self.bounds
        centre = np.array([(low[0] + high[0]) / 2, high[1], (low[2] + high[2]) / 2], np.float32)
        return Mesh(self.corners - centre, self.normals, self.material)

    def fitted(self) -> Mesh:
        """The mesh scaled into the unit box x, z in [-0.5, 0.5], y in [-1, 0], which it fills."""
        low, high = self.bounds
        factors = np.array(1 / (high - low), np.float32)
        normals = self.normals / factors
        normals /= np.linalg.norm(normals, axis=2, keepdims=True) + np.array(1e-12, np.float32)
        return Mesh(self.settled().corners * factors, normals.astype(np.float32), self.material)


# (forward, left, up) -> (x forward, y down, z left)
_TO_KITTI = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]], np.float64)


def join(meshes: Iterable[Mesh]) -> Mesh:
    """One mesh with the triangles of all meshes, in their order; at least one is needed."""
    parts = list(meshes)
    return Mesh(
        np.concatenate([part.corners for part in parts]),
        np.concatenate([part.normals for part in parts]),
        np.concatenate([part.material for part in parts]),
    )


def from_vertices(points: NDArray[np.float64], triangles: NDArray[np.int64], material: int, smooth: bool) -> Mesh:
    """A mesh of vertices (V, 3) in (forward, left, up) m and triangles (T, 3), counter-clockwise from outside.

    smooth: corner normals are the area-weighted means at the vertices; otherwise each triangle is flat.
    """
    vertices = points @ _TO_KITTI.T
    corners = vertices[triangles]
    face = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    keep = np.linalg.norm(face, axis=1) > 1e-12
    corners, face, triangles = corners[keep], face[keep], triangles[keep]
    if smooth:
        at_vertex = np.zeros_like(vertices)
        for corner in range(3):
            np.add.at(at_vertex, triangles[:, corner], face)
        normals = at_vertex[triangles]
    else:
        normals = np.repeat(face[:, None], 3, axis=1)
    normals = normals / (np.linalg.norm(normals, axis=2, keepdims=True) + 1e-12)
    return Mesh(corners.astype(np.float32), normals.astype(np.float32), np.full(len(corners), material, np.int32))


def loft(rings: NDArray[np.float64], material: int, smooth: bool = True, caps: bool = True) -> Mesh:
    """A skin over rings (R, M, 3), each closed and counter-clockwise seen from the side the rings advance to."""
    count, around, _ = rings.shape
    row, column = np.meshgrid(np.arange(count - 1), np.arange(around), indexing="ij")
    a, b = row * around + column, row * around + (column + 1) % around
    c, d = a + around, b + around
    skin = np.concatenate([np.stack([a, b, d], -1).reshape(-1, 3), np.stack([a, d, c], -1).reshape(-1, 3)])
    meshes = [from_vertices(rings.reshape(-1, 3), skin, material, smooth)]
    if caps:
        fan = np.stack([np.full(around - 2, 0), np.arange(1, around - 1), np.arange(2, around)], -1)
        meshes.append(from_vertices(rings[-1], fan, material, False))
        meshes.append(from_vertices(rings[0], fan[:, ::-1], material, False))
    return join(meshes)


def box(size: Sequence[float], material: int, base: Sequence[float] = (0.0, 0.0, 0.0)) -> Mesh:
    """A box of (length, width, height) m whose bottom face is centred at base (forward, left, up)."""
    length, width, height = size
    ring = np.array([[1, -1], [1, 1], [-1, 1], [-1, -1]], np.float64) * [length / 2, width / 2]
    rings = np.stack([np.c_[ring, np.zeros(4)], np.c_[ring, np.full(4, height)]])
    return loft(rings, material, smooth=False).moved(base)


def tube(
    start: Sequence[float], end: Sequence[float], radius: float | tuple[float, float], material: int, around: int = 8
) -> Mesh:
    """A round rod from start to end (forward, left, up) m; radius at both ends, or one for both."""
    first, last = np.array(start, np.float64), np.array(end, np.float64)
    axis = (last - first) / (np.linalg.norm(last - first) + 1e-12)
    side = np.cross(axis, [0.0, 1.0, 0.0] if abs(axis[1]) < 0.9 else [1.0, 0.0, 0.0])
    side /= np.linalg.norm(side)
    up = np.cross(axis, side)
    angle = np.arange(around) * (2 * np.pi / around)
    circle = np.cos(angle)[:, None] * side + np.sin(angle)[:, None] * up
    low, high = radius if isinstance(radius, tuple) else (radius, radius)
    return loft(np.stack([first + low * circle, last + high * circle]), material)


def ellipsoid(
    centre: Sequence[float], radii: Sequence[float], material: int, around: int = 10, stacks: int = 7
) -> Mesh:
    """An ellipsoid about centre with radii (forward, left, up) m."""
    latitude = np.linspace(-np.pi / 2, np.pi / 2, stacks + 1)
    latitude[[0, -1]] *= 0.985  # not quite to the pole: the caps close it
    angle = np.arange(around) * (2 * np.pi / around)
    out, height = np.cos(latitude)[:, None], np.broadcast_to(np.sin(latitude)[:, None], (stacks + 1, around))
    unit = np.stack([out * np.cos(angle), out * np.sin(angle), height], -1)
    return loft(np.array(centre, np.float64) + unit * np.array(radii, np.float64), material)


def torus(centre: Sequence[float], radius: float, thickness: float, material: int, around: int = 18) -> Mesh:
    """A ring (bicycle tyre) in the forward-up plane about centre."""
    angle = np.arange(around + 1) * (2 * np.pi / around)
    tube_angle = np.arange(5) * (2 * np.pi / 5)
    out = radius + thickness * np.cos(tube_angle)
    side = np.broadcast_to(thickness * np.sin(tube_angle), (around + 1, 5))
    rings = np.stack([np.cos(angle)[:, None] * out, side, np.sin(angle)[:, None] * out], -1)
    return loft(np.array(centre, np.float64) + rings, material, caps=False)
