"""A frame's calibration: projections, and transforms between image, rectified camera and velodyne frames."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pseudolidar.files import FormatError, read_lines, write_file

CANONICAL_VELO_TO_CAM = np.array([[0.0, -1.0, 0.0, 0.0], [0.0, 0.0, -1.0, 0.0], [1.0, 0.0, 0.0, 0.0]])
"""Velodyne axes for data without a LiDAR: x forward = z_cam, y left = -x_cam, z up = -y_cam, same origin."""

MIN_BASELINE_M, MAX_BASELINE_M = 0.01, 10.0
"""No rig of two cameras lies outside; a baseline in mm or km does."""

_SHAPES = {"P2": (3, 4), "P3": (3, 4), "R0_rect": (3, 3), "Tr_velo_to_cam": (3, 4)}
# Names of the same matrices in the files of KITTI's other benchmarks: tracking, odometry; raw data and stereo.
_ALIASES = {
    **{"R_rect": "R0_rect", "Tr_velo_cam": "Tr_velo_to_cam", "Tr": "Tr_velo_to_cam"},
    **{"P_rect_02": "P2", "P_rect_03": "P3", "R_rect_00": "R0_rect"},
}
# What these files hold beside them, and what else is one camera's own.
_NOT_NEEDED = re.compile(
    r"P\d+|[PRS]_rect_\d+|[SKDRT]_\d+|[KDQ]\d*|Tr_imu_(to_)?velo|Tr_cam_to_road|calib_time|corner_dist"
)
_WITHOUT_LIDAR = "without a LiDAR leave the line Tr_velo_to_cam out"
# Axes of a mounted LiDAR may be off by this much, as the cosine: 60 degrees.
_MIN_ALIGNMENT = 0.5


@dataclass(frozen=True, eq=False)
class Calibration:
    """Calibration of one rectified stereo pair, as in KITTI's object benchmark.

    Frames: *velodyne* x forward, y left, z up; *rectified camera* (of camera 0) x right, y down, z forward; metres.
    *Image* is the left colour image (camera 2), pixels u right, v down, the first pixel's centre at (0, 0).

    Attributes:
        P2: float64 (3, 4), rectified camera frame -> left colour image.
        P3: float64 (3, 4), rectified camera frame -> right colour image.
        R0_rect: float64 (3, 3), camera 0 -> rectified camera frame.
        Tr_velo_to_cam: float64 (3, 4), velodyne frame -> camera 0.
    """

    P2: NDArray[np.float64]
    P3: NDArray[np.float64]
    R0_rect: NDArray[np.float64]
    Tr_velo_to_cam: NDArray[np.float64]

    def __post_init__(self) -> None:
        for name, shape in _SHAPES.items():
            matrix = np.ascontiguousarray(getattr(self, name), dtype=np.float64)
            if matrix.shape != shape:
                raise ValueError(f"{name}: found shape {matrix.shape}, expected {shape}")
            object.__setattr__(self, name, matrix)

    @classmethod
    def from_file(cls, path: str | Path) -> "Calibration":
        """Read a KITTI calibration file: of the object, tracking, odometry or stereo benchmarks, or of the raw data.

        Without R0_rect the identity is taken, without Tr_velo_to_cam the canonical axes (`CANONICAL_VELO_TO_CAM`), but
        only where no line of an unknown name could be the missing one.

        Raises:
            FormatError: P2 or P3 missing, a matrix twice or of a wrong size, a word for a number, a matrix of an
                unknown name where a known one is missing, and anything that `require_valid` refuses.
        """
        path = Path(path)
        matrices, unknown = read_matrices(path, ("P2", "P3"))
        # A default never takes the place of what stands in the file under another name.
        for key, counts in (("Tr_velo_to_cam", (9, 12, 16)), ("R0_rect", (9,))):
            for name, (number, count) in unknown.items():
                if key not in matrices and count in counts and not _NOT_NEEDED.fullmatch(name):
                    expected = f"a name that KITTI's files have; the line {key} is missing: is it this one?"
                    raise FormatError(path, f"line {number} ({name})", f"{count} numbers of an unknown name", expected)
        calibration = cls(
            matrices["P2"],
            matrices["P3"],
            matrices.get("R0_rect", np.eye(3)),
            matrices.get("Tr_velo_to_cam", CANONICAL_VELO_TO_CAM),
        )
        calibration.require_valid(path)
        return calibration

    def require_valid(self, path: str | Path) -> None:
        """Check that the matrices can be those of a rectified stereo pair and of a LiDAR that looks the same way.

        A FormatError names `path` and the matrix.
        """
        if not (self.P2[0, 0] > 0 and self.P2[1, 1] > 0 and self.baseline_m > 0):
            lengths = f"focal lengths {self.P2[0, 0]:g} and {self.P2[1, 1]:g} px, baseline {self.baseline_m:g} m"
            expected = "all of them positive (P2 is the left camera, P3 the right one)"
            raise FormatError(path, "P2 and P3", lengths, expected)
        if not MIN_BASELINE_M <= self.baseline_m <= MAX_BASELINE_M:
            expected = (
                f"{MIN_BASELINE_M:g} to {MAX_BASELINE_M:g} m; in which unit is it? The fourth columns of P2 and P3 are "
                "minus focal length (px) x offset in metres"
            )
            raise FormatError(path, "P2 and P3", f"a baseline of {self.baseline_m:g} m", expected)
        if not np.allclose(self.P2[:, :3], self.P3[:, :3], rtol=1e-3, atol=1e-6):
            found = "other focal lengths or centres than in P2"
            raise FormatError(path, "P3", found, "the same, since rectified cameras differ in the fourth column alone")
        for name, rotation in (("R0_rect", self.R0_rect), ("Tr_velo_to_cam", self.Tr_velo_to_cam[:, :3])):
            # Files hold rotations rounded to a few digits.
            if not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-2) or np.linalg.det(rotation) < 0:
                expected = f"a rotation; {_WITHOUT_LIDAR}" if name == "Tr_velo_to_cam" else "a rotation"
                raise FormatError(path, name, "no rotation in the first three columns", expected)
        # Clouds are cropped in the velodyne frame: behind x = 0, above a height z.
        axes = self.R0_rect @ self.Tr_velo_to_cam[:, :3]
        for axis, name, way, cosine in ((0, "x", "ahead (the camera's z)", axes[2, 0]),
                                        (2, "z", "up (the camera's -y)", -axes[1, 2])):  # fmt: skip
            if cosine < _MIN_ALIGNMENT:
                found = f"the LiDAR's {name} axis along {np.round(axes[:, axis], 2).tolist()} in the camera's frame"
                if np.allclose(self.Tr_velo_to_cam, np.eye(3, 4)):
                    found = f"the identity, which is no LiDAR's matrix: its {name} axis is not {way}"
                expected = f"an {name} axis that is {way}, as of KITTI's velodyne; {_WITHOUT_LIDAR}"
                raise FormatError(path, "Tr_velo_to_cam", found, expected)

    def to_file(self, path: str | Path) -> None:
        """Write KITTI's format: P0 to P3, R0_rect, Tr_velo_to_cam, Tr_imu_to_velo (P0, P1 without their offset)."""
        grey = self.P2.copy()
        grey[:, 3] = 0.0
        rows = {"P0": grey, "P1": grey} | {name: getattr(self, name) for name in _SHAPES}
        rows["Tr_imu_to_velo"] = np.eye(3, 4)
        lines = [f"{name}: {' '.join(f'{value:.12e}' for value in row.ravel())}\n" for name, row in rows.items()]
        write_file(path, "".join(lines))

    @property
    def focal_px(self) -> float:
        """Horizontal focal length of the left colour camera, px."""
        return float(self.P2[0, 0])

    @property
    def baseline_m(self) -> float:
        """Distance of the colour cameras, m, from the fourth columns of P2 and P3 (0.5327 m on KITTI)."""
        return float((self.P2[0, 3] - self.P3[0, 3]) / self.P2[0, 0])

    @property
    def camera_constant_px_m(self) -> float:
        """C = focal length x baseline, px m: depth = C / disparity."""
        return self.focal_px * self.baseline_m

    def velodyne_to_rect(self, points: ArrayLike) -> NDArray[np.float64]:
        """Velodyne frame (N, 3) -> rectified camera frame (N, 3), m."""
        velodyne = np.asarray(points, dtype=np.float64)[:, :3]
        camera = velodyne @ self.Tr_velo_to_cam[:, :3].T + self.Tr_velo_to_cam[:, 3]
        return camera @ self.R0_rect.T

    def rect_to_velodyne(self, points: ArrayLike) -> NDArray[np.float64]:
        """Rectified camera frame (N, 3) -> velodyne frame (N, 3), m."""
        rotation, translation = self.rect_to_velodyne_transform()
        return np.asarray(points, dtype=np.float64)[:, :3] @ rotation.T + translation

    def rect_to_velodyne_transform(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Rotation (3, 3) and translation (3,) from the rectified camera frame to the velodyne frame."""
        # Inverses rather than transposes: calibration files hold rotations rounded to a few digits.
        camera_to_velodyne = np.linalg.inv(self.Tr_velo_to_cam[:, :3])
        rotation = camera_to_velodyne @ np.linalg.inv(self.R0_rect)
        return rotation, -camera_to_velodyne @ self.Tr_velo_to_cam[:, 3]

    def rect_to_image(self, points: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Project rectified camera points (N, 3), m: pixels u, v (N, 2) of the left colour image, and depth z (N,), m.

        Points behind the camera have a depth that is not positive and no meaningful pixel.
        """
        rectified = np.asarray(points, dtype=np.float64)[:, :3]
        homogeneous = rectified @ self.P2[:, :3].T + self.P2[:, 3]
        with np.errstate(divide="ignore", invalid="ignore"):
            pixels = homogeneous[:, :2] / homogeneous[:, 2:]
        return pixels, rectified[:, 2]

    def image_to_rect(self, pixels: ArrayLike, depth_m: ArrayLike) -> NDArray[np.float64]:
        """Back-project pixels (N, 2) of the left colour image with depth z (N,) m to the rectified camera frame (N, 3).

        The fourth column of P2 shifts camera 2 against camera 0, as in the published generator (Pseudo-LiDAR); the 3 mm
        by which KITTI's camera 2 stands behind camera 0 (P2[2, 3]) are left out there and here.
        """
        pixel = np.asarray(pixels, dtype=np.float64)
        depth = np.asarray(depth_m, dtype=np.float64)
        x = (pixel[:, 0] - self.P2[0, 2]) * depth / self.P2[0, 0] - self.P2[0, 3] / self.P2[0, 0]
        y = (pixel[:, 1] - self.P2[1, 2]) * depth / self.P2[1, 1] - self.P2[1, 3] / self.P2[1, 1]
        return np.stack([x, y, depth], axis=1)


def read_matrices(
    path: Path, required: Sequence[str], shapes: Mapping[str, tuple[int, ...]] = _SHAPES
) -> tuple[dict[str, NDArray[np.float64]], dict[str, tuple[int, int]]]:
    """Matrices of a calibration file with lines `NAME: numbers`, float64, and the lines of other names.

    `shapes` names the matrices that are wanted; P2, P3, R0_rect and Tr_velo_to_cam may have any of the names that
    KITTI's files give them.

    Returns:
        the wanted matrices that the file has; for every other name its line and count of numbers (0 for anything else).

    Raises:
        FormatError: no such file, a matrix twice, missing or of a wrong size, a word for a number.
    """
    matrices: dict[str, NDArray[np.float64]] = {}
    others: dict[str, tuple[int, int]] = {}
    for number, line in read_lines(path, "a KITTI calibration file"):
        name, *rest = (part.strip() for part in line.split(":" if ":" in line else None, 1))
        words = "".join(rest).split()
        key = _ALIASES.get(name, name)
        values = _numbers(words)
        if key not in shapes:
            others[name] = number, 0 if values is None else len(values)
            continue
        place = f"line {number} ({name})"
        if key in matrices:
            raise FormatError(path, place, "the matrix for a second time", "each matrix once")
        if values is None:
            raise FormatError(path, place, "".join(rest)[:60], "numbers")
        count = math.prod(shapes[key])
        if values.size != count or not np.isfinite(values).all():
            found = f"{int(np.isfinite(values).sum())} finite numbers"
            raise FormatError(path, place, found, f"{count} finite numbers")
        matrices[key] = values.reshape(shapes[key])
    for name in required:
        if name not in matrices:
            found = f"only {', '.join(matrices)}" if matrices else "none of the matrices"
            aliases = [alias for alias, key in _ALIASES.items() if key == name]
            expected = f"a line '{name}: ' with its numbers" + (f" (or {', '.join(aliases)})" if aliases else "")
            raise FormatError(path, f"matrix {name}", found, expected)
    return matrices, others


def _numbers(words: Sequence[str]) -> NDArray[np.float64] | None:
    try:
        return np.array([float(word) for word in words])
    except ValueError:
        return None
