"""A frame's world: its street, things, weather, and their triangles ready to be traced."""

import dataclasses
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pseudolidar.synthetic import shading
from pseudolidar.synthetic.meshes import Mesh
from pseudolidar.synthetic.preset import TownPreset
from pseudolidar.synthetic.scenery import buildings, furniture
from pseudolidar.synthetic.street import Street, carriageway, sample_highway, sample_street
from pseudolidar.synthetic.things import COLOUR_1, COLOUR_2, COLUMNS, SEED, STYLE, Colour, Row, Thing
from pseudolidar.synthetic.traffic import traffic


@dataclass(frozen=True, eq=False)
class Hits:
    """Hits of N rays: the triangle (-1: none), the distance in lengths of the direction, unit shading normals."""

    prims: NDArray[np.int32]
    distance: NDArray[np.float32]
    normals: NDArray[np.float32]
    lit: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Scene:
    """One frame's world in the rectified camera frame. labelled: things with a KITTI class; they come first."""

    street: Street
    labelled: list[Thing]
    scenery: list[Thing]
    weather: Row

    @cached_property
    def _meshes(self) -> list[Mesh]:
        ground = [carriageway(), self.street.pavements()]
        return [thing.mesh for thing in self.labelled + self.scenery] + ground

    @cached_property
    def first_triangle(self) -> NDArray[np.int64]:
        """Where each thing's triangles start; one more entry than there are things."""
        return np.concatenate([[0], np.cumsum([len(mesh) for mesh in self._meshes])])

    @cached_property
    def _geometry(self) -> tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.float32]]:
        """Vertices (V, 3), m, the triangles' vertex numbers (T, 3) and normals (T, 3, 3), rectified camera frame."""
        first = self.first_triangle
        start = np.concatenate([[0], np.cumsum([len(mesh.indexed[0]) for mesh in self._meshes])])
        vertices, numbers = np.empty((start[-1], 3), np.float32), np.empty((first[-1], 3), np.int32)
        normals = np.empty((first[-1], 3, 3), np.float32)
        things = self.labelled + self.scenery
        for number, mesh in enumerate(self._meshes):
            points, own = slice(start[number], start[number + 1]), slice(first[number], first[number + 1])
            np.add(mesh.indexed[1], start[number], out=numbers[own], casting="unsafe")
            if number < len(things):
                things[number].place(vertices[points], normals[own])
            else:
                vertices[points], normals[own] = mesh.indexed[0], mesh.normals
                vertices[points, 1] += self.street.rise(vertices[points, 0], vertices[points, 2])
        return vertices, numbers, normals

    def corners(self, number: int) -> NDArray[np.float32]:
        """The corners (T, 3, 3) of one thing's triangles, m, in the rectified camera frame."""
        vertices, numbers, _ = self._geometry
        return vertices[numbers[self.first_triangle[number] : self.first_triangle[number + 1]]]

    @cached_property
    def material_of(self) -> NDArray[np.int32]:
        """Material of each triangle, int32, numbered as in materials.py."""
        return np.concatenate([mesh.material for mesh in self._meshes])

    @cached_property
    def thing_of(self) -> NDArray[np.int32]:
        """Thing of each triangle: labelled ones, then scenery, then carriageway, then pavements."""
        counts = np.diff(self.first_triangle)
        return np.repeat(np.arange(len(counts), dtype=np.int32), counts)

    @cached_property
    def table(self) -> NDArray[np.float64]:
        """The shading kernels' table, a row for each thing."""
        rows = [thing.row() for thing in self.labelled + self.scenery]
        ground, pavement = np.zeros(COLUMNS), np.zeros(COLUMNS)
        tone = 0.20 + 0.12 * (self.street.seed % 7) / 7
        pavement[COLOUR_1 : COLOUR_1 + 3] = tone * np.array([1.03, 1.0, 0.95], np.float64)
        lawn = self.street.setback > 2.0
        pavement[COLOUR_2 : COLOUR_2 + 3] = (0.13, 0.19, 0.06) if lawn else (0.22, 0.21, 0.19)
        pavement[SEED] = self.street.seed
        pavement[STYLE : STYLE + 3] = self.street.pavement_width, 0.4 + 0.1 * (self.street.seed % 5), float(lawn)
        return np.stack([*rows, ground, pavement])

    @cached_property
    def blockers(self) -> NDArray[np.float64]:
        """Footprints (x, z, length, width, ry) of what darkens the ground about itself."""
        rows = [(t.position[0], t.position[2], t.size[0], t.size[2], t.ry) for t in self.labelled]
        return np.array(rows, np.float64).reshape(-1, 5)

    @cached_property
    def _embree(self) -> tuple[Any, Any]:
        # Imported here: embreex has wheels for x86-64 only, and the rest of the package works without a town.
        from embreex.mesh_construction import TriangleMesh
        from embreex.rtcore_scene import EmbreeScene

        scene = EmbreeScene()
        return scene, TriangleMesh(scene, *self._geometry[:2])

    def trace(self, origin: Row, directions: NDArray[np.float32], shadows: bool) -> Hits:
        """Nearest hits of rays from one origin (3,) along directions (N, 3); with shadow rays towards the sun."""
        tracer, _ = self._embree
        origins = np.broadcast_to(origin.astype(np.float32), directions.shape).copy()
        found = tracer.run(origins, directions, output=True)
        prims = found["primID"]
        prims[found["geomID"] < 0] = -1
        normals = np.zeros_like(directions)
        toward_sun = np.empty(len(prims), np.bool_)
        faces = found["Ng"]
        sun = self.weather[:3]
        shading.surface_normals(
            directions, prims, found["u"], found["v"], faces, self._geometry[2], sun, normals, toward_sun
        )
        distance = found["tfar"]
        lit = np.zeros(len(prims), np.bool_)
        if shadows and self.weather[shading.SUN_COLOUR] > 0 and toward_sun.any():
            which = np.flatnonzero(toward_sun)
            starts = origins[which] + distance[which, None] * directions[which]
            starts += faces[which] * (0.012 + 2e-4 * distance[which, None])
            rays = np.broadcast_to(sun.astype(np.float32), starts.shape).copy()
            lit[which] = tracer.run(starts, rays, query="OCCLUDED") < 0
        return Hits(prims, distance, normals, lit)


def sample_weather(rng: np.random.Generator) -> Row:
    """Sun, sky and haze of a day: clear, hazy or overcast."""
    weather = np.zeros(16)
    elevation, azimuth = rng.uniform(0.2, 1.1), rng.uniform(-math.pi, math.pi)
    weather[:3] = math.cos(elevation) * math.sin(azimuth), -math.sin(elevation), math.cos(elevation) * math.cos(azimuth)

    def light(column: int, colour: Colour, low: float, high: float) -> None:
        weather[column : column + 3] = np.array(colour, np.float64) * rng.uniform(low, high)

    if rng.random() < 0.22:  # overcast
        light(shading.ZENITH, (0.80, 0.83, 0.88), 0.9, 1.15)
        light(shading.HORIZON, (0.88, 0.90, 0.93), 0.9, 1.1)
        weather[shading.CLOUDS] = rng.uniform(0.2, 0.5)
    else:
        warmth = 1 - min(elevation / 0.8, 1.0)
        light(shading.SUN_COLOUR, (1.0, 0.95 - 0.10 * warmth, 0.86 - 0.24 * warmth), 1.1, 2.8)
        light(shading.ZENITH, (0.20, 0.38, 0.72), 0.8, 1.2)
        light(shading.HORIZON, (0.72, 0.82, 0.93), 0.9, 1.1)
        weather[shading.CLOUDS] = rng.uniform(0.0, 0.8)
    weather[shading.SKY_SEED] = float(rng.integers(1, 3000))
    weather[shading.HAZE] = rng.uniform(0.0002, 0.0016)
    return weather


def sample_scene(rng: np.random.Generator, preset: TownPreset) -> Scene:
    """A street or a highway with all that stands and moves on it.

    preset: its road, and its focal length, which decides how far away meshes may be coarse; nothing else of it matters.
    """
    street = sample_highway(rng) if preset.road == "highway" else sample_street(rng)
    weather = sample_weather(rng)
    labelled, benches = traffic(street, preset.detail, rng)
    scenery = benches + buildings(street, rng) + furniture(street, preset.detail, rng)
    scenery = [thing for thing in scenery if _matters(thing)]
    return Scene(street, _on_slope(street, labelled), _on_slope(street, scenery), weather)


def _on_slope(street: Street, things: list[Thing]) -> list[Thing]:
    """Things that were placed on level ground, upright where the ground really is."""
    placed = []
    for thing in things:
        x, y, z = thing.position
        placed.append(dataclasses.replace(thing, position=(x, y + street.rise(x, z), z)))
    return placed


def _matters(thing: Thing) -> bool:
    """Whether a thing can be seen, or throws a shadow on what can."""
    length, height, width = thing.size
    reach = math.hypot(length, width) / 2 + min(2 * height, 16.0)
    x, _, z = thing.position
    return z > -reach and abs(x) < 0.9 * max(z, 0.0) + 3.0 + reach
