"""Frames of any name, of JPEGs and of testing/ go through the commands; none is left out in silence."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pseudolidar.kitti import write_image
from tests.conftest import RunHere
from tests.kitti.scenery import write_dataset

Run = Callable[..., tuple[int, str]]
NAME = "2011_09_26_000001"


@pytest.fixture
def run(run_here: RunHere, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """A command within this process: its exit status and all that it said."""
    monkeypatch.chdir(tmp_path)

    def call(name: str, *arguments: str) -> tuple[int, str]:
        status, printed, errors = run_here(name, *arguments)
        return status, printed + errors

    return call


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two frames of training/, one of a drive's name; the same numbers in testing/, JPEG and without labels."""
    root = tmp_path / "data"
    write_dataset(root, 2)
    for path in root.rglob("000001.*"):
        path.rename(path.with_name(f"{NAME}{path.suffix}"))
    shutil.copytree(root / "training", root / "testing", ignore=shutil.ignore_patterns("label_2"))
    for path in (root / "testing").glob("image_?/*.png"):
        write_image(path.with_suffix(".jpg"), np.full((20, 60, 3), 120, np.uint8))
        path.unlink()
    return root


def test_every_frame_has_its_map_and_its_cloud(run: Run, data: Path) -> None:
    assert run("predict_disparity", "model=sgm", "max_disparity=16", f"data={data}", "output=maps")[0] == 0
    assert run("make_clouds", "disparity=maps", f"calib={data}/training/calib", "output=clouds")[0] == 0
    for folder, suffix in (("maps", ".npy"), ("clouds", ".bin")):
        assert {path.stem for path in Path(folder).glob(f"*{suffix}")} == {"000000", NAME}
    for frame in (NAME, "0"):
        assert run("view", f"data={data}", f"frame={frame}", "disparity=maps", "output=v.png")[0] == 0
        assert Path("v.png").stat().st_size > 1000
        Path("v.png").unlink()
    assert run("view", f"data={data}", f"frame=['{NAME}',0]", "disparity=maps")[0] == 0
    assert Path("view.html").read_text().count('class="photo"') == 2
    assert "found no 7.txt among 2" in run("view", f"data={data}", "frame=7", "output=v.png")[1]


@pytest.mark.parametrize("place", [["data={}", "split=test"], ["data={}/testing"], ["data={}/testing", "split=test"]])
def test_testing_is_predicted_and_seen(run: Run, data: Path, place: list[str]) -> None:
    where = [part.format(data) for part in place]
    assert run("predict_disparity", "model=sgm", "max_disparity=16", *where, "output=maps")[0] == 0
    # Grey all over: no disparity; the frames of training/ have some.
    assert all((np.load(f"maps/{name}.npy") == np.load("maps/000000.npy")).all() for name in ("000000", NAME))
    assert run("view", f"data={data}/testing", f"frame={NAME}", "output=v.png")[0] == 0


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("train_detector", ["clouds=clouds", "class_name=Car", "output=v.pt"]),
        ("train_detector2d", ["output=boxes2d.pt"]),
    ],
)
def test_testing_has_no_labels_to_train_on(run: Run, data: Path, command: str, arguments: list[str]) -> None:
    assert (
        run("make_clouds", f"disparity={data}/testing/disparity", f"calib={data}/testing/calib", "output=clouds")[0]
        == 0
    )
    status, said = run(command, f"data={data}", "split=test", *arguments)
    assert status == 2 and "the frames of testing/ have none" in said
    status, said = run("evaluate", f"labels={data}/testing/label_2", "results=clouds", "output=ap.json")
    assert status == 2 and "testing/ has no labels" in said


@pytest.mark.parametrize("command", ["predict_disparity", "detect"])
def test_a_folder_without_frames_is_an_error(run: Run, data: Path, command: str) -> None:
    for path in (data / "training" / "calib").iterdir():
        path.unlink()
    model = "model=sgm" if command == "predict_disparity" else "models=nowhere"
    status, said = run(command, model, f"data={data}", "output=out")
    assert status == 2 and "calib: folder: found no frames" in said and not Path("out").exists()
