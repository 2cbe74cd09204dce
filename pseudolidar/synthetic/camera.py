"""Pictures of a scene: rays through pixel centres, finer rays along edges, exposure and sensor noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pseudolidar.kitti import Calibration
from pseudolidar.synthetic import shading
from pseudolidar.synthetic.scene import Hits, Scene
from pseudolidar.synthetic.table import Row

# Where rays beside the pixel's centre go, in pixels: with it they cover the pixel evenly.
_BESIDE_PX = ((-0.30, -0.22), (0.30, 0.22))

# A change of brightness (square root of linear light) between neighbours that is worth finer rays.
_JUMP = 0.24


@dataclass(frozen=True, eq=False)
class View:
    """colours: linear (H, W, 3). depth: z of the pixel's centre, m, 0 for sky. thing: its thing, -1 for sky."""

    colours: NDArray[np.float32]
    depth: NDArray[np.float32]
    thing: NDArray[np.int32]


def _centre(projection: NDArray[np.float64]) -> Row:
    """The camera's centre in the rectified frame, m."""
    return np.array([-projection[0, 3] / projection[0, 0], -projection[1, 3] / projection[1, 1], 0.0], np.float64)


def _directions(projection: NDArray[np.float64], pixels: NDArray[np.float64]) -> NDArray[np.float32]:
    """Rays (N, 3) with z = 1 through pixels (N, 2); a pixel's centre has integer coordinates."""
    x = (pixels[:, 0] - projection[0, 2]) / projection[0, 0]
    y = (pixels[:, 1] - projection[1, 2]) / projection[1, 1]
    return np.stack([x, y, np.ones_like(x)], -1).astype(np.float32)


def _colours(
    scene: Scene, origin: Row, rig: Row, rays: NDArray[np.float32], hits: Hits, focal_px: float
) -> NDArray[np.float32]:
    colours = np.empty((len(rays), 3), np.float32)
    shading.shade(
        origin, rig, rays, hits.distance, hits.prims, hits.normals, hits.lit, scene.material_of, scene.thing_of,
        scene.table, scene.street.row(), scene.weather, scene.blockers, focal_px, colours,
    )  # fmt: skip
    return colours


def _edges(colours: NDArray[np.float32], thing: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Pixels beside a jump: another thing, or a sudden change of brightness."""
    light = np.sqrt(colours[..., 1])
    edge = np.zeros(thing.shape, np.bool_)
    across = (thing[:, 1:] != thing[:, :-1]) | (np.abs(light[:, 1:] - light[:, :-1]) > _JUMP)
    down = (thing[1:] != thing[:-1]) | (np.abs(light[1:] - light[:-1]) > _JUMP)
    edge[:, 1:] |= across
    edge[:, :-1] |= across
    edge[1:] |= down
    edge[:-1] |= down
    return edge


def render(scene: Scene, calibration: Calibration, right: bool, height_px: int, width_px: int) -> View:
    """The left or the right camera's view."""
    projection = calibration.P3 if right else calibration.P2
    origin = _centre(projection)
    rig = (_centre(calibration.P2) + _centre(calibration.P3)) / 2
    focal_px = float(projection[0, 0])
    v, u = np.indices((height_px, width_px), dtype=np.float64)
    pixels = np.stack([u.ravel(), v.ravel()], -1)
    rays = _directions(projection, pixels)
    hits = scene.trace(origin, rays, shadows=True)
    shape = (height_px, width_px)
    colours = _colours(scene, origin, rig, rays, hits, focal_px).reshape(*shape, 3)
    sky = hits.prims < 0
    depth = np.where(sky, np.float32(0), hits.distance).reshape(shape)
    thing = np.where(sky, -1, scene.thing_of[hits.prims]).astype(np.int32).reshape(shape)
    at = np.flatnonzero(_edges(colours, thing))
    beside = (pixels[at][:, None] + np.array(_BESIDE_PX, np.float64)).reshape(-1, 2)
    rays = _directions(projection, beside)
    extra = _colours(scene, origin, rig, rays, scene.trace(origin, rays, shadows=True), focal_px)
    flat = colours.reshape(-1, 3)
    # Bright samples are cut where the sensor would clip, so that one can't outshine its pixel.
    flat[at] = (np.minimum(flat[at], 1.6) + np.minimum(extra, 1.6).reshape(-1, len(_BESIDE_PX), 3).sum(1)) / (
        1 + len(_BESIDE_PX)
    )
    return View(colours, depth, thing)


@dataclass(frozen=True)
class Sensor:
    """A camera's response: gain for each channel, read noise and shot noise (8-bit counts)."""

    gain: tuple[float, float, float]
    read_noise: float
    shot_noise: float

    def expose(self, colours: NDArray[np.float32], exposure: float, rng: np.random.Generator) -> NDArray[np.uint8]:
        """The 8-bit picture (H, W, 3) of linear colours."""
        light = colours * (np.float32(exposure) * np.array(self.gain, np.float32))
        # A soft shoulder keeps the sky from clipping; then the usual display gamma.
        light = light * (1 + light * np.float32(0.16)) / (1 + light)
        shown = np.minimum(light ** np.float32(0.45) * np.float32(1.1), np.float32(1))
        # A mild S-curve, as cameras apply it.
        counts = shown * (1 + np.float32(0.55) * (1 - shown) * (2 * shown - 1)) * np.float32(255)
        noise = rng.standard_normal(counts.shape, np.float32)
        counts += noise * np.sqrt(self.read_noise**2 + self.shot_noise**2 * counts / 255).astype(np.float32)
        return np.clip(np.rint(counts), 0, 255).astype(np.uint8)


def sample_sensors(rng: np.random.Generator) -> tuple[Sensor, Sensor]:
    """The left and the right camera: a few per cent apart in exposure, less in colour."""
    read, shot = rng.uniform(0.6, 1.8), rng.uniform(1.0, 3.0)
    sensors = []
    for _ in range(2):
        gain = np.exp(rng.normal(0, 0.025) + rng.normal(0, 0.008, 3))
        sensors.append(Sensor((float(gain[0]), float(gain[1]), float(gain[2])), float(read), float(shot)))
    return sensors[0], sensors[1]


def exposure_of(view: View) -> float:
    """The exposure that brings the view's middle brightness to that of a well-exposed picture."""
    light = float(np.exp(np.log(view.colours[..., 1] + 1e-3).mean()))
    return min(max(0.26 / light, 0.5), 3.5)
