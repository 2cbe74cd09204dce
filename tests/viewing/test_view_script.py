"""scripts/view.py shows real frames as a picture, a page or a recording, and answers mistakes with one line."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from pseudolidar.kitti import ObjectDataset, Objects, read_image, write_disparity, write_objects, write_points
from tests.conftest import SCRIPTS, Done, RunHere

View = Callable[..., Done]


@pytest.fixture
def view(run_here: RunHere, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> View:
    """The script in `tmp_path`."""
    monkeypatch.chdir(tmp_path)
    return partial(run_here, "view")


@pytest.fixture
def data(kitti_sample: Path, tmp_path: Path) -> Path:
    """The real frames; beside, in `tmp_path`, results and disparity maps of frame 000002."""
    frame = ObjectDataset(kitti_sample / "object").frame("000002")
    truth = frame.objects()
    car = truth[np.flatnonzero(truth.class_name == "Car")]
    columns = {
        name: getattr(car, name) for name in ("class_name", "truncation", "occlusion", "alpha", "box2d", "box3d")
    }
    write_objects(tmp_path / "results" / "000002.txt", Objects(**columns, score=np.array([0.9])))
    height, width = frame.left_image().shape[:2]
    ramp = np.linspace(5, 60, height, dtype=np.float32)[:, None].repeat(width, axis=1)
    write_disparity(tmp_path / "maps" / "000002.npy", ramp)
    return kitti_sample / "object"


def test_a_picture_of_a_frame_with_results_and_disparity(data: Path, view: View, tmp_path: Path) -> None:
    done = view(f"data={data}", "frame=000002", "results=results", "disparity=maps", "output=sheet.png")
    assert done.status == 0, done.err
    assert "sheet.png" in done.out
    assert read_image(tmp_path / "sheet.png").shape[1] > 1500
    assert sorted(path.name for path in tmp_path.iterdir()) == ["maps", "results", "sheet.png"]


def test_a_page_of_frames_with_named_folders(data: Path, view: View, tmp_path: Path) -> None:
    for name in ("000002", "000001"):
        write_points(tmp_path / "clouds" / f"{name}.bin", np.array([[9, 0, 0, 1], [12, 1, 0, 1]], np.float32))
        (tmp_path / "other").mkdir(exist_ok=True)
        (tmp_path / "other" / f"{name}.txt").touch()
    named = "results={u: other, new: other}"
    done = view(f"data={data}", "frame=[000002,1]", named, "clouds=clouds")
    assert done.status == 0, done.err
    page = (tmp_path / "view.html").read_text()
    scenes = [json.loads(text) for text in re.findall(r'<script type="application/json">(.*?)</script>', page)]
    assert [scene["name"] for scene in scenes] == ["000002", "000001"]
    assert list(scenes[0]["clouds"]) == ["cloud", "LiDAR"] and scenes[0]["clouds"]["cloud"]["all"] == 2
    assert [boxes["name"] for boxes in scenes[0]["boxes"]] == ["labels", "u", "new"]


@pytest.mark.skipif(os.name != "posix", reason="a shell for a browser")
def test_the_page_is_opened(data: Path, tmp_path: Path) -> None:
    # A process of its own: Python asks for the browser once.
    command = [sys.executable, str(SCRIPTS / "view.py"), f"data={data}", "frame=000002", "show=true"]
    environment = os.environ | {"BROWSER": "sh -c 'echo $0 > opened' %s"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "opened").read_text().strip() == (tmp_path / "view.html").as_uri()


def test_a_recording_for_rerun(data: Path, view: View, tmp_path: Path) -> None:
    arguments = (f"data={data}", "frame=000002", "results=results", "disparity=maps", "output=frames.rrd")
    done = view(*arguments)
    try:
        import rerun  # noqa: F401
    except ImportError:
        assert done.status == 2 and "pip install 'pseudolidar[rerun]'" in done.err
        assert not (tmp_path / "frames.rrd").exists()
        return
    assert done.status == 0, done.err
    recorded = (tmp_path / "frames.rrd").read_bytes()
    assert recorded[:3] == b"RRF", "the magic number of recordings"
    command = [sys.executable, "-m", "rerun_cli", "rrd", "print", "frames.rrd"]
    printed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    for entity in ("scene/clouds/disparity", "scene/clouds/LiDAR", "scene/labels", "scene/results/found", "disparity/"):
        assert entity in printed, printed


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("frame=000002", "disparity=small.npy"), "found 20 x 10 px, expected 1242 x 375 px"),
        (("frame=[000002,000003]", "output=two.png"), "frame: found 2, expected one for a picture"),
        (("frame=000002", "clouds=nowhere"), "000002.bin"),
    ],
)
def test_a_mistake_ends_in_one_line_and_leaves_nothing(
    arguments: tuple[str, ...], says: str, kitti_sample: Path, view: View, tmp_path: Path
) -> None:
    write_disparity(tmp_path / "small.npy", np.ones((10, 20), np.float32))
    done = view(f"data={kitti_sample / 'object'}", *arguments)
    assert done.status == 2 and len(done.err.splitlines()) == 1
    assert says in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["small.npy"]
