"""One cloud in one file: velodyne .bin, .npy, .npz, and through Open3D .ply and .pcd."""

from pathlib import Path
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from pseudolidar.files import (
    FileError,
    FormatError,
    InputError,
    read_npy,
    read_npz,
    replacing,
    require_file,
    require_suffix,
    write_npy,
)
from pseudolidar.kitti import read_points, write_points

CLOUD_FORMATS = ("bin", "npy", "npz", "ply", "pcd")
_POINT_BYTES = 16
_EXPECTED = "float32 (N, 4): x y z intensity"


def require_format(name: str) -> str:
    """The name of a format, one of `CLOUD_FORMATS`; anything else is an InputError."""
    if name not in CLOUD_FORMATS:
        raise InputError(f"format: found {name!r}, expected one of {', '.join(CLOUD_FORMATS)}")
    return name


def write_cloud(path: str | Path, points: NDArray[np.float32]) -> None:
    """Write float32 (N, 4), x y z m in the velodyne frame and intensity; the suffix says the format.

    `.bin` is KITTI's; `.npz` is compressed, its array is called points; `.ply` and `.pcd` are binary, with a property
    intensity.

    Raises:
        FormatError: another suffix.
        InputError: no points for .ply and .pcd, in which Open3D writes no empty cloud.
        ValueError: another shape.
        FileError: the file can't be written, or Open3D doesn't load.
    """
    path = Path(path)
    suffix = _format_of(path)
    if suffix == "bin":
        write_points(path, points)
        return
    if points.ndim != 2 or points.shape[1] != 4:
        raise ValueError(f"points: found shape {points.shape}, expected (N, 4): x y z intensity")
    points = np.ascontiguousarray(points, dtype=np.float32)
    if suffix == "npy":
        write_npy(path, points)
        return
    if suffix == "npz":
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, points=points)
        return
    if not len(points):
        raise InputError(f"{path}: found no points, which a .{suffix} can't hold; .bin, .npy and .npz can")
    open3d = _open3d(path)
    cloud = open3d.t.geometry.PointCloud(open3d.core.Tensor(np.ascontiguousarray(points[:, :3])))
    cloud.point["intensity"] = open3d.core.Tensor(np.ascontiguousarray(points[:, 3:]))
    with replacing(path) as temporary:
        # Of a full disk Open3D says nothing; both formats end with the last point.
        written = open3d.t.io.write_point_cloud(str(temporary), cloud)
        if not written or temporary.read_bytes()[-_POINT_BYTES:] != points[-1].tobytes():
            raise OSError("Open3D could not write the cloud")


def read_cloud(path: str | Path) -> NDArray[np.float32]:
    """Read what `write_cloud` writes, float32 (N, 4); intensity 1 where a .ply or .pcd has none.

    Raises:
        FormatError: no such file, another suffix, or it holds something else than finite float32 x 4.
    """
    path = Path(path)
    suffix = _format_of(path)
    if suffix == "bin":
        return read_points(path)
    if suffix == "npy":
        points = read_npy(path, _EXPECTED)
    elif suffix == "npz":
        points = read_npz(path, ("points",), _EXPECTED)["points"]
    else:
        points = _read_with_open3d(require_file(path, _EXPECTED))
    if points.dtype != np.float32 or points.ndim != 2 or points.shape[1] != 4:
        raise FormatError(path, "array", f"{points.dtype} {points.shape}", _EXPECTED)
    bad = ~np.isfinite(points).all(axis=1)
    if bad.any():
        place = f"point {int(bad.argmax())} ({int(bad.sum())} such points)"
        raise FormatError(path, place, points[bad.argmax()], "finite numbers")
    return points


def _format_of(path: Path) -> str:
    suffixes = [f".{name}" for name in CLOUD_FORMATS]
    return require_suffix(path, suffixes, "a point cloud").removeprefix(".")


def _read_with_open3d(path: Path) -> NDArray[np.float32]:
    open3d = _open3d(path)
    # Its own messages would stand beside ours.
    with open3d.utility.VerbosityContextManager(open3d.utility.VerbosityLevel.Error):
        cloud = open3d.t.io.read_point_cloud(str(path))
    if "positions" not in cloud.point or not len(cloud.point.positions):
        raise FormatError(path, "file", "no points that Open3D can read", _EXPECTED)
    positions = cloud.point.positions.numpy().astype(np.float32, copy=False)
    has_intensity = "intensity" in cloud.point
    intensity = cloud.point.intensity.numpy() if has_intensity else np.ones((len(positions), 1))
    return np.concatenate([positions, intensity.astype(np.float32)], axis=1)


def _open3d(path: Path) -> ModuleType:
    # Imported only here: it takes seconds, and needs libraries of the system that a server may lack.
    try:
        import open3d
    except (ImportError, OSError) as error:
        raise FileError(f"{path}: Open3D, which reads and writes it, does not load: {error}") from error
    module: ModuleType = open3d
    return module
