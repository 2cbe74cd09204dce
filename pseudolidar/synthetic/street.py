"""The street: a circular arc seen from the car, with its coordinates, its cross-section and its ground."""

import itertools
import math
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from pseudolidar.synthetic import materials
from pseudolidar.synthetic.meshes import Floats, Mesh, join
from pseudolidar.synthetic.preset import CAMERA_HEIGHT_M
from pseudolidar.synthetic.things import Row

KERB_HEIGHT_M = 0.12

Number = TypeVar("Number", float, Floats)


@dataclass(frozen=True)
class Street:
    """Cross-section and course of the street; s runs along the centre line, r to its right, in metres.

    curvature: 1/m, to the right. yaw: of the street against the camera, rad. camera_r: where the camera drives.
    half_left, half_right: the carriageway's sides, parking included. parking_left, parking_right: the strips' widths.
    crossing, crossing_half: the side street's place and half width. slope, bank: how the ground falls ahead and to the
    camera's right, m a metre; drop: how much lower than on level ground it lies under the camera, m.
    """

    style: str
    curvature: float
    yaw: float
    camera_r: float
    half_left: float
    half_right: float
    parking_left: float
    parking_right: float
    slot: float
    crossing: float
    crossing_half: float
    lane_line: float
    dash: float
    zebra: bool
    tone: float
    pavement_width: float
    setback: float
    slope: float
    bank: float
    drop: float
    seed: float

    def to_camera(self, s: float, r: float) -> tuple[float, float, float]:
        """Street coordinates -> x, z in the rectified camera frame (m) and the street's heading there (ry)."""
        if abs(self.curvature) < 1e-5:
            x, z, heading = r, s, 0.0
        else:
            radius = 1 / self.curvature
            heading = s * self.curvature
            x = radius - (radius - r) * math.cos(heading)
            z = (radius - r) * math.sin(heading)
        x -= self.camera_r
        cos, sin = math.cos(self.yaw), math.sin(self.yaw)
        # A thing with ry = -pi/2 looks along +z; the street turns to the right (towards +x) by heading + yaw.
        return cos * x + sin * z, -sin * x + cos * z, -math.pi / 2 + heading + self.yaw

    def rise(self, x: Number, z: Number) -> Number:
        """How much larger the ground's y is than on level ground (m): downwards, as y is."""
        return self.drop + self.slope * z + self.bank * x

    def edge(self, side: float) -> float:
        """How far the carriageway reaches to a side, 1.0 to the right and -1.0 to the left."""
        return self.half_right if side > 0 else self.half_left

    def row(self) -> Row:
        """The numbers that the ground's shader reads."""
        row = np.zeros(18)
        row[:3] = self.curvature, math.cos(self.yaw), math.sin(self.yaw)
        row[3:6] = self.camera_r, self.half_left, self.half_right
        row[6:10] = self.parking_left, self.parking_right, self.crossing, self.crossing_half
        row[10:16] = self.dash, self.seed, self.tone, self.lane_line, float(self.zebra), self.slot
        return row

    def blocks(self) -> list[tuple[float, float]]:
        """The stretches of s between side streets."""
        if self.crossing > 500:
            return [(-45.0, 210.0)]
        return [(-45.0, self.crossing - self.crossing_half), (self.crossing + self.crossing_half, 210.0)]

    def pavements(self) -> Mesh:
        """Pavements with their kerbs, and the ground behind them, in camera coordinates."""
        meshes = []
        for start, end in self.blocks():
            along = np.linspace(start, end, max(2, int((end - start) / 9) + 1))
            for side in (-1.0, 1.0):
                edge = self.edge(side)
                profile = ((edge, 0.0), *((r, KERB_HEIGHT_M) for r in (edge + 0.02, edge + 12.0, 75.0)))
                grid = np.empty((len(along), len(profile), 3))
                for row, s in enumerate(along):
                    for column, (r, height) in enumerate(profile):
                        x, z, _ = self.to_camera(float(s), side * r)
                        grid[row, column] = x, CAMERA_HEIGHT_M - height, z
                meshes.append(_strip(grid))
                for ends in (grid[:1], grid[-1:]):  # the kerb along the side street
                    low = ends.copy()
                    low[..., 1] = CAMERA_HEIGHT_M
                    meshes.append(_strip(np.concatenate([ends, low])))
        return join(meshes)


@cache
def carriageway() -> Mesh:
    """The ground as a plane, in camera coordinates."""
    x, z = np.arange(-200.0, 201.0, 40.0), np.arange(-60.0, 341.0, 40.0)
    corners = []
    for left, right in itertools.pairwise(x):
        for near, far in itertools.pairwise(z):
            a, b, c, d = [left, 0, near], [right, 0, near], [right, 0, far], [left, 0, far]
            corners += [[a, b, c], [a, c, d]]
    points = np.array(corners, np.float32) + np.array([0, CAMERA_HEIGHT_M, 0], np.float32)
    up = np.broadcast_to(np.array([0, -1, 0], np.float32), points.shape)
    return Mesh(points, up.copy(), np.full(len(points), materials.GROUND, np.int32))


def _strip(grid: NDArray[np.float64]) -> Mesh:
    a, b, c, d = grid[:-1, :-1], grid[:-1, 1:], grid[1:, 1:], grid[1:, :-1]
    corners = np.concatenate([np.stack([a, b, c], 2).reshape(-1, 3, 3), np.stack([a, c, d], 2).reshape(-1, 3, 3)])
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-12
    normals = np.repeat(normal[:, None], 3, axis=1).astype(np.float32)
    return Mesh(corners.astype(np.float32), normals, np.full(len(corners), materials.PAVEMENT, np.int32))


def sample_street(rng: np.random.Generator) -> Street:
    """A street of one of five styles: city, avenue, residential, suburb, country."""
    styles, shares = ["city", "avenue", "residential", "suburb", "country"], [0.28, 0.16, 0.26, 0.16, 0.14]
    style = str(rng.choice(styles, p=shares))
    lane = rng.uniform(2.9, 3.5)
    lanes = 2 if style == "avenue" else 1
    chance = {"city": 0.65, "avenue": 0.5, "residential": 0.72, "suburb": 0.30, "country": 0.06}[style]
    parking = [rng.choice([2.2, 4.9], p=[0.8, 0.2]) if rng.random() < chance else 0.0 for _ in range(2)]
    crossing = rng.uniform(9, 65) if rng.random() < 0.6 else 1e4
    return Street(
        style=style,
        curvature=float(rng.choice([0.0, 1.0], p=[0.45, 0.55]) * rng.normal(0, 0.0022)),
        yaw=float(rng.normal(0, 0.035) if rng.random() < 0.85 else rng.normal(0, 0.16)),
        camera_r=float((lanes - 0.5) * lane + rng.normal(0, 0.25)),
        half_left=float(lane * lanes + parking[0]),
        half_right=float(lane * lanes + parking[1]),
        parking_left=float(parking[0]),
        parking_right=float(parking[1]),
        slot=float(rng.uniform(5.4, 6.4)),
        crossing=float(crossing),
        crossing_half=float(rng.uniform(3.2, 5.5)),
        lane_line=float(lane if lanes == 2 else 0.0),
        dash=float(rng.choice([0.0, 4.5, 9.0], p=[0.25, 0.35, 0.4]) if lanes == 1 else 9.0),
        zebra=bool(rng.random() < 0.5),
        tone=float(rng.uniform(0.10, 0.21)),
        pavement_width=float(rng.uniform(1.2, 4.2)),
        setback=float(rng.uniform(0, 1) if style == "city" else rng.uniform(2, 9)),
        slope=float(rng.normal(0, 0.012)),
        bank=float(rng.normal(0, 0.008)),
        drop=float(rng.normal(0, 0.04)),
        seed=float(rng.integers(0, 5000)),
    )


def sample_highway(rng: np.random.Generator) -> Street:
    """A highway: two lanes and a shoulder a direction, straight or bent a little, grass beside it."""
    lane, shoulder = rng.uniform(3.4, 3.75), rng.uniform(1.5, 3.0)
    half = float(2 * lane + shoulder)
    return Street(
        style="highway",
        curvature=float(rng.choice([0.0, 1.0], p=[0.3, 0.7]) * rng.normal(0, 0.0012)),
        yaw=float(rng.normal(0, 0.02)),
        camera_r=float(rng.choice([0.5, 1.5]) * lane + rng.normal(0, 0.2)),
        half_left=half,
        half_right=half,
        parking_left=float(shoulder),  # for its line; nobody parks
        parking_right=float(shoulder),
        slot=1e4,
        crossing=1e4,
        crossing_half=0.0,
        lane_line=float(lane),
        dash=4.5,
        zebra=False,
        tone=float(rng.uniform(0.10, 0.21)),
        pavement_width=float(rng.uniform(0.2, 1.0)),
        setback=float(rng.uniform(4, 9)),
        slope=float(rng.normal(0, 0.008)),
        bank=float(rng.normal(0, 0.008)),
        drop=float(rng.normal(0, 0.04)),
        seed=float(rng.integers(0, 5000)),
    )
