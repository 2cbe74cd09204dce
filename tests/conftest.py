"""Fixtures shared by all tests: where the real KITTI material and the published networks' outputs lie."""

import os
from pathlib import Path

import pytest

from pseudolidar.command_line import prepare_process

# As the commands have it, before anything imports PyTorch.
prepare_process()


def _folder_from_environment(variable: str, holds: str) -> Path:
    value = os.environ.get(variable)
    if not value:
        pytest.skip(f"{variable} is not set; it names the folder with {holds}")
    folder = Path(value).resolve()
    if not folder.is_dir():
        pytest.fail(f"{variable}={value} is not a folder")
    return folder


@pytest.fixture(scope="session")
def kitti_sample() -> Path:
    """Folder with real KITTI frames, one stereo pair and scored detections (environment variable KITTI_SAMPLE)."""
    return _folder_from_environment("KITTI_SAMPLE", "real KITTI material")


@pytest.fixture(scope="session")
def reference_dir() -> Path:
    """Folder with outputs of the published networks for fixed weights (environment variable PSEUDOLIDAR_REFERENCE)."""
    return _folder_from_environment("PSEUDOLIDAR_REFERENCE", "the published networks' outputs")
