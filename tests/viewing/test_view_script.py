"""scripts/view.py draws real frames and answers mistakes with one line."""

import subprocess
import sys
from pathlib import Path

import numpy as np

from pseudolidar.kitti import ObjectDataset, Objects, read_image, write_disparity, write_objects

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "view.py"


def _view(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_a_real_frame_with_results_and_disparity(kitti_sample: Path, tmp_path: Path) -> None:
    data = kitti_sample / "object"
    frame = ObjectDataset(data).frame("000002")
    truth = frame.objects()
    car = truth[np.flatnonzero(truth.class_name == "Car")]
    columns = {
        name: getattr(car, name) for name in ("class_name", "truncation", "occlusion", "alpha", "box2d", "box3d")
    }
    write_objects(tmp_path / "results" / "000002.txt", Objects(**columns, score=np.array([0.9])))
    height, width = frame.left_image().shape[:2]
    ramp = np.linspace(5, 60, height, dtype=np.float32)[:, None].repeat(width, axis=1)
    write_disparity(tmp_path / "maps" / "000002.npy", ramp)
    done = _view(tmp_path, f"data={data}", "frame=000002", "results=results", "disparity=maps", "output=sheet.png")
    assert done.returncode == 0, done.stderr
    assert "sheet.png" in done.stdout
    assert read_image(tmp_path / "sheet.png").shape[1] > 1500
    assert sorted(path.name for path in tmp_path.iterdir()) == ["maps", "results", "sheet.png"]


def test_a_mistake_ends_in_one_line_and_leaves_nothing(kitti_sample: Path, tmp_path: Path) -> None:
    write_disparity(tmp_path / "small.npy", np.ones((10, 20), np.float32))
    done = _view(tmp_path, f"data={kitti_sample / 'object'}", "frame=000002", "disparity=small.npy")
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert "found 20 x 10 px, expected 1242 x 375 px" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["small.npy"]
