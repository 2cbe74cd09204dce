"""A folder of disparity maps, or of LiDAR sweeps -> a folder of point clouds."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from pseudolidar.cloud.points import crop_sweep, disparity_to_points
from pseudolidar.kitti import Calibration, FormatError, read_disparity, read_points, track, write_points


def write_clouds(
    disparity_dir: str | Path,
    calib_dir: str | Path,
    output_dir: str | Path,
    frame_ids: Sequence[str],
    max_height: float | None = 1.0,
    max_depth: float | None = None,
    baseline: float | None = None,
    workers: int = 2,
) -> None:
    """Write the cloud of every frame, `output_dir`/ID.bin (float32 x 4, velodyne frame); see `disparity_to_points`.

    Clouds that are there already are left alone, so that a broken run goes on where it stopped.

    Args:
        disparity_dir: ID.npy (float) or ID.png (16 bit, 256 x disparity) in px of the left colour image.
        calib_dir: ID.txt, KITTI calibration files.
        output_dir: made if missing.
        frame_ids: which frames.
        max_height: m, winsorization.
        max_depth: m, near-only clouds.
        baseline: m, instead of the calibration's.
        workers: how many frames at once.

    Raises:
        FormatError: a frame without disparity map or calibration, or a file that does not hold what it should; no
            partial cloud is left behind.
    """
    output = Path(output_dir)

    def write_one(frame_id: str) -> None:
        calibration = Calibration.from_file(Path(calib_dir) / f"{frame_id}.txt")
        disparity = read_disparity(disparity_path(disparity_dir, frame_id))
        points = disparity_to_points(disparity, calibration, max_height, max_depth, baseline)
        write_points(output / f"{frame_id}.bin", points)

    missing = _missing(frame_ids, output)
    for frame_id in missing:
        disparity_path(disparity_dir, frame_id)
    _each_frame(write_one, missing, workers)


def write_lidar_clouds(
    velodyne_dir: str | Path,
    output_dir: str | Path,
    frame_ids: Sequence[str],
    max_height: float | None = 1.0,
    max_depth: float | None = None,
    workers: int = 2,
) -> None:
    """Write the LiDAR sweeps cropped as the clouds of `write_clouds` are: the oracle y where no exact map is known.

    Args:
        velodyne_dir: ID.bin, KITTI's LiDAR sweeps.
        output_dir, frame_ids, max_height, max_depth, workers: as for `write_clouds`; resumable as well.

    Raises:
        FormatError: a frame without a sweep, or a broken one.
    """
    output = Path(output_dir)

    def write_one(frame_id: str) -> None:
        sweep = read_points(Path(velodyne_dir) / f"{frame_id}.bin")
        write_points(output / f"{frame_id}.bin", crop_sweep(sweep, max_height, max_depth))

    _each_frame(write_one, _missing(frame_ids, output), workers)


def _missing(frame_ids: Sequence[str], output: Path) -> list[str]:
    return [frame_id for frame_id in frame_ids if not (output / f"{frame_id}.bin").is_file()]


def _each_frame(write_one: Callable[[str], None], frame_ids: Sequence[str], workers: int) -> None:
    if not frame_ids:
        return
    with ThreadPoolExecutor(max_workers=workers) as pool:
        futures = [pool.submit(write_one, frame_id) for frame_id in frame_ids]
        try:
            for future in track(as_completed(futures), "point clouds", total=len(futures)):
                future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def disparity_path(disparity_dir: str | Path, frame_id: str) -> Path:
    """The disparity file of a frame: ID.npy, or else ID.png.

    Raises:
        FormatError: neither is there.
    """
    for suffix in (".npy", ".png"):
        path = Path(disparity_dir) / f"{frame_id}{suffix}"
        if path.is_file():
            return path
    raise FormatError(Path(disparity_dir) / f"{frame_id}.npy", "file", "nothing there", "a disparity map, .npy or .png")
