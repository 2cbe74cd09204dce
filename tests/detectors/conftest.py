"""Data sets that several tests of the detectors read."""

from pathlib import Path

import pytest

from pseudolidar.kitti import ObjectDataset
from tests.detectors.street_of_boxes import write_street


@pytest.fixture(scope="session")
def street(tmp_path_factory: pytest.TempPathFactory) -> ObjectDataset:
    """Eight frames with cars and their exact clouds in root/clouds."""
    return write_street(tmp_path_factory.mktemp("street"), frames=8, seed=0)


@pytest.fixture
def clouds(street: ObjectDataset) -> Path:
    return street.root / "clouds"
