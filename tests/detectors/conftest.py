"""Data sets that several tests of the detectors read."""

from pathlib import Path

import numpy as np
import pytest

from pseudolidar.kitti import ObjectDataset, read_points, write_points
from tests.detectors.street_of_boxes import write_street


@pytest.fixture(scope="session")
def street(tmp_path_factory: pytest.TempPathFactory) -> ObjectDataset:
    """Eight frames with cars and their exact clouds in root/clouds."""
    return write_street(tmp_path_factory.mktemp("street"), frames=8, seed=0)


@pytest.fixture
def clouds(street: ObjectDataset) -> Path:
    return street.root / "clouds"


@pytest.fixture(scope="session")
def raised(street: ObjectDataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The clouds of `street` once more, 5 cm higher, as another depth sensor would see it."""
    folder = tmp_path_factory.mktemp("raised")
    for frame_id in street.frame_ids:
        points = read_points(street.root / "clouds" / f"{frame_id}.bin")
        write_points(folder / f"{frame_id}.bin", points + np.array([0, 0, 0.05, 0], np.float32))
    return folder
