"""The sensors: pictures of a scene (finer rays along edges, exposure, noise) and sweeps of a 64-beam LiDAR."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from pseudolidar.kitti import Calibration
from pseudolidar.synthetic import shading
from pseudolidar.synthetic.scene import Hits, Scene
from pseudolidar.synthetic.things import Row

# Where rays beside the pixel's centre go, in pixels: with it they cover the pixel evenly.
_BESIDE_PX = ((-0.30, -0.22), (0.30, 0.22))

# A change of brightness (square root of linear light) between neighbours that is worth finer rays.
_JUMP = 0.24

# The HDL-64E: 32 beams a third of a degree apart from +2 degrees down, 32 more half a degree apart; 0.1728 degrees of
# azimuth between firings at 10 Hz (Velodyne's manual). The town is swept where KITTI's cameras look, and a margin.
_ELEVATION_DEG = np.concatenate([2.0 - np.arange(32) / 3, -8.83 - 0.5 * np.arange(32)])
_AZIMUTH_STEP_DEG, _HALF_SECTOR_DEG = 0.1728, 45.0
_RANGE_M, _RANGE_NOISE_M, _LOST = 120.0, 0.02, 0.03


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
class Tone:
    """How a pair of cameras makes counts of light.

    brightness: of the picture's middle, linear; gamma: exponent; shoulder: how softly light clips, 0 for a hard edge;
    contrast: of the S-curve that follows.
    """

    brightness: float
    gamma: float
    shoulder: float
    contrast: float


@dataclass(frozen=True)
class Sensor:
    """A camera's response: tone, gain for each channel, read noise and shot noise (8-bit counts)."""

    tone: Tone
    gain: tuple[float, float, float]
    read_noise: float
    shot_noise: float

    def expose(self, colours: NDArray[np.float32], exposure: float, rng: np.random.Generator) -> NDArray[np.uint8]:
        """The 8-bit picture (H, W, 3) of linear colours; `exposure` brings their middle to 1."""
        tone = self.tone
        light = colours * (np.float32(exposure * tone.brightness) * np.array(self.gain, np.float32))
        light = light * (1 + np.float32(tone.shoulder)) / (1 + np.float32(tone.shoulder) * light)
        shown = np.minimum(light, np.float32(1)) ** np.float32(tone.gamma)
        counts = shown * (1 + np.float32(tone.contrast) * (1 - shown) * (2 * shown - 1)) * np.float32(255)
        noise = rng.standard_normal(counts.shape, np.float32)
        counts += noise * np.sqrt(self.read_noise**2 + self.shot_noise**2 * counts / 255).astype(np.float32)
        return np.clip(np.rint(counts), 0, 255).astype(np.uint8)


def sample_sensors(rng: np.random.Generator) -> tuple[Sensor, Sensor]:
    """The left and the right camera, a few per cent apart in exposure, less in colour; of one tone.

    From well-exposed pictures with soft skies to KITTI's: black shadows, white skies, half of the counts below 70.
    """
    tone = Tone(
        brightness=float(np.exp(rng.uniform(np.log(0.10), np.log(0.45)))),
        gamma=float(rng.uniform(0.45, 0.9)),
        shoulder=float(rng.choice([0.0, 1.0]) * rng.uniform(0.0, 3.0)),
        contrast=float(rng.uniform(0.0, 0.6)),
    )
    read, shot = rng.uniform(0.6, 1.8), rng.uniform(1.0, 3.0)
    sensors = []
    for _ in range(2):
        gain = np.exp(rng.normal(0, 0.025) + rng.normal(0, 0.008, 3))
        sensors.append(Sensor(tone, (float(gain[0]), float(gain[1]), float(gain[2])), float(read), float(shot)))
    return sensors[0], sensors[1]


def exposure_of(view: View) -> float:
    """The factor that brings the middle of the view's light, its geometric mean, to 1."""
    light = float(np.exp(np.log(view.colours[..., 1] + 1e-3).mean()))
    return min(max(1 / light, 2.0), 14.0)


@cache
def _beams() -> NDArray[np.float64]:
    """Unit directions (N, 3) of all firings in the velodyne frame, beam by beam from the highest."""
    azimuth = np.radians(np.arange(-_HALF_SECTOR_DEG, _HALF_SECTOR_DEG, _AZIMUTH_STEP_DEG))
    beam, turn = np.meshgrid(np.radians(_ELEVATION_DEG), azimuth, indexing="ij")
    rays = np.stack([np.cos(beam) * np.cos(turn), -np.cos(beam) * np.sin(turn), np.sin(beam)], -1)
    return rays.reshape(-1, 3)


def sweep(scene: Scene, calibration: Calibration, rng: np.random.Generator) -> NDArray[np.float32]:
    """Points (N, 4): x, y, z in the velodyne frame (m) and intensity in [0, 1]."""
    in_velodyne = _beams()
    pose = calibration.R0_rect @ calibration.Tr_velo_to_cam
    origin = pose[:, 3].copy()
    rays = (in_velodyne @ pose[:, :3].T).astype(np.float32)
    hits = scene.trace(origin, rays, shadows=False)
    values, mirrors = np.zeros(len(rays), np.float32), np.zeros(len(rays), np.float32)
    shading.reflectance(
        origin, rays, hits.distance, hits.prims, hits.normals, scene.material_of, scene.thing_of, scene.table,
        scene.street.row(), values, mirrors,
    )  # fmt: skip
    range_m = hits.distance.astype(np.float64)
    # Returns get lost on glass, on dark and distant surfaces, and a few anywhere.
    lost = _LOST + 1.4 * mirrors + 0.5 * np.clip(range_m / _RANGE_M - values, 0, 1)
    chance, noise = rng.random(len(rays)), _RANGE_NOISE_M * rng.standard_normal(len(rays), np.float32)
    kept = (hits.prims >= 0) & (range_m < _RANGE_M) & (range_m > 0.9) & (chance > lost)
    points = in_velodyne[kept] * (range_m + noise)[kept, None]
    intensity = np.clip(values + 0.02 * rng.standard_normal(len(values), np.float32), 0, 1)[kept]
    return np.concatenate([points, intensity[:, None]], 1).astype(np.float32)
