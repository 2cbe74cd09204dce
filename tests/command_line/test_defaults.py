"""A default stands in one place: what a configuration sets has none in Python, and it sets all that there is."""

import importlib
import inspect
from typing import Any

import hydra
import pytest
from omegaconf import OmegaConf

from pseudolidar.command_line.running import CONFIGS
from pseudolidar.command_line.settings import located, type_hints
from tests.conftest import composed_option

COMMANDS = sorted(path.stem for path in CONFIGS.glob("*.yaml"))
OPTIONS = sorted(
    str(path.relative_to(CONFIGS).with_suffix(""))
    for path in CONFIGS.glob("*/**/*.yaml")
    if path.relative_to(CONFIGS).parts[0] not in ("cloud", "experiment", "launcher", "protocol")
)
# What others give: a command to the kind of folder that it reads, the study to its models.
GIVEN = {
    "main": {"configuration", "command"}, "KittiStereoPairs": {"root", "split"}, "SceneFlowPairs": {"root", "split"},
    "from_folder": {"root", "split"}, "CommandDetector": {"near_m", "loss"},
    "MatchingDisparity": {"splits"}, "Checkpoint": {"splits"},
}  # fmt: skip


def settings_of_command(name: str, *overrides: str) -> dict[str, Any]:
    with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
        settings = OmegaConf.to_container(hydra.compose(name, list(overrides)))
    assert isinstance(settings, dict)
    return {str(name): value for name, value in settings.items()}


def check(function: Any, settings: dict[str, Any]) -> None:
    given = GIVEN.get(function.__name__, set())
    assert settings.keys() == type_hints(function).keys() - given
    takes = inspect.signature(function).parameters
    assert not [name for name, one in takes.items() if one.default is not one.empty and name not in given]


def check_made(settings: Any) -> int:
    """Check all objects that are made of the settings, and those in them; how many there are."""
    if not isinstance(settings, dict):
        return 0
    inside = sum(check_made(value) for value in settings.values())
    if "_target_" not in settings:
        return inside
    check(located(settings["_target_"], ""), {name: settings[name] for name in settings if name != "_target_"})
    return inside + 1


@pytest.mark.parametrize("option", OPTIONS)
def test_options(option: str) -> None:
    assert check_made(OmegaConf.to_container(composed_option(option)))


@pytest.mark.parametrize("name", COMMANDS)
def test_commands(name: str) -> None:
    settings = settings_of_command(name)
    if "_target_" not in settings:
        check(importlib.import_module(f"pseudolidar.commands.{name}").main, settings)
    check_made(settings)


def test_clouds_and_experiments() -> None:
    assert check_made(settings_of_command("make_clouds", "cloud=sparse"))
    of_command = {"study:": "study", "/detector@training": "train_detector", "/detector2d@training": "train_detector2d"}
    for path in (CONFIGS / "experiment").rglob("*.yaml"):
        command = next((name for text, name in of_command.items() if text in path.read_text()), "train_stereo")
        name = path.relative_to(CONFIGS / "experiment").with_suffix("")
        assert check_made(settings_of_command(command, f"experiment={name}"))
