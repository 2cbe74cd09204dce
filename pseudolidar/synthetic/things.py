"""Things that stand in the town: a mesh, where it is, and the numbers its materials need."""

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pseudolidar.kernels import cpu_kernel
from pseudolidar.synthetic.meshes import Floats, Mesh

Colour = tuple[float, float, float]
Triple = tuple[float, float, float]
Row = NDArray[np.float64]

# A thing's row in the table that the shading kernels read: position (3), cosine and sine of ry, size l h w (3),
# three colours (9), seed, style (14).
TURN, SIZE, COLOUR_1, COLOUR_2, COLOUR_3, SEED, STYLE, COLUMNS = 3, 5, 8, 11, 14, 17, 18, 32


def rgb(values: ArrayLike) -> Colour:
    """Three numbers as a colour."""
    red, green, blue = np.asarray(values, np.float64).tolist()
    return red, green, blue


@dataclass(frozen=True, eq=False)
class Thing:
    """A mesh placed in the rectified camera frame: turned about y by ry, its foot's centre at position (m).

    scale: factors along length, height and width (the size itself for meshes in the unit box).
    colours, seed, style: what the materials read, see materials.py and skins.py.
    class_name: the KITTI class of what gets a label.
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
        low, high = self.mesh.bounds
        size = (high - low) * np.array(self.scale, np.float64)
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

    def place(self, vertices: Floats, normals: Floats) -> None:
        """Write the mesh's vertices (V, 3) and its corners' normals (T, 3, 3), in the rectified camera frame."""
        turn, scale, position = (math.cos(self.ry), math.sin(self.ry)), self.scale, self.position
        _place(self.mesh.indexed[0], self.mesh.normals, turn, scale, position, vertices, normals)


@cpu_kernel
def _place(
    mesh_vertices: Floats, mesh_normals: Floats, turn: tuple[float, float], scale: Triple, position: Triple,
    vertices: Floats, normals: Floats,
) -> None:  # fmt: skip
    cos, sin = turn
    for vertex in range(len(mesh_vertices)):
        a = mesh_vertices[vertex, 0] * scale[0]
        c = mesh_vertices[vertex, 2] * scale[2]
        vertices[vertex, 0] = cos * a + sin * c + position[0]
        vertices[vertex, 1] = mesh_vertices[vertex, 1] * scale[1] + position[1]
        vertices[vertex, 2] = cos * c - sin * a + position[2]
    for triangle in range(len(mesh_normals)):
        for corner in range(3):
            a = mesh_normals[triangle, corner, 0] / scale[0]
            b = mesh_normals[triangle, corner, 1] / scale[1]
            c = mesh_normals[triangle, corner, 2] / scale[2]
            length = math.sqrt(a * a + b * b + c * c) + 1e-12
            normals[triangle, corner, 0] = (cos * a + sin * c) / length
            normals[triangle, corner, 1] = b / length
            normals[triangle, corner, 2] = (cos * c - sin * a) / length


@cpu_kernel
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
