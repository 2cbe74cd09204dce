"""Things that stand in the town: a mesh, where it is, and the numbers its materials need."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pseudolidar.synthetic.compiled import compiled
from pseudolidar.synthetic.meshes import Mesh
from pseudolidar.synthetic.table import COLOUR_1, COLOUR_2, COLOUR_3, COLUMNS, SEED, SIZE, STYLE, TURN, Row

Colour = tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class Thing:
    """A mesh placed in the rectified camera frame: turned about y by ry, its foot's centre at position (m).

    scale: factors along length, height and width (the size itself for meshes in the unit box).
    class_name: the KITTI class of what gets a label. occupied: whether nothing else may stand on its footprint.
    """

    mesh: Mesh
    position: tuple[float, float, float]
    ry: float
    scale: tuple[float, float, float] = (1.0, 1.0, 1.0)
    colours: tuple[Colour, ...] = ((0.5, 0.5, 0.5),)
    seed: float = 0.0
    style: tuple[float, ...] = ()
    class_name: str | None = None
    size: tuple[float, float, float] = field(init=False)  # length, height, width (m)

    def __post_init__(self) -> None:
        low, high = self.mesh.bounds()
        size = (high - low) * np.float64(self.scale)
        object.__setattr__(self, "size", (float(size[0]), float(size[1]), float(size[2])))

    def row(self) -> Row:
        """The thing's row in the table of the shading kernels."""
        row = np.zeros(COLUMNS)
        row[:3] = self.position
        row[TURN : TURN + 2] = math.cos(self.ry), math.sin(self.ry)
        row[SIZE : SIZE + 3] = self.size
        for at, colour in zip((COLOUR_1, COLOUR_2, COLOUR_3), self.colours, strict=False):
            row[at : at + 3] = colour
        row[SEED] = self.seed
        row[STYLE : STYLE + len(self.style)] = self.style
        return row

    def placed(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Corners and normals, (T, 3, 3) each, in the rectified camera frame."""
        cos, sin = math.cos(self.ry), math.sin(self.ry)
        turn = np.float64([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])
        matrix = (turn * np.float64(self.scale)).T.astype(np.float32)
        corners = self.mesh.corners @ matrix + np.float32(self.position)
        normals = self.mesh.normals @ (turn / np.float64(self.scale)).T.astype(np.float32)
        normals /= np.sqrt((normals * normals).sum(-1, keepdims=True)) + np.float32(1e-12)
        return corners, normals


@compiled
def footprints_overlap(kept: NDArray[np.float64], count: int, one: NDArray[np.float64]) -> bool:
    """Whether the rectangle `one` (x, z, length, width, ry) meets one of the first `count` of `kept`."""
    for other in range(count):
        dx, dz = kept[other, 0] - one[0], kept[other, 1] - one[1]
        reach = 0.5 * (math.hypot(one[2], one[3]) + math.hypot(kept[other, 2], kept[other, 3]))
        if dx * dx + dz * dz > reach * reach:
            continue
        apart = False
        for which in range(4):
            angle = (one[4] if which < 2 else kept[other, 4]) + (math.pi / 2 if which % 2 else 0.0)
            ax, az = math.cos(angle), -math.sin(angle)
            half = 0.0
            for rect in range(2):
                length = one[2] if rect == 0 else kept[other, 2]
                width = one[3] if rect == 0 else kept[other, 3]
                ry = one[4] if rect == 0 else kept[other, 4]
                half += 0.5 * length * abs(math.cos(ry) * ax - math.sin(ry) * az)
                half += 0.5 * width * abs(math.sin(ry) * ax + math.cos(ry) * az)
            if abs(dx * ax + dz * az) > half:
                apart = True
        if not apart:
            return True
    return False
