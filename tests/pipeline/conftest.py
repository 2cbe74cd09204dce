"""A street of a few stereo pairs, models trained on it for seconds, and the script run within the test's process."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pseudolidar.cloud import write_clouds
from pseudolidar.detectors.frustum_pointnet import FrustumTraining, train_frustum_pointnet
from pseudolidar.kitti import ObjectDataset
from pseudolidar.stereo import SemiGlobalMatching, predict_disparities
from pseudolidar.training import TrainingRun
from tests.conftest import Done, RunHere, settings_of
from tests.stereo.conftest import write_scene

Detect = Callable[..., Done]
MAX_DISPARITY = 16
TRAINING: FrustumTraining = settings_of(
    "detector/frustum_pointnet_v1",
    steps=70,
    batch_size=8,
    learning_rate=0.004,
    width=0.25,
    points=96,
    object_points=48,
    dropout=0.0,
    centre_depth=True,
    mean_size="training_set",
    jitter=0.0,
    flip=False,
    depth_shift=0.0,
    min_box_height_px=8,
)


def bytes_of(folder: Path) -> dict[str, bytes]:
    """All files of a folder by their paths in it."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="session")
def street(tmp_path_factory: pytest.TempPathFactory) -> ObjectDataset:
    """Two labelled frames of 40 x 72 px: a wall at 30 m and a car at 15 and 13 m."""
    return write_scene(tmp_path_factory.mktemp("street"), 2)


@pytest.fixture(scope="session")
def models(street: ObjectDataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of models with a detector of cars alone, trained on clouds of semi-global matching."""
    folder, maps, clouds = (tmp_path_factory.mktemp(name) for name in ("models", "maps", "clouds"))
    predict_disparities(SemiGlobalMatching(MAX_DISPARITY), street, maps, "disparity")
    write_clouds(maps, street.folder / "calib", clouds, street.frame_ids)
    train_frustum_pointnet(TRAINING, street, clouds, ["Car"], TrainingRun(folder / "frustum_car.pt", 0))
    return folder


@pytest.fixture(scope="session")
def boxes(street: ObjectDataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The labels' 2D boxes in the published format."""
    path = tmp_path_factory.mktemp("boxes") / "detections.txt"
    lines = []
    for frame in street:
        corners = " ".join(f"{value:g}" for value in frame.objects().box2d[0])
        lines.append(f"image_2/{frame.frame_id}.png 2 0.9 {corners}\n")
    path.write_text("".join(lines))
    return path


@pytest.fixture
def detect(run_here: RunHere) -> Detect:
    """The script with its settings."""
    return lambda **settings: run_here("detect", *(f"{name}={value}" for name, value in settings.items()))
