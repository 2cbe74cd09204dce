"""A frame's calibration: projections, and the way between image, rectified camera and velodyne frames."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pseudolidar.files import FormatError, replacing, require_file

CANONICAL_VELO_TO_CAM = np.array([[0.0, -1.0, 0.0, 0.0], [0.0, 0.0, -1.0, 0.0], [1.0, 0.0, 0.0, 0.0]])
"""Velodyne axes for data without a LiDAR: x forward = z_cam, y left = -x_cam, z up = -y_cam, same origin."""

_SHAPES = {"P2": (3, 4), "P3": (3, 4), "R0_rect": (3, 3), "Tr_velo_to_cam": (3, 4)}
# Names of the same matrices in other KITTI benchmarks' files (tracking).
_ALIASES = {"R_rect": "R0_rect", "Tr_velo_cam": "Tr_velo_to_cam"}


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
        """Read a KITTI calibration file (object or tracking benchmark).

        Without R0_rect the identity is taken, without Tr_velo_to_cam the canonical axes (`CANONICAL_VELO_TO_CAM`).

        Raises:
            FormatError: P2 or P3 missing, a matrix twice, a wrong count of numbers, a word for a number, no positive
                baseline, something else than a rotation in R0_rect or Tr_velo_to_cam.
        """
        path = require_file(path, "a KITTI calibration file")
        matrices: dict[str, NDArray[np.float64]] = {}
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), start=1):
            key, _, rest = line.partition(":" if ":" in line else " ")
            key = _ALIASES.get(key.strip(), key.strip())
            if key not in _SHAPES:
                continue
            if key in matrices:
                raise FormatError(path, f"line {number} ({key})", "the matrix for a second time", "each matrix once")
            rows, columns = _SHAPES[key]
            try:
                values = np.array([float(word) for word in rest.split()])
            except ValueError as error:
                raise FormatError(path, f"line {number} ({key})", rest.strip()[:60], "numbers") from error
            if values.size != rows * columns or not np.isfinite(values).all():
                raise FormatError(
                    path,
                    f"line {number} ({key})",
                    f"{int(np.isfinite(values).sum())} finite numbers",
                    f"{rows * columns} finite numbers",
                )
            matrices[key] = values.reshape(rows, columns)
        for key in ("P2", "P3"):
            if key not in matrices:
                found = ", ".join(matrices) or "none of the matrices"
                raise FormatError(path, f"matrix {key}", f"only {found}", f"a line '{key}: ' with 12 numbers")
        calibration = cls(
            matrices["P2"],
            matrices["P3"],
            matrices.get("R0_rect", np.eye(3)),
            matrices.get("Tr_velo_to_cam", CANONICAL_VELO_TO_CAM),
        )
        calibration.require_valid(path)
        return calibration

    def require_valid(self, path: str | Path) -> None:
        """Raise a FormatError that names `path`, unless the matrices can be those of a rectified stereo pair."""
        if not (self.P2[0, 0] > 0 and self.P2[1, 1] > 0 and self.baseline_m > 0):
            raise FormatError(
                path,
                "P2 and P3",
                f"focal lengths {self.P2[0, 0]:g} and {self.P2[1, 1]:g} px, baseline {self.baseline_m:g} m",
                "all of them positive (P2 is the left camera, P3 the right one)",
            )
        if not np.allclose(self.P2[:, :3], self.P3[:, :3], rtol=1e-3, atol=1e-6):
            found = "other focal lengths or centres than in P2"
            raise FormatError(path, "P3", found, "the same, since rectified cameras differ in the fourth column alone")
        for name, rotation in (("R0_rect", self.R0_rect), ("Tr_velo_to_cam", self.Tr_velo_to_cam[:, :3])):
            # Files hold rotations rounded to a few digits.
            if not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-2) or np.linalg.det(rotation) < 0:
                expected = "a rotation; without a LiDAR leave the line Tr_velo_to_cam out" if name[0] == "T" else ""
                raise FormatError(path, name, "no rotation in the first three columns", expected or "a rotation")

    def to_file(self, path: str | Path) -> None:
        """Write KITTI's format: P0 to P3, R0_rect, Tr_velo_to_cam, Tr_imu_to_velo (P0, P1 without their offset)."""
        grey = self.P2.copy()
        grey[:, 3] = 0.0
        rows = {
            "P0": grey,
            "P1": grey,
            "P2": self.P2,
            "P3": self.P3,
            "R0_rect": self.R0_rect,
            "Tr_velo_to_cam": self.Tr_velo_to_cam,
            "Tr_imu_to_velo": np.eye(3, 4),
        }
        text = "".join(f"{key}: {' '.join(f'{value:.12e}' for value in rows[key].ravel())}\n" for key in rows)
        with replacing(path) as temporary:
            temporary.write_text(text)

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
        """Project points of the rectified camera frame (N, 3) into the left colour image.

        Returns:
            pixels (N, 2) u, v, and depth (N,) z in the rectified camera frame, m. Points behind the camera have a
            depth that is not positive and no meaningful pixel.
        """
        rectified = np.asarray(points, dtype=np.float64)[:, :3]
        homogeneous = rectified @ self.P2[:, :3].T + self.P2[:, 3]
        with np.errstate(divide="ignore", invalid="ignore"):
            pixels = homogeneous[:, :2] / homogeneous[:, 2:]
        return pixels, rectified[:, 2]

    def image_to_rect(self, pixels: ArrayLike, depth_m: ArrayLike) -> NDArray[np.float64]:
        """Back-project pixels (N, 2) of the left colour image with depth z (N,) m to the rectified camera frame (N, 3).

        The fourth column of P2 shifts camera 2 against camera 0, as in the published generator (Pseudo-LiDAR); the
        3 mm by which KITTI's camera 2 stands behind camera 0 (P2[2, 3]) are left out there and here.
        """
        pixel = np.asarray(pixels, dtype=np.float64)
        depth = np.asarray(depth_m, dtype=np.float64)
        x = (pixel[:, 0] - self.P2[0, 2]) * depth / self.P2[0, 0] - self.P2[0, 3] / self.P2[0, 0]
        y = (pixel[:, 1] - self.P2[1, 2]) * depth / self.P2[1, 1] - self.P2[1, 3] / self.P2[1, 1]
        return np.stack([x, y, depth], axis=1)
