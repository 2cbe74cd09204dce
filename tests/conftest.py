"""Shared by all tests: scripts within the test's process, settings of configs/, where the real KITTI material lies."""

import functools
import os
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import hydra
import pytest
from omegaconf import DictConfig, OmegaConf

from pseudolidar.command_line import prepare_process
from pseudolidar.command_line.running import CONFIGS
from pseudolidar.command_line.settings import conform

# As the commands have it, before anything imports PyTorch.
prepare_process()

SCRIPTS = Path(__file__).parents[1] / "scripts"


class Done(NamedTuple):
    """How a script ended: its exit status, what it printed, what it wrote to standard error."""

    status: int
    out: str
    err: str


RunHere = Callable[..., Done]


@pytest.fixture
def run_here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> RunHere:
    """Run a script by its name and arguments, in the folder of the test's; a process of its own takes seconds."""

    def call(name: str, *arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *arguments])
        status = 0
        try:
            runpy.run_path(str(SCRIPTS / f"{name}.py"), run_name="__main__")
        except SystemExit as end:
            status = int(str(end.code or 0))
        return Done(status, *capsys.readouterr())

    return call


def settings_of(option: str, **changes: Any) -> Any:
    """What a command makes of an option of configs/, such as `stereo/slim`; changes of groups in it are mappings."""
    chosen = OmegaConf.merge(composed_option(option), changes)
    return conform(OmegaConf.to_container(chosen, resolve=True), object, option)


@functools.cache
def composed_option(option: str) -> DictConfig:
    """The settings of an option of configs/."""
    with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
        config: DictConfig = hydra.compose(option)
    for group in option.split("/")[:-1]:
        config = config[group]
    return config


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
